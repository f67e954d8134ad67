#!/bin/sh
# bindings/python/tests/run-documentation.sh BUILD_DIR: every example of the pages in docs/, with all
# the packages that they are about.
peer=documentation gigabytes=0.3 packages="lightning accelerate transformers mmengine" about="torch lightning accelerate transformers mmengine"
. "$(dirname "$0")/peers.sh"
GRADCLIP_ALL_EXAMPLES=1 compare tests/with_torch/test_docs.py
