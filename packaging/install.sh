#!/bin/sh
# install.sh install|uninstall: called by `make install` and for archives (archives.py), which set VERSION, DESTDIR,
# PREFIX, LIBDIR, INCLUDEDIR, DATADIR, and what was built: LIBRARY, STATIC (empty: none) and the folder MANUAL. SYSTEM is
# linux (the default), macos or windows. One list of files serves both.
set -eu
action=${1:?usage: install.sh install|uninstall}
root=$(cd "$(dirname "$0")/.." && pwd)
major=${VERSION%%.*}
# The file, where programs look for it (seen from LIBDIR), the names that lead to it, and what CMake is told of it.
case ${SYSTEM:=linux} in
linux) file=libgradclip.so.$VERSION folder= links="libgradclip.so.$major libgradclip.so" property="IMPORTED_SONAME \"libgradclip.so.$major\"" ;;
macos) file=libgradclip.$major.dylib folder= links=libgradclip.dylib property="IMPORTED_SONAME \"@rpath/$file\"" ;;
windows) file=gradclip.dll folder=../bin/ links= property='IMPORTED_IMPLIB "${_gradclip_lib}/gradclip.lib"' ;;
*) echo "SYSTEM must be linux, macos or windows (got $SYSTEM)" >&2; exit 2 ;;
esac
for name in PREFIX LIBDIR INCLUDEDIR DATADIR; do
    eval "value=\$$name"
    case $value in
    /*) ;;
    *) echo "$name must be an absolute path (got $value)" >&2; exit 2 ;;
    esac
done

# put MODE SOURCE FILE and link TARGET FILE: install FILE, or remove it.
# Folders that uninstall leaves empty go, too: up to PREFIX (or LIBDIR ...), or to DESTDIR.
case $action in
install)
    put() {
        install -d "$(dirname "$DESTDIR$3")"
        install -m "$1" "$2" "$DESTDIR$3"
    }
    link() { ln -sf "$1" "$DESTDIR$2"; }
    ;;
uninstall)
    put() { rm -f "$DESTDIR$3"; prune "$(dirname "$3")"; }
    link() { rm -f "$DESTDIR$2"; prune "$(dirname "$2")"; }
    prune() { # FOLDER
        case $1/ in "$PREFIX"/*) last=$PREFIX ;; "$LIBDIR"/*) last=$LIBDIR ;; "$INCLUDEDIR"/*) last=$INCLUDEDIR ;; *) last=$DATADIR ;; esac
        [ -z "$DESTDIR" ] || last=/
        while [ "$1" != / ] && { [ ! -d "$DESTDIR$1" ] || rmdir "$DESTDIR$1" 2>/dev/null; }; do
            [ "$1" != "$last" ] || break
            set -- "$(dirname "$1")"
        done
    }
    ;;
*) echo "usage: install.sh install|uninstall" >&2; exit 2 ;;
esac

# The path of $1 as seen from the folder $2. (realpath knows it on GNU's systems only.)
from() { "${PYTHON:-python3}" -c 'import os, sys; print(os.path.relpath(*sys.argv[1:]))' "$1" "$2"; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
quoted() { sed 's/[&|\\]/\\&/g'; }
# fill TEMPLATE FOLDER BASE: packaging/TEMPLATE.in as it reads in FOLDER, with the
# folders for headers and libraries as seen from BASE.
fill() {
    sed -e "s|@PREFIX@|$(from "$PREFIX" "$2" | quoted)|" -e "s|@INCLUDEDIR@|$(from "$INCLUDEDIR" "$3" | quoted)|" \
        -e "s|@LIBDIR@|$(from "$LIBDIR" "$3" | quoted)|" \
        -e "s|@VERSION@|$VERSION|g" -e "s|@MAJOR@|$major|g" -e "s|@FILE@|$folder$file|g" -e "s|@PROPERTY@|$property|g" \
        "$root/packaging/$1.in" >"$work/$1"
    put 644 "$work/$1" "$2/$1"
}

put 755 "$LIBRARY" "$LIBDIR/$folder$file"
linked=$file
for name in $links; do
    link "$linked" "$LIBDIR/$name"
    linked=$name
done
[ "$SYSTEM" != windows ] || put 644 "$(dirname "$LIBRARY")/gradclip.lib" "$LIBDIR/gradclip.lib"
[ -z "$STATIC" ] || put 644 "$STATIC" "$LIBDIR/libgradclip.a"
for header in "$root"/include/*.h "$root"/include/*.hpp "$root"/include/gradclip/*.hpp; do
    put 644 "$header" "$INCLUDEDIR/${header#"$root"/include/}"
done
fill gradclip.pc "$LIBDIR/pkgconfig" "$PREFIX"
cmake=$LIBDIR/cmake/gradclip
fill gradclipConfig.cmake "$cmake" "$cmake"
fill gradclipConfigVersion.cmake "$cmake" "$cmake"
# The manual pages: the whole header, and each function under its name.
"$root/packaging/exports.sh" >"$work/pages"
echo gradclip >>"$work/pages"
[ "$SYSTEM" = windows ] || while read -r page; do put 644 "$MANUAL/$page.3" "$DATADIR/man/man3/$page.3"; done <"$work/pages"
put 644 "$root/LICENSE" "$DATADIR/doc/gradclip/LICENSE"
