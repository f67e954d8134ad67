#!/bin/sh
# No kernel works lane by lane through memory: what the compiler makes of a vector
# comparison or conversion that it did not turn into instructions is a loop that
# masks an index to the number of lanes. Exempt are functions that run rarely, or
# mask a length (convert).
. "$(dirname "$0")/common.sh"
exempt='separateNonfinite|sumInIntegers|convert|findFar'

case $(uname -m) in x86_64) ;; *) ok "not asked of $(uname -m)"; exit 0 ;; esac
unstripped=$build/lib-unstripped/$(basename "$(readlink -f "$library")")
[ -e "$unstripped" ] || fail "$unstripped is missing: run make first"
objdump -d --no-show-raw-insn "$unstripped" | awk '
    /^[0-9a-f]+ <.*>:$/ { name = $2; kernel = name ~ /GradClipKernelsX86v/; kernels += kernel }
    kernel && /and +\$0x(f|7),%e/ { print name }
    END { print kernels >"/dev/stderr" }' 2>"$work/count" | sort | uniq -c | grep -vE "$exempt" >"$work/loops" || :
[ "$(cat "$work/count")" -gt 50 ] || fail "only $(cat "$work/count") kernel functions found in $unstripped"
if [ -s "$work/loops" ]; then
    cat "$work/loops" >&2
    fail "these kernels loop over the lanes of a vector"
fi
ok "no loop over lanes in $(cat "$work/count") kernel functions of v3 and v4"
