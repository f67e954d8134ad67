#!/bin/sh
# Benchmarks/scaling/measure.sh BUILD_DIR OUTPUT [REPEATS]: runs latency.c with Open MPI, on one processor,
# on two over shared memory and over TCP, and with more ranks than there are processors, which
# take turns. Appends to the CSV file OUTPUT; scaling.py makes tables and the picture of it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "${1:?usage: measure.sh BUILD_DIR OUTPUT [REPEATS]}" && pwd)
out=${2:?usage: measure.sh BUILD_DIR OUTPUT [REPEATS]}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 GRADCLIP_NUM_THREADS=1
mkdir -p "$build/scaling"
mpicc.openmpi -O2 -I"$root/include" "$here/latency.c" -L"$build/lib" -Wl,-rpath,"$build/lib" -lgradclip -o "$build/scaling/latency"

run() { # TRANSPORT RANKS ROUNDS FLAGS...
    transport=$1 ranks=$2 rounds=$3
    shift 3
    timeout 60 mpirun.openmpi --oversubscribe "$@" -n "$ranks" "$build/scaling/latency" "$rounds" "$transport" >>"$out" ||
        echo "$transport, $ranks ranks: failed, or took over a minute" >&2
}

[ -s "$out" ] || echo "transport,what,ranks,bytes,minimum_us,median_us" >"$out"
for repeat in $(seq "${3:-5}"); do
    run none 1 2000
    for kind in "shared memory:vader" "TCP:tcp"; do
        run "${kind%:*}" 2 5000 --mca btl "${kind#*:},self"
        for n in 4 8 16; do
            run "${kind%:*}" "$n" 300 --mca btl "${kind#*:},self" --mca mpi_yield_when_idle 1
        done
    done
done
