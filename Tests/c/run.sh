#!/bin/bash
# Tests/c/run.sh BUILD_DIR [TEST...]: compile and run every C test against the library in
# BUILD_DIR/lib; then again under valgrind where that says something more. With names (choosers
# for choosers.c) only those, as they are.
# CC chooses the compiler (default gcc), CFLAGS adds to its flags; VALGRIND=0 leaves valgrind out, RELOAD=0 the test that
# loads the library 1000 times (a library with counters in it grows).
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?usage: run.sh BUILD_DIR}" && pwd) || exit 2
out=$build/tests
golden=$here/../golden/golden.txt
cc=${CC:-gcc}
# shellcheck disable=SC2206
flags=(-std=c11 -Wall -Wextra -Werror -g -O1 "-I$here/../../include" ${CFLAGS:-})
link=("-L$build/lib" "-Wl,-rpath,$build/lib" -lgradclip -lpthread -lm)
mkdir -p "$out"
passed=0 failed=0

compile() { # NAME SOURCES FLAGS...
    name=$1 sources=$2
    shift 2
    # shellcheck disable=SC2086
    (cd "$here" && "$cc" "${flags[@]}" "$@" -o "$out/$name" $sources "${link[@]}") && return
    echo "$name does not compile" >&2
    return 1
}

run() { # COMMAND...
    if "$@"; then passed=$((passed + 1)); else
        echo "FAILED: $*" >&2
        failed=$((failed + 1))
    fi
}

if [ $# -gt 1 ]; then
    shift
    for test in "$@"; do
        if compile "$test" "$test.c"; then run "$out/$test"; else failed=$((failed + 1)); fi
    done
    echo "C tests: $passed passed, $failed failed"
    [ "$failed" = 0 ]
    exit
fi

for test in semantics deferred arguments structs memory threads fpenv traps accumulator_cuts accumulator_states accumulator_words inspect_lengths sizes parts units per_example dlpack overlap choosers chooser_states chooser_clips chooser_tensors differences inspect_threads monitor limits no_memory life cancel fork; do
    if compile "$test" "$test.c"; then run "$out/$test"; else failed=$((failed + 1)); fi
done
# traps.c calls all that leaves the library.
for function in $("$here/../../packaging/exports.sh"); do
    nm -D --undefined-only "$out/traps" | grep -qw "$function" && continue
    echo "FAILED: traps.c does not call $function" >&2
    failed=$((failed + 1))
done
# Not linked with the library, which it opens.
if [ "${RELOAD:-1}" = 1 ]; then
    if compile reload "reload.c -ldl" -Wl,--as-needed; then run "$out/reload" "$build/lib/libgradclip.so"; else failed=$((failed + 1)); fi
fi
# Forks once more from the archive, and from a plugin with either of the two in it.
static=$build/lib/libgradclip.a
if [ -e "$static" ]; then
    if (cd "$here" && "$cc" "${flags[@]}" -o "$out/fork-static" fork.c "$static" -lpthread -lm); then run "$out/fork-static"; else failed=$((failed + 1)); fi
    if compile fork_plugin "fork_plugin.c -ldl" -Wl,--as-needed; then
        plugin() { # LIBRARY...
            if (cd "$here" && "$cc" "${flags[@]}" -Dmain=plugin_main -fPIC -shared -o "$out/plugin.so" fork.c "$@"); then
                run "$out/fork_plugin" "$out/plugin.so"
            else failed=$((failed + 1)); fi
        }
        plugin "$static" -lpthread -lm
        plugin "${link[@]}"
    else failed=$((failed + 1)); fi
else
    echo "$static is missing: run make static" >&2
    failed=$((failed + 1))
fi
if compile cgroup cgroup.c; then run "$here/cgroup.sh" "$out/cgroup"; else failed=$((failed + 1)); fi
# A locale with a decimal comma of its own, since systems have few.
mkdir -p "$out/locale"
if [ -e "$out/locale/de_DE.UTF-8" ] || localedef -f UTF-8 -i de_DE "$out/locale/de_DE.UTF-8"; then
    if compile locale-test locale.c; then run env LOCPATH="$out/locale" "$out/locale-test"; else failed=$((failed + 1)); fi
else
    echo "the locale de_DE.UTF-8 cannot be made: Debian's package locales is needed" >&2
    failed=$((failed + 1))
fi
# -Ofast links start-up code that flushes denormals to zero in the process.
if compile fpenv-ofast fpenv.c -Ofast; then run "$out/fpenv-ofast"; else failed=$((failed + 1)); fi
if compile article article.c; then run "$out/article"; else failed=$((failed + 1)); fi
for test in golden golden_accumulator golden_inspect; do
    if compile "$test" "$test.c golden_file.c" -O2; then run "$out/$test" "$golden"; else failed=$((failed + 1)); fi
done
if compile golden_choosers golden_choosers.c -O2; then run "$out/golden_choosers" "$here/../golden/choosers.txt"; else failed=$((failed + 1)); fi

# Valgrind has a floating point environment of its own, so not fpenv, traps and per_example; its long double
# is a double, so not inspect_lengths. sizes would take minutes; no_memory has its own malloc, life
# and reload are for ThreadSanitizer and for what the system counts.
if [ "${VALGRIND:-1}" = 1 ]; then
    for test in semantics arguments structs memory threads parts units dlpack overlap accumulator_cuts accumulator_states accumulator_words chooser_states chooser_clips chooser_tensors differences monitor limits article; do
        run valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite,possible "$out/$test"
    done
    run valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite,possible "$out/choosers" short
    run valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite,possible "$out/golden_choosers" "$here/../golden/choosers.txt"
    # A part of the golden file: valgrind takes its time.
    awk '/^t / { if (keep) print; next } /^#/ { print; next } { keep = ++n % 16 == 0 } keep' "$golden" >"$out/golden-part.txt"
    for test in golden golden_accumulator golden_inspect; do
        run valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite,possible "$out/$test" "$out/golden-part.txt"
    done
fi

echo "C tests: $passed passed, $failed failed"
[ "$failed" = 0 ]
