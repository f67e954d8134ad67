#!/bin/sh
# bindings/rust/tests/run.sh LIBDIR [TARGET]: the crate's tests and README, offline,
# against the libgradclip.so in LIBDIR. CARGO chooses the cargo; Debian's, the oldest
# that is supported, goes before others.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
GRADCLIP_LIB_DIR=$(cd "${1:?usage: run.sh LIBDIR [TARGET]}" && pwd)
export GRADCLIP_LIB_DIR
CARGO_TARGET_DIR=${2:-$here/target}
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
echo "Rust tests on $("$CARGO" --version)"
cd "$here"
"$CARGO" test --offline --locked --quiet
