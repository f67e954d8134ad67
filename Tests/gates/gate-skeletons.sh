#!/bin/sh
# `make skeletons`: after the header has two new functions, one on a list and one of a chooser, every binding has
# a place for them that compiles, and gate-bindings knows what is left.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "${1:?usage: gate-skeletons.sh BUILD_DIR}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$root" && tar -cf - --exclude=target --exclude=__pycache__ include packaging Sources/GradClip Sources/GradClipABI Tests/c Tests/gates docs/bindings.md \
    bindings/python/src bindings/rust bindings/go) | tar -C "$work" -xf -
cd "$work"
fail() {
    echo "gate-skeletons: $*" >&2
    exit 1
}
quietly() { "$@" >log 2>&1 || { cat log >&2; fail "$* fails"; }; }

# The two declarations, before what follows in the header.
awk '/^gradclip_status gradclip_chooser_export\(/ && !a { a = 1 } { print }
    /^gradclip_status gradclip_chooser_import\(.*;/ { print "\n/* Look back. A chooser made for the test. */"
        print "gradclip_status gradclip_chooser_look_back(gradclip_chooser *chooser, double total_norm, const double *loss,"
        print "                                           gradclip_decision *decision);" }
    /double quantile, double rate, double \*adapted\);/ { print "\n/* Clip for the test: a list, numbers, and more. */"
        print "gradclip_status gradclip_clip_for_test(const gradclip_tensor *grads, size_t count, double limit, uint32_t rule,"
        print "                                       const uint32_t *groups, const gradclip_options *options,"
        print "                                       gradclip_result *result);" }' include/gradclip.h >header
mv header include/gradclip.h
for function in chooser_look_back clip_for_test; do quietly python3 packaging/skeletons.py "gradclip_$function"; done

packaging/exports.sh map | grep -qx '        gradclip_clip_for_test;' || fail "the exports lack it"
grep -q 'pub fn gradclip_clip_for_test(grads: \*const gradclip_tensor, count: usize, limit: f64, rule: u32, groups: \*const u32, options: \*const gradclip_options, result: \*mut gradclip_result) -> gradclip_status;' \
    bindings/rust/src/raw.rs || fail "raw.rs has it otherwise: $(grep clip_for_test bindings/rust/src/raw.rs)"
grep -q '_ loss: UnsafePointer<Double>!' Sources/GradClipABI/*.swift || fail "the ABI has it otherwise"
# Each language's own checks of what was written.
for standard in -fexceptions -fno-exceptions; do
    printf '#include <gradclip.hpp>\n' | quietly g++ -std=c++17 $standard -Wall -Wextra -pedantic -Werror -fsyntax-only -Iinclude -x c++ -
done
for test in chooser_look_back clip_for_test; do quietly gcc -std=c11 -Wall -Wextra -Werror -fsyntax-only -Iinclude "Tests/c/$test.c"; done
grep -q '^for test in .*chooser_look_back clip_for_test' Tests/c/run.sh || fail "Tests/c/run.sh does not run the tests"
quietly rustc --edition 2021 --crate-type lib --emit=metadata --crate-name gradclip -o rust.rmeta bindings/rust/src/lib.rs
[ -z "$(cd bindings/go && gofmt -l .)" ] || fail "the Go code is not as gofmt has it"
(cd bindings/go && CGO_CFLAGS="\"-I$work/include\"" CGO_LDFLAGS="\"-L$build/lib\"" GOFLAGS=-mod=mod GOPROXY=off quietly go vet .)
quietly python3 -m compileall -q bindings/python/src
quietly swiftc -frontend -parse Sources/GradClipABI/*.swift Sources/GradClip/API/*.swift
# Of the table only Python's method is missing: that cannot be made.
if python3 Tests/gates/gate-bindings.py --write >log 2>&1; then fail "the gate misses nothing, but Python has no look_back"; fi
[ "$(cat log)" = "gate-bindings: Python declares no look_back (for gradclip_chooser_look_back)" ] || { cat log >&2; fail "the gate misses other things"; }
grep -q '^| `clip_for_test` | `clip_for_test` | `clip_for_test` | `ClipForTest` | `clipForTest` | `clip_for_test` |' docs/bindings.md || fail "docs/bindings.md lacks it"
if python3 packaging/skeletons.py gradclip_clip_for_test >log 2>&1; then fail "it is made twice"; fi
echo "ok: make skeletons makes a place for a new function in every binding, and it compiles"
