#!/bin/sh
# `make cross` when something is wrong: one clear line, without a traceback, and nothing half made.
. "$(dirname "$0")/common.sh"

# says LINE COMMAND...: the command fails with that one line.
says() {
    line=$1
    shift
    if "$@" >"$work/said" 2>&1; then fail "$* succeeds"; fi
    [ "$(wc -l <"$work/said")" = 1 ] && grep -qF "$line" "$work/said" || { cat "$work/said" >&2; fail "$* does not say: $line"; }
}

python=$(command -v python3)
targets="linux-x86_64-gnu, linux-aarch64-gnu, linux-x86_64-musl, linux-aarch64-musl, macos-arm64, windows-x86_64"
for script in cross wheels; do
    says "$script.py: there is no target plan9; there are $targets" "$python" "$root/packaging/$script.py" "$work/out" plan9
done
ln -s "$("$python" -c 'import sys; print(sys.executable)')" "$work/python3"
says "cross.py: swiftc is missing: building needs Swift 6.3 or newer" env PATH="$work" "$work/python3" "$root/packaging/cross.py" "$work/out" macos-arm64
# A Python without packages.
says "cross.py: ziglang is missing in" "$python" -I -S "$root/packaging/cross.py" "$work/out" macos-arm64
says "wheels.py: auditwheel is missing in" "$python" -S "$root/packaging/wheels.py" "$work/out" macos-arm64
[ ! -e "$work/out" ] || fail "$work/out was made all the same"

# No room: what a tool says of it, and what Python does.
printf 'import sys\nsys.path.insert(0, "%s/packaging")\nimport cross\n' "$root" >"$work/full.py"
cp "$work/full.py" "$work/own.py"
echo 'cross.run("dd", "if=/dev/zero", "of=/dev/full", "count=1")' >>"$work/full.py"
echo 'cross.complete(lambda: open("/dev/full", "wb", buffering=0).write(b"1"))' >>"$work/own.py"
for script in full own; do says "$script.py: there is no room on the disk" "$python" "$work/$script.py"; done
ok "make cross: an unknown target, missing tools, a full disk: one line each"
