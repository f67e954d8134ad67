#!/bin/sh
# Tests/sanitize/thread.sh: no data race. The library, Embedded, and the C tests that call
# from several threads are built with ThreadSanitizer and run; a race is an error.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/build/tsan
scratch=$root/.build-tsan
mkdir -p "$build"
cd "$root"
# Swift's clang has the runtime of Swift's sanitizers, which need its libdispatch.
toolchain=$(dirname "$(dirname "$(readlink -f "$(command -v swift)")")")
clang=$toolchain/bin/clang
runtime=$toolchain/lib/swift/linux

swift build --configuration release --traits Embedded --scratch-path "$scratch" --product gradclip --sanitize thread \
    --disable-local-rpath -Xswiftc -no-toolchain-stdlib-rpath -Xswiftc -wmo \
    -Xlinker --version-script="$root/exports.map" -Xlinker -l:libpthread.so.0 \
    >"$build/swift.log" 2>&1 || { cat "$build/swift.log" >&2; exit 1; }
library=$scratch/release

run() { # NAME ARGUMENTS...
    name=$1
    shift
    "$clang" -std=c11 -O1 -g -Wall -Wextra -Werror -fsanitize=thread -I"$root/include" -I"$root/Tests/c" -o "$build/$name" \
        "$root/Tests/c/$name.c" -L"$library" -Wl,-rpath,"$library" -lgradclip -L"$runtime" -Wl,-rpath,"$runtime" \
        -ldispatch -lBlocksRuntime -lstdc++ -lpthread -lm
    TSAN_OPTIONS="exitcode=66 halt_on_error=0" timeout 900 "$build/$name" "$@" >"$build/$name.log" 2>&1 || { head -80 "$build/$name.log" >&2; echo "ThreadSanitizer: $name FAILED" >&2; exit 1; }
    tail -1 "$build/$name.log"
}

LIFE_SECONDS=${LIFE_SECONDS:-10}
export LIFE_SECONDS
run threads
run life threads
echo "ok: ThreadSanitizer found no race in threads.c and life.c"
