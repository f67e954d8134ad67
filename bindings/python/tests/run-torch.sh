#!/bin/sh
# bindings/python/tests/run-torch.sh BUILD_DIR: gradclip.torch: the tests that need torch, the
# live comparison with torch in float64 among them. torch-venv.sh says which torch.
peer=torch gigabytes=1.0 packages= about="torch numpy" environment=torch
. "$(dirname "$0")/peers.sh"
compare tests/with_torch
