// Linux: which processors the process may use.
//
// The quota of processor time: that of the process's cgroup, and of all those that this one is
// in. /proc/self/cgroup says which it is. In a container it is mostly the root of what is mounted,
// whatever that file says, so the root is looked at in any case.
//
// Numbers are read by hand: libc's functions depend on the locale, or are there in versions
// that the oldest systems do not have.
#ifdef __linux__
#define _GNU_SOURCE
#include "CGradClipSystem.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 8192 };
typedef struct buffers {
    char list[ROOM], path[ROOM], text[64];
} buffers;

// The first bytes of a file as text; false if it cannot be read.
static bool read_text(const char *path, char *buffer, size_t size) {
    FILE *file = fopen(path, "re");
    if (!file) return false;
    size_t length = fread(buffer, 1, size - 1, file);
    fclose(file);
    buffer[length] = 0;
    return true;
}

// The digits at the start of *text, and behind them; -1: there are none.
static int64_t number(const char **text) {
    int64_t value = **text >= '0' && **text <= '9' ? 0 : -1;
    for (; **text >= '0' && **text <= '9'; ++*text)
        if (value < INT64_MAX / 20) value = value * 10 + (**text - '0');
    return value;
}

// A file of the folder that the first `length` bytes of the path name.
static const char *read_file(buffers *all, size_t length, const char *name) {
    if (length + strlen(name) >= ROOM) return NULL;
    strcpy(all->path + length, name);
    return read_text(all->path, all->text, sizeof all->text) ? all->text : NULL;
}

// Lowers *least to what the folder allows.
static void look(buffers *all, size_t length, int *least) {
    int64_t quota = -1, period = -1;
    const char *text = read_file(all, length, "/cpu.max");
    if (text) { // version 2: "QUOTA PERIOD" or "max PERIOD"
        quota = number(&text);
        if (*text == ' ') text++, period = number(&text);
    } else { // version 1: two files; -1 is none
        if ((text = read_file(all, length, "/cpu.cfs_quota_us"))) quota = number(&text);
        if ((text = read_file(all, length, "/cpu.cfs_period_us"))) period = number(&text);
    }
    if (quota < 0 || period <= 0) return;
    int64_t count = quota / period + (quota % period > 0);
    if (count < *least) *least = count > 0 ? (int)count : 1;
}

// The cgroup `name` ("/a/b", "/" or "") of the hierarchy mounted at `root`, and all above it.
static void climb(buffers *all, const char *root, const char *name, int *least) {
    size_t top = strlen(root), length = strlen(name);
    if (top + length >= ROOM) return;
    for (size_t end = length; end > 0; end--) {
        if (name[end - 1] == '/' || (end < length && name[end] != '/')) continue;
        memcpy(all->path, root, top);
        memcpy(all->path + top, name, end);
        look(all, top + end, least);
    }
    memcpy(all->path, root, top);
    look(all, top, least);
}

// INT_MAX: there is no quota.
static int cgroup_count(void) {
    static const char root[] = "/sys/fs/cgroup", cpu_root[] = "/sys/fs/cgroup/cpu";
    int least = INT_MAX;
    buffers *all = malloc(sizeof *all);
    if (!all) return least;
    climb(all, root, "", &least);
    climb(all, cpu_root, "", &least);
    if (!read_text("/proc/self/cgroup", all->list, ROOM)) all->list[0] = 0;
    // Lines "NUMBER:CONTROLLERS:NAME": no controllers in version 2, "cpu,cpuacct" in version 1.
    // What has no end of line was cut off, and might name another cgroup.
    for (char *line = all->list, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        char *controllers = strchr(line, ':'), *name = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!name) continue;
        *controllers = *name = ','; // each has one on either side
        const char *cpu = strstr(controllers, ",cpu,");
        if (name == controllers + 1) climb(all, root, name + 1, &least);
        else if (cpu && cpu < name) climb(all, cpu_root, name + 1, &least);
    }
    free(all);
    return least;
}

static int affinity_count(void) {
    enum { MOST = 16384 };
    cpu_set_t *set = CPU_ALLOC(MOST);
    if (!set) return 1;
    size_t size = CPU_ALLOC_SIZE(MOST);
    CPU_ZERO_S(size, set);
    int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 1;
    CPU_FREE(set);
    return count > 0 ? count : 1;
}

int gk_processor_count(void) {
    int affinity = affinity_count(), quota = cgroup_count();
    return affinity < quota ? affinity : quota;
}
#endif
