#!/bin/sh
# Train char_rnn with and without clipping. Started by the Makefile beside it,
# which sets OUT, SEED, SEEDS, MAX_NORM, LEARNING_RATE, STEPS, JOBS and TEXT.
#
#   demo.sh [SETTING ...]
#
# First SEED without and with clipping: progress, the final losses and a sample
# of text from each. Then every seed of SEEDS with every SETTING, which is
# max_norm:learning_rate ("none" for no clipping), and a table of final losses.
# A run leaves OUT/seed-SEED-MAX_NORM-RATE.csv (its log) and .txt (its result).
set -eu
export LC_ALL=C

# The files of a run, the loss it ended with, and how many steps it clipped.
name() { echo "$OUT/seed-$1-$2-$3"; }
final_loss() { sed -n 's/^final loss \([^ ]*\) .*/\1/p' "$(name "$@").txt"; }
clipped() { sed -n 's/^final loss .*), \([0-9]*\) of .*/\1/p' "$(name "$@").txt"; }

# demo.sh --train SEED MAX_NORM RATE: one run, for xargs. Progress goes to stderr.
if [ "${1-}" = --train ]; then
    shift
    "$OUT/char_rnn" --seed "$1" --max-norm "$2" --learning-rate "$3" --steps "$STEPS" \
        --log "$(name "$@").csv" "$TEXT" >"$(name "$@").part"
    mv "$(name "$@").part" "$(name "$@").txt"
    exit
fi

# Lines of SEED MAX_NORM RATE on stdin, JOBS at a time.
train_all() { xargs -P "$JOBS" -n 3 sh "$0" --train; }

rm -f "$OUT"/seed-*.csv "$OUT"/seed-*.txt
echo "Training on $TEXT, seed $SEED, learning rate $LEARNING_RATE, with and without clipping:"
printf '%s\n' "$SEED none $LEARNING_RATE" "$SEED $MAX_NORM $LEARNING_RATE" | train_all
for max_norm in none "$MAX_NORM"; do
    echo
    echo "==== seed $SEED, max_norm $max_norm, learning rate $LEARNING_RATE ===="
    cat "$(name "$SEED" "$max_norm" "$LEARNING_RATE").txt"
done

[ $# -gt 0 ] || exit 0
echo
echo "Final loss by seed, nats per character; in brackets how many of $STEPS steps were clipped:"
for seed in $SEEDS; do
    for setting; do
        max_norm=${setting%%:*} rate=${setting#*:}
        test -f "$(name "$seed" "$max_norm" "$rate").txt" || echo "$seed $max_norm $rate"
    done
done | train_all 2>"$OUT/table.log" || { cat "$OUT/table.log" >&2; exit 1; }

# The table is Markdown, and lines up on a terminal as well.
printf '| seed |'
for setting; do printf ' %-26s |' "max_norm ${setting%%:*}, rate ${setting#*:}"; done
printf '\n|------|'
for setting; do printf -- '----------------------------|'; done
for seed in $SEEDS; do
    printf '\n| %-4s |' "$seed"
    for setting; do
        max_norm=${setting%%:*} rate=${setting#*:}
        cell=$(final_loss "$seed" "$max_norm" "$rate")
        [ "$max_norm" = none ] || cell="$cell ($(clipped "$seed" "$max_norm" "$rate"))"
        printf ' %-26s |' "$cell"
    done
done
echo
