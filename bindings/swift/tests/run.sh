#!/usr/bin/env bash
# bindings/swift/tests/run.sh BUILD_DIR: the package of ../README.md, which depends on
# GradClip by version, builds from a repository with a tag and prints what the page says.
# So does the program that calls the C functions of the library in BUILD_DIR/lib.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
mkdir -p "${1:?usage: run.sh BUILD_DIR}"
build=$(cd "$1" && pwd)
work=$(mktemp -d) # what stands in Package.swift is a URL, which has no spaces
trap 'rm -rf "$work"' EXIT
version=$(sed -n 's/^#define GRADCLIP_VERSION_STRING "\(.*\)"/\1/p' "$root/include/gradclip.h")
mkdir -p "$work/gradclip" "$work/trainer/Sources/trainer"

# What a tag of this tree would hold: the files that git keeps, as they are now.
(cd "$root" && git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    [ ! -e "$file" ] && [ ! -L "$file" ] || printf '%s\0' "$file"
done | tar --null -T - -cf -) | tar -C "$work/gradclip" -xf -
cd "$work/gradclip"
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=test GIT_AUTHOR_EMAIL=test@example.org
export GIT_COMMITTER_NAME=test GIT_COMMITTER_EMAIL=test@example.org
git init -q && git add -A && git commit -q -m "test" && git tag "$version"

# block NUMBER LANGUAGE: that block of the page.
block() { awk -v n="$1" -v fence="\`\`\`$2" '$0 == fence && ++seen == n { on = 1; next } /^```/ { on = 0 } on' "$here/../README.md"; }
cd "$work/trainer"
block 1 swift | sed "s|https://example.org/gradclip.git|file://$work/gradclip|" >Package.swift
block 2 swift >Sources/trainer/main.swift
block 1 text >expected
grep -q "file://.*from: \"1\.0\.0\"" Package.swift || { echo "FAILED: README.md's package does not depend by version" >&2; exit 1; }
swift build --cache-path "$work/cache" >build.log 2>&1 || { cat build.log >&2; echo "FAILED: the package does not build" >&2; exit 1; }
grep -q "\"version\" : \"$version\"" Package.resolved || { cat Package.resolved >&2; echo "FAILED: another version was taken" >&2; exit 1; }
.build/debug/trainer >printed
diff expected printed >&2 || { echo "FAILED: it prints something else (>)" >&2; exit 1; }
# The front page's program, and what it says behind print().
front=$root/README.md
sed -n '/^```swift$/,/^```$/{/^```/d;p;}' "$front" >Sources/trainer/main.swift
swift build --cache-path "$work/cache" >build.log 2>&1 || { cat build.log >&2; echo "FAILED: the front page's program does not build" >&2; exit 1; }
sed -n 's|^print(.*)  // ||p' Sources/trainer/main.swift >expected
.build/debug/trainer >printed
[ -s expected ] && diff expected printed >&2 || { echo "FAILED: the front page's program prints something else (>)" >&2; exit 1; }
mkdir "$work/c" "$work/c/cgradclip"
cd "$work/c"
block 1 modulemap | sed "s|/usr/local/include|$(echo "$root" | sed 's/[&|\\]/\\&/g')/include|" >cgradclip/module.modulemap
block 3 swift >program.swift
swiftc -I cgradclip program.swift -L "$build/lib" -Xlinker -rpath -Xlinker "$build/lib" -o program
./program >printed
sed -n 's|^print(gradients)  // ||p' program.swift >expected
[ -s expected ] && diff expected printed >&2 || { echo "FAILED: the program that calls C prints something else (>)" >&2; exit 1; }
echo "ok: a package that depends on gradclip from 1.0.0 builds, took $version, and prints what its page says"
