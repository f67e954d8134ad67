#!/bin/sh
# Tests/fuzz/run.sh [SECONDS]: libFuzzer with AddressSanitizer over the C functions, two targets
# at a time (JOBS). The library is built with both; what a run finds stays in build/fuzz, and
# Tests/fuzz/corpus holds the inputs to start from. TARGETS names some of them.
#
# Without SECONDS it is a gate: the corpus and RUNS executions (20000) from a fixed seed, on the baseline's kernels,
# which every machine has. The same commit has the same outcome everywhere, however fast the machine is. With
# SECONDS it looks for something new, so long each, with the kernels of this machine and another seed each time, and goes
# on where the last run ended. Both print how many executions there were.
set -eu
seconds=${1:-}
runs=${RUNS:-20000}
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
for function in $("$root/packaging/exports.sh"); do
    echo "$called" | grep -qx "$function" || { echo "no fuzz target calls $function" >&2; exit 1; }
done

if [ -z "$seconds" ]; then
    GRADCLIP_ISA=baseline GRADCLIP_NUM_THREADS=2
    export GRADCLIP_ISA GRADCLIP_NUM_THREADS
    limits="-seed=1 -runs=$runs -timeout=1200" # (A time-out is for hangs: no input takes a second.)
else
    limits="-seed=${SEED:-0} -max_total_time=$seconds -timeout=20"
fi

fuzz() { # TARGET
    mkdir -p "$here/corpus/$1"
    # A gate keeps nothing: what an earlier run found would change what this one tries.
    found=$build/found-$1
    if [ -z "$seconds" ]; then
        found=$build/gate-$1
        rm -rf "$found"
    fi
    mkdir -p "$found"
    # Threads that take turns by chance steer the search by chance: of them the corpus alone is a gate.
    case $seconds$1 in ranks) limits="-seed=1 -runs=0 -timeout=1200" ;; esac
    # shellcheck disable=SC2086
    if ! "$build/$1" $limits -max_len=2048 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/$1-" "$found" "$here/corpus/$1" >"$build/$1.log" 2>&1; then
        tail -60 "$build/$1.log" >&2
        echo "fuzzing $1: FAILED; the input is in $build" >&2
        return 1
    fi
    echo "ok: fuzzing $1${seconds:+ for $seconds s}: $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$1.log") executions, nothing found"
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
