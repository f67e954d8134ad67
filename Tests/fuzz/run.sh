#!/bin/sh
# Tests/fuzz/run.sh [SECONDS]: libFuzzer with AddressSanitizer over the C functions, SECONDS
# each (60). The library is built with both; what a run finds stays in build/fuzz, and
# Tests/fuzz/corpus holds the inputs to start from.
#
# A long run, all day or for an hour: Tests/fuzz/run.sh 3600. It goes on where the last
# one ended, and prints how many executions there were.
set -eu
seconds=${1:-60}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/build/fuzz
scratch=$root/.build-fuzz
mkdir -p "$build"
cd "$root"
# Swift's clang has the runtime of Swift's sanitizers.
clang=${FUZZ_CLANG:-$(dirname "$(readlink -f "$(command -v swift)")")/clang}

swift build --configuration release --traits Embedded --scratch-path "$scratch" --product gradclip --sanitize address \
    --disable-local-rpath -Xswiftc -no-toolchain-stdlib-rpath -Xswiftc -wmo -Xswiftc -sanitize-coverage=edge,inline-8bit-counters,pc-table,trace-cmp \
    -Xlinker --version-script="$root/exports.map" -Xlinker -l:libpthread.so.0 \
    >"$build/swift.log" 2>&1 || { cat "$build/swift.log" >&2; exit 1; }
library=$scratch/release

for target in clip steps states; do
    extra=
    case $target in clip | steps) extra=$here/reference.c ;; esac
    # shellcheck disable=SC2086
    "$clang" -std=gnu11 -O1 -g -Wall -Wextra -Werror -fsanitize=fuzzer,address -I"$root/include" -I"$here" \
        -o "$build/$target" "$here/$target.c" $extra -L"$library" -Wl,-rpath,"$library" -lgradclip -lm
    mkdir -p "$build/found-$target" "$here/corpus/$target"
    if ! "$build/$target" -max_total_time="$seconds" -max_len=2048 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/$target-" "$build/found-$target" "$here/corpus/$target" >"$build/$target.log" 2>&1; then
        tail -60 "$build/$target.log" >&2
        echo "fuzzing $target: FAILED; the input is in $build" >&2
        exit 1
    fi
    echo "ok: fuzzing $target for $seconds s: $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$target.log") executions, nothing found"
done
