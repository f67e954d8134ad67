#!/bin/sh
# Programs built with an older header run with this library. The header, as a library of
# stubs, is compared with the baseline in abi/: functions, constants and fields at the end
# of the structs that have a struct_size may come, nothing may go or change. And a program
# built with the first header, abi/gradclip-1.0.h, runs.
#
# After a release: Tests/gates/gate-abi.sh build --accept makes the header the baseline.
. "$(dirname "$0")/common.sh"
abi=$here/abi
for tool in abidw abidiff; do command -v $tool >/dev/null || fail "$tool is missing: Debian's package abigail-tools has it"; done

"$root/packaging/exports.sh" map >"$work/exports.map"
"$abi/stub.sh" "$header" "$work/exports.map" "$work/stub.so" "$work/facts.txt"
# Of the stub only what it exports and the types that leads to, without the names of folders.
abidw --exported-interfaces-only --no-show-locs --no-comp-dir-path --no-corpus-path "$work/stub.so" |
    sed "s|$root/||g" >"$work/abi.xml"
if [ "${2:-}" = --accept ]; then
    cp "$work/abi.xml" "$abi/baseline.xml"
    cp "$work/facts.txt" "$abi/facts.txt"
    ok "the header is the baseline now"
    exit 0
fi

status=0
abidiff --no-added-syms --suppressions "$abi/allowed.ini" "$abi/baseline.xml" "$work/abi.xml" >"$work/report.txt" 2>&1 || status=$?
[ $status = 0 ] || { cat "$work/report.txt" >&2; fail "old programs would break (abidiff says $status)"; }
if comm -23 "$abi/facts.txt" "$work/facts.txt" | grep . >&2; then fail "these constants or members are gone or changed"; fi

# The program of an old header, which calls every function of it.
gcc -std=c11 -Wall -Wextra -Werror -O1 -c -I"$abi" -o "$work/client.o" "$abi/client.c" || fail "client.c does not compile"
declared_functions "$abi/gradclip-1.0.h" >"$work/old"
nm --undefined-only "$work/client.o" | awk '/ gradclip_/ { print $2 }' | sort -u | diff "$work/old" - >&2 || fail "client.c (>) calls other functions than the first header has (<)"
gcc -o "$work/client" "$work/client.o" -L"$build/lib" -Wl,-rpath,"$build/lib" -lgradclip -lm || fail "the old program does not link"
"$work/client" || fail "the old program fails"
ok "old callers: nothing of the baseline's $(grep -c '<function-decl.*elf-symbol-id' "$abi/baseline.xml") functions and $(wc -l <"$abi/facts.txt") constants and members is gone or changed; a program that calls all $(wc -l <"$work/old") functions of the first header runs"
