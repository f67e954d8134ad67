// Builds of libgradclip against each other: what a change to the kernels is worth.
//
//     cc -O2 -Iinclude Benchmarks/libraries/compare.c -o build/compare -ldl
//     build/compare ELEMENTS TENSORS NORM_TYPE THREADS ROUNDS LIBRARY...
//
// prints nanoseconds an element of a norm by each library, the median of calls in turn. All are loaded into one process, each in a
// namespace of its own, and read the same float32. More than one tensor: in random order, with as much between two as one holds.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gradclip.h"

enum { MOST = 8, MOST_ROUNDS = 1000 };
static double seconds[MOST][MOST_ROUNDS];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static uint32_t next(void) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (uint32_t)(state >> 32);
}

int main(int argc, char **argv) {
    const size_t elements = argc > 6 ? strtoull(argv[1], NULL, 10) : 0, count = argc > 6 ? strtoull(argv[2], NULL, 10) : 0;
    const int rounds = argc > 6 ? atoi(argv[5]) : 0, libraries = argc - 6;
    if (!elements || !count || rounds < 1 || rounds > MOST_ROUNDS || libraries > MOST) {
        fprintf(stderr, "compare ELEMENTS TENSORS NORM_TYPE THREADS ROUNDS LIBRARY... (at most %d rounds, %d libraries)\n", MOST_ROUNDS, MOST);
        return 2;
    }
    gradclip_options options = {.struct_size = sizeof options, .eps = 1e-6, .grad_scale = 1, .num_threads = (uint32_t)atoi(argv[4])};
    float *all = malloc(2 * count * elements * sizeof *all);
    gradclip_tensor *tensors = calloc(count, sizeof *tensors);
    if (!all || !tensors) return fprintf(stderr, "no memory\n"), 1;
    for (size_t i = 0; i < 2 * count * elements; i++) all[i] = ((int32_t)next() >> 8) * 1e-9f;
    for (size_t i = 0; i < count; i++) {
        const size_t j = next() % (i + 1);
        tensors[i] = tensors[j];
        tensors[j] = (gradclip_tensor){.data = all + 2 * i * elements, .length = elements, .dtype = GRADCLIP_F32};
    }
    __typeof__(&gradclip_get_total_norm) norms[MOST];
    for (int i = 0; i < libraries; i++) {
        void *library = dlmopen(LM_ID_NEWLM, argv[6 + i], RTLD_NOW);
        if (!library) return fprintf(stderr, "%s\n", dlerror()), 1;
        *(void **)&norms[i] = dlsym(library, "gradclip_get_total_norm");
    }
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < libraries; i++) {
            gradclip_result result = {.struct_size = sizeof result};
            const double begin = now();
            if (norms[i](tensors, count, strtod(argv[3], NULL), &options, &result) != GRADCLIP_OK) return fprintf(stderr, "%s: no norm\n", argv[6 + i]), 1;
            seconds[i][round] = now() - begin;
        }
    }
    for (int i = 0; i < libraries; i++) {
        qsort(seconds[i], (size_t)rounds, sizeof **seconds, ascending);
        printf("%.4f  %s\n", seconds[i][rounds / 2] / (double)(count * elements) * 1e9, argv[6 + i]);
    }
    return 0;
}
