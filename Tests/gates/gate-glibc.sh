#!/bin/sh
# The oldest glibc the library runs with.
. "$(dirname "$0")/common.sh"
floor=2.17

objdump -T "$library" | grep -oE 'GLIBC_[0-9.]+' | sort -u | sed 's/GLIBC_//' >"$work/versions"
[ -s "$work/versions" ] || fail "no versioned symbol found"
highest=$(sort -V "$work/versions" | tail -1)
if [ "$(printf '%s\n%s\n' "$floor" "$highest" | sort -V | tail -1)" != "$floor" ]; then
    objdump -T "$library" | grep "GLIBC_$highest" >&2
    fail "needs glibc $highest, at most $floor is allowed"
fi
ok "runs with glibc $highest and later (at most $floor is allowed)"
