#!/bin/sh
# Tests/gates/reproducible.sh BUILD_DIR: the library that `make` left there, and one built
# from the same files in another folder, are the same bytes. That folder's name has spaces, quotes
# and more, and other targets work there, too. (Not among the gates that run.sh runs: it takes as
# long as a build.)
. "$(dirname "$0")/common.sh"

other=$(mktemp -d "${TMPDIR:-/tmp}/another-folder.XXXXXX")
trap 'rm -rf "$other"' EXIT
away="$other/a folder (ü)'s & more"
mkdir "$away"
cd "$root"
# What the repository holds, as it stands now, without anything that was built.
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then git ls-files -z --cached --others --exclude-standard; else find . -type d \( -name build -o -name '.build*' \) -prune -o \( -type f -o -type l \) -print0; fi |
    tar -c --null --no-recursion --ignore-failed-read -T - | tar -x -C "$away"
for target in lib static install test-cpp test-rust test-go; do
    make -C "$away" PREFIX="$away/the prefix" $target >"$work/build.log" 2>&1 || { tail -20 "$work/build.log" >&2; fail "the other folder's make $target failed"; }
done

# The linker's hash is of debug information too, which names folders and is not shipped.
for folder in "$build" "$away/build"; do
    strip -R .note.gnu.build-id -o "$work/one.so" "$folder/lib/libgradclip.so"
    if strings -a "$work/one.so" | grep -F -e "$root" -e "$other" >&2; then fail "a folder's name is in the library"; fi
    [ "$folder" = "$build" ] && cp "$work/one.so" "$work/here.so"
done
cmp "$work/here.so" "$work/one.so" >&2 || fail "two builds of the same files differ"
cmp -s "$build/lib/libgradclip.so" "$away/build/lib/libgradclip.so" && as_is=", and as they are" || as_is=
ok "two builds in different folders are the same $(wc -c <"$work/one.so") bytes, without the build id$as_is"
