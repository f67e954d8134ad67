#!/bin/sh
# Tests/install/run.sh BUILD_DIR: what users do with an installed library, each
# promise in a script of its own: test-*.sh BUILD_DIR.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?usage: run.sh BUILD_DIR}" && pwd) || exit 2
passed=0 failed=0
for test in "$here"/test-*.sh; do
    if "$test" "$build"; then passed=$((passed + 1)); else
        echo "FAILED: $(basename "$test")" >&2
        failed=$((failed + 1))
    fi
done
echo "install: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
