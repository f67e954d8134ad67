#!/bin/bash
# Tests/emulate/aarch64.sh [-q] BUILD_DIR: what the library computes on arm64,
# where the one kernel source becomes NEON: cross-compiled, and run under qemu on
# the oldest of 64-bit ARM cores. The C tests, the golden values, and the same
# bits as the baseline kernels of the library in BUILD_DIR/lib (x86-64).
# -q: quick, with a quarter of the golden values and without inspect_lengths,
# whose long doubles are software on arm64.
#
# It compiles with plain swiftc, as Package.swift says for arm64: Swift's own
# toolchain has Embedded Swift for bare aarch64, whose objects a Linux linker
# takes, while SwiftPM would ask for an SDK of Linux on arm64. The C files go
# through the clang that comes with it (their header has its vector types).
# Debian packages: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user.
set -euo pipefail

fail() { echo "aarch64.sh: $*" >&2; exit 1; }

slow=(inspect_lengths) every=1
if [ "${1:-}" = -q ]; then
    slow=() every=4
    shift
fi
build=$(cd "${1:?usage: aarch64.sh [-q] BUILD_DIR}" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
tests=$root/Tests/c
work=$build/tests/aarch64
system=/usr/aarch64-linux-gnu
cross=aarch64-linux-gnu

missing=()
command -v $cross-gcc >/dev/null || missing+=(gcc-aarch64-linux-gnu)
[ -e $system/include/stdio.h ] || missing+=(libc6-dev-arm64-cross)
command -v qemu-aarch64 >/dev/null || missing+=(qemu-user)
[ ${#missing[@]} = 0 ] || fail "missing; on Debian: apt-get install --no-install-recommends ${missing[*]}"
swiftc=$(command -v swiftc) || fail "there is no swiftc in PATH"
clang=$(dirname "$swiftc")/clang
[ -x "$clang" ] || fail "there is no clang beside $swiftc"

# ---------------------------------------------------------------- the library
rm -rf "$work"
mkdir -p "$work/lib"
cd "$work"
# What SwiftPM writes for a C target.
for target in CGradClipSystem CGradClipKernels; do
    cat >>module.modulemap <<END
module $target {
    umbrella header "$root/Sources/$target/include/$target.h"
    export *
}
END
    for file in "$root/Sources/$target"/*.c; do
        "$clang" --target=$cross -isystem $system/include -std=gnu11 -Wall -Wextra -Werror -O2 -fPIC -ffunction-sections \
            -I"$root/Sources/$target/include" -c "$file" -o "$(basename "$file" .c).o"
    done
done

module() { # NAME FLAGS...
    local name=$1 sources
    shift
    mapfile -t sources < <(find "$root/Sources/$name" -name '*.swift' | sort)
    "$swiftc" -target aarch64-none-none-elf -enable-experimental-feature Embedded -wmo -O -swift-version 6 \
        -parse-as-library -package-name gradclip -module-name "$name" -Xfrontend -function-sections "$@" \
        -module-cache-path "$work/modules" -I "$work" -Xcc "-fmodule-map-file=$work/module.modulemap" \
        -Xcc "-fmodule-map-file=$root/include/module.modulemap" \
        -emit-module -emit-module-path "$name.swiftmodule" -c "${sources[@]}" -o "$name.o"
}
module GradClipKernels -D GRADCLIP_HARDWARE_F16
module GradClip
module GradClipABI

"$root/packaging/exports.sh" map >exports.map
$cross-gcc -shared -o lib/libgradclip.so.1 ./*.o -Wl,-soname=libgradclip.so.1 -Wl,--version-script=exports.map \
    -Wl,--no-undefined -Wl,--gc-sections -Wl,-z,relro -Wl,-z,now -Wl,--no-as-needed -l:libpthread.so.0 -Wl,--as-needed
ln -sf libgradclip.so.1 lib/libgradclip.so
vector=$($cross-objdump -d lib/libgradclip.so | grep -cE '\bf(add|sub|mul|mla)\s+v[0-9]+\.(2d|4s)') || true
[ "$vector" -gt 100 ] || fail "only $vector instructions of vector arithmetic: this is not NEON"

# ------------------------------------------------------------------ its tests
compile() { # NAME SOURCES FLAGS...
    local name=$1 sources=$2
    shift 2
    # shellcheck disable=SC2086
    (cd "$tests" && $cross-gcc -std=c11 -Wall -Wextra -Werror -O1 -I"$root/include" "$@" -o "$work/$name" $sources \
        -L"$work/lib" -Wl,-rpath,"$work/lib" -lgradclip -lpthread -lm)
}

core=cortex-a53 # ARMv8.0: no atomics of 8.1, no arithmetic of float16
emulate() { qemu-aarch64 -L $system -cpu "$core" "$@"; }
failures=0
run() { emulate "$@" || { echo "FAILED on $core: $*" >&2; failures=$((failures + 1)); }; }

compile conformance conformance.c
isa=$(emulate ./conformance --isa)
[ "$isa" = neon ] || fail "the library runs $isa, not neon"
"${CC:-gcc}" -std=c11 -Wall -Wextra -Werror -O1 -I"$root/include" -o conformance-here "$tests/conformance.c" \
    -L"$build/lib" -Wl,-rpath,"$build/lib" -lgradclip -lm
[ "$(GRADCLIP_ISA=baseline ./conformance-here --isa)" = baseline ] || fail "$build/lib has no baseline kernels to compare with"
GRADCLIP_ISA=baseline ./conformance-here >baseline.txt
emulate ./conformance >neon.txt || fail "conformance: the calls failed"
if ! cmp -s baseline.txt neon.txt; then
    echo "not the bits of the baseline kernels:" >&2
    diff baseline.txt neon.txt | head -6 >&2 || true
    failures=$((failures + 1))
fi

for test in article semantics arguments structs memory threads fpenv accumulator_cuts accumulator_states "${slow[@]}"; do
    compile "$test" "$test.c"
    run "./$test"
done
# -Ofast links start-up code that flushes denormals to zero in the process.
compile fpenv-ofast fpenv.c -Ofast
run ./fpenv-ofast
# The newest core of qemu has float16 arithmetic, and so FZ16 to set.
core=max
run ./fpenv
core=cortex-a53

awk -v every="$every" '/^t / { if (keep) print; next } /^#/ { print; next } { keep = ++n % every == 0 } keep' \
    "$root/Tests/golden/golden.txt" >golden.txt
for test in golden golden_accumulator golden_inspect; do
    compile "$test" "$test.c golden_file.c" -O2
    run "./$test" golden.txt
done

[ $failures = 0 ] || fail "$failures failures"
echo "ok: NEON under qemu: C tests, golden values, $(wc -l <neon.txt) lines of results as the x86-64 baseline gives them"
