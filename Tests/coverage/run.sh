#!/bin/sh
# Tests/coverage/run.sh BUILD_DIR: which lines of Swift, C and Python no test runs. The library,
# Embedded, is built with counters and called by the C tests, with the kernels of this processor
# and the baseline's. What `make test-swift`, test-python and test-peers-torch ran they recorded
# themselves. uncovered.txt says which lines may be left, and why.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "${1:?usage: run.sh BUILD_DIR}" && pwd)
out=$build/coverage
. "$here/../embedded.sh"
rm -rf "$out/raw"
mkdir -p "$out/raw" "$out/lib"
cd "$root"

# lcov BINARY PROFILE OUTPUT
lcov() { "$toolchain/bin/llvm-cov" export -format=lcov -instr-profile="$2" "$1" >"$3"; }

runtime=$(echo "$toolchain"/lib/clang/*/lib/linux/"libclang_rt.profile-$(uname -m).a")
build_embedded coverage "$out/swift.log" \
    -Xswiftc -profile-generate -Xswiftc -profile-coverage-mapping -Xcc -fprofile-instr-generate -Xcc -fcoverage-mapping \
    -Xlinker "$runtime" -Xlinker -u__llvm_profile_runtime
cp "$library/libgradclip.so" "$out/lib/libgradclip.so"

# A file for each process: those that are killed leave half a one, which is passed over, and
# after _exit() there would be none.
LLVM_PROFILE_FILE=$out/raw/%p.profraw
export LLVM_PROFILE_FILE
CFLAGS=-D_exit=exit VALGRIND=0 RELOAD=0 LIFE_SECONDS=1 "$root/Tests/c/run.sh" "$out" >"$out/c.log" 2>&1 || { cat "$out/c.log" >&2; exit 1; }
GRADCLIP_ISA=baseline "$out/tests/golden" "$root/Tests/golden/golden.txt" >>"$out/c.log" 2>&1
GRADCLIP_ISA=baseline "$out/tests/golden_inspect" "$root/Tests/golden/golden.txt" >>"$out/c.log" 2>&1
unset LLVM_PROFILE_FILE
"$toolchain/bin/llvm-profdata" merge -sparse --failure-mode=all -o "$out/c.profdata" "$out"/raw/*.profraw 2>"$out/merge.log" ||
    { tail -5 "$out/merge.log" >&2; exit 1; }
lcov "$out/lib/libgradclip.so" "$out/c.profdata" "$out/c.lcov"

tests=$(swift build --build-tests --enable-code-coverage --show-bin-path)
lcov "$(echo "$tests"/*.xctest)" "$tests/codecov/default.profdata" "$out/swift.lcov"

"${PYTHON:-python3}" "$here/report.py" "$here/uncovered.txt" "$out/c.lcov" "$out/swift.lcov" "$out"/python*.lcov
