#!/bin/sh
# `make install` puts the files where it says, and `make uninstall` removes exactly
# those, under DESTDIR and in folders of the caller's choice.
. "$(dirname "$0")/common.sh"

# listing FOLDER: every file and link in it, with what it holds.
listing() { (cd "$1" && find . ! -type d | sort | while read -r f; do printf '%s %s\n' "$f" "$(readlink "$f" || cksum <"$f")"; done); }

stage="$work/a stage"
prefix="/opt/a prefix & more"
tree=$stage$prefix
# Neighbours with names close to ours.
for file in lib/libgradclip.so.0 lib/libgradclip_other.a lib/pkgconfig/other.pc include/gradclip_other.h share/man/man3/gradclip_other.3 \
    lib/cmake/gradclip/mine.cmake; do
    mkdir -p "$tree/$(dirname "$file")"
    echo mine >"$tree/$file"
done
listing "$stage" >"$work/before"
make_quietly install DESTDIR="$stage" PREFIX="$prefix"
listing "$stage" >"$work/installed"
for file in lib/libgradclip.so.$version lib/libgradclip.so.1 lib/libgradclip.so lib/libgradclip.a lib/pkgconfig/gradclip.pc \
    lib/cmake/gradclip/gradclipConfig.cmake lib/cmake/gradclip/gradclipConfigVersion.cmake include/gradclip.h \
    include/gradclip.hpp share/man/man3/gradclip.3 share/man/man3/gradclip_chooser_clip.3 share/man/man3/gradclip_scale.3 share/doc/gradclip/LICENSE; do
    [ -s "$tree/$file" ] || fail "$file was not installed"
done
[ "$(readlink "$tree/lib/libgradclip.so")" = libgradclip.so.1 ] || fail "libgradclip.so is no link to libgradclip.so.1"
[ "$(readlink "$tree/lib/libgradclip.so.1")" = "libgradclip.so.$version" ] || fail "libgradclip.so.1 is no link to the file"
cmp "$tree/lib/libgradclip.so.$version" "$build/lib/libgradclip.so.$version" || fail "another library was installed"
[ "$(stat -c %a "$tree/lib/libgradclip.so.$version")" = 755 ] || fail "the library is not executable by all"
for header in "$root"/include/*.h "$root"/include/*.hpp "$root"/include/gradclip/*.hpp; do
    cmp "$header" "$tree/include/${header#"$root"/include/}" || fail "$(basename "$header") is not installed"
done
# No path of the stage, of this tree or of the prefix is in any of them: it may be moved.
if grep -rlF -e "$work" -e "$root" -e "$prefix" "$tree"; then fail "these files name a folder of this machine"; fi
(umask 077 && make_quietly install DESTDIR="$stage" PREFIX="$prefix")
listing "$stage" | cmp - "$work/installed" || fail "installing again changes something"
if find "$tree" -newer "$work/installed" ! -type l ! -perm -o+r | grep .; then fail "others cannot read these files"; fi
make_quietly uninstall DESTDIR="$stage" PREFIX="$prefix"
listing "$stage" >"$work/after"
diff "$work/before" "$work/after" >&2 || fail "uninstall leaves (>) or takes (<) files"
for folder in include/gradclip share/doc; do [ ! -e "$tree/$folder" ] || fail "uninstall leaves $folder"; done
if find "$tree" -type d -empty | grep . >&2; then fail "uninstall leaves empty folders"; fi
[ -e "$tree/lib/cmake/gradclip/mine.cmake" ] || fail "uninstall takes a folder with a file of mine"

# Where nothing else is, nothing stays: of the prefix neither, but what lies above it.
mkdir "$work/above"
for into in "PREFIX=$work/above/prefix" "DESTDIR=$work/above PREFIX=/usr" "PREFIX=$work/above/prefix LIBDIR=$work/above/lib"; do
    # shellcheck disable=SC2086
    make_quietly install DESTDIR= $into
    # shellcheck disable=SC2086
    make_quietly uninstall DESTDIR= $into
    [ -d "$work/above" ] || fail "uninstall takes a folder that it did not make"
    if find "$work/above" -mindepth 1 | grep . >&2; then fail "uninstall of $into leaves these"; fi
done

# Debian's folders: everything finds everything else from there, too.
triplet=$(gcc -print-multiarch)
make_quietly install PREFIX="$work/usr" LIBDIR="$work/usr/lib/$triplet" INCLUDEDIR="$work/usr/include/gradclip-1"
# shellcheck disable=SC2046
gcc -o "$work/program" "$here/program.c" $(PKG_CONFIG_PATH="$work/usr/lib/$triplet/pkgconfig" pkg-config --cflags --libs gradclip) \
    -Wl,-rpath,"$work/usr/lib/$triplet" || fail "pkg-config finds nothing in lib/$triplet"
must "LIBDIR=lib/$triplet" "$work/program"
must "CMake in lib/$triplet" cmake -S "$here/cmake" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$work/usr" -DCMAKE_BUILD_TYPE=Release
if make -C "$root" BUILD="$BUILD" install PREFIX=relative >"$work/relative" 2>&1; then fail "a relative PREFIX was accepted"; fi
grep -q 'PREFIX must be an absolute path (got relative)' "$work/relative" || fail "a relative PREFIX is not named: $(cat "$work/relative")"
ok "install and uninstall: $(diff "$work/before" "$work/installed" | grep -c '^>') files there, none of them left, none of others taken"
