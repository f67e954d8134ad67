#!/bin/sh
# install.sh install|uninstall: called by `make install`, which sets BUILD, VERSION,
# DESTDIR, PREFIX, LIBDIR, INCLUDEDIR and DATADIR. One list of files serves both.
set -eu
action=${1:?usage: install.sh install|uninstall}
root=$(cd "$(dirname "$0")/.." && pwd)
major=${VERSION%%.*}
file=libgradclip.so.$VERSION
soname=libgradclip.so.$major
for name in PREFIX LIBDIR INCLUDEDIR DATADIR; do
    eval "value=\$$name"
    case $value in
    /*) ;;
    *) echo "$name must be an absolute path (got $value)" >&2; exit 2 ;;
    esac
done

# put MODE SOURCE FILE and link TARGET FILE: install FILE, or remove it.
# own FOLDER: remove the folder too, if nothing of others is in it.
case $action in
install)
    put() {
        install -d "$(dirname "$DESTDIR$3")"
        install -m "$1" "$2" "$DESTDIR$3"
    }
    link() { ln -sf "$1" "$DESTDIR$2"; }
    own() { :; }
    ;;
uninstall)
    put() { rm -f "$DESTDIR$3"; }
    link() { rm -f "$DESTDIR$2"; }
    own() { [ ! -d "$DESTDIR$1" ] || rmdir --ignore-fail-on-non-empty "$DESTDIR$1"; }
    ;;
*) echo "usage: install.sh install|uninstall" >&2; exit 2 ;;
esac

# The path of $1 as seen from the folder $2.
from() { realpath -m --relative-to="$2" "$1"; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
quoted() { sed 's/[&|\\]/\\&/g'; }
# fill TEMPLATE FOLDER BASE: packaging/TEMPLATE.in as it reads in FOLDER, with the
# folders for headers and libraries as seen from BASE.
fill() {
    sed -e "s|@PREFIX@|$(from "$PREFIX" "$2" | quoted)|" -e "s|@INCLUDEDIR@|$(from "$INCLUDEDIR" "$3" | quoted)|" \
        -e "s|@LIBDIR@|$(from "$LIBDIR" "$3" | quoted)|" \
        -e "s|@VERSION@|$VERSION|g" -e "s|@MAJOR@|$major|g" -e "s|@FILE@|$file|g" -e "s|@SONAME@|$soname|g" \
        "$root/packaging/$1.in" >"$work/$1"
    put 644 "$work/$1" "$2/$1"
}

put 755 "$BUILD/lib/$file" "$LIBDIR/$file"
link "$file" "$LIBDIR/$soname"
link "$soname" "$LIBDIR/libgradclip.so"
put 644 "$BUILD/lib/libgradclip.a" "$LIBDIR/libgradclip.a"
for header in "$root"/include/*.h "$root"/include/*.hpp "$root"/include/gradclip/*.hpp; do
    put 644 "$header" "$INCLUDEDIR/${header#"$root"/include/}"
done
own "$INCLUDEDIR/gradclip"
fill gradclip.pc "$LIBDIR/pkgconfig" "$PREFIX"
cmake=$LIBDIR/cmake/gradclip
fill gradclipConfig.cmake "$cmake" "$cmake"
fill gradclipConfigVersion.cmake "$cmake" "$cmake"
own "$cmake"
# The manual pages: the whole header, and each function under its name.
sed -n 's/^ *\(gradclip_[a-z0-9_]*\);.*/\1/p' "$root/exports.map" >"$work/pages"
echo gradclip >>"$work/pages"
while read -r page; do put 644 "$BUILD/man/$page.3" "$DATADIR/man/man3/$page.3"; done <"$work/pages"
put 644 "$root/LICENSE" "$DATADIR/doc/gradclip/LICENSE"
own "$DATADIR/doc/gradclip"
