#!/bin/sh
# The header compiles alone, warnings as errors, as C99, C11 and C++17; a C++ program links
# with the C names; and the programs in its comments compile as all of these.
. "$(dirname "$0")/common.sh"

printf '#include <gradclip.h>\n' >"$work/alone.c"
printf '#include <gradclip.h>\n#include <gradclip.h>\nint main(void) { return gradclip_version() != GRADCLIP_VERSION; }\n' >"$work/program.c"
cp "$work/alone.c" "$work/alone.cpp"
python3 "$(dirname "$0")/header_examples.py" "$root/include/gradclip.h" >"$work/examples.c" || fail "its programs cannot be found"
cp "$work/examples.c" "$work/examples.cpp"
cp "$work/program.c" "$work/program.cpp"
strict="-Wall -Wextra -pedantic -Werror -Wshadow -Wundef"
CPATH=$root/include
export CPATH
done=""
for pair in gcc:c99 gcc:c11 clang:c99 clang:c11 g++:c++17 clang++:c++17; do
    compiler=${pair%%:*} standard=${pair#*:}
    command -v "$compiler" >/dev/null || fail "$compiler is missing"
    case $standard in c++*) suffix=cpp extra=-Wold-style-cast ;; *) suffix=c extra=-Wstrict-prototypes ;; esac
    # shellcheck disable=SC2086
    "$compiler" -std="$standard" $strict $extra -c -o "$work/alone.o" "$work/alone.$suffix" || fail "$compiler -std=$standard"
    "$compiler" -std="$standard" -Wall -Wextra -Werror -fsyntax-only "$work/examples.$suffix" || fail "a program in the header, $compiler -std=$standard"
    # A Swift toolchain's clang++ may lack the C++ library that linking needs; gcc's links both.
    # shellcheck disable=SC2086
    "$compiler" -std="$standard" $strict -c -o "$work/program.o" "$work/program.$suffix" || fail "$compiler -std=$standard"
    gcc -o "$work/program" "$work/program.o" -L"$build/lib" -Wl,-rpath,"$build/lib" -lgradclip || fail "linking for $compiler -std=$standard"
    "$work/program" || fail "the program of $compiler -std=$standard finds another version"
    done="$done $compiler/$standard"
done
ok "the header compiles without a warning, alone, and so do its programs, as$done"
