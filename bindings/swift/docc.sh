#!/bin/sh
# docc.sh BUILD_DIR: the documentation of the module GradClip, BUILD_DIR/docc; a warning
# (a link that leads nowhere, for instance) is an error.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "${1:?usage: docc.sh BUILD_DIR}"
build=$(cd "$1" && pwd)
version=$(sed -n 's/^#define GRADCLIP_VERSION_STRING "\(.*\)"/\1/p' "$root/include/gradclip.h")
# Swift writes the symbols when it compiles the module, and nothing when that is up to date; so they lie beside what was compiled.
graphs=$build/docc-build/graphs
[ -e "$graphs/GradClip.symbols.json" ] || rm -rf "$build/docc-build"
rm -rf "$build/docc"
mkdir -p "$graphs"
swift build --package-path "$root" --scratch-path "$build/docc-build" --target GradClip \
    -Xswiftc -emit-symbol-graph -Xswiftc -emit-symbol-graph-dir -Xswiftc "$graphs"
# Of this module only, without what it shows of the modules below.
find "$graphs" -type f ! -name 'GradClip.symbols.json' -delete
docc convert "$root/Sources/GradClip/GradClip.docc" --additional-symbol-graph-dir "$graphs" --output-dir "$build/docc" \
    --fallback-display-name GradClip --fallback-bundle-identifier gradclip.GradClip --fallback-bundle-version "$version" \
    --warnings-as-errors
