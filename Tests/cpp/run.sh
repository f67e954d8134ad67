#!/bin/sh
# Tests/cpp/run.sh BUILD_DIR: gradclip.hpp with gcc and clang, as C++17 and C++20, with
# exceptions and without, warnings as errors; on the library in BUILD_DIR/lib.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "${1:?usage: run.sh BUILD_DIR}" && pwd) || exit 2
out=$build/tests/cpp
strict="-Wall -Wextra -pedantic -Werror -Wshadow -Wconversion -Wold-style-cast -Wnon-virtual-dtor"
mkdir -p "$out"
passed=0 failed=0

# check COMMAND...: what it prints is shown if it fails.
check() {
    if "$@" >"$out/log" 2>&1; then passed=$((passed + 1)); else
        cat "$out/log" >&2
        echo "FAILED: $*" >&2
        failed=$((failed + 1))
        return 1
    fi
}

# compile COMPILER FLAGS... SOURCE OBJECT. (A Swift toolchain's clang++ may lack the
# C++ library that linking needs; gcc's links both.)
# shellcheck disable=SC2086
compile() { check "$@" $strict -O0 -I"$root/include" -I"$here" -c; }
link() { check g++ "$@" -L"$build/lib" -Wl,-rpath,"$build/lib" -lgradclip; }

for compiler in g++ clang++; do
    for standard in c++17 c++20; do
        for errors in -fexceptions -fno-exceptions; do
            for test in lists calls; do
                compile $compiler -std=$standard $errors "$here/$test.cpp" -o "$out/$test.o" &&
                    link "$out/$test.o" -o "$out/$test" && check "$out/$test"
            done
        done
        compile $compiler -std=$standard "$here/mixed_with.cpp" -o "$out/with.o" &&
            compile $compiler -std=$standard -fno-exceptions "$here/mixed_without.cpp" -o "$out/without.o" &&
            link "$out/with.o" "$out/without.o" -o "$out/mixed" && check "$out/mixed"
    done
done
# Without exceptions in this header alone.
compile g++ -std=c++17 -DGRADCLIP_NO_EXCEPTIONS "$here/calls.cpp" -o "$out/calls.o" && link "$out/calls.o" -o "$out/calls" &&
    check "$out/calls"
# Nothing is leaked or read where it should not be.
compile g++ -std=c++17 "$here/calls.cpp" -o "$out/calls.o" && link "$out/calls.o" -o "$out/calls" &&
    check valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite,possible "$out/calls"

# The programs of bindings/cpp/README.md, each followed by what it prints.
awk -v out="$out" '
    /^```cpp$/ { n++; to = out "/readme" n ".cpp"; next }
    /^```text$/ { to = out "/readme" n ".expected"; next }
    /^```/ { to = ""; next }
    to != "" { print >to }
    END { print n + 0 >(out "/readme.count") }' "$root/bindings/cpp/README.md"
count=$(cat "$out/readme.count")
check test "$count" -ge 2
for number in $(seq "$count"); do
    errors=-fexceptions
    grep -q 'if (!' "$out/readme$number.cpp" && errors=-fno-exceptions
    compile g++ -std=c++17 $errors "$out/readme$number.cpp" -o "$out/readme.o" && link "$out/readme.o" -o "$out/readme" &&
        "$out/readme" >"$out/readme.txt" && check diff "$out/readme$number.expected" "$out/readme.txt"
done

echo "C++ tests: $passed passed, $failed failed"
[ "$failed" = 0 ]
