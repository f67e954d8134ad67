#!/bin/sh
# The soname, what the library needs at run time and asks of libc, what may be written once it
# is loaded, and its stripped size.
. "$(dirname "$0")/common.sh"
limit=409600

readelf -dW "$library" >"$work/dynamic"
soname=$(sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p' "$work/dynamic")
[ "$soname" = libgradclip.so.1 ] || fail "the soname is '$soname', not libgradclip.so.1"
[ "$(readlink -f "$build/lib/libgradclip.so.1")" = "$(readlink -f "$library")" ] || fail "libgradclip.so.1 and libgradclip.so are different files"
needed=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' "$work/dynamic" | sort | tr '\n' ' ')
for name in $needed; do
    case $name in
    libc.so.6 | libpthread.so.0) ;; # libpthread is a part of libc since 2.34
    ld-linux-*.so.*) ;; # thread-local storage
    *) fail "the library needs $name" ;;
    esac
done
if grep -E 'RPATH|RUNPATH|TEXTREL' "$work/dynamic" >&2; then fail "a search path or text relocation was left in"; fi
readelf -lW "$library" >"$work/segments"
if grep GNU_STACK "$work/segments" | grep -q E; then fail "the stack is executable"; fi
grep -q BIND_NOW "$work/dynamic" && grep -q GNU_RELRO "$work/segments" || fail "relocations are not read-only once they are done"
# No network, no other process, of files fopen() for reading (threads.c) and nothing else.
nm -D --undefined-only "$library" | awk '{ sub(/@.*/, "", $2); print $2 }' >"$work/imports"
grep -qx malloc "$work/imports" || fail "what is imported could not be read"
if grep -nxE 'socket|connect|bind|listen|accept4?|send.*|recv.*|getaddrinfo|gethostby.*|v?fork|clone.*|exec.*|posix_spawn.*|system|popen|dlm?open|open(at)?(64)?|creat(64)?|freopen.*|rename.*|unlink.*|remove|mkdir.*|write|fwrite|fput.*|syscall' "$work/imports" >&2; then
    fail "it imports a function for the network, processes or writing files"
fi
strip -o "$work/stripped.so" "$library"
size=$(wc -c <"$work/stripped.so")
[ "$size" -lt "$limit" ] || fail "$size bytes stripped, $limit allowed"
ok "soname $soname, needs ${needed}and is $size bytes stripped"
