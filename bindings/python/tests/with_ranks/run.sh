#!/bin/sh
# bindings/python/tests/with_ranks/run.sh BUILD_DIR: gradclip.torch.distributed between 1, 2, 3, 4
# and 7 processes (gloo), the FSDP example on as many, and processes that go away.
# ../torch-venv.sh says which torch.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
package=$(cd "$here/../.." && pwd)
root=$(cd "$package/../.." && pwd)
build=$(cd "${1:?usage: run.sh BUILD_DIR}" && pwd)
. "$here/../torch-venv.sh"
pip install 'coverage>=7.10' numpy

out=$build/tests/with_ranks
rm -rf "$out"
mkdir -p "$out"
python3 "$root/Tests/mpi/saved_gradient.py" "$out"
export OMP_NUM_THREADS=1
for n in 1 2 3 4 7; do
    # --standalone: a free port. The limit is for a machine that does much else.
    torchrun() { timeout 300 "$venv/bin/torchrun" --standalone --nproc-per-node "$n" "$@"; }
    torchrun "$here/checks.py" "$out"
    torchrun "$package/examples/fsdp_char.py" "$root/bindings/c/examples/data/asyoulik.txt" "$out/fsdp-$n.csv" --steps 30
    cmp "$out/fsdp-1.csv" "$out/fsdp-$n.csv"
done
# (It learns, and some of its steps are clipped, but not all.)
awk -F, 'NR == 2 { first = $2 } { last = $2; clipped += NR > 1 && $3 > 0.3 }
    END { print "fsdp_char.py: loss " first " to " last ", " clipped " of " NR - 1 " steps clipped"
          exit !(last < first - 0.5 && clipped > 0 && clipped < NR - 1) }' "$out/fsdp-1.csv"
timeout 300 "$venv/bin/python" "$here/faults.py"

# Which lines three of them run, for `make coverage`.
mkdir -p "$build/coverage"
COVERAGE_FILE=$build/coverage/python-ranks.data
export COVERAGE_FILE
rm -f "$COVERAGE_FILE"*
timeout 300 "$venv/bin/torchrun" --standalone --nproc-per-node 3 \
    -m coverage run --rcfile="$here/../ranks.coveragerc" "$here/checks.py" "$out"
"$here/../covered-ranks.sh" "$venv/bin/python" "$build/coverage/python-ranks.lcov"
