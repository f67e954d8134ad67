#!/bin/sh
# bindings/python/tests/run-fsdp.sh BUILD_DIR: gradclip.torch.patch() with DTensors in CPU memory, as
# fully_shard with CPUOffloadPolicy leaves them, on up to 7 processes (gloo); and with a process group
# that has no backend for the CPU. NCCL itself, which needs GPUs, is not run.
peer=fsdp gigabytes=0 packages= about="torch" environment=torch
. "$(dirname "$0")/peers.sh"
compare tests/with_fsdp
