#!/bin/sh
# The kernels also compile for arm64 and give the same bits there (NEON), and
# what leaves the library is the same.
. "$(dirname "$0")/common.sh"

# On arm64 itself the shipped library is that one, and the other gates check it.
if [ "$(uname -m)" = aarch64 ]; then
    vector=$(objdump -d "$library" | grep -cE '\bf(add|sub|mul|mla)\s+v[0-9]+\.(2d|4s)') || true
    [ "$vector" -gt 100 ] || fail "only $vector instructions of vector arithmetic in $library"
    ok "NEON in the shipped library; gate-levels runs it"
    exit 0
fi

"$root/Tests/emulate/aarch64.sh" -q "$build" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    fail "arm64 fails"
}
for gate in exports glibc; do
    "$here/gate-$gate.sh" "$build/tests/aarch64" >"$work/log-$gate" 2>&1 || {
        cat "$work/log-$gate" >&2
        fail "gate-$gate fails on the library for arm64"
    }
done
tail -1 "$work/log"
