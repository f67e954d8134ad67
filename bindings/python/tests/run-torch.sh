#!/bin/sh
# bindings/python/tests/run-torch.sh BUILD_DIR: install the package with the library in
# BUILD_DIR/lib beside torch, and run the tests that need torch, the live comparison
# with torch in float64 among them. The virtual environment in BUILD_DIR (1 GB) is kept.
# TORCH names another version for pip (TORCH=torch==2.6.*). Without it the wheel
# without CUDA is taken if pip's sources have it, otherwise whatever torch they have.
set -eu
package=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:?usage: run-torch.sh BUILD_DIR}" && pwd)
GRADCLIP_PREBUILT=$(readlink -f "$build/lib/libgradclip.so")
export GRADCLIP_PREBUILT

venv=$build/venv-torch
if ! [ -x "$venv/bin/python" ]; then
    echo "making an environment with torch in $venv (about 1 GB)"
    "${PYTHON:-python3}" -m venv "$venv"
fi
pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
if ! "$venv/bin/python" -c 'import torch' 2>/dev/null || [ -n "${TORCH:-}" ]; then
    pip install "${TORCH:-torch==2.13.0+cpu}" || pip install "${TORCH:-torch}"
fi
pip install "$package[torch-test]"
pip install --force-reinstall --no-deps "$package"
echo "Python tests with torch on $("$venv/bin/python" -c 'import sys, torch; print(sys.version.split()[0], "and torch", torch.__version__)')"
cd "$package" && exec "$venv/bin/python" -m pytest -q tests/with_torch
