#!/bin/sh
# Tests/fuzz/run.sh [SECONDS]: libFuzzer with AddressSanitizer over the C functions, SECONDS
# each (60), two targets at a time (JOBS). The library is built with both; what a run finds stays
# in build/fuzz, and Tests/fuzz/corpus holds the inputs to start from. TARGETS names some of them.
#
# SEED makes the inputs the same in every run, which is what a gate should have: what it finds,
# it finds again. A long run is the same with more seconds (`make test-fuzz SECONDS=3600`). It goes on where
# the last one ended, and prints how many executions there were.
set -eu
seconds=${1:-60}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/build/fuzz
mkdir -p "$build"
. "$here/../embedded.sh"
clang=${FUZZ_CLANG:-$clang}
all=$(cd "$here" && grep -l LLVMFuzzerTestOneInput ./*.c | sed 's|^\./||; s|\.c$||')
targets=${TARGETS:-$all}

build_embedded fuzz "$build/swift.log" --sanitize address -Xswiftc -sanitize-coverage=edge,inline-8bit-counters,pc-table,trace-cmp

for target in $all; do
    "$clang" -std=gnu11 -O1 -g -Wall -Wextra -Werror -fsanitize=fuzzer,address -fuse-ld=lld -I"$root/include" -I"$here" -I"$here/threads_as_ranks" \
        -o "$build/$target" "$here/$target.c" "$here/reference.c" -L"$library" -Wl,-rpath,"$library" -lgradclip -lpthread -lm
done

# Every function that leaves the library is called by some target.
called=$(for target in $all; do "$toolchain/bin/llvm-nm" -D --undefined-only --just-symbol-name "$build/$target"; done | sed -n 's/^gradclip_/gradclip_/p' | sed 's/@.*//' | sort -u)
for function in $(sed -n 's/^ *\(gradclip_[a-z0-9_]*\);.*/\1/p' "$root/exports.map"); do
    echo "$called" | grep -qx "$function" || { echo "no fuzz target calls $function" >&2; exit 1; }
done

fuzz() { # TARGET
    mkdir -p "$build/found-$1" "$here/corpus/$1"
    if ! "$build/$1" -seed="${SEED:-0}" -max_total_time="$seconds" -max_len=2048 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/$1-" "$build/found-$1" "$here/corpus/$1" >"$build/$1.log" 2>&1; then
        tail -60 "$build/$1.log" >&2
        echo "fuzzing $1: FAILED; the input is in $build" >&2
        return 1
    fi
    echo "ok: fuzzing $1 for $seconds s: $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$1.log") executions, nothing found"
}

jobs=${JOBS:-2}
failed=0 running=
for target in $targets; do
    fuzz "$target" &
    running="$running $!"
    # shellcheck disable=SC2086
    set -- $running
    if [ $# -ge "$jobs" ]; then
        wait "$1" || failed=1
        shift
        running=$*
    fi
done
for pid in $running; do wait "$pid" || failed=1; done
executions=$(for target in $targets; do sed -n 's/^stat::number_of_executed_units: *//p' "$build/$target.log"; done | awk '{ sum += $1 } END { print sum }')
[ "$failed" = 0 ] && echo "ok: $executions executions in all"
