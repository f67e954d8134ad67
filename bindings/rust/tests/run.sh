#!/bin/sh
# bindings/rust/tests/run.sh LIBDIR [TARGET]: the crate's tests and README, offline,
# against the libgradclip.so in LIBDIR. CARGO chooses the cargo; Debian's, the oldest
# that is supported, goes before others.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
GRADCLIP_LIB_DIR=$(cd "${1:?usage: run.sh LIBDIR [TARGET]}" && pwd)
export GRADCLIP_LIB_DIR
libdir=$GRADCLIP_LIB_DIR
CARGO_TARGET_DIR=$(realpath -m "${2:-$here/target}")
export CARGO_TARGET_DIR
# Tests of the documentation are linked without the rpath.
LD_LIBRARY_PATH=$GRADCLIP_LIB_DIR${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
if [ -z "${CARGO-}" ]; then
    if [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ]; then
        CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
        export RUSTC RUSTDOC
    else
        CARGO=cargo
    fi
fi
mkdir -p "$CARGO_TARGET_DIR"
# build.rs finds the library by pkg-config as well, and says what is wrong otherwise.
cd "$here"
if [ -e "$GRADCLIP_LIB_DIR/pkgconfig/gradclip.pc" ]; then
    (unset GRADCLIP_LIB_DIR && PKG_CONFIG_PATH=$libdir/pkgconfig "$CARGO" build --offline --locked --quiet)
fi
# Without a library there is documentation, and no program.
without() { (unset GRADCLIP_LIB_DIR && PKG_CONFIG=/nonexistent "$CARGO" "$@" --offline --locked --target-dir "$CARGO_TARGET_DIR/without") 2>"$CARGO_TARGET_DIR/log"; }
without doc --no-deps || { cat "$CARGO_TARGET_DIR/log" >&2; echo "cargo doc needs a library" >&2; exit 1; }
if without test --no-run --test calls; then
    echo "a program was linked without a library" >&2
    exit 1
fi
grep -q 'Install it: `make install`' "$CARGO_TARGET_DIR/log"
grep -q 'GRADCLIP_LIB_DIR to the one with libgradclip.so' "$CARGO_TARGET_DIR/log"
if GRADCLIP_LIB_DIR=/nonexistent "$CARGO" build --offline --locked 2>"$CARGO_TARGET_DIR/log"; then
    echo "a folder without a library was taken" >&2
    exit 1
fi
grep -q 'GRADCLIP_LIB_DIR is "/nonexistent", and there is no libgradclip.so in it' "$CARGO_TARGET_DIR/log"
echo "Rust tests on $("$CARGO" --version)"
"$CARGO" test --offline --locked --quiet
# The static library: the same tests, and no shared library in the program.
program=$("$CARGO" test --offline --locked --features static --no-run --test calls --target-dir "$CARGO_TARGET_DIR/static" 2>&1 |
    sed -n 's/^ *Executable [^(]*(\(.*\))$/\1/p')
(unset LD_LIBRARY_PATH && "$program" --quiet)
if ldd "$program" | grep gradclip; then
    echo "the program that was linked statically needs a shared library" >&2
    exit 1
fi
