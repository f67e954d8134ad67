#!/bin/sh
# Tests/examples/run.sh PREFIX BUILD_DIR: every trainer in bindings/*/examples, built on
# the library installed in PREFIX and trained for a short while, with clipping and
# without it. It must learn, clip where it should, and say so. Needs swiftc, dlib,
# libtorch and pkg-config.
set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
prefix=$(cd "${1:?usage: run.sh PREFIX BUILD_DIR}" && pwd) || exit 2
out=$(cd "${2:?usage: run.sh PREFIX BUILD_DIR}" && pwd)/tests/examples
text=$root/bindings/c/examples/data/asyoulik.txt
digits=$root/bindings/c/examples/data/digits.txt
# Under a name without spaces: words that pkg-config quotes are none in $flags. (Tests/install has such prefixes.)
link=$(mktemp -d) || exit 2
trap 'rm -rf "$link"' EXIT
ln -s "$prefix" "$link/prefix"
export PKG_CONFIG_PATH="$link/prefix/lib/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
export LD_RUN_PATH="$prefix/lib"
mkdir -p "$out"
passed=0 failed=0

good() { passed=$((passed + 1)); }
bad() {
    failed=$((failed + 1))
    echo "FAILED: $*" >&2
}

# build PROGRAM COMPILER...: in the folder of the examples that PROGRAM's name begins with.
build() {
    program=$1
    shift
    if (cd "$root/bindings/${program%%/*}/examples" && "$@" -o "$out/${program#*/}") >"$out/build.log" 2>&1; then good; else
        cat "$out/build.log" >&2
        bad "$program does not build: $*"
    fi
}

# run NAME PROGRAM ARGUMENT...: what it printed stays in NAME.txt; its last line is shown.
run() {
    name=$1 program=$2
    shift 2
    if "$out/$program" "$@" >"$out/$name.txt" 2>&1; then good; else
        cat "$out/$name.txt" >&2
        bad "$program $*"
    fi
    tail -n 1 "$out/$name.txt" | sed "s/^/$program: /"
}

# Of the last line of NAME.txt: the number after WORDS, the number before WORDS.
after() { tail -n 1 "$out/$1.txt" | sed -n "s/.*$2 \([0-9.]*\).*/\1/p"; }
before() { tail -n 1 "$out/$1.txt" | sed -n "s/.* \([0-9][0-9]*\) $2.*/\1/p"; }

# holds WHAT A OPERATOR B ...: a comparison of numbers
holds() {
    what=$1
    shift
    if awk "BEGIN { exit !($*) }" 2>/dev/null; then good; else bad "$what: not $*"; fi
}

flags=$(pkg-config --cflags --libs gradclip) || exit 1
strict="-std=c11 -Wall -Wextra -pedantic -Werror"

# ------------------------------------------------ the GPT in C and in Swift --
# No fused multiplications: then both train the same network, to the bit.
# shellcheck disable=SC2086
{
    build c/mini_gpt gcc $strict -O3 -march=native -ffp-contract=off mini_gpt.c $flags -lm
    build c/mini_gpt_gradients gcc $strict -O3 -ffp-contract=off ../tests/mini_gpt_gradients.c $flags -lm
    build swift/mini_gpt_swift swiftc -O mini_gpt.swift -I . -Xcc -I"$prefix/include" -L"$prefix/lib" \
        -Xlinker -rpath -Xlinker "$prefix/lib" -lgradclip
}
run gradients mini_gpt_gradients
run gpt-c mini_gpt "$text" 1 100
run gpt-swift mini_gpt_swift "$text" 1 100
run gpt-none mini_gpt "$text" none 100
if cmp "$out/gpt-c.txt" "$out/gpt-swift.txt"; then good; else bad "the trainers in C and Swift differ"; fi
# log 256 = 5.55 is what guessing costs.
holds "the GPT learns" "$(after gpt-c 'validation loss')" '<' 3.4
holds "the GPT learns without clipping" "$(after gpt-none 'validation loss')" '<' 3.4
holds "some steps are clipped" "$(before gpt-c 'of 100 steps clipped')" '>' 0 '&&' "$(before gpt-c 'of 100 steps clipped')" '<' 50
holds "'none' clips none" "$(before gpt-none 'of 100 steps clipped')" '==' 0

# --------------------------------------------------------- mixed precision --
# shellcheck disable=SC2086
build c/mixed_precision gcc $strict -O3 -ffp-contract=off mixed_precision.c $flags -lm
run mixed mixed_precision "$digits" 0.3
run mixed-none mixed_precision "$digits" none
holds "it reads digits" "$(before mixed 'of 297 test digits right')" '>=' 260
holds "without clipping it does not" "$(before mixed-none 'of 297 test digits right')" '<' 240
holds "the scale is too large at first, and then now and again" "$(before mixed skipped)" '>=' 3 '&&' "$(before mixed skipped)" '<' 20
grep -q 'gradients overflowed, the first is' "$out/mixed.txt" && good || bad "no overflow is reported"

# -------------------------------------------- the norm as backward goes along --
# shellcheck disable=SC2086
build c/accumulate_backward gcc $strict -O3 -march=native accumulate_backward.c $flags -lm
run accumulate accumulate_backward "$digits" 1
run accumulate-inf accumulate_backward "$digits" none inf
sed -n 's/^the norm of/p = 2: the norm of/p' "$out/accumulate.txt"
sed -n 's/^the norm of/p = inf: the norm of/p' "$out/accumulate-inf.txt"
holds "it reads digits" "$(before accumulate 'of 297 test digits right')" '>=' 240
for name in accumulate accumulate-inf; do
    grep -q '^norms with the same bits: 12 of 12$' "$out/$name.txt" && good || bad "$name: norms differ by how they are added up"
done

# -------------------------- choosers, in place and deferred, in C and in C++ --
# No fused multiplications here either: a rule has one log, whatever it is combined with.
# shellcheck disable=SC2086
{
    build c/choose_max_norm gcc $strict -O3 -ffp-contract=off choose_max_norm.c $flags -lm
    build cpp/choose_max_norm_cpp g++ -std=c++17 -O3 -ffp-contract=off -Wall -Wextra -Werror -I../../c/examples \
        choose_max_norm.cpp $flags
}
for rule in zclip autoclip adagc skipstep; do
    for way in in-place deferred accumulated; do
        [ "$way $rule" != "accumulated adagc" ] || continue
        for program in choose_max_norm choose_max_norm_cpp; do
            if "$out/$program" "$digits" "$way" "$rule" >"$out/$rule-$way-$program.csv" 2>"$out/$rule.txt"; then good; else
                bad "$program $way $rule: $(cat "$out/$rule.txt")"
            fi
            if cmp "$out/$rule-in-place-choose_max_norm.csv" "$out/$rule-$way-$program.csv"; then good; else
                bad "$program: the log of $way $rule is not that of in-place $rule"
            fi
            holds "$rule, $way: it reads digits" "$(before "$rule" 'of 297 test digits right')" '>=' 250
        done
    done
done
# The bright batch is clipped or skipped, the infinite pixel is skipped, and all steps are logged.
for rule in zclip:clip autoclip:clip adagc:clip skipstep:skip; do
    awk -F, -v bright="${rule#*:}" 'NR == 101 { a = $1 == 100 && $10 == bright } NR == 201 { b = $1 == 200 && $10 == "skip" && $6 > 0 }
        END { exit !(a && b && NR == 301) }' "$out/${rule%:*}-deferred-choose_max_norm.csv" && good ||
        bad "${rule%:*}: steps 100 and 200 are not logged as ${rule#*:} and skip"
done

# ------------------------------------------------------- dlib and libtorch --
# Without optimisation libtorch's headers compile in a third of the time; its kernels
# are in its library.
# shellcheck disable=SC2046,SC2086
{
    build cpp/dlib_digits g++ -std=c++17 -O1 -Wall -I../../c/examples dlib_digits.cpp $flags -ldlib
    build cpp/libtorch_digits g++ -std=c++17 -O0 -I../../c/examples -I/usr/include/torch/csrc/api/include \
        libtorch_digits.cpp $flags -ltorch -ltorch_cpu -lc10
}
for trainer in dlib_digits libtorch_digits; do
    run "$trainer" "$trainer" "$digits" 0.3 0.5
    run "$trainer-none" "$trainer" "$digits" none 0.5
    holds "$trainer reads digits" "$(before $trainer 'of 297 test digits right')" '>=' 250
    holds "$trainer does not without clipping" "$(before $trainer-none 'of 297 test digits right')" '<' 150
done
# Its exit status says that gradclip and torch's own clipping in double agree.
grep '^norms apart' "$out/libtorch_digits.txt"

echo "examples: $passed passed, $failed failed"
[ "$failed" = 0 ]
