#!/bin/sh
# bindings/python/tests/run.sh BUILD_DIR: install the package with the library in
# BUILD_DIR/lib and run its tests, on the python3 that comes first in PATH and on
# Debian's. Each has a virtual environment in BUILD_DIR, which is kept. The first one
# records in BUILD_DIR/coverage which lines it ran, for `make coverage`.
set -eu
package=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:?usage: run.sh BUILD_DIR}" && pwd)
GRADCLIP_PREBUILT=$(readlink -f "$build/lib/libgradclip.so")
export GRADCLIP_PREBUILT

seen=
for python in "$(command -v python3)" /usr/bin/python3; do
    [ -x "$python" ] || continue
    real=$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))')
    case " $seen " in *" $real "*) continue ;; esac
    seen="$seen $real"
    venv=$build/venv-test-$("$python" -c 'import sys, zlib; print("%d.%d-%08x" % (*sys.version_info[:2], zlib.crc32(sys.prefix.encode())))')
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps "$package"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$package[test]"
    echo "Python tests on $("$venv/bin/python" -VV)"
    if [ "$seen" = " $real" ]; then
        "$package/tests/covered.sh" "$venv/bin/python" "$build/coverage/python.lcov" -q
    else
        (cd "$package" && "$venv/bin/python" -m pytest -q)
    fi
done
