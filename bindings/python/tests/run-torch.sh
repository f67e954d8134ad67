#!/bin/sh
# bindings/python/tests/run-torch.sh BUILD_DIR: install the package with the library in
# BUILD_DIR/lib beside torch, and run the tests that need torch, the live comparison
# with torch in float64 among them. torch-venv.sh says which torch.
set -eu
package=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:?usage: run-torch.sh BUILD_DIR}" && pwd)
. "$package/tests/torch-venv.sh"

pip install "$package[torch-test]"
echo "Python tests with torch on $("$venv/bin/python" -c 'import sys, torch; print(sys.version.split()[0], "and torch", torch.__version__)')"
cd "$package" && exec "$venv/bin/python" -m pytest -q tests/with_torch
