#!/bin/sh
# The oracle passes its own tests, and the golden files are what the oracle makes.
. "$(dirname "$0")/common.sh"

PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE
python3 -m unittest discover -s "$root/Tests/oracle" >"$work/oracle.txt" 2>&1 || { cat "$work/oracle.txt" >&2; fail "the oracle fails its tests"; }
tests=$(sed -n 's/^Ran \([0-9]*\) tests.*/\1/p' "$work/oracle.txt")
[ "${tests:-0}" -gt 0 ] || fail "no test of the oracle was found"
checked=$(python3 "$root/Tests/golden/generate.py" --check) || fail "the golden file was not made by this oracle"
choosers=$(python3 "$root/Tests/golden/generate_choosers.py" --check) || fail "choosers.txt was not made by this oracle"
ok "the oracle passes $tests tests; $checked; $choosers"
