# Sourced by the gates, with BUILD_DIR in $1.
set -eu
# A make that a gate calls speaks as one that a person calls.
unset MAKEFLAGS MFLAGS MAKELEVEL
LC_ALL=C
export LC_ALL
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "${1:?usage: $(basename "$0") BUILD_DIR}" && pwd)
header=$root/include/gradclip.h
library=$build/lib/libgradclip.so
work=$build/tests/$(basename "$0" .sh)
mkdir -p "$work"

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

ok() { echo "ok: $*"; }

[ -e "$library" ] || fail "$library is missing: run make first"

# The functions that a header (gradclip.h) declares. The preprocessor has taken comments
# and macros away, so a name before a parenthesis is a declaration; the line
# markers say which lines are the header's own. (The type of a callback declares none.)
declared_functions() { # [HEADER]
    printf '#include "%s"\n' "${1:-$header}" | gcc -E -x c - |
        awk '/^# [0-9]+ "/ { own = /gradclip[^\/]*\.h"/; next } own && !/^typedef .*\(\*/' |
        grep -oE '[A-Za-z_][A-Za-z0-9_]*[[:space:]]*\(' | tr -d ' (' | sort -u
}
