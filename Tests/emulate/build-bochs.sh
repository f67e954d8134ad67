#!/bin/bash
# Build Bochs 3.0 from the source of Debian 13, into build/emulate/bochs, where
# avx512.sh looks first. Takes two to three minutes of one core. What for:
#
# - Bochs 2.7, which Debian 12 packages, rounds ties of float32 to float16
#   (VCVTPS2PH) away from zero instead of to even;
# - Debian's packages have the debugger compiled in and run three times slower.
#
# Debian packages: g++ make. The source comes from the mirror that apt uses,
# through package lists of its own: apt's configuration stays as it is.
set -euo pipefail

fail() { echo "build-bochs.sh: $*" >&2; exit 1; }

out=$(cd "$(dirname "$0")/../.." && pwd)/build/emulate
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e $keyring ] || fail "$keyring is missing; on Debian: apt-get install debian-archive-keyring"
for tool in g++ make; do type -P $tool >/dev/null || fail "$tool is missing; on Debian: apt-get install g++ make"; done
# shellcheck disable=SC2016  # apt-get expands it
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' 'Label: Debian' | sed -n 1p)
[ -n "$mirror" ] || fail "apt knows no Debian mirror"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir lists
echo "deb-src [signed-by=$keyring] $mirror trixie main" >source.list
options=(-qq -o Dir::Etc::SourceList="$work/source.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::Lists="$work/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
apt-get "${options[@]}" update || fail "cannot read the package lists of $mirror"
apt-get "${options[@]}" source --download-only --tar-only bochs || fail "cannot fetch the source"
tar xf bochs_*.orig.tar.*
cd bochs-*/
{
    CXXFLAGS=-O2 ./configure --enable-x86-64 --enable-cpu-level=6 --enable-avx --enable-evex \
        --enable-all-optimizations --with-nogui --disable-docbook
    make
} >"$work/log" 2>&1 || fail "does not build: $(tail -n 20 "$work/log")"
mkdir -p "$out"
install bochs "$out/bochs.$$"
mv "$out/bochs.$$" "$out/bochs"
echo "built $out/bochs"
