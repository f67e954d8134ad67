#!/bin/sh
# Tests/gates/run.sh BUILD_DIR: run every gate against what `make` left there.
# A gate is one promise about the shipped library: gate-*.sh BUILD_DIR prints
# what it proved, or what is wrong and fails.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?usage: run.sh BUILD_DIR}" && pwd) || exit 2
passed=0 failed=0
for gate in "$here"/gate-*; do
    if "$gate" "$build"; then passed=$((passed + 1)); else
        echo "FAILED: $(basename "$gate")" >&2
        failed=$((failed + 1))
    fi
done
echo "gates: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
