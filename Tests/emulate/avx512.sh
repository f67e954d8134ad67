#!/bin/bash
# Run a program on an emulated CPU that has AVX-512 (x86-64-v4), for machines
# that have none: QEMU does not emulate AVX-512, Bochs does. Bochs emulates a
# whole PC, so the program is packed with all it needs into an initramfs and
# booted with Debian's smallest kernel.
#
#   avx512.sh [-c MODEL] [-f FILE]... [-m MEGABYTES] [-t SECONDS] PROGRAM [ARGUMENTS...]
#
#   -c MODEL      the CPU, as Bochs names it (`bochs --help cpu`): corei7_skylake_x, or
#                 corei3_cnl, which has AVX-512 IFMA too
#   -f FILE       pack this file or folder too. PROGRAM, the arguments that are
#                 files, and the shared libraries of all those are packed unasked.
#   -m MEGABYTES  memory of the PC (512), the packed files included
#   -t SECONDS    give up after that long (600)
#
# Files keep their absolute path and the program starts in the current
# directory, with GRADCLIP_* and LD_LIBRARY_PATH of the environment. What it
# prints, standard error included, is printed here as it comes; its exit status
# is the script's. 124: time was up; 125: the emulation itself failed.
#
# Several programs in one boot:
#   avx512.sh -f build/tests/a -f build/tests/b sh -c 'build/tests/a && build/tests/b'
#
# Debian packages: bochsbios busybox-static cpio isolinux syslinux-common vgabios
# xorriso; and Bochs: what build-bochs.sh made, otherwise the package bochs.
# The kernel is never installed: it is taken out of the package that
# `apt-get download` fetches, once, and kept in build/emulate; or set
# AVX512_KERNEL to a kernel image (bzImage) with its 8250 console built in.
set -euo pipefail

fail() { echo "avx512.sh: $*" >&2; exit 125; }
usage() { fail "usage: avx512.sh [-c MODEL] [-f FILE]... [-m MEGABYTES] [-t SECONDS] PROGRAM [ARGUMENTS...]"; }

memory=512 seconds=600 files=() cpu=corei7_skylake_x
while getopts c:f:m:t: option; do
    case $option in
        c) cpu=$OPTARG ;;
        f) [ -e "$OPTARG" ] || fail "-f $OPTARG: no such file"; files+=("$OPTARG") ;;
        m) memory=$OPTARG ;;
        t) seconds=$OPTARG ;;
        *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage
[ "$memory" -ge 128 ] 2>/dev/null || fail "-m $memory: not a number of at least 128"
program=$(type -P "$1") || fail "$1: no such program"

# -------------------------------------------------------------- what it takes
here=$(cd "$(dirname "$0")" && pwd)
cache=$(cd "$here/../.." && pwd)/build/emulate
# Debian's Bochs has no display that is none, so it gets one of those that the
# package bochs always has: a VNC server that nobody need visit.
bochs=$cache/bochs display=nogui
[ -x "$bochs" ] || bochs=bochs display='rfb, options="timeout=0"'
isolinux=/usr/lib/ISOLINUX/isolinux.bin
loader=/usr/lib/syslinux/modules/bios/ldlinux.c32
bios=/usr/share/bochs/BIOS-bochs-latest
vga_bios=/usr/share/vgabios/vgabios.bin
missing=()
need() { if ! [ -e "$1" ] && ! type -P "$1" >/dev/null; then missing+=("$2"); fi; }
need "$bochs" bochs
need $vga_bios vgabios
need $bios bochsbios
need busybox busybox-static
need cpio cpio
need $isolinux isolinux
need $loader syslinux-common
need xorriso xorriso
[ ${#missing[@]} = 0 ] || fail "missing; on Debian: apt-get install --no-install-recommends $(printf '%s\n' "${missing[@]}" | sort -u | xargs)"

work=$(mktemp -d)
emulator=
# shellcheck disable=SC2317,SC2329  # called by the trap
clean_up() {
    if [ -n "$emulator" ]; then kill "$emulator" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

case $("$bochs" --help 2>&1 || true) in
    *"Emulator 2."*) echo "avx512.sh: this Bochs is slow and rounds float16 wrongly: run $here/build-bochs.sh once" >&2 ;;
esac
kernel=${AVX512_KERNEL:-$cache/vmlinuz}
if [ ! -e "$kernel" ]; then
    [ -z "${AVX512_KERNEL:-}" ] || fail "AVX512_KERNEL: no file $kernel"
    # linux-image-cloud-amd64 is empty; the kernel is in what it depends on.
    package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image-/ { print $2; exit }') || true
    [ -n "$package" ] || fail "no kernel: apt knows no linux-image-cloud-amd64 (apt-get update?); or set AVX512_KERNEL"
    echo "avx512.sh: fetching the kernel of $package" >&2
    (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$package" >&2) || fail "cannot download $package"
    dpkg -x "$work"/linux-image-*.deb "$work/package"
    mkdir -p "$(dirname "$kernel")"
    cp "$work"/package/boot/vmlinuz-* "$kernel.$$"
    mv "$kernel.$$" "$kernel"
fi

# --------------------------------------------------------------- the initramfs
root=$work/root
mkdir -p "$root"/{bin,dev,proc,tmp}

pack() { # FILE: copy it to the same place in the initramfs, and its libraries
    local path library
    path=$(realpath -s "$1")
    [ -e "$root$path" ] && return
    mkdir -p "$root$(dirname "$path")"
    cp -rL "$path" "$root$path"
    [ -f "$path" ] || return 0
    for library in $(ldd "$path" 2>/dev/null | grep -o '/[^ ]*'); do
        [ -e "$root$library" ] || install -D "$library" "$root$library"
    done
}

quoted() { # WORDS: as a shell reads them
    local word
    for word; do printf " '%s'" "${word//\'/\'\\\'\'}"; done
}

pack "$program"
for file in "${files[@]}"; do pack "$file"; done
for file in "${@:2}"; do if [ -f "$file" ]; then pack "$file"; fi; done
busybox=$(type -P busybox)
pack "$busybox"
mkdir -p "$root$PWD"

# The exit status comes back as a line of its own, after a control character.
{
    echo "#!$busybox sh"
    echo "$busybox --install -s /bin 2>/dev/null"
    cat <<'INIT'
mount -t proc proc /proc
mount -t devtmpfs dev /dev
stty -F /dev/ttyS0 -onlcr
finish() { printf '\001%s\n' "$1"; stty -F /dev/ttyS0 -onlcr; reboot -f; }
for feature in avx512f avx512bw avx512cd avx512dq avx512vl; do
    grep -q "^flags.* $feature " /proc/cpuinfo || finish "no $feature"
done
INIT
    for name in "${!GRADCLIP_@}" LD_LIBRARY_PATH; do
        [ -z "${!name+set}" ] || echo "export $name=$(quoted "${!name}" | cut -c2-)"
    done
    echo "cd$(quoted "$PWD")"
    echo "$(quoted "$(realpath -s "$program")" "${@:2}") </dev/null"
    echo 'finish $?'
} >"$root/init"
chmod +x "$root/init"

# ---------------------------------------------------------------- the boot disc
# The command line, after the console and how to end (a triple fault, at which
# Bochs exits): Bochs counts one tick of the time stamp counter per instruction,
# whatever the model says about its frequency; its CPUID understates the size of
# compacted XSAVE states, for which the kernel would turn AVX off; the rest
# leaves out what only takes time.
ips=20000000
disc=$work/disc/isolinux
mkdir -p "$disc"
(cd "$root" && find . | cpio --quiet -o -H newc) >"$disc/initrd"
cp "$kernel" "$disc/linux"
cp $isolinux $loader "$disc"
cat >"$disc/isolinux.cfg" <<END
default linux
label linux
  linux linux
  initrd initrd
  append console=ttyS0 loglevel=1 panic=-1 reboot=t tsc=reliable tsc_early_khz=$((ips / 1000)) clearcpuid=xsavec,xsaves nosmp acpi=off pci=off mitigations=off cryptomgr.notests
END
xorriso -as mkisofs -quiet -o "$work/disc.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
    -no-emul-boot -boot-load-size 4 -boot-info-table "$work/disc" >"$work/xorriso.log" 2>&1 ||
    fail "cannot make the boot disc: $(cat "$work/xorriso.log")"

# ---------------------------------------------------------------------- the PC
cat >"$work/bochsrc" <<END
cpu: model=$cpu, count=1, ips=$ips, reset_on_triple_fault=0
memory: guest=$memory, host=$memory
romimage: file=$bios
vgaromimage: file=$vga_bios
vga: extension=none, realtime=0, update_freq=1
display_library: $display
speaker: enabled=0
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path="$work/disc.iso", status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev="$work/serial"
clock: sync=none
log: $work/bochs.log
info: action=ignore
error: action=ignore
panic: action=fatal
END
# Debian's Bochs starts in its debugger, hence the c (continue).
touch "$work/serial"
timeout "$seconds" "$bochs" -q -f "$work/bochsrc" <<<c >"$work/bochs.out" 2>&1 &
emulator=$!

result=
while IFS= read -r line || [ -n "$line" ]; do
    case $line in
        *$'\001'*) result=${line#*$'\001'}; printf %s "${line%%$'\001'*}" ;;
        *) [ -n "$result" ] || printf '%s\n' "$line" ;; # after it, the kernel says goodbye
    esac
done < <(tail -c +1 -f -s 0.2 --pid=$emulator "$work/serial")
bochs_status=0
wait $emulator || bochs_status=$?
emulator=

case $result in
    [0-9]*) exit "$result" ;;
    '') ;;
    *) fail "the emulated CPU cannot run x86-64-v4: $result" ;;
esac
if [ "$bochs_status" = 124 ]; then
    echo "avx512.sh: not finished after $seconds s" >&2
    exit 124
fi
tail -n 15 "$work/bochs.out" "$work/bochs.log" >&2 2>/dev/null || true
fail "the emulated PC ended (status $bochs_status) before the program did"
