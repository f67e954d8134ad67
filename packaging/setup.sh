#!/bin/sh
# packaging/setup.sh [--check [demo]]: the Debian packages of debian-packages.txt that are missing, installed
# (with sudo where that is needed). --check only says in one line, which can be pasted, what is missing,
# and fails then; for `make demo`, or for `make test`.
set -eu
list=$(cd "$(dirname "$0")" && pwd)/debian-packages.txt
has() { # a program, or a file
    case $1 in
    /*) for file in $1; do [ -e "$file" ] && return; done; return 1 ;;
    *) command -v "$1" >/dev/null ;;
    esac
}
missing= programs=
while read -r package needed; do
    case $package in
    '' | '#'*) continue ;;
    +) package=${needed%% *} needed=${needed#* } ;;
    =) [ $# = 0 ] || continue; package=${needed%% *} needed=${needed#* } ;;
    *) [ "${2:-}" != demo ] || continue ;;
    esac
    for one in $needed; do
        has "$one" && continue
        case " $missing " in *" $package "*) ;; *) missing="$missing $package" ;; esac
        programs="$programs ${one##*/}"
    done
done <"$list"
missing=${missing# }
if [ "${1:-}" = --check ]; then
    swift=
    command -v swift >/dev/null || swift=" Swift 6.3 or newer is missing, too: https://www.swift.org/install"
    [ -z "$missing$swift" ] && exit
    [ -z "$missing" ] || echo "gradclip: missing:$programs. On Debian and Ubuntu: sudo apt-get install -y --no-install-recommends $missing" >&2
    [ -z "$swift" ] || echo "gradclip:$swift" >&2
    exit 1
fi
if [ -z "$missing" ]; then
    echo "setup: nothing is missing"
    exit
fi
command -v apt-get >/dev/null || { echo "setup: knows Debian and Ubuntu only (there is no apt-get); missing:$programs" >&2; exit 1; }
sudo=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "setup: needs root, or sudo: apt-get install -y --no-install-recommends $missing" >&2; exit 1; }
    sudo=sudo
fi
$sudo apt-get update -q
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
