#!/bin/sh
# The library exports the header's functions, each at GRADCLIP_1.0, and nothing else.
. "$(dirname "$0")/common.sh"

declared_functions >"$work/declared"
[ -s "$work/declared" ] || fail "no function found in $header"
if grep -v '^gradclip_' "$work/declared"; then fail "the header declares a name without gradclip_"; fi
# Every defined dynamic symbol that is not local (t, d, b, r), whatever its kind;
# the version node itself is one.
nm -D --defined-only --with-symbol-versions "$library" | awk '$2 !~ /^[tdbr]$/ { print $2, $3 }' >"$work/symbols"
awk '$2 != "GRADCLIP_1.0" && $2 != "GRADCLIP_1.0@@GRADCLIP_1.0" { print $2 }' "$work/symbols" | sort >"$work/exported"
sed 's/$/@@GRADCLIP_1.0/' "$work/declared" >"$work/expected"
diff -u "$work/expected" "$work/exported" >&2 || fail "exports (+) differ from the header (-)"
if awk '$1 != "T" && $1 != "A" { print; bad = 1 } END { exit !bad }' "$work/symbols" >&2; then fail "an export is no function"; fi
ok "$(wc -l <"$work/exported") functions exported, exactly the header's, all at GRADCLIP_1.0"
