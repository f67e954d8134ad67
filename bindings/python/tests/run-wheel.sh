#!/bin/sh
# bindings/python/tests/run-wheel.sh BUILD_DIR: install the wheel in BUILD_DIR/dist on every
# supported Python that is here, without a compiler or Swift in PATH, and use it; then build
# and use what the sdist beside it carries, with Swift. The wheel is small. Says which Pythons were not here.
#
# Pythons are looked for in PYTHONS (paths, separated by blanks), in PATH, and in pyenv's and uv's
# folders: PYTHONS=/opt/python3.13t/bin/python3 for one without the global lock (docs/testing.md).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?usage: run-wheel.sh BUILD_DIR}" && pwd)
wheel=$(echo "$build"/dist/gradclip-*.whl)
sdist=$(echo "$build"/dist/gradclip-*.tar.gz)
work=$build/test-wheel
rm -rf "$work"
mkdir -p "$work"

# Whether $1 is a Python of version $2 (3.13t: without the global lock).
is() {
    [ "$("$1" -I -c '
import sys, sysconfig
free = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print("%d.%d%s" % (*sys.version_info[:2], free))' 2>/dev/null)" = "$2" ]
}

find_python() {
    for candidate in ${PYTHONS:-} "$(command -v "python$1" || true)" "/usr/bin/python$1" \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python \
        "${UV_PYTHON_INSTALL_DIR:-$HOME/.local/share/uv/python}"/*/bin/python; do
        if [ -x "$candidate" ] && is "$candidate" "$1"; then
            echo "$candidate"
            return
        fi
    done
}

# The package's folder stays out of sight: the program runs in an empty folder, and with
# nothing in PATH but the environment's own programs.
bare() {
    venv=$1
    shift
    (cd "$work/empty" && env -i PATH="$venv/bin" HOME="$work/empty" "$@")
}
mkdir "$work/empty"

largest=420000
size=$(wc -c <"$wheel")
[ "$size" -le "$largest" ] || { echo "FAILED: the wheel has $size bytes, $largest are allowed" >&2; exit 1; }

missing= passed=0
for version in 3.11 3.12 3.13 3.13t 3.14 3.14t; do
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        missing="$missing $version"
        continue
    fi
    venv=$work/venv-$version
    "$python" -m venv "$venv"
    bare "$venv" pip --quiet --disable-pip-version-check install --no-index "$wheel"
    bare "$venv" python -I "$here/wheel_program.py"
    bare "$venv" gradclip --version | grep -q '^libgradclip '
    bare "$venv" python -I "$here/../examples/walk_through.py" >"$work/walk"
    grep -q 17937.589302913588 "$work/walk"
    echo "wheel: works on $("$venv/bin/python" -VV | tr '\n' ' ')"
    passed=$((passed + 1))
    newest=$venv
done
[ "$passed" -gt 0 ] || { echo "wheel: none of the Pythons was found" >&2; exit 1; }

# The sdist, far from the checkout: what it lacks, it does not find.
mkdir "$work/sdist"
tar -xzf "$sdist" -C "$work/sdist"
"$newest/bin/python" "$here/sdist_contents.py" "$here/../../.." "$work"/sdist/gradclip-*
"$newest/bin/pip" --quiet --disable-pip-version-check uninstall --yes gradclip
(cd "$work/empty" && env -u GRADCLIP_PREBUILT -u GRADCLIP_LIBRARY -u MAKEFLAGS -u MAKELEVEL \
    "$newest/bin/pip" --quiet --disable-pip-version-check install "$sdist")
bare "$newest" python -I "$here/wheel_program.py"
echo "sdist: pip builds it with Swift, and it works"

echo "wheel: $passed Pythons, not found here:${missing:- none}"
