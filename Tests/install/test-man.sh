#!/bin/sh
# The manual pages are clean for mandoc and groff. gradclip(3) lists every function of the header
# with its whole prototype, and each function has a page that begins with it.
. "$(dirname "$0")/common.sh"

make_quietly install DESTDIR="$work/stage" PREFIX=/usr
man=$work/stage/usr/share/man
pages=0
for page in "$man"/man3/*.3; do
    if grep -q '^\.so' "$page"; then continue; fi
    # (That the pages it names exist is looked at below.)
    mandoc -Tlint -Wstyle "$page" | grep -v 'STYLE: referenced manual not found' >"$work/lint" || :
    groff -ww -mdoc -Tutf8 -z "$page" 2>>"$work/lint"
    if [ -s "$work/lint" ]; then
        cat "$work/lint" >&2
        fail "mandoc or groff has something to say about $(basename "$page")"
    fi
    sed -n 's/^\.Xr \([a-z0-9_]*\) 3.*/\1/p' "$page" >"$work/named"
    while read -r name; do [ -e "$man/man3/$name.3" ] || fail "$(basename "$page") names $name(3), which is not there"; done <"$work/named"
    pages=$((pages + 1))
done
mandoc -Tutf8 "$man/man3/gradclip.3" | col -bx | tr -s " \n" " " | sed "s,\* ,*,g" >"$work/text"
# Prototypes as the compiler sees them.
printf '#include "gradclip.h"\n' | gcc -E -x c -I"$root/include" - |
    awk '/^# [0-9]+ "/ { own = index($0, "gradclip.h\"") > 0; next } own' | tr -s ' \n' ' ' |
    grep -oE '[a-z_0-9 ]+[ *]+gradclip_[a-z0-9_]+\([^()]*\);' | sed "s,^ *,,;s,\* ,*,g" >"$work/prototypes"
count=0
while read -r prototype; do
    grep -qF "$prototype" "$work/text" || fail "not in the page: $prototype"
    function=$(echo "$prototype" | sed 's/.*[ *]\(gradclip_[a-z0-9_]*\)(.*/\1/')
    # Its description, too: named a second time, as a heading.
    [ "$(grep -oE "$function\([^)]*\)" "$work/text" | wc -l)" -ge 2 ] || fail "$function has no description"
    # And a page, its own or that of another function, which has it among its names and prototypes.
    page=$man/man3/$function.3
    [ -e "$page" ] || fail "there is no page $function(3)"
    case $(cat "$page") in .so*) page=$man/$(sed 's/^\.so //' "$page") ;; esac
    sed '/^\.Nd/q' "$page" | grep -qx "\.Nm $function\( ,\)\?" || fail "$function(3) does not begin with $function"
    mandoc -Tutf8 "$page" | col -bx | tr -s " \n" " " | sed "s,\* ,*,g" | grep -qF "$prototype" || fail "$function(3) lacks $prototype"
    count=$((count + 1))
done <"$work/prototypes"
[ "$count" = "$("$root/packaging/exports.sh" | wc -l)" ] || fail "$count prototypes found, but the library exports another number"
for function in chooser_clip accumulator_clip clip_grad_norm_to_f64 scale; do
    MANPATH=$man man 3 "gradclip_$function" >"$work/shown" 2>/dev/null || fail "man finds no gradclip_$function"
    sed -n '/^NAME/,/^LIBRARY/p' "$work/shown" | grep -q "gradclip_$function" || fail "man gradclip_$function opens elsewhere"
    grep -q 'SEE ALSO' "$work/shown" || fail "man gradclip_$function leads nowhere"
done
# What a chooser's call fills in stands on its page.
MANPATH=$man man 3 gradclip_chooser_clip | grep -q 'double threshold;' || fail "gradclip_chooser_clip(3) lacks the decision"
ok "$pages manual pages: clean for mandoc and groff, $count functions"
