#!/bin/sh
# bindings/go/tests/run.sh INCLUDE LIBDIR: the package's tests, with cgo's checks of
# every pointer, and the program in README.md; against the header in INCLUDE and the
# library in LIBDIR. GO chooses the go command.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
include=$(cd "${1:?usage: run.sh INCLUDE LIBDIR}" && pwd)
libdir=$(cd "${2:?usage: run.sh INCLUDE LIBDIR}" && pwd)
go=${GO:-go}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# (Quoted: go splits these at spaces.)
export CGO_CFLAGS="\"-I$include\"" CGO_LDFLAGS="\"-L$libdir\" \"-Wl,-rpath,$libdir\""
# Nothing is fetched: the module depends on nothing.
export GOFLAGS=-mod=mod GOPROXY=off

echo "Go tests on $("$go" version)"
cd "$here"
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "not as gofmt has it: $unformatted" >&2; exit 1; }
"$go" vet ./...
GODEBUG=cgocheck=2 "$go" test -count=1 ./...

# README.md's program in a module of its own, as a user would have it.
block() { sed -n '/^```'"$1"'$/,/^```$/{/^```/d;p;}' README.md; }
mkdir "$work/trainer"
block go >"$work/trainer/main.go"
block text >"$work/expected"
cd "$work/trainer"
"$go" mod init trainer 2>/dev/null
"$go" mod edit -require gradclip@v1.0.0 -replace "gradclip=$here"
GODEBUG=cgocheck=2 "$go" run . >"$work/got"
# A copy of something that owns a handle is a mistake that go vet finds.
mkdir "$work/trainer/copies"
for kind in Accumulator Chooser Monitor; do
    printf 'package main\n\nimport "gradclip"\n\nfunc main() { a := new(gradclip.%s); b := *a; _ = &b }\n' "$kind" >copies/main.go
    if "$go" vet ./copies 2>"$work/vet"; then echo "go vet finds no copy of a $kind" >&2; exit 1; fi
    grep -q "copies lock value" "$work/vet" || { cat "$work/vet" >&2; exit 1; }
done
diff "$work/expected" "$work/got" || { echo "README.md's program prints something else" >&2; exit 1; }
[ -s "$work/expected" ]
echo "README.md's program prints what the page says"
