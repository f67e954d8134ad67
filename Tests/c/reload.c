/*
 * The library opened and closed 1000 times, used in between: threads end, and neither
 * memory nor descriptors grow. (This program is not linked with it.)
 *
 * reload LIBRARY
 */
#define _GNU_SOURCE
#include <gradclip.h>

#include <dirent.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROUNDS = 1000, N = 600000 };

static int entries(const char *folder)
{
    DIR *d = opendir(folder);
    int count = 0;
    if (!d) exit(2);
    while (readdir(d)) count++;
    closedir(d);
    return count;
}

/* What may grow: resident KB, mappings, threads, descriptors. */
struct usage { long resident, mappings; int threads, descriptors; };

static struct usage used(void)
{
    struct usage u = {0, 0, entries("/proc/self/task"), entries("/proc/self/fd")};
    FILE *f = fopen("/proc/self/statm", "r");
    long pages = 0, resident = 0;
    int c;
    if (!f || fscanf(f, "%ld %ld", &pages, &resident) != 2) exit(2);
    fclose(f);
    u.resident = resident * (sysconf(_SC_PAGESIZE) / 1024);
    f = fopen("/proc/self/maps", "r");
    if (!f) exit(2);
    while ((c = getc(f)) != EOF) u.mappings += c == '\n';
    fclose(f);
    return u;
}

static float grad[N];

static int fail(int round, const char *what)
{
    fprintf(stderr, "reload: round %d: %s\n", round, what);
    return 1;
}

int main(int argc, char **argv)
{
    struct usage first = {0, 0, 0, 0}, last;
    if (argc != 2) return 2;
    for (int round = 0; round < ROUNDS; round++) {
        void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        gradclip_status (*clip)(float *const *, const size_t *, size_t, double, double, const gradclip_options *, gradclip_result *);
        gradclip_status (*create)(double, const gradclip_options *, gradclip_accumulator **);
        void (*release)(gradclip_accumulator *), (*set)(uint32_t);
        const char *(*last_error)(void);
        float *grads[] = {grad};
        size_t length = N;
        gradclip_result result = {.struct_size = sizeof result};
        gradclip_accumulator *accumulator = NULL;
        if (!library) return fail(round, dlerror());
        *(void **)&clip = dlsym(library, "gradclip_clip_grad_norm_f32");
        *(void **)&create = dlsym(library, "gradclip_accumulator_create");
        *(void **)&release = dlsym(library, "gradclip_accumulator_free");
        *(void **)&set = dlsym(library, "gradclip_set_num_threads");
        *(void **)&last_error = dlsym(library, "gradclip_last_error");
        if (!clip || !create || !release || !set || !last_error) return fail(round, "a function is missing");
        set(3);
        for (int i = 0; i < N; i++) grad[i] = i % 2 ? 0.5f : -0.5f;
        if (clip(grads, &length, 1, 1, INFINITY, NULL, &result) != GRADCLIP_OK || result.total_norm != 0.5) return fail(round, last_error());
        if (entries("/proc/self/task") != 2 + 3) return fail(round, "there are not three threads"); /* . and .. */
        if (clip(grads, &length, 1, -1, 2, NULL, &result) != GRADCLIP_ERROR_INVALID_ARGUMENT || !strstr(last_error(), "-1")) return fail(round, "no error");
        if (create(2, NULL, &accumulator) != GRADCLIP_OK) return fail(round, last_error());
        release(accumulator);
        if (dlclose(library)) return fail(round, dlerror());
        if (dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD)) return fail(round, "it is still loaded");
        /* (The system lists a thread for a moment after it can be joined.) */
        for (int wait = 0; entries("/proc/self/task") != 2 + 1; wait++) {
            if (wait == 1000) return fail(round, "a thread outlived the library");
            usleep(1000);
        }
        if (round == 99) first = used();
    }
    last = used();
    printf("reload: %d times; resident %ld -> %ld KB, mappings %ld -> %ld, threads %d, descriptors %d -> %d\n", ROUNDS, first.resident, last.resident,
           first.mappings, last.mappings, last.threads - 2, first.descriptors, last.descriptors);
    if (last.resident > first.resident + 256 || last.mappings > first.mappings + 2 || last.descriptors != first.descriptors) return fail(ROUNDS, "something grows");
    return 0;
}
