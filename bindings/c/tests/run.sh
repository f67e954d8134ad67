#!/bin/sh
# Tests of this folder: the program in README.md does what the page says, and the
# example trains as it claims. Needs the built library; takes about ten seconds.
#
#   run.sh [INCLUDE [LIBDIR]]     default: ../../../include and ../../../build/lib
#
# CC is one compiler, or several: CC="gcc clang". By default every one of gcc and
# clang that is installed.
set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
include=${1:-$here/../../../include}
libdir=${2:-$here/../../../build/lib}
text=$here/../examples/data/asyoulik.txt
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

good() { passed=$((passed + 1)); }
bad() { failed=$((failed + 1)); echo "FAILED: $*"; }

# check WHAT COMMAND...: the command must succeed; what it printed is shown if not.
check() {
    what=$1
    shift
    if "$@" >"$work/output" 2>&1; then good; else bad "$what"; sed 's/^/    /' "$work/output"; fi
}

# compile COMPILER STANDARD SOURCE PROGRAM
compile() {
    "$1" "-std=$2" -O3 -Wall -Wextra -pedantic -Werror -ffp-contract=off "-I$include" "$3" \
        "-L$libdir" "-Wl,-rpath,$libdir" -lgradclip -lm -o "$4"
}

# The first block of README.md in the language $1.
block() { sed -n '/^```'"$1"'$/,/^```$/{/^```/d;p;}' "$here/../README.md"; }

test -e "$libdir/libgradclip.so" || { echo "FAILED: no libgradclip.so in $libdir; run make first"; exit 1; }
if [ -z "${CC-}" ]; then
    for compiler in gcc clang; do
        command -v "$compiler" >/dev/null && CC="${CC-} $compiler"
    done
fi

block c >"$work/readme.c"
block text >"$work/readme.expected"
check "README.md has a program and its output" test -s "$work/readme.c" -a -s "$work/readme.expected"
# The command of README.md, in a folder that looks like the root of the repository.
mkdir -p "$work/root/build"
ln -s "$(cd "$include" && pwd)" "$work/root/include"
ln -s "$(cd "$libdir" && pwd)" "$work/root/build/lib"
cp "$work/readme.c" "$work/root/program.c"
block sh | grep '^cc ' | head -n 1 >"$work/root/command.sh"
check "README.md's command compiles its program" sh -c 'cd "$1" && sh command.sh && ./program' - "$work/root"
cp "$work/output" "$work/readme.got"
check "which then prints what the page says" diff "$work/readme.expected" "$work/readme.got"
# The program on the repository's front page, and the line that it says is printed.
front=$here/../../../README.md
sed -n '/^```c$/,/^```$/{/^```/d;p;}' "$front" >"$work/front.c"
sed -n 's/^This prints `\(norm [^`]*\)`.*/\1/p' "$front" >"$work/front.expected"
check "the front page has a program and its output" test -s "$work/front.c" -a -s "$work/front.expected"
for compiler in $CC; do
    check "the front page's program compiles with $compiler" compile "$compiler" c99 "$work/front.c" "$work/front"
    "$work/front" >"$work/front.got" 2>&1
    check "the front page's program prints what it says" diff "$work/front.expected" "$work/front.got"
    for standard in c99 c11; do
        check "README.md's program compiles with $compiler as $standard" \
            compile "$compiler" "$standard" "$work/readme.c" "$work/readme"
        "$work/readme" >"$work/readme.got" 2>&1
        check "README.md's program prints what the page says" diff "$work/readme.expected" "$work/readme.got"
        check "char_rnn.c compiles with $compiler as $standard" \
            compile "$compiler" "$standard" "$here/../examples/char_rnn.c" "$work/char_rnn-$compiler"
    done
    check "char_rnn_gradients.c compiles with $compiler" \
        compile "$compiler" c11 "$here/char_rnn_gradients.c" "$work/gradients"
    check "the gradients of char_rnn.c are those of its loss" "$work/gradients"

    # The same seed trains the same network, whatever the compiler.
    check "char_rnn trains" "$work/char_rnn-$compiler" --steps 400 --log "$work/$compiler.csv" "$text"
    cp "$work/output" "$work/$compiler.txt"
    first=${first:-$compiler}
    check "$compiler and $first train to the same log" cmp "$work/$first.csv" "$work/$compiler.csv"
    check "$compiler and $first print the same" cmp "$work/$first.txt" "$work/$compiler.txt"
    char_rnn=$work/char_rnn-$compiler
done

# max_norm 120 clips some of the first 400 steps; each by the documented coefficient.
check "the logged coefficient is min(1, max_norm / (total_norm + 1e-6))" awk -F, '
    NR <= 2 { next }
    { coef = 120 / ($4 + 1e-6); if (coef > 1) coef = 1
      if ($5 - coef > 1e-15 || coef - $5 > 1e-15) { print "step " $1 ": " $5 ", not " coef; bad = 1 }
      rows++; clipped += $5 < 1 }
    END { print rows " rows, " clipped " clipped"; exit bad || rows != 400 || clipped < 1 || clipped > 200 }
    ' "$work/$first.csv"
# The line that it ends with sums the log up (its last tenth, for the loss).
awk -F, 'NR > 2 { clipped += $5 < 1 } NR > 362 { loss += $2 }
    END { printf "final loss %.3f nats per character (mean of the last 40 steps), ", loss / 40
          printf "%d of 400 steps clipped, 0 skipped\n", clipped }' "$work/$first.csv" >"$work/final"
check "what it prints at the end is what it logged" grep -qxFf "$work/final" "$work/$first.txt"
check "char_rnn trains without clipping" "$char_rnn" --max-norm none --steps 400 --log "$work/none.csv" "$text"
check "without clipping every coefficient is 1" awk -F, 'NR > 2 && $5 != 1 { exit 1 }' "$work/none.csv"
# Up to the first step that is clipped both runs are one.
check "the runs part at the first clipped step, not before" awk -F, '
    NR <= 2 { next }
    FNR == NR { norm[$1] = $4; next }
    parted { if (norm[$1] != $4) { differ = 1; exit } next }
    $4 != norm[$1] { print "step " $1 " differs before any clipping"; exit }
    $5 < 1 { parted = 1 }
    END { exit !differ }' "$work/none.csv" "$work/$first.csv"
check "learning lowers the loss" awk -F, 'NR == 3 { begin = $2 } { last = $2 } END { exit !(last < begin - 0.5) }' \
    "$work/$first.csv"

# A learning rate that overflows the parameters in the first step: all later
# gradients are NaN, every one is skipped and counted, and the program ends well.
check "char_rnn survives an overflow" "$char_rnn" --learning-rate 3e38 --steps 20 --hidden 10 "$text"
cp "$work/output" "$work/overflow.txt"
check "and counts the steps it skipped" grep ' 19 skipped' "$work/overflow.txt"

# refuse TEXT ARGUMENT...: the program fails and says TEXT
refuse() {
    expected=$1
    shift
    if "$char_rnn" "$@" >"$work/output" 2>&1; then bad "char_rnn $* succeeded"
    elif grep -qF -- "$expected" "$work/output"; then good
    else bad "char_rnn $*: no \"$expected\" in:"; sed 's/^/    /' "$work/output"; fi
}
refuse 'max-norm must be a number from 0 to inf (got -1)' --max-norm -1 "$text"
refuse 'max-norm must be a number from 0 to inf (got nan)' --max-norm nan "$text"
refuse 'learning-rate must be a number from 0 to 3.40282e+38 (got fast)' --learning-rate fast "$text"
refuse 'steps must be a number from 1 to 1e+08 (got 0)' --steps 0 "$text"
refuse 'usage: char_rnn' "$text" "$text"
refuse "$work/none: No such file" "$work/none"
refuse 'shorter than --unroll' "$work/readme.expected"

echo "$passed passed, $failed failed"
test "$failed" -eq 0
