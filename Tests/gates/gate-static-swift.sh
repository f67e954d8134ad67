#!/bin/sh
# libgradclip.a in a Swift program: with the Swift runtime as a shared library, linked
# in, or Embedded, the program's own retain and release stay what they are.
. "$(dirname "$0")/common.sh"
archive=$build/lib/libgradclip.a
[ -e "$archive" ] || fail "$archive is missing: run make static first"
command -v swiftc >/dev/null || fail "swiftc is missing"

cat >"$work/expected" <<'TEXT'
1250.0 100 layer 19.49 with a name too long to be kept inline, layer 19.48 with a name too long to be kept inline, 1.5, 2.0
2048.0 0.5 0.5, 1 alive
TEXT
# The functions of the Swift runtime that a program defines or asks for; local ones
# (t) are nobody else's.
runtime() { nm --no-demangle "$1" | awk '$NF ~ /^_?swift_[a-z]/ && $(NF-1) != "t" { print $(NF-1), $NF }' | sort -u; }

done=""
# host NAME FLAGS...: the program links and runs as expected.
host() {
    name=$1
    shift
    swiftc -O -I "$root/include" "$@" -o "$work/$name" "$here/swift-host.swift" "$archive" >"$work/$name.log" 2>&1 || {
        cat "$work/$name.log" >&2
        fail "$name does not link"
    }
    "$work/$name" >"$work/$name.txt" 2>&1 || { cat "$work/$name.txt" >&2; fail "$name fails"; }
    diff "$work/expected" "$work/$name.txt" >&2 || fail "$name prints something else (>)"
    # The same program on the shared library, whose symbols cannot get in the way.
    swiftc -O -I "$root/include" "$@" -o "$work/$name-shared" "$here/swift-host.swift" -L "$build/lib" -lgradclip \
        -Xlinker -rpath -Xlinker "$build/lib" >"$work/$name.log" 2>&1 || { cat "$work/$name.log" >&2; fail "$name-shared does not link"; }
    "$work/$name-shared" | diff "$work/expected" - >&2 || fail "$name-shared prints something else (>)"
    runtime "$work/$name-shared" >"$work/runtime-shared"
    runtime "$work/$name" >"$work/runtime"
    [ -s "$work/runtime-shared" ] || fail "$name: no function of the Swift runtime found"
    diff "$work/runtime-shared" "$work/runtime" >&2 || fail "$name: the archive adds (>) to the functions of the Swift runtime"
    done="$done $name,"
}
host dynamic
host static-stdlib -static-stdlib
# Embedded Swift brings weak copies of its own, which the archive's must not replace.
host embedded -enable-experimental-feature Embedded -wmo
ok "a Swift host keeps its own runtime:${done%,}"
