#!/bin/bash
# Tests/emulate/run.sh BUILD_DIR [LEVEL...]: what the kernels of x86-64-v4, and of
# x86-64-v4-ifma, of the library in BUILD_DIR/lib compute, on a CPU that has
# AVX-512 (and IFMA) or else on an emulated one: the C tests, the golden values, and
# the same bits as the baseline kernels. Before that the emulator itself is checked
# against the CPU of this machine. At x86-64-v4-ifma squares.c also asks the kernel
# itself, block by block, for its integers and whether they are exact; it is
# linked with what `make` compiled (OBJECTS, default .build-embedded/release).
# CC chooses the compiler (default gcc).
# Takes two minutes a level where one core is free.
set -euo pipefail

fail() { echo "emulate: $*" >&2; exit 1; }

here=$(cd "$(dirname "$0")" && pwd)
tests=$(cd "$here/../c" && pwd)
build=$(cd "${1:?usage: run.sh BUILD_DIR [LEVEL...]}" && pwd)
shift
levels=("$@")
[ $# -gt 0 ] || levels=(x86-64-v4 x86-64-v4-ifma)
objects=${OBJECTS:-$here/../../.build-embedded/release}
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
kernels=$here/../../Sources/CGradClipKernels
# (The kernels' header has vector types of clang; there is one beside swiftc.)
"$(dirname "$(command -v swiftc)")/clang" -std=gnu11 -Wall -Wextra -Werror -O2 -I"$kernels/include" -o "$work/squares" \
    "$here/squares.c" "$objects"/GradClipKernelsX86v4.build/*.o "$objects"/CGradClipKernels.build/shims.c.o -Wl,--gc-sections -lm
programs+=(squares)
"$work/arithmetic" >"$work/arithmetic.txt"
GRADCLIP_ISA=baseline "$work/conformance" >"$work/conformance.txt"

# One boot for all. It stops at nothing, so that one failure does not hide others.
cat >"$work/all.sh" <<'END'
failed=0
run() { "$@" || { echo "FAILED: $*"; failed=1; }; }
isa=$(./conformance --isa)
[ "$isa" = "$GRADCLIP_ISA" ] || { echo "the library runs $isa"; exit 1; }
./arithmetic-v4 | diff - arithmetic.txt || { echo "the emulated CPU computes wrongly (<)"; exit 1; }
./conformance >conformance-v4.txt
cmp conformance-v4.txt conformance.txt || { echo "FAILED: not the bits of the baseline kernels"; failed=1; }
[ "$isa" = x86-64-v4 ] || run ./squares
run ./golden golden.txt
for test in semantics arguments structs memory threads fpenv; do run ./$test; done
exit $failed
END

cd "$work"
for level in "${levels[@]}"; do
    export GRADCLIP_ISA=$level
    case $level in
        x86-64-v4) cpu=corei7_skylake_x ;; # without IFMA
        x86-64-v4-ifma) cpu=corei3_cnl ;;
        *) fail "$level is not a level of AVX-512" ;;
    esac
    if [ "$("$work/conformance" --isa)" = "$level" ]; then run=() on="this CPU"
    else
        run=("$here/avx512.sh" -c $cpu -t 1200) on="an emulated CPU ($cpu)"
        for file in "${programs[@]}" arithmetic.txt conformance.txt golden.txt all.sh; do run+=(-f "$file"); done
    fi
    "${run[@]}" sh ./all.sh || fail "$level fails on $on (status $?)"
    echo "ok: $level on $on: C tests, golden values, $(wc -l <conformance.txt) lines of results as the baseline gives them"
done
