/*
 * What the exact norm costs: gradclip_get_total_norm, p = 2, against the float64 loop
 * one would write by hand, both on one thread, on gradients of float32, float16 and
 * bfloat16 that lie in the L2 cache and in DRAM; and what float64 and other orders cost.
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

typedef struct {
    uint16_t bits;
} bfloat16;

static inline float from_float(float x) { return x; }
static inline float from_bfloat(bfloat16 x) {
    uint32_t bits = (uint32_t)x.bits << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* 32 sums, so that the compiler can vectorise without reordering anything. */
#define PLAIN_NORM(NAME, TYPE, VALUE) \
    static __attribute__((noinline)) double NAME(const void *data, size_t length) { \
        const TYPE *x = data; \
        double sums[LANES] = {0}, sum = 0; \
        for (size_t i = 0; i + LANES <= length; i += LANES) \
            for (int j = 0; j < LANES; j++) sums[j] += (double)VALUE(x[i + j]) * (double)VALUE(x[i + j]); \
        for (int j = 0; j < LANES; j++) sum += sums[j]; \
        return sqrt(sum); \
    }
PLAIN_NORM(plain_float32, float, from_float)
PLAIN_NORM(plain_bfloat16, bfloat16, from_bfloat)

static const struct kind {
    const char *name;
    uint32_t dtype;
    size_t size;
    double norm_type;
    uint32_t exact_f64;
    double (*plain)(const void *, size_t); /* NULL: none that compilers vectorise */
} kinds[] = {
    {"float32", GRADCLIP_F32, 4, 2, 0, plain_float32},
    {"float16", GRADCLIP_F16, 2, 2, 0, NULL},
    {"bfloat16", GRADCLIP_BF16, 2, 2, 0, plain_bfloat16},
    {"float64", GRADCLIP_F64, 8, 2, 0, NULL},
    {"float64, exact_f64", GRADCLIP_F64, 8, 2, 1, NULL},
    {"float32, p = 3", GRADCLIP_F32, 4, 3, 0, NULL},
    {"float32, p = 2.7", GRADCLIP_F32, 4, 2.7, 0, NULL},
};

static double exact_norm(const struct kind *kind, void *x, size_t length) {
    gradclip_options options;
    gradclip_options_init(&options, sizeof options);
    options.num_threads = 1;
    options.exact_f64 = kind->exact_f64;
    gradclip_tensor grad = {.data = x, .length = length, .dtype = kind->dtype};
    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    if (gradclip_get_total_norm(&grad, 1, kind->norm_type, &options, &result) != GRADCLIP_OK) {
        fprintf(stderr, "cost: gradclip_get_total_norm: %s\n", gradclip_last_error());
        exit(1);
    }
    return result.total_norm;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const struct kind *kind, const char *place, void *x, size_t length, int calls, int rounds) {
    static double plain[MOST_ROUNDS], exact[MOST_ROUNDS];
    double norms[2] = {0, 0};
    for (int r = -2; r < rounds; r++) { /* two rounds to warm up */
        double start = now();
        for (int i = 0; kind->plain && i < calls; i++) norms[0] = kind->plain(x, length);
        double middle = now();
        for (int i = 0; i < calls; i++) norms[1] = exact_norm(kind, x, length);
        double end = now();
        if (r < 0) continue;
        plain[r] = (middle - start) / (double)length / calls * 1e9;
        exact[r] = (end - middle) / (double)length / calls * 1e9;
    }
    if (kind->plain && fabs(norms[0] / norms[1] - 1) > 1e-12) {
        fprintf(stderr, "cost: the norms differ: %.17g and %.17g\n", norms[0], norms[1]);
        exit(1);
    }
    qsort(plain, (size_t)rounds, sizeof *plain, ascending);
    qsort(exact, (size_t)rounds, sizeof *exact, ascending);
    double p[2] = {plain[0], plain[rounds / 2]}, e[2] = {exact[0], exact[rounds / 2]};
    printf("| %-18s | %-4s | ", kind->name, place);
    if (kind->plain) printf("%.3f / %.3f | %.3f / %.3f | %.2f / %.2f |\n", p[0], p[1], e[0], e[1], p[0] / e[0], p[1] / e[1]);
    else printf("– | %.3f / %.3f | – |\n", e[0], e[1]);
    fflush(stdout);
}

/* About normal: the sum of four uniform numbers; exponents as gradients have them. */
static void fill(const struct kind *kind, void *data, size_t length) {
    unsigned long long state = 1;
    for (size_t i = 0; i < length; i++) {
        float sum = 0;
        for (int k = 0; k < 4; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += (float)(state >> 40) * 0x1p-24f - 0.5f;
        }
        sum *= 1e-3f;
        if (kind->dtype == GRADCLIP_F32) {
            ((float *)data)[i] = sum;
        } else if (kind->dtype == GRADCLIP_F64) {
            ((double *)data)[i] = (double)sum * (4.0 / 3); /* 53 bits, not 24 */
        } else if (kind->dtype == GRADCLIP_F16) {
            ((_Float16 *)data)[i] = (_Float16)sum;
        } else {
            uint32_t bits;
            memcpy(&bits, &sum, sizeof bits);
            ((bfloat16 *)data)[i].bits = (uint16_t)(bits >> 16);
        }
    }
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 300;
    if (rounds < 1 || rounds > MOST_ROUNDS) {
        fprintf(stderr, "cost: ROUNDS must be in 1 ... %d (got %s)\n", MOST_ROUNDS, argv[1]);
        return 2;
    }
    const size_t small = 1u << 19, large = 1u << 28; /* bytes */
    void *data = malloc(large);
    if (!data) {
        fprintf(stderr, "cost: no memory for %zu bytes\n", large);
        return 1;
    }
    printf("gradclip %s, %s, 1 thread, %d rounds: ns per element, minimum / median; p = 2 where none is named, 512 KiB and 256 MiB\n\n",
           gradclip_version_string(), gradclip_isa(), rounds);
    printf("| gradient | in | plain float64 | exact | speed of exact / plain |\n|---|---|---|---|---|\n");
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        fill(&kinds[k], data, large / kinds[k].size);
        measure(&kinds[k], "L2", data, small / kinds[k].size, 16, rounds);
        measure(&kinds[k], "DRAM", data, large / kinds[k].size, 1, rounds < 60 ? rounds : 60);
    }
    free(data);
    return 0;
}
