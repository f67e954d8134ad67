# Sourced, with $root set, by those who build the library with other flags than `make`, for
# sanitizers and for coverage.
toolchain=$(dirname "$(dirname "$(readlink -f "$(command -v swift)")")")
clang=$toolchain/bin/clang # which has the runtime of Swift's sanitizers

# build_embedded NAME LOG FLAGS...: the library, Embedded, in the folder $library; LOG is shown if
# that fails.
build_embedded() {
    scratch=$root/.build-$1 log=$2
    library=$scratch/release
    shift 2
    mkdir -p "$scratch"
    "$root/packaging/exports.sh" map >"$scratch/exports.map"
    swift build --package-path "$root" --configuration release --traits Embedded --scratch-path "$scratch" --product gradclip \
        --disable-local-rpath -Xswiftc -no-toolchain-stdlib-rpath -Xswiftc -wmo \
        -Xlinker --version-script="$scratch/exports.map" -Xlinker -l:libpthread.so.0 "$@" \
        >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
}
