#!/bin/sh
# bindings/python/tests/covered.sh PYTHON LCOV ARGUMENTS...: pytest with these arguments, and
# which lines of the installed gradclip it ran, in the file LCOV.
set -eu
python=$1 lcov=$2
shift 2
mkdir -p "$(dirname "$lcov")"
cd "$(dirname "$0")/.."
COVERAGE_FILE=$lcov.data
export COVERAGE_FILE
"$python" -m coverage run --rcfile=/dev/null --source=gradclip -m pytest "$@"
"$python" -m coverage lcov --rcfile=/dev/null -q -o "$lcov"
