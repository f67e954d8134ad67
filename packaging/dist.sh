#!/bin/sh
# dist.sh: called by `make dist`, which sets BUILD and VERSION: BUILD/archive/
# gradclip-VERSION-linux-MACHINE.tar.gz, everything a program needs that does not want
# to build the library. The same tree gives the same bytes.
set -eu
export LC_ALL=C
root=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$BUILD" && pwd)
name=gradclip-$VERSION-linux-$(uname -m)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022

DESTDIR=$work PREFIX=/$name LIBDIR=/$name/lib INCLUDEDIR=/$name/include DATADIR=/$name/share \
    BUILD=$build "$root/packaging/install.sh" install
sed "s/@VERSION@/$VERSION/g" "$root/packaging/README.md.in" >"$work/$name/README.md"
for file in LICENSE CHANGELOG.md; do install -m 644 "$root/$file" "$work/$name/$file"; done
set -- "$build/dist/gradclip-$VERSION"-*.whl
[ $# = 1 ] && [ -f "$1" ] || { echo "dist.sh: not one wheel of this version in $build/dist: $*" >&2; exit 1; }
install -d "$work/$name/python"
install -m 644 "$1" "$work/$name/python/"

# Everything is as old as the last commit, or as the header without git.
epoch=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date -r "$root/include/gradclip.h" +%s)}
mkdir -p "$build/archive"
tar --create --format=ustar --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --mode=u+w,go-w \
    --directory="$work" "$name" | gzip -9 -n >"$build/archive/$name.tar.gz"
(cd "$build/archive" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
echo "$build/archive/$name.tar.gz: $(wc -c <"$build/archive/$name.tar.gz") bytes"
