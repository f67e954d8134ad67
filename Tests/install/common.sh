# Sourced by the tests in this folder, with BUILD_DIR in $1.
set -eu
LC_ALL=C
export LC_ALL
unset PKG_CONFIG_PATH CMAKE_PREFIX_PATH LD_LIBRARY_PATH DESTDIR PREFIX LIBDIR INCLUDEDIR DATADIR MAKEFLAGS MAKELEVEL MFLAGS || :
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "${1:?usage: $(basename "$0") BUILD_DIR}" && pwd)
# As make has it, whose files cannot have spaces in their names: as seen from the root.
BUILD=$(realpath --relative-to="$root" "$build")
version=$(sed -n 's/^#define GRADCLIP_VERSION_STRING "\(.*\)"/\1/p' "$root/include/gradclip.h")
work=$(mktemp -d) # pkg-config and man take no folder with quotes or parentheses in its name
trap 'rm -rf "$work"' EXIT

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

ok() { echo "ok: $*"; }

# make_quietly TARGET VARIABLE=VALUE...: make in the root; what it says is shown if it fails.
make_quietly() {
    make -C "$root" --no-print-directory BUILD="$BUILD" "$@" >"$work/make.log" 2>&1 || {
        cat "$work/make.log" >&2
        fail "make $* fails"
    }
}

# must WHAT COMMAND...: the command succeeds; what it says is shown if it fails.
must() {
    what=$1
    shift
    "$@" >"$work/must.log" 2>&1 || {
        cat "$work/must.log" >&2
        fail "$what: $* fails"
    }
}
