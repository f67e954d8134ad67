#!/bin/bash
# count.sh BUILD_DIR [v3|neon]: instructions an element, of whole calls, as an emulator counts them: what a call over 12 blocks takes
# beyond one over 4, divided by the elements of 8. x86-64-v3 from BUILD_DIR/lib, and arm64 from what
# Tests/emulate/aarch64.sh leaves in BUILD_DIR/tests/aarch64, where that was run.
# Debian packages: qemu-user; for arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross.
set -euo pipefail
build=$(cd "${1:?usage: count.sh BUILD_DIR [v3|neon]}" && pwd)
only=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
work=$build/bench/instructions
mkdir -p "$work"

instructions() { # COMMAND...: one line of the log is one instruction
    local single=-singlestep
    "$1" -help | grep -q one-insn-per-tb && single=-one-insn-per-tb
    "$1" "$single" -d exec,nochain -D /dev/stdout "${@:2}" | grep -c '^Trace'
}

levels=()
if [ "$only" != neon ] && [ "$(uname -m)" = x86_64 ]; then
    gcc -std=gnu11 -O1 -Wall -Wextra -I"$here/../../include" "$here/count.c" -o "$work/v3" -L"$build/lib" \
        -Wl,-rpath,"$build/lib" -lgradclip -lm
    levels+=(v3)
fi
if [ "$only" != v3 ] && [ -e "$build/tests/aarch64/lib/libgradclip.so" ]; then
    aarch64-linux-gnu-gcc -std=gnu11 -O1 -Wall -Wextra -I"$here/../../include" "$here/count.c" -o "$work/neon" \
        -L"$build/tests/aarch64/lib" -Wl,-rpath,"$build/tests/aarch64/lib" -lgradclip -lm
    levels+=(neon)
fi
run() { # LEVEL KIND BLOCKS
    case $1 in
    v3) GRADCLIP_ISA=x86-64-v3 instructions qemu-x86_64 -cpu max "$work/v3" "$2" "$3" ;;
    neon) instructions qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu cortex-a53 "$work/neon" "$2" "$3" ;;
    esac
}

echo "| loop | ${levels[*]/%/ |}"
echo "|---|${levels[*]/*/---|}" | tr -d ' '
kind=0
"$work/${levels[0]}" | while read -r name; do
    line="| $name |"
    for level in "${levels[@]}"; do
        few=$(run "$level" $kind 4)
        many=$(run "$level" $kind 12)
        line+=" $(awk -v n=$((many - few)) 'BEGIN { printf "%.2f", n / (8 * 4096) }') |"
    done
    echo "$line"
    kind=$((kind + 1))
done
