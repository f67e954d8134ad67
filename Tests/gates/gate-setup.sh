#!/bin/sh
# make setup, make demo, make test and CI go by one list of Debian packages; what is missing is said first, in a line
# that can be pasted, and a machine that has all of it is told nothing.
. "$(dirname "$0")/common.sh"

list=$root/packaging/debian-packages.txt
# A machine with sh, sed and the like, and nothing of the list.
bare=$work/bare
rm -rf "$bare"
mkdir -p "$bare"
for program in sh dirname id; do ln -s "$(command -v $program)" "$bare/$program"; done
for what in "" demo; do
    # shellcheck disable=SC2086
    said=$(env -i PATH="$bare" sh "$root/packaging/setup.sh" --check $what 2>&1) && fail "--check $what misses nothing on a bare machine"
    [ "$(echo "$said" | wc -l)" = 2 ] || fail "--check $what says not two lines (packages, Swift): $said"
    command=$(echo "$said" | sed -n 's/^gradclip: missing: .*: \(sudo apt-get install -y --no-install-recommends .*\)$/\1/p')
    [ -n "$command" ] || fail "--check $what has no line to paste: $said"
    count=0
    for package in ${command#*--no-install-recommends }; do
        grep -qE "^([+=] )?$package " "$list" || fail "$package is not in the list"
        count=$((count + 1))
    done
    [ "$count" -ge 3 ] || fail "--check $what names only $count packages"
    counts="${counts:-}$count "
    echo "$said" | grep -q 'Swift 6.3 or newer is missing, too: https://www.swift.org/install' || fail "--check $what does not say where Swift is"
done
[ "${counts%% *}" -gt "$(echo "$counts" | cut -d' ' -f2)" ] || fail "make demo asks for as much as make test: $counts"
# It comes before all else, and CI takes the same way.
for goal in demo test; do
    (cd "$root" && make -n "$goal" 2>/dev/null | head -n 1) | grep -q 'packaging/setup.sh --check' || fail "make $goal does not look first"
done
[ "$(grep -m 1 '^make' "$root/.ci/run")" = "make setup" ] || fail ".ci/run does not begin with make setup"
for two in "make setup demo" "make setup test"; do grep -q "^$two " "$root/README.md" || fail "README.md has no $two"; done
grep -q 'apt-get' "$root/.ci/run" "$root/README.md" && fail "packages are named outside of the list"
"$root/packaging/setup.sh" --check || fail "this machine runs the gates and misses something"
ok "what is missing is said first, in a line to paste: ${counts% } packages at most for make test, make demo"
