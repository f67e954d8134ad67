/*
 * What the exact norm costs: gradclip_get_total_norm, p = 2, against the float64 loop
 * one would write by hand, both on one thread, on float32 gradients that lie in
 * the L2 cache and in DRAM.
 *
 *     cost [ROUNDS]
 *
 * Rounds alternate between the two, so that other work on the machine meets both.
 * Each round measures a few ms; printed are the minimum and the median.
 */
#include <gradclip.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LANES = 32, MOST_ROUNDS = 10000 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* 32 sums, so that the compiler can vectorise without reordering anything. */
static __attribute__((noinline)) double plain_norm(const float *x, size_t length) {
    double sums[LANES] = {0}, sum = 0;
    for (size_t i = 0; i + LANES <= length; i += LANES)
        for (int j = 0; j < LANES; j++) sums[j] += (double)x[i + j] * (double)x[i + j];
    for (int j = 0; j < LANES; j++) sum += sums[j];
    return sqrt(sum);
}

static double exact_norm(float *x, size_t length) {
    gradclip_options options;
    gradclip_options_init(&options, sizeof options);
    options.num_threads = 1;
    gradclip_tensor grad = {.data = x, .length = length, .dtype = GRADCLIP_F32};
    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    if (gradclip_get_total_norm(&grad, 1, 2.0, &options, &result) != GRADCLIP_OK) {
        fprintf(stderr, "cost: gradclip_get_total_norm: %s\n", gradclip_last_error());
        exit(1);
    }
    return result.total_norm;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const char *place, float *x, size_t length, int calls, int rounds) {
    static double plain[MOST_ROUNDS], exact[MOST_ROUNDS];
    double norms[2] = {0, 0};
    for (int r = -2; r < rounds; r++) { /* two rounds to warm up */
        double start = now();
        for (int i = 0; i < calls; i++) norms[0] = plain_norm(x, length);
        double middle = now();
        for (int i = 0; i < calls; i++) norms[1] = exact_norm(x, length);
        double end = now();
        if (r < 0) continue;
        plain[r] = (middle - start) / (double)length / calls * 1e9;
        exact[r] = (end - middle) / (double)length / calls * 1e9;
    }
    if (fabs(norms[0] / norms[1] - 1) > 1e-12) {
        fprintf(stderr, "cost: the norms differ: %.17g and %.17g\n", norms[0], norms[1]);
        exit(1);
    }
    qsort(plain, (size_t)rounds, sizeof *plain, ascending);
    qsort(exact, (size_t)rounds, sizeof *exact, ascending);
    double p[2] = {plain[0], plain[rounds / 2]}, e[2] = {exact[0], exact[rounds / 2]};
    printf("| %-17s | %.3f / %.3f | %.3f / %.3f | %.2f / %.2f |\n", place, p[0], p[1], e[0], e[1], p[0] / e[0],
           p[1] / e[1]);
    fflush(stdout);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 300;
    if (rounds < 1 || rounds > MOST_ROUNDS) {
        fprintf(stderr, "cost: ROUNDS must be in 1 ... %d (got %s)\n", MOST_ROUNDS, argv[1]);
        return 2;
    }
    size_t small = 1u << 17, large = 1u << 26; /* 512 KiB and 256 MiB */
    float *x = malloc(large * sizeof *x);
    if (!x) {
        fprintf(stderr, "cost: no memory for %zu bytes\n", large * sizeof *x);
        return 1;
    }
    /* About normal: the sum of four uniform numbers; exponents as gradients have them. */
    unsigned long long state = 1;
    for (size_t i = 0; i < large; i++) {
        float sum = 0;
        for (int k = 0; k < 4; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += (float)(state >> 40) * 0x1p-24f - 0.5f;
        }
        x[i] = sum * 1e-3f;
    }
    printf("gradclip %s, %s, 1 thread, %d rounds: ns per element, minimum / median\n\n", gradclip_version_string(),
           gradclip_isa(), rounds);
    printf("| float32, p = 2    | plain float64 | exact         | speed of exact / plain |\n|---|---|---|---|\n");
    measure("512 KiB (L2)", x, small, 16, rounds);
    measure("256 MiB (DRAM)", x, large, 1, rounds < 60 ? rounds : 60);
    free(x);
    return 0;
}
