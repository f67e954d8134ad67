#!/bin/sh
# libgradclip.a: its only global symbols are the header's functions; it links into C
# programs, fully static ones too, on a machine without Swift; and gives the same bits
# there as the shared library.
. "$(dirname "$0")/common.sh"
archive=$build/lib/libgradclip.a
[ -e "$archive" ] || fail "$archive is missing: run make static first"

declared_functions >"$work/declared"
[ -s "$work/declared" ] || fail "no function found in $header"
# (From its own folder: nm writes the name that it is given, and that may have spaces.)
of_archive() { (cd "$build/lib" && "$@" libgradclip.a); }
of_archive nm --defined-only --extern-only --no-demangle --format=posix | awk 'NF > 2 { print $1, $2 }' | sort >"$work/global"
sed 's/$/ T/' "$work/declared" | diff -u - "$work/global" >&2 || fail "global symbols (+) are not the header's functions (-)"
# What it asks of the host: functions of libc, in no particular version, and none of Swift.
of_archive nm --undefined-only --no-demangle --format=posix | awk 'NF > 1 { print $1 }' | sort -u >"$work/undefined"
[ -s "$work/undefined" ] || fail "nothing is undefined: this is not the archive"
if grep -E '@|swift|^\$' "$work/undefined" >&2; then fail "it needs these"; fi
# Section groups would be exchanged for a host's groups of the same name; the others
# would tell a Swift host's linker or runtime of things that are not there.
of_archive readelf -gW 2>/dev/null | grep -q 'COMDAT' && fail "it has section groups"
of_archive readelf -SW | grep -oE '\.?(swift[15]_[a-z_]+|swift_modhash|linker-options|debug_[a-z]+|ctors)\b' | sort -u >"$work/sections"
if [ -s "$work/sections" ]; then
    cat "$work/sections" >&2
    fail "it has these sections"
fi
# Forks are watched from the start, and the threads end with the process.
for section in init_array fini_array; do
    of_archive readelf -SW | grep -q "\.$section" || fail "the section .$section was lost"
done
if strings -a "$archive" | grep -F "$root" >&2; then fail "it names folders of this machine"; fi

# Without Swift: an environment in which there is none.
alone() { env -i PATH=/usr/bin:/bin LC_ALL=C CPATH="$root/include" "$@"; }
if alone sh -c 'command -v swift swiftc' >&2; then fail "there is Swift in /usr/bin or /bin"; fi
flags="-std=c11 -O1 -Wall -Wextra -Werror"
tests=$root/Tests/c
# shellcheck disable=SC2086
alone gcc $flags -o "$work/conformance-shared" "$tests/conformance.c" -L"$build/lib" -Wl,-rpath,"$build/lib" -lgradclip -lm || fail "conformance.c does not compile"
"$work/conformance-shared" >"$work/conformance.txt"
[ -s "$work/conformance.txt" ] || fail "conformance-shared prints nothing"
done=""
for kind in "" -static -static-pie -Wl,--gc-sections; do
    # shellcheck disable=SC2086
    link() { alone gcc $flags $kind -o "$work/$1" "$tests/$1.c" "$archive" -pthread -lm; }
    link conformance || fail "gcc $kind: a program does not link"
    if readelf -dW "$work/conformance" | grep -qE 'NEEDED.*(gradclip|swift)'; then fail "gcc $kind: the program needs a shared library"; fi
    alone "$work/conformance" >"$work/conformance-static.txt" || fail "gcc $kind: the program fails"
    cmp "$work/conformance.txt" "$work/conformance-static.txt" || fail "gcc $kind: other bits than the shared library's"
    done="$done gcc${kind:+ $kind},"
done
# Threads, fork and the end of the process in a program without a shared library.
kind=-static
link threads || fail "threads.c does not link"
alone "$work/threads" >"$work/threads.txt" 2>&1 || { cat "$work/threads.txt" >&2; fail "threads.c fails"; }
# In a shared library of the host's own, too, which hides it.
printf '#include <gradclip.h>\nunsigned host_version(void) { return gradclip_version(); }\n' >"$work/host.c"
# shellcheck disable=SC2086
alone gcc $flags -shared -fPIC -Wl,-z,text -Wl,--exclude-libs,ALL -o "$work/libhost.so" "$work/host.c" "$archive" -pthread || fail "a shared library does not link"
if nm -D --defined-only "$work/libhost.so" | grep -q gradclip; then fail "--exclude-libs does not hide it"; fi

# What it adds to a program.
printf 'int main(void) { return 0; }\n' >"$work/empty.c"
printf '#include <gradclip.h>\nint main(void) { return gradclip_clip_grad_norm_f32(0, 0, 0, 1, 2, 0, 0); }\n' >"$work/one.c"
for program in empty one; do
    # shellcheck disable=SC2086
    alone gcc $flags -s -Wl,--gc-sections -o "$work/$program" "$work/$program.c" "$archive" -pthread
done
"$work/one" || fail "the smallest program fails"
added=$(($(wc -c <"$work/one") - $(wc -c <"$work/empty")))
[ "$added" -lt 409600 ] || fail "it adds $added bytes to a program, 204800 allowed"
ok "libgradclip.a exports the header's $(wc -l <"$work/declared") functions, needs $(wc -l <"$work/undefined") of libc, links with${done%,}, adds $added bytes"
