#!/bin/sh
# exports.sh [FORMAT]: what leaves libgradclip: the functions that gradclip.h declares, in its order, and nothing else.
# names: one a line; map: a version script, for ELF; macos: a list for Apple's linker; windows: a module definition.
# A declaration begins a line, and the line has the function's name; gate-exports.sh holds the library
# against what the preprocessor finds.
set -eu
header=$(dirname "$0")/../include/gradclip.h
functions=$(sed -n 's/^[a-z][a-z0-9_ ]*[ *]\(gradclip_[a-z0-9_]*\)(.*/\1/p' "$header")
[ -n "$functions" ] || { echo "exports.sh: no function in $header" >&2; exit 1; }
each() { echo "$functions" | sed "$1"; }
case ${1:-names} in
names) echo "$functions" ;;
map) printf 'GRADCLIP_1.0 {\n    global:\n%s\n    local:\n        *;\n};\n' "$(each 's/.*/        &;/')" ;;
macos) each 's/^/_/' ;;
windows) printf 'LIBRARY gradclip.dll\nEXPORTS\n%s\n' "$(each 's/^/    /')" ;;
*) echo "usage: exports.sh [names|map|macos|windows]" >&2; exit 2 ;;
esac
