#!/bin/sh
# Tests/embedding/run.sh PREFIX BUILD_DIR: hosts of other kinds, on the library installed
# in PREFIX: one with OpenMP and -Ofast, and one that embeds Python, which clips too.
# PYTHON_CONFIG chooses the Python (default: Debian's).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
prefix=$(cd "${1:?usage: run.sh PREFIX BUILD_DIR}" && pwd)
out=$(cd "${2:?usage: run.sh PREFIX BUILD_DIR}" && pwd)/tests/embedding
config=${PYTHON_CONFIG:-/usr/bin/python3-config}
command -v "$config" >/dev/null || { echo "$config is missing: Debian's package python3-dev has it" >&2; exit 1; }
mkdir -p "$out"
# The blocks in C of docs/embedding.md, each as a function's body.
awk 'FNR == NR { print; next }
    /^```c$/ { inside = 1; printf "void block_%d(void)\n{\n", ++count; next }
    /^```$/ && inside { inside = 0; print "}"; next }
    inside { print }
    END { exit count < 5 }' "$here/embedding_md.h" "$here/../../docs/embedding.md" >"$out/embedding_md.c"
# shellcheck disable=SC2046
gcc -std=gnu11 -Wall -Wextra -Werror -fsyntax-only $("$config" --includes) -I"$prefix/include" "$out/embedding_md.c"
echo "docs/embedding.md: its blocks in C compile"

gcc -std=c11 -Wall -Wextra -Werror -Ofast -fopenmp -I"$prefix/include" -o "$out/openmp_host" "$here/openmp_host.c" \
    -L"$prefix/lib" -Wl,-rpath,"$prefix/lib" -lgradclip -lm
"$out/openmp_host"
# shellcheck disable=SC2046
gcc -std=c11 -Wall -Wextra -Werror -O1 $("$config" --includes) -I"$prefix/include" -o "$out/one_process" \
    "$here/one_process.c" -L"$prefix/lib" -Wl,-rpath,"$prefix/lib" -lgradclip $("$config" --embed --ldflags) -lpthread
PYTHONPATH=$here:$here/../../bindings/python/src
PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH PYTHONDONTWRITEBYTECODE

# Under each of its names it is the same file.
for name in "$prefix"/lib/libgradclip.so*; do "$out/one_process" "$name"; done
# And under a link from elsewhere.
ln -sf "$prefix/lib/libgradclip.so" "$out/libgradclip-link.so"
"$out/one_process" "$out/libgradclip-link.so"
# A copy is another library: this is what the test is there to notice.
cp -L "$prefix/lib/libgradclip.so" "$out/libgradclip-copy.so"
if "$out/one_process" "$out/libgradclip-copy.so" >"$out/copy.log" 2>&1; then
    echo "FAILED: one_process did not notice a second library" >&2
    exit 1
fi
grep -q 'one_process: .* failed' "$out/copy.log" || { cat "$out/copy.log" >&2; exit 1; }
