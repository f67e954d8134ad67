#!/bin/sh
# A call gives the same bits at every instruction set level: those this
# processor has, and those of others under qemu.
. "$(dirname "$0")/common.sh"

gcc -std=c11 -Wall -Wextra -Werror -O1 -I"$root/include" -o "$work/conformance" "$root/Tests/c/conformance.c" \
    -L"$build/lib" -Wl,-rpath,"$build/lib" -lgradclip -lm
# It calls every function of the header that computes; these say something of the library, or only keep house.
cat >"$work/apart" <<END
gradclip_version
gradclip_version_string
gradclip_set_num_threads
gradclip_get_num_threads
gradclip_status_string
gradclip_tensors_from_dlpack
END
nm -u "$work/conformance" | sed -n 's/^ *U \(gradclip_[a-z0-9_]*\).*/\1/p' | sort - "$work/apart" >"$work/called"
"$root/packaging/exports.sh" | sort | diff - "$work/called" >&2 ||
    fail "the conformance program and the header differ (<: a function that it should call)"
gcc -std=c11 -Wall -Wextra -Werror -O1 -I"$root/include" -o "$work/golden" "$root/Tests/c/golden.c" "$root/Tests/c/golden_file.c" \
    -L"$build/lib" -Wl,-rpath,"$build/lib" -lgradclip -lm
# The part of the golden file that an emulator can do in a few seconds.
awk '/^t / { if (keep) print; next } /^#/ { print; next } { keep = ++n % 4 == 0 } keep' "$root/Tests/golden/golden.txt" >"$work/golden.txt"
compared=""

# compare NAME EXPECTED_ISA COMMAND...
compare() {
    name=$1 expected=$2
    shift 2
    isa=$("$@" "$work/conformance" --isa)
    [ "$isa" = "$expected" ] || fail "$name runs $isa, not $expected"
    "$@" "$work/conformance" >"$work/$name.txt" || fail "$name: the calls failed"
    [ -s "$work/$name.txt" ] || fail "$name printed nothing"
    "$@" "$work/golden" "$work/golden.txt" >"$work/$name.golden" || fail "$name: golden values differ: $(cat "$work/$name.golden")"
    if [ -n "$compared" ] && ! cmp -s "$work/first.txt" "$work/$name.txt"; then
        diff "$work/first.txt" "$work/$name.txt" | head -6 >&2
        fail "$name differs from$compared"
    fi
    [ -n "$compared" ] || cp "$work/$name.txt" "$work/first.txt"
    compared="$compared $name"
}

case $(uname -m) in
x86_64)
    compare baseline baseline env GRADCLIP_ISA=baseline
    for level in x86-64-v3 x86-64-v4 x86-64-v4-ifma; do
        isa=$(GRADCLIP_ISA=$level "$work/conformance" --isa)
        if [ "$isa" = "$level" ]; then compare $level $level env GRADCLIP_ISA=$level
        else
            # A level that the processor lacks is ignored, never obeyed.
            /lib64/ld-linux-x86-64.so.2 --help 2>/dev/null | grep -q "$level (supported" && fail "$level is supported, but $isa is used"
            [ $level = x86-64-v4-ifma ] && grep -q '^flags.* avx512vl.* avx512ifma\|^flags.* avx512ifma.* avx512vl' /proc/cpuinfo &&
                fail "$level is supported, but $isa is used"
            missing="${missing:-} $level"
        fi
    done
    best=$("$work/conformance" --isa)
    [ "$best" = "$(GRADCLIP_ISA=no-such-level "$work/conformance" --isa)" ] || fail "an unknown GRADCLIP_ISA is obeyed"
    command -v qemu-x86_64 >/dev/null || fail "qemu-x86_64 is missing"
    compare nehalem baseline qemu-x86_64 -cpu Nehalem
    # Without what qemu-user cannot do and would warn about.
    compare haswell x86-64-v3 qemu-x86_64 -cpu Haswell,-pcid,-x2apic,-tsc-deadline,-hle,-invpcid,-rtm
    ;;
aarch64)
    compare neon neon env
    ;;
*) fail "no level is known for $(uname -m)" ;;
esac
# One hash, of every machine: `make test-platforms` asks others for it.
hash=$(sha256sum "$work/first.txt" | cut -d ' ' -f 1)
wanted=$(cut -d ' ' -f 1 "$root/Tests/conformance.sha256")
[ "$hash" = "$wanted" ] || fail "the conformance program's hash is $hash, and Tests/conformance.sha256 has $wanted. (Where calls are meant to give other bits than before, that file and README get the new one.)"
grep -q "$hash" "$root/README.md" || fail "README does not have the conformance program's hash, $hash"
[ -z "${missing:-}" ] || echo "gate-levels: this processor has no$missing, so it was not run" >&2
ok "$(wc -l <"$work/first.txt") lines of results, the same bits at$compared, SHA-256 $hash"
