#!/bin/sh
# Tests/sanitize/thread.sh: no data race. The library, Embedded, and the C tests that call
# from several threads are built with ThreadSanitizer and run; a race is an error.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/build/tsan
mkdir -p "$build"
. "$here/../embedded.sh"
runtime=$toolchain/lib/swift/linux # libdispatch, which ThreadSanitizer's runtime needs

build_embedded tsan "$build/swift.log" --sanitize thread

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
run chooser_tensors
run inspect_threads
run life threads
echo "ok: ThreadSanitizer found no race in threads.c, chooser_tensors.c, inspect_threads.c and life.c"
