#!/bin/sh
# bindings/python/tests/run-peers.sh BUILD_DIR NAME...: all live comparisons, one after the
# other, and docs/peers.md written from what they recorded. It takes gigabytes: says how many first.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?usage: run-peers.sh BUILD_DIR NAME...}" && pwd)
shift
gigabytes=$(for name in "$@"; do "$here/run-$name.sh" --gigabytes; done | awk '{ all += $1 } END { print all }')
echo "test-peers: installs up to $gigabytes GB in $build/venv-* (what is there from before is kept)"
rm -rf "$build/peers"
failed=
for name in "$@"; do
    echo
    echo "== $name"
    "$here/run-$name.sh" "$build" || failed="$failed $name"
done
"${PYTHON:-python3}" "$here/peer_report.py" "$build/peers" "$here/../../../docs/peers.md" "$@"
[ -z "$failed" ] || { echo "test-peers: failed:$failed" >&2; exit 1; }
