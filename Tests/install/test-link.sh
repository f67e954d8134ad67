#!/bin/sh
# From a prefix with spaces in its name that was moved after installing: plain
# -lgradclip, pkg-config and CMake, the shared and the static library, gcc and clang.
. "$(dirname "$0")/common.sh"

make_quietly install PREFIX="$work/first place"
mkdir "$work/moved here"
mv "$work/first place" "$work/moved here/the prefix"
prefix="$work/moved here/the prefix"
strict="-Wall -Wextra -pedantic -Werror"
done=""

# runs NAME PROGRAM KIND: the program works, and uses the shared library or does not.
runs() {
    must "$1" env LD_LIBRARY_PATH="$prefix/lib" "$2"
    readelf -dW "$2" | grep -q 'NEEDED.*libgradclip\.so\.1\]' && kind=shared || kind=static
    [ "$kind" = "$3" ] || fail "$1: the program is $kind, not $3"
    done="$done, $1"
}

for cc in gcc clang; do
    command -v "$cc" >/dev/null || fail "$cc is missing"
    for standard in c99 c11; do
        # shellcheck disable=SC2086
        must "$cc -lgradclip" "$cc" -std=$standard $strict -I"$prefix/include" "$here/program.c" -L"$prefix/lib" -lgradclip -o "$work/plain"
        runs "$cc -std=$standard -lgradclip" "$work/plain" shared
    done
    must "$cc libgradclip.a" "$cc" -I"$prefix/include" "$here/program.c" "$prefix/lib/libgradclip.a" -pthread -o "$work/plain-static"
    runs "$cc libgradclip.a" "$work/plain-static" static
    # pkg-config escapes the spaces, for eval.
    PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
    export PKG_CONFIG_PATH
    eval "must '$cc pkg-config' $cc \"\$here/program.c\" -o \"\$work/pkg\" $(pkg-config --cflags --libs gradclip)"
    runs "$cc pkg-config" "$work/pkg" shared
    eval "must '$cc pkg-config --static' $cc -static \"\$here/program.c\" -o \"\$work/pkg-static\" $(pkg-config --static --cflags --libs gradclip)"
    runs "$cc pkg-config --static" "$work/pkg-static" static
    unset PKG_CONFIG_PATH
done
[ "$(PKG_CONFIG_PATH="$prefix/lib/pkgconfig" pkg-config --modversion gradclip)" = "$version" ] || fail "gradclip.pc has another version"

# A Swift toolchain's clang++ may lack the C++ library that linking needs.
must "CMake configures" cmake -S "$here/cmake" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" -DWANTED=1.0
must "CMake builds" cmake --build "$work/cmake"
for program in c cpp; do
    # CMake puts the library's folder into the program: no LD_LIBRARY_PATH.
    must "CMake $program" "$work/cmake/$program-gradclip"
    runs "CMake $program gradclip::gradclip" "$work/cmake/$program-gradclip" shared
    runs "CMake $program gradclip::static" "$work/cmake/$program-static" static
done
# Versions: same major, not older; a range; exactly; none.
major=${version%%.*}
wanted() { cmake -S "$here/cmake" -B "$work/cmake-version" -DCMAKE_PREFIX_PATH="$prefix" -DWANTED="$1" >"$work/wanted.log" 2>&1; }
for good in "" "$major" "$version" "$version EXACT" "$major.0...$((major + 1))" "$version...$version" "$version...<$((major + 1))"; do
    wanted "$good" || { cat "$work/wanted.log" >&2; fail "find_package(gradclip $good) finds nothing"; }
done
for bad in "$major.99" "$((major + 1))" "0.9" "$version.1 EXACT" "0.5...<$version" "$((major + 1))...$((major + 2))"; do
    if wanted "$bad"; then fail "find_package(gradclip $bad) is satisfied by $version"; fi
    grep -qE 'compatible|exactly' "$work/wanted.log" || { cat "$work/wanted.log" >&2; fail "find_package(gradclip $bad) fails for another reason"; }
done
rm "$prefix/lib/libgradclip.so.$version"
if wanted ""; then fail "find_package is content without the library"; fi
# (CMake breaks lines.)
tr -s ' \n' ' ' <"$work/wanted.log" | grep -q "libgradclip.so.$version is missing" || { cat "$work/wanted.log" >&2; fail "a missing library is not named"; }
ok "linked from a moved prefix with spaces:${done#,}"
