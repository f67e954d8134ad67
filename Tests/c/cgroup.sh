#!/bin/sh
# Tests/c/cgroup.sh PROGRAM: runs cgroup.c under real quotas of processor time: a cgroup is made, and
# seen as a service sees its own, below the root, and as a container does, mounted in the place of
# the whole in a namespace of its own. That takes root and a hierarchy that may be written; without,
# limits.c, which answers for the files, is all there is, and this says so.
set -eu
program=$1
unset GRADCLIP_NUM_THREADS
processors=$(nproc)
group=
if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
    for root in /sys/fs/cgroup/cpu /sys/fs/cgroup; do # version 1, version 2
        [ "$root" = /sys/fs/cgroup ] && ! grep -qw cpu "$root/cgroup.subtree_control" 2>/dev/null && continue
        if mkdir "$root/gradclip-test-$$" 2>/dev/null; then
            group=$root/gradclip-test-$$
            break
        fi
    done
fi
if [ -z "$group" ]; then
    echo "cgroup: no cgroup can be made here; limits.c stands for real ones"
    exit 0
fi
trap 'rmdir "$group"' EXIT

# quota PERCENT: of one processor; 0: none
quota() {
    micro=$(($1 * 1000))
    if [ -e "$group/cpu.max" ]; then
        [ "$1" -gt 0 ] || micro=max
        echo "$micro 100000" >"$group/cpu.max"
    else
        [ "$1" -gt 0 ] || micro=-1
        echo 100000 >"$group/cpu.cfs_period_us"
        echo "$micro" >"$group/cpu.cfs_quota_us"
    fi
}

# failed SEEN_HOW
failed() { echo "cgroup: a quota of $percent % of a processor, $1: FAILED" >&2; exit 1; }

for percent in 0 1 50 100 101 150 200 350; do
    quota "$percent"
    expected=$(((percent + 99) / 100))
    if [ "$percent" = 0 ] || [ "$expected" -gt "$processors" ]; then expected=$processors; fi
    unshare -m sh -c 'echo $$ >"$1/cgroup.procs" && mount --bind "$1" "$2" && exec "$3" "$4"' sh "$group" "$root" "$program" "$expected" ||
        failed "as a container sees it"
    sh -c 'echo $$ >"$1/cgroup.procs" && exec "$2" "$3"' sh "$group" "$program" "$expected" || failed "as the system's own services see it"
done
