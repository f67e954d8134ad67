#!/bin/sh
# make-static.sh LIST ARCHIVE: libgradclip.a from the objects that LIST names (what the linker was
# given for libgradclip.so), with the header's functions as its only global symbols. BINUTILS is a
# prefix of their names, for another processor.
#
# Objects of Embedded Swift carry weak copies of the Swift runtime (swift_retain ...).
# In an archive of plain objects those would take the place of the real ones in a
# Swift program. So everything becomes one object, and all but the C functions local.
set -eu
list=${1:?usage: make-static.sh LIST ARCHIVE} archive=${2:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$(dirname "$0")/exports.sh" >"$work/functions"
# (SwiftPM quotes what has a space or a quote in it, as ld understands it.)
# Of weak copies the first wins: not one that was compiled for a newer processor.
{ grep -v '/GradClipKernelsX86' "$list"; grep '/GradClipKernelsX86' "$list" || :; } | sed "/^'/!s/.*/\"&\"/" >"$work/objects"
sed 's/^/--undefined=/' "$work/functions" >"$work/roots"
"${BINUTILS:-}ld" -r --force-group-allocation --gc-sections -o "$work/whole.o" "@$work/roots" "@$work/objects"
# threads.c asks for the oldest version of some functions of libc; a static libc has
# no versions, and the host's own libc is the right one here.
"${BINUTILS:-}nm" --undefined-only --no-demangle --format=just-symbols "$work/whole.o" | sed -n 's/^\([^@]*\)@.*/& \1/p' >"$work/versions"
"${BINUTILS:-}objcopy" --redefine-syms="$work/versions" --keep-global-symbols="$work/functions" --strip-debug \
    -R .swift_modhash -R .swift1_autolink_entries -R .comment -R .llvm_addrsig -R .linker-options "$work/whole.o" "$work/gradclip.o"
rm -f "$archive"
"${BINUTILS:-}ar" rcsD "$archive" "$work/gradclip.o"
