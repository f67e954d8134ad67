#!/bin/bash
# Tests/emulate/run.sh BUILD_DIR: what the x86-64-v4 kernels of the library in
# BUILD_DIR/lib compute, on a CPU that has AVX-512 or else on the emulated one:
# the C tests, the golden values, and the same bits as the baseline kernels.
# Before that the emulator itself is checked against the CPU of this machine.
# CC chooses the compiler (default gcc).
# Takes two minutes where one core is free.
set -euo pipefail

fail() { echo "emulate: $*" >&2; exit 1; }

here=$(cd "$(dirname "$0")" && pwd)
tests=$(cd "$here/../c" && pwd)
build=$(cd "${1:?usage: run.sh BUILD_DIR}" && pwd)
work=$build/tests/emulate
cc=${CC:-gcc}
mkdir -p "$work"
cp "$here/../golden/golden.txt" "$work"

arithmetic=(-std=c11 -Wall -Wextra -Werror -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math)
"$cc" "${arithmetic[@]}" -o "$work/arithmetic" "$here/arithmetic.c" -lm
"$cc" "${arithmetic[@]}" -march=x86-64-v4 -mprefer-vector-width=512 -o "$work/arithmetic-v4" "$here/arithmetic.c" -lm
objdump -d "$work/arithmetic-v4" | grep '%zmm' >/dev/null || fail "arithmetic-v4 has no AVX-512 in it"
programs=(arithmetic-v4)
for name in semantics arguments structs memory threads fpenv conformance golden; do
    sources=("$tests/$name.c")
    [ $name != golden ] || sources+=("$tests/golden_file.c")
    "$cc" -std=c11 -Wall -Wextra -Werror -O1 -I"$here/../../include" -o "$work/$name" "${sources[@]}" \
        -L"$build/lib" -Wl,-rpath,"$build/lib" -lgradclip -lpthread -lm
    programs+=("$name")
done
"$work/arithmetic" >"$work/arithmetic.txt"
GRADCLIP_ISA=baseline "$work/conformance" >"$work/conformance.txt"

# One boot for all. It stops at nothing, so that one failure does not hide others.
cat >"$work/all.sh" <<'END'
failed=0
run() { "$@" || { echo "FAILED: $*"; failed=1; }; }
isa=$(./conformance --isa)
[ "$isa" = x86-64-v4 ] || { echo "the library runs $isa"; exit 1; }
./arithmetic-v4 | diff - arithmetic.txt || { echo "the emulated CPU computes wrongly (<)"; exit 1; }
for test in semantics arguments structs memory threads fpenv; do run ./$test; done
./conformance >conformance-v4.txt
cmp conformance-v4.txt conformance.txt || { echo "FAILED: not the bits of the baseline kernels"; failed=1; }
run ./golden golden.txt
exit $failed
END

cd "$work"
export GRADCLIP_ISA=x86-64-v4
if [ "$("$work/conformance" --isa)" = x86-64-v4 ]; then run=() on="this CPU"
else
    run=("$here/avx512.sh") on="an emulated CPU"
    for file in "${programs[@]}" arithmetic.txt conformance.txt golden.txt all.sh; do run+=(-f "$file"); done
fi
"${run[@]}" sh ./all.sh || fail "x86-64-v4 fails on $on (status $?)"
echo "ok: x86-64-v4 on $on: C tests, golden values, $(wc -l <conformance.txt) lines of results as the baseline gives them"
