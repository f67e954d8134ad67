#!/bin/sh
# Tests/gates/abi/stub.sh HEADER MAP OUTPUT.so FACTS: a library that has a definition
# for each function of the header, and nothing in it: what a program that was built with
# that header knows of the library. libabigail reads it. CONSTANTS receives the header's
# constants as text, since no function's type leads to them.
set -eu
header=$1 map=$2 output=$3 facts=$4
printf '#include "%s"\n' "$header" >"$output.c"
gcc -E -P "$output.c" | tr '\n' ' ' | tr ';' '\n' | sed 's/^.*extern "C" {//' |
    grep -E '^[^={]*\bgradclip_[a-z0-9_]+ *\(.*\) *$' | grep -v typedef | sed 's/ *$/ { __builtin_trap(); }/' >"$output.functions"
[ -s "$output.functions" ] || { echo "stub.sh: no function in $header" >&2; exit 1; }
cat "$output.functions" >>"$output.c"
gcc -std=c11 -g -O0 -Wall -Wextra -Wno-unused-parameter -Werror -shared -fPIC -Wl,--version-script="$map" -Wl,-soname,libgradclip.so.1 -o "$output" "$output.c"

# Enumerators and macros with a number (versions differ from one header to the next), and
# the members of structs: offset, size, type.
{
    printf '#include <stdio.h>\n#include "%s"\nint main(void) {\n' "$header"
    {
        gcc -E -P -include "$header" -x c /dev/null | grep -oE '\bGRADCLIP_[A-Z0-9_]+ *=' | tr -d ' ='
        sed -nE 's/^#define (GRADCLIP_[A-Z0-9_]+) .*/\1/p' "$header" | grep -v '^GRADCLIP_VERSION'
    } | sort -u | sed 's/.*/printf("%s %lld\\n", "&", (long long)&);/'
    gcc -E -P -include "$header" -x c /dev/null | awk '
        /^typedef struct gradclip_[a-z_]+ \{$/ { name = $3; next }
        /^}/ { name = "" }
        name { sub(/;.*/, ""); member = $NF; sub(/^\*/, "", member); $1 = $1
               printf "printf(\"%s.%s at %%zu, %%zu bytes: %s\\n\", offsetof(%s, %s), sizeof(((%s *)0)->%s));\n", name, member, $0, name, member, name, member }'
    printf 'return 0;\n}\n'
} >"$output.facts.c"
gcc -std=c11 -o "$output.facts" "$output.facts.c"
"$output.facts" | sort >"$facts"
