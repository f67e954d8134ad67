# What the live comparisons share, to be sourced by run-NAME.sh BUILD_DIR, which has set
#
#   peer        its name, that of `make test-peers-NAME`
#   gigabytes   what its packages take on disk, beyond those of run-torch.sh
#   packages    those packages, for pip
#   about       those whose versions go into the report
#
# and calls `compare FILE...` with its test files; which lines of gradclip they run is recorded
# for `make coverage`. The virtual environment in BUILD_DIR/venv-peers is kept and serves all peers,
# each at the version in peers/constraints.txt, beside the torch of torch-venv.sh; a peer that
# cannot live in it sets environment=NAME (venv-NAME).
#
# `run-NAME.sh --gigabytes` only prints that number.
set -eu
if [ "${1:-}" = --gigabytes ]; then
    echo "$gigabytes"
    exit
fi
package=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:?usage: run-$peer.sh BUILD_DIR}" && pwd)
environment=${environment:-peers}
. "$package/tests/torch-venv.sh"

constraints=$package/tests/peers/constraints.txt
torch=$(pip freeze | grep '^torch==')
wanted="$packages $torch $(cksum <"$constraints") $(cksum <"$package/pyproject.toml")"
ready=$venv/.ready-$peer
if [ "$(cat "$ready" 2>/dev/null)" != "$wanted" ]; then
    echo "test-peers-$peer: installs $packages in $venv (about $gigabytes GB)"
    # Whatever torch is there stays: PyPI's would pull gigabytes of CUDA.
    { echo "$torch"; cat "$constraints"; } >"$venv/constraints.txt"
    # shellcheck disable=SC2086
    pip install --constraint "$venv/constraints.txt" $packages "$package[torch-test]"
    echo "$wanted" >"$ready"
fi

# compare FILE...: runs these tests, and records what they find for the report.
compare() {
    mkdir -p "$build/peers"
    cd "$package"
    GRADCLIP_PEER=$peer GRADCLIP_PEER_ABOUT=$about GRADCLIP_PEER_RECORD=$build/peers/$peer.json \
        "$package/tests/covered.sh" "$venv/bin/python" "$build/coverage/python-$peer.lcov" -q "$@"
}
