#!/bin/sh
# What a folder's name must not have, make says in one line; it takes all else (reproducible.sh builds there).
. "$(dirname "$0")/common.sh"

at() { # NAME: what make says in a folder of that name
    rm -rf "$work/names"
    mkdir -p "$work/names"
    ln -s "$root" "$work/names/$1"
    (cd "$work/names/$1" && make -n clean 2>&1)
}
for name in 'a:b' 'a,b' 'a"b' 'a$b' 'a\b'; do
    said=$(at "$name") && fail "make begins in a folder named $name"
    [ "$(echo "$said" | wc -l)" = 1 ] || fail "in a folder named $name make says more than a line: $said"
    case $said in *"the name of this folder has one of"*) ;; *) fail "in a folder named $name make says: $said" ;; esac
done
said=$(at "a folder (ü)'s & more; 50%") || fail "make refuses spaces, quotes, parentheses: $said"
rm -rf "$work/names"
ok "make says in a line which characters a folder's name must not have, and takes others"
