#!/bin/sh
# The archive of `make dist`, in a clean folder of somebody without Swift: what its
# README says works there, and its wheel installs. Made twice it has the same bytes.
. "$(dirname "$0")/common.sh"

make_quietly dist
name=gradclip-$version-linux-$(uname -m)
archive=$build/archive/$name.tar.gz
cp "$archive" "$work/first.tar.gz"
make_quietly dist
cmp "$archive" "$work/first.tar.gz" || fail "the same tree gives another archive"
(cd "$build/archive" && sha256sum --quiet -c "$name.tar.gz.sha256") || fail "the checksum beside the archive is not its own"
tar -tvzf "$archive" --numeric-owner >"$work/listing"
if awk '$2 != "0/0"' "$work/listing" | grep .; then fail "an owner is not 0"; fi
[ "$(awk '{ print $4, $5 }' "$work/listing" | sort -u | wc -l)" = 1 ] || fail "the files are of different ages"
if awk '{ print $6 }' "$work/listing" | grep -v "^$name/"; then fail "a file lies outside of $name"; fi

place="$work/a clean folder"
mkdir "$place"
tar -xzf "$archive" -C "$place"
GRADCLIP=$place/$name
if grep -rlF -e "$root" -e "$build" "$GRADCLIP" >&2; then fail "these files name a folder of this machine"; fi
# alone COMMAND...: without Swift, and without anything else of this environment.
alone() { env -i PATH=/usr/bin:/bin LC_ALL=C HOME="$work" GRADCLIP="$GRADCLIP" "$@"; }
if alone sh -c 'command -v swift swiftc' >&2; then fail "there is Swift in /usr/bin or /bin"; fi
for library in "$GRADCLIP"/lib/libgradclip.so "$GRADCLIP"/lib/libgradclip.a; do
    if nm -D "$library" 2>/dev/null | grep -i ' U .*swift' >&2; then fail "$library needs Swift"; fi
done

# The commands of its README: two compile a program, one asks pkg-config, one is CMake's, one trains.
mkdir "$work/user"
cp "$here/program.c" "$work/user/program.c"
sed -n '/^## Use it/,/^## Or/{/^```sh/,/^```/{/^```/d;p;}}' "$GRADCLIP/README.md" >"$work/commands"
[ "$(wc -l <"$work/commands")" = 5 ] || fail "README.md has another number of commands"
for number in 1 2; do
    (cd "$work/user" && rm -f a.out && must "README.md" alone sh -c "$(sed -n "${number}p" "$work/commands")" && must "its program" alone ./a.out)
done
flags=$(alone sh -c "$(sed -n 3p "$work/commands")")
(cd "$work/user" && eval "must pkg-config alone gcc program.c $flags" && must "its program" alone LD_LIBRARY_PATH="$GRADCLIP/lib" ./a.out)
{
    printf 'cmake_minimum_required(VERSION 3.13)\nproject(user C)\nadd_executable(trainer program.c)\n'
    sed -n '/^```cmake/,/^```/{/^```/d;p;}' "$GRADCLIP/README.md"
} >"$work/user/CMakeLists.txt"
(cd "$work/user" && must "README.md's CMake" alone sh -c "$(sed -n 4p "$work/commands")" && must "its build" alone cmake --build build)
must "its trainer" alone "$work/user/build/trainer"
# The example, the sources of the other languages, and the pages.
must "README.md's example" alone sh -c "$(sed -n 5p "$work/commands") STEPS=100"
# A C++ example is compiled in its folder as its head says, and reads what lies beside it.
(cd "$GRADCLIP/bindings/cpp/examples" &&
    sed -n 's/^ \* *\(c++ .*choose_max_norm.cpp .*\)-o choose_max_norm/\1 -o "$OUT"/p; s/^ \* *\.\/choose_max_norm \(.*\) > run.csv/"$OUT" \1/p' choose_max_norm.cpp >"$work/head.sh" &&
    [ "$(wc -l <"$work/head.sh")" = 2 ] || fail "the head of choose_max_norm.cpp has other commands"
    must "choose_max_norm.cpp" env CPATH="$GRADCLIP/include" LIBRARY_PATH="$GRADCLIP/lib" LD_LIBRARY_PATH="$GRADCLIP/lib" \
        OUT="$work/choose_max_norm" sh -e "$work/head.sh")
python3 - "$GRADCLIP" <<'PYTHON' || fail "a page leads nowhere"
import pathlib, re, sys
pages = list(pathlib.Path(sys.argv[1]).rglob("*.md"))
links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)\s:#]+)(?:#[^)\s]*)?\)", page.read_text(encoding="utf-8"))]
dead = [f"{page}: {link}" for page, link in links if not (page.parent / link).exists()]
sys.exit("\n".join(dead) or (None if len(pages) > 15 and len(links) > 50 else "there are too few pages"))
PYTHON
(cd "$GRADCLIP/bindings/rust" && must "the Rust crate" env GRADCLIP_LIB_DIR="$GRADCLIP/lib" CARGO_TARGET_DIR="$work/rust" \
    cargo build --offline --locked --quiet)
(cd "$GRADCLIP/bindings/go" && must "the Go package" env CGO_CFLAGS="\"-I$GRADCLIP/include\"" CGO_LDFLAGS="\"-L$GRADCLIP/lib\"" \
    GOFLAGS=-mod=mod GOPROXY=off go build .)
alone man -M "$GRADCLIP/share/man" 3 gradclip_clip_coef >"$work/page" 2>/dev/null || fail "man finds nothing"
grep -q 'max_norm' "$work/page" || fail "man shows nothing"

# The wheel, which needs no other package and no network.
must "a virtual environment" alone /usr/bin/python3 -m venv "$work/venv"
must "pip install" alone "$work/venv/bin/python" -m pip install --no-index --disable-pip-version-check "$GRADCLIP"/python/*.whl
alone "$work/venv/bin/python" -I - >"$work/python.txt" <<'PYTHON' || fail "the wheel does not work"
import array, sys, gradclip
grad = array.array("f", [3, 4])
norm = gradclip.clip_grad_norm_([grad], max_norm=2.5, eps=0)
assert (norm, list(grad)) == (5, [1.5, 2]), (norm, grad)
print(gradclip.__version__, gradclip.__file__.startswith(sys.prefix))
PYTHON
[ "$(cat "$work/python.txt")" = "$version True" ] || fail "the wheel is another: $(cat "$work/python.txt")"
ok "$name.tar.gz, $(wc -c <"$archive") bytes, the same twice; compiled, linked and pip installed from it without Swift"
