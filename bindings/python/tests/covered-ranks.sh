#!/bin/sh
# bindings/python/tests/covered-ranks.sh PYTHON LCOV: what several processes recorded in COVERAGE_FILE.*
# becomes the file LCOV.
set -eu
"$1" -m coverage combine --rcfile=/dev/null -q
"$1" -m coverage lcov --rcfile=/dev/null -q -o "$2"
