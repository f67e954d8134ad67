#!/bin/sh
# The soname, what the library needs at run time, and its stripped size.
. "$(dirname "$0")/common.sh"
limit=204800

readelf -dW "$library" >"$work/dynamic"
soname=$(sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p' "$work/dynamic")
[ "$soname" = libgradclip.so.1 ] || fail "the soname is '$soname', not libgradclip.so.1"
[ "$(readlink -f "$build/lib/libgradclip.so.1")" = "$(readlink -f "$library")" ] || fail "libgradclip.so.1 and libgradclip.so are different files"
needed=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' "$work/dynamic" | sort | tr '\n' ' ')
for name in $needed; do
    case $name in
    libc.so.6 | libm.so.6 | libpthread.so.0) ;;
    ld-linux-*.so.*) ;; # thread-local storage
    *) fail "the library needs $name" ;;
    esac
done
if grep -E 'RPATH|RUNPATH|TEXTREL' "$work/dynamic" >&2; then fail "a search path or text relocation was left in"; fi
if readelf -lW "$library" | grep GNU_STACK | grep -q E; then fail "the stack is executable"; fi
strip -o "$work/stripped.so" "$library"
size=$(wc -c <"$work/stripped.so")
[ "$size" -lt "$limit" ] || fail "$size bytes stripped, $limit allowed"
ok "soname $soname, needs ${needed}and is $size bytes stripped"
