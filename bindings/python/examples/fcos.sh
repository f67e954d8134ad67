#!/bin/sh
# bindings/python/examples/fcos.sh BUILD_DIR [OPTION ...]: run fcos.py with OPTIONs in the
# environment that the tests with torch use, with torchvision added.
set -eu
package=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:?usage: fcos.sh BUILD_DIR [OPTION ...]}" && pwd)
shift
. "$package/tests/torch-venv.sh"

pip install numpy pillow
# torch 2.N goes with torchvision 0.(N + 15). Without its dependencies: torch is there, and
# PyPI's torchvision would bring the one with CUDA (fcos_model.py says why it works beside
# the one without).
version=$("$venv/bin/python" -c 'import torch; print("0.%d" % (int(torch.__version__.split(".")[1]) + 15))')
pip install --no-deps "torchvision==$version.*"
exec "$venv/bin/python" "$package/examples/fcos.py" --logs "$build/fcos" "$@"
