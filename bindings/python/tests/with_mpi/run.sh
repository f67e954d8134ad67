#!/bin/sh
# bindings/python/tests/with_mpi/run.sh BUILD_DIR SAVED: gradclip.mpi between 1, 2, 3, 4 and 7 processes
# of Open MPI (mpi4py from PyPI), in a virtual environment in BUILD_DIR, which is kept.
# SAVED is the folder that Tests/mpi/saved_gradient.py wrote.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
package=$(cd "$here/../.." && pwd)
build=$(cd "${1:?usage: run.sh BUILD_DIR SAVED}" && pwd)
saved=$(cd "${2:?usage: run.sh BUILD_DIR SAVED}" && pwd)
GRADCLIP_PREBUILT=$(readlink -f "$build/lib/libgradclip.so")
export GRADCLIP_PREBUILT OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

venv=$build/venv-mpi
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'coverage>=7.10' 'mpi4py>=4.1' numpy ml_dtypes
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps "$package"
for n in 1 2 3 4 7; do
    timeout 120 mpirun.openmpi --oversubscribe --mca mpi_yield_when_idle 1 -n "$n" \
        "$venv/bin/python" -W error "$here/mpi_checks.py" "$saved"
done
# Which lines three of them run, for `make coverage`.
mkdir -p "$build/coverage"
COVERAGE_FILE=$build/coverage/python-mpi.data
export COVERAGE_FILE
rm -f "$COVERAGE_FILE"*
timeout 120 mpirun.openmpi --oversubscribe --mca mpi_yield_when_idle 1 -n 3 \
    "$venv/bin/python" -m coverage run --rcfile="$here/../ranks.coveragerc" "$here/mpi_checks.py" "$saved"
"$here/../covered-ranks.sh" "$venv/bin/python" "$build/coverage/python-mpi.lcov"
