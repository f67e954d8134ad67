#!/bin/sh
# gradclip(3) is clean for mandoc and groff, lists every function of the header with
# its whole prototype, and is found under each one's name.
. "$(dirname "$0")/common.sh"

make_quietly install DESTDIR="$work/stage" PREFIX=/usr
man=$work/stage/usr/share/man
mandoc -Tlint -Wstyle "$man/man3/gradclip.3" >&2 || fail "mandoc has something to say"
groff -ww -mdoc -Tutf8 -z "$man/man3/gradclip.3" 2>"$work/groff"
if [ -s "$work/groff" ]; then
    cat "$work/groff" >&2
    fail "groff has something to say"
fi
mandoc -Tutf8 "$man/man3/gradclip.3" | col -bx | tr -s " \n" " " | sed "s,\* ,*,g" >"$work/text"
# Prototypes as the compiler sees them.
printf '#include "gradclip.h"\n' | gcc -E -x c -I"$root/include" - |
    awk '/^# [0-9]+ "/ { own = index($3, "gradclip.h") > 0; next } own' | tr -s ' \n' ' ' |
    grep -oE '[a-z_0-9 ]+[ *]+gradclip_[a-z0-9_]+\([^()]*\);' | sed "s,^ *,,;s,\* ,*,g" >"$work/prototypes"
count=0
while read -r prototype; do
    grep -qF "$prototype" "$work/text" || fail "not in the page: $prototype"
    function=$(echo "$prototype" | sed 's/.*[ *]\(gradclip_[a-z0-9_]*\)(.*/\1/')
    # Its description, too: named a second time, as a heading.
    [ "$(grep -oE "$function\([^)]*\)" "$work/text" | wc -l)" -ge 2 ] || fail "$function has no description"
    [ "$(cat "$man/man3/$function.3")" = ".so man3/gradclip.3" ] || fail "there is no page $function(3)"
    count=$((count + 1))
done <"$work/prototypes"
[ "$count" = "$(grep -cE '^ +gradclip_[a-z0-9_]+;' "$root/exports.map")" ] || fail "$count prototypes found, but the library exports another number"
MANPATH=$man man 3 gradclip_scale >"$work/scale" 2>/dev/null || fail "man finds no gradclip_scale"
grep -q "gradient clipping for native trainers" "$work/scale" || fail "man gradclip_scale shows another page"
ok "gradclip(3): clean for mandoc and groff, $count functions"
