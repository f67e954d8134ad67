/*
 * How many threads a process may use by itself: its affinity mask, its cgroup's quota,
 * GRADCLIP_NUM_THREADS. The quota comes from files; this program answers for them.
 */
#define _GNU_SOURCE
#include "check.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the files hold; NULL: there is no such file. */
static const char *cpu_max, *quota_us, *period_us;
/* Other files, "path:text" each, and what /proc/self/cgroup says. */
static const char *const *others, *own_cgroups = "0::/\n";
static int processors; /* the affinity mask has so many; 0: ask the system */

FILE *fopen(const char *path, const char *mode)
{
    FILE *(*open)(const char *, const char *);
    const char *text = NULL;
    *(void **)&open = dlsym(RTLD_NEXT, "fopen");
    if (!strcmp(path, "/proc/self/cgroup")) text = own_cgroups;
    else if (strncmp(path, "/sys/fs/cgroup/", 15)) return open(path, mode);
    else if (!strcmp(path, "/sys/fs/cgroup/cpu.max")) text = cpu_max;
    else if (!strcmp(path, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us")) text = quota_us;
    else if (!strcmp(path, "/sys/fs/cgroup/cpu/cpu.cfs_period_us")) text = period_us;
    for (size_t i = 0; others && others[i]; i++)
        if (!strncmp(others[i], path, strlen(path)) && others[i][strlen(path)] == ':') text = others[i] + strlen(path) + 1;
    return text && *text ? fmemopen((void *)(size_t)text, strlen(text), "r") : NULL;
}

int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set)
{
    int (*ask)(pid_t, size_t, cpu_set_t *);
    *(void **)&ask = dlsym(RTLD_NEXT, "sched_getaffinity");
    if (processors == 0) return ask(pid, size, set);
    CPU_ZERO_S(size, set);
    for (int i = 0; i < processors; i++) CPU_SET_S((size_t)(3 * i), size, set);
    return 0;
}

/* The library asks once in a process, so each case has one. */
static int threads_in_a_child(const char *environment, int of)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        processors = of;
        if (environment) setenv("GRADCLIP_NUM_THREADS", environment, 1);
        _exit((int)(gradclip_get_num_threads() - 1)); /* 1 to 256 */
    }
    if (pid > 0) waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) + 1 : -1;
}

static void quotas(void)
{
    enum { ANY = 0 };
    static const struct { const char *max, *quota, *period; int of, expected; } rows[] = {
        {NULL, NULL, NULL, 1, 1},
        {NULL, NULL, NULL, 7, 7},
        {NULL, NULL, NULL, 256, 256},
        {NULL, NULL, NULL, 300, 256},
        {"max 100000\n", NULL, NULL, 8, 8},
        {"200000 100000\n", NULL, NULL, 8, 2},
        {"250000 100000\n", NULL, NULL, 8, 3}, /* rounded up */
        {"50000 100000\n", NULL, NULL, 8, 1},
        {"1000 100000\n", NULL, NULL, 8, 1},
        {"1600000 100000\n", NULL, NULL, 8, 8}, /* more than there are */
        {NULL, "300000\n", "100000\n", 8, 3},
        {NULL, "-1\n", "100000\n", 8, 8},
        {NULL, "100000\n", NULL, 8, 8},
        /* Nothing that a file may say stops the process. */
        {"", NULL, NULL, 8, 8},
        {"0 0", NULL, NULL, 8, 8},
        {"0 100000", NULL, NULL, 8, 1},
        {"100000", NULL, NULL, 8, 8},
        {"nonsense", NULL, NULL, 8, 8},
        {"99999999999999999999999999999999999999999999999999999999999999999999999999999999 1", NULL, NULL, 8, ANY},
        {NULL, "100000", "0", 8, 8}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cpu_max = rows[i].max, quota_us = rows[i].quota, period_us = rows[i].period;
        int got = threads_in_a_child(NULL, rows[i].of);
        CHECK(got == rows[i].expected || (rows[i].expected == ANY && got >= 1 && got <= 8), "row %zu: %d threads, expected %d", i, got, rows[i].expected);
    }
    cpu_max = quota_us = period_us = NULL;
}

/* The quota that counts is the least of the process's cgroup and of those above it. */
static void quotas_of_nested_cgroups(void)
{
    static const struct { const char *own, *files[4]; int expected; } rows[] = {
        {"0::/a.slice/b.service\n", {"/sys/fs/cgroup/a.slice/b.service/cpu.max:300000 100000\n"}, 3},
        {"0::/a.slice/b.service\n", {"/sys/fs/cgroup/a.slice/cpu.max:300000 100000\n", "/sys/fs/cgroup/a.slice/b.service/cpu.max:max 100000\n"}, 3},
        {"0::/a.slice/b.service\n", {"/sys/fs/cgroup/a.slice/cpu.max:200000 100000\n", "/sys/fs/cgroup/a.slice/b.service/cpu.max:500000 100000\n"}, 2},
        {"0::/a.slice/b.service\n", {"/sys/fs/cgroup/cpu.max:400000 100000\n", "/sys/fs/cgroup/a.slice/b.service/cpu.max:500000 100000\n"}, 4},
        {"0::/a.slice/b.service\n", {"/sys/fs/cgroup/b.service/cpu.max:100000 100000\n", "/sys/fs/cgroup/a.slice/b/cpu.max:100000 100000\n"}, 8},
        /* Version 1, and both; an order of controllers is not promised. */
        {"9:memory:/m\n4:cpu,cpuacct:/a/b\n1:name=systemd:/s\n", {"/sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us:250000\n", "/sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us:100000\n"}, 3},
        {"4:cpuacct,cpu:/a/b\n", {"/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us:250000\n", "/sys/fs/cgroup/cpu/a/cpu.cfs_period_us:100000\n"}, 3},
        {"4:cpu:/a\n0::/u\n", {"/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us:-1\n", "/sys/fs/cgroup/cpu/a/cpu.cfs_period_us:100000\n", "/sys/fs/cgroup/u/cpu.max:600000 100000\n"}, 6},
        {"4:cpuset,cpuacct:/a\n5:mycpu,cpu2:/a\n", {"/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us:100000\n", "/sys/fs/cgroup/cpu/a/cpu.cfs_period_us:100000\n"}, 8},
        /* A container without a namespace of its own: the name is the host's, the mount is not. */
        {"0::/docker/0123\n", {"/sys/fs/cgroup/cpu.max:200000 100000\n"}, 2},
        {"0::/../other\n", {"/sys/fs/cgroup/cpu.max:200000 100000\n"}, 2},
        /* Nothing that the file may say stops the process. */
        {"", {NULL}, 8}, {"\n\n:\n::\n:::\n0:\n0::\n", {NULL}, 8}, {"0::a:b/c", {"/sys/fs/cgroup/cpu.max:max 100000"}, 8}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        own_cgroups = rows[i].own, others = rows[i].files;
        int got = threads_in_a_child(NULL, 8);
        CHECK(got == rows[i].expected, "row %zu: %d threads, expected %d", i, got, rows[i].expected);
    }
    char deep[20000] = "0::"; /* longer than there is room for */
    for (size_t i = 3; i < sizeof deep - 1; i++) deep[i] = i % 5 == 3 ? '/' : 'x';
    own_cgroups = deep, others = rows[9].files;
    int got = threads_in_a_child(NULL, 8);
    CHECK(got == 2, "a deep cgroup: %d threads", got);
    /* Cut off where there is no more room: another cgroup has the name that is left. */
    static const char last[] = "\n0::/a/bc\n", *const other[] = {"/sys/fs/cgroup/a/b/cpu.max:100000 100000", NULL};
    char cut[8191 + sizeof "c\n"];
    memset(cut, 'x', sizeof cut);
    memcpy(cut + sizeof cut - sizeof last, last, sizeof last);
    own_cgroups = cut, others = other;
    got = threads_in_a_child(NULL, 8);
    CHECK(got == 8, "a name that is cut off: %d threads", got);
    own_cgroups = "0::/\n", others = NULL;
}

static void environment(void)
{
    static const struct { const char *text; int expected; } rows[] = {{"3", 3}, {"1", 1}, {"256", 256}, {"99999", 256}, {"0", 8}, {"", 8}, {"-2", 8}, {"many", 8},
        /* A text that is not a number as a whole is none. */
        {"3x", 8}, {"3 ", 8}, {" 3", 8}, {"+3", 8}, {"0x10", 8}, {"2.5", 8}, {"3,4", 8}, {"00", 8}, {"007", 7}, {"99999999999999999999999999", 256}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int got = threads_in_a_child(rows[i].text, 8);
        CHECK(got == rows[i].expected, "GRADCLIP_NUM_THREADS=%s: %d threads, expected %d", rows[i].text, got, rows[i].expected);
    }
    cpu_max = "200000 100000";
    CHECK(threads_in_a_child("5", 8) == 5, "the user's word is the last");
    cpu_max = NULL;
}

/* The system's own mask, without anything in between. */
static void real_affinity(void)
{
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0, "affinity");
    int expected = CPU_COUNT(&all) < 256 ? CPU_COUNT(&all) : 256, first = 0;
    CHECK(threads_in_a_child(NULL, 0) == expected, "%d processors", expected);
    while (!CPU_ISSET(first, &all)) first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0, "one processor");
    CHECK(threads_in_a_child(NULL, 0) == 1, "bound to processor %d", first);
    CHECK(sched_setaffinity(0, sizeof all, &all) == 0, "all again");
}

/* The setter goes before all that; 0 returns to it. */
static void setter(void)
{
    const uint32_t own = gradclip_get_num_threads();
    static const struct { uint32_t set, expected; } rows[] = {{3, 3}, {1, 1}, {256, 256}, {257, 256}, {UINT32_MAX, 256}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gradclip_set_num_threads(rows[i].set);
        CHECK(gradclip_get_num_threads() == rows[i].expected, "%u set: %u", rows[i].set, gradclip_get_num_threads());
    }
    gradclip_set_num_threads(0);
    CHECK(gradclip_get_num_threads() == own, "0 set: %u, at first %u", gradclip_get_num_threads(), own);
}

int main(void)
{
    unsetenv("GRADCLIP_NUM_THREADS");
    quotas();
    quotas_of_nested_cgroups();
    environment();
    real_affinity();
    setter();
    return checks_summary("limits");
}
