#!/bin/sh
# packaging/strip.sh LIBRARY OUTPUT: what is shipped: no debug information, no symbols but those that
# leave the library. .swift_modhash, hashes that nobody reads and that come from folders' names, becomes
# zeros: where a section that is loaded is taken out, binutils drop GNU_RELRO with it.
set -eu
library=$1 output=$2
if [ "$(uname -s)" = Darwin ]; then exec strip -x -o "$output" "$library"; fi
trap 'rm -f "$output.hash" "$output.zeros"' EXIT
objcopy -O binary --only-section=.swift_modhash "$library" "$output.hash"
tr '\000-\377' '\000' <"$output.hash" >"$output.zeros"
if [ -s "$output.zeros" ]; then set -- --update-section ".swift_modhash=$output.zeros"; else set --; fi
objcopy --strip-unneeded -R .comment "$@" "$library" "$output"
