#!/bin/sh
# Tests/mpi/run.sh BUILD_DIR: gradclip_mpi.h with every MPI that is installed (mpicc.openmpi,
# mpicc.mpich), on 1, 2, 3, 4 and 7 ranks of real processes.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "${1:?usage: run.sh BUILD_DIR}" && pwd) || exit 2
out=$build/tests/mpi
ranks="1 2 3 4 7"
passed=0 failed=0
rm -rf "$out"
mkdir -p "$out/saved"
# Open MPI does not run as root otherwise, in a container of a build system for instance.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export GRADCLIP_NUM_THREADS=1

good() { passed=$((passed + 1)); }
bad() { failed=$((failed + 1)); echo "FAILED: $*" >&2; }
check() { if "$@"; then good; else bad "$*"; fi; }

# launch MPI N COMMAND...: N ranks on however few processors, for 60 seconds at most
launch() {
    mpi=$1 n=$2
    shift 2
    case $mpi in
    openmpi) timeout 60 mpirun.openmpi --oversubscribe --mca mpi_yield_when_idle 1 -n "$n" "$@" ;;
    *) timeout 60 "mpirun.$mpi" -n "$n" "$@" ;;
    esac
}

compile() { # WRAPPER STANDARD SOURCE PROGRAM FLAGS...
    wrapper=$1 standard=$2 source=$3 program=$4
    shift 4
    # (Open MPI's own C++ interface, long deprecated, has warnings.)
    "$wrapper" -std="$standard" -Wall -Wextra -Werror -g -O1 -DOMPI_SKIP_MPICXX -DMPICH_SKIP_MPICXX "$@" -I"$root/include" \
        -o "$program" "$source" -L"$build/lib" -Wl,-rpath,"$build/lib" -lgradclip -lm
}

python3 "$here/saved_gradient.py" "$out/saved" || exit 1
found=
for mpi in openmpi mpich; do
    command -v "mpicc.$mpi" >/dev/null || continue
    found="$found $mpi"
    # The header alone, warnings as errors.
    printf '#include <gradclip_mpi.h>\n#include <gradclip_mpi.h>\nint main(void) { return gradclip_mpi_last_error(0) == 0; }\n' >"$out/alone.c"
    cp "$out/alone.c" "$out/alone.cpp"
    for standard in c99 c11; do check compile "mpicc.$mpi" "$standard" "$out/alone.c" "$out/alone" -pedantic -Wshadow; done
    check compile "mpicxx.$mpi" c++17 "$out/alone.cpp" "$out/alone" -pedantic -Wshadow

    for test in norms decisions faults; do check compile "mpicc.$mpi" c11 "$here/$test.c" "$out/$test-$mpi" -D_GNU_SOURCE; done
    for n in $ranks; do
        check launch "$mpi" "$n" "$out/norms-$mpi" "$out/saved" >"$out/norms-$mpi-$n.txt"
        tail -n 1 "$out/norms-$mpi-$n.txt"
        check launch "$mpi" "$n" "$out/decisions-$mpi"
        # The same lines with 1 rank and with 7, with Open MPI and with MPICH.
        grep 'p=' "$out/norms-$mpi-$n.txt" >"$out/norms.txt"
        [ -e "$out/first.txt" ] || cp "$out/norms.txt" "$out/first.txt"
        check cmp "$out/first.txt" "$out/norms.txt"
        check test "$(wc -l <"$out/norms.txt")" = 9
    done

    # The trainers: one log, whoever trains. (MPICH spins while it waits, so fewer of its ranks.)
    case $mpi in openmpi) many="$ranks 13" ;; *) many="1 3" ;; esac
    for trainer in data_parallel tensor_parallel; do
        check compile "mpicc.$mpi" c11 "$root/bindings/c/examples/mpi/$trainer.c" "$out/$trainer-$mpi" -O2 -pedantic -ffp-contract=off
        for n in $many; do
            log=$out/$trainer-$mpi-$n.csv
            check launch "$mpi" "$n" "$out/$trainer-$mpi" "$root/bindings/c/examples/data/asyoulik.txt" "$log" 60
            [ -e "$out/$trainer.csv" ] || cp "$log" "$out/$trainer.csv"
            check cmp "$out/$trainer.csv" "$log"
        done
        check awk -F, 'NR == 2 { first = $2 } { last = $2; clipped += NR > 1 && $4 < 1 }
            END { print FILENAME ": loss " first " to " last ", " clipped " of " NR - 1 " steps clipped"
                  exit !(last < first - 0.5 && clipped > 0 && clipped < NR - 1) }' "$out/$trainer.csv"
    done

    # A rank that goes away: MPI ends the program with an error, in bounded time, and
    # whatever the survivors hold is whole.
    for how in exit-before kill-before kill-second kill-after; do
        rm -f "$out"/gradients-*
        launch "$mpi" 3 "$out/faults-$mpi" "$out" "$how" >"$out/faults.txt" 2>&1
        status=$?
        if [ "$status" = 0 ] || [ "$status" = 124 ]; then
            bad "$mpi, $how: mpirun ended with status $status"
            sed 's/^/    /' "$out/faults.txt"
        else good; fi
        "$out/faults-$mpi" "$out" check 3 >"$out/check.txt" || { bad "$mpi, $how"; cat "$out/check.txt"; }
        case $how in
        kill-after) check grep -q 'rank 2: untouched' "$out/check.txt" ;;
        *) check test "$(grep -c untouched "$out/check.txt")" = 3 ;; # nobody had all the words
        esac
        echo "$mpi, $how: mpirun ended with status $status; $(tr '\n' ' ' <"$out/check.txt")"
    done
done
rm -f "$out"/gradients-*
[ -n "$found" ] || { echo "neither mpicc.openmpi nor mpicc.mpich: apt-get install libopenmpi-dev openmpi-bin libmpich-dev mpich" >&2; exit 1; }
echo "MPI tests ($(echo $found)): $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
