/*
 * What the values of a gradient do to the time of its norm: one thread, a block of values of each kind that lies in
 * the L2 cache, against normally distributed ones.
 *
 *     values [ROUNDS]
 *
 * A round measures each kind once, so that other work on the machine meets all of them; printed is the
 * median over the rounds of the time of a kind divided by that of the normal values in the same round, and the least time.
 */
#include <gradclip.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LENGTH = 65536, KINDS = 8, ORDERS = 4, TYPES = 5, MOST_ROUNDS = 1000 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static uint64_t state = 88172645463325252u;
static double uniform(void) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (double)(state >> 11) * 0x1p-53;
}
static double normal(void) { return sqrt(-2 * log(uniform() + 1e-300)) * cos(6.283185307179586 * uniform()); }

static const char *const kinds[KINDS] = {"normal", "2^-60 ... 1", "2^-80 ... 1", "rows of scales 2^N(0, 20)",
                                         "1e30 in each block", "every exponent", "every other block 0", "all NaN"};

/* least, most: the exponents of the type. */
static double value(int kind, int i, double *scale, int least, int most) {
    switch (kind) {
    case 1: return exp2(-60 * uniform());
    case 2: return exp2(-80 * uniform());
    case 3:
        if (i % 256 == 0) *scale = exp2(20 * normal());
        return *scale * normal();
    case 4: return i % 4096 == 17 ? 1e30 : normal();
    case 5: return ldexp(1 + uniform(), least + (int)(uniform() * (most - least)));
    case 6: return i / 4096 % 2 ? normal() : 0;
    case 7: return NAN;
    default: return normal();
    }
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 31;
    if (rounds < 1 || rounds > MOST_ROUNDS) return fprintf(stderr, "values: ROUNDS must be 1 to %d\n", MOST_ROUNDS), 2;
    static const char *const types[TYPES] = {"float32", "bfloat16", "float16", "float64", "float64, exact_f64"};
    static const uint32_t dtypes[TYPES] = {GRADCLIP_F32, GRADCLIP_BF16, GRADCLIP_F16, GRADCLIP_F64, GRADCLIP_F64};
    static const double orders[ORDERS] = {1, 2, 2.7, INFINITY};
    static double times[KINDS][MOST_ROUNDS], ratios[MOST_ROUNDS];
    void *memory[KINDS];
    for (int k = 0; k < KINDS; k++)
        if (!(memory[k] = aligned_alloc(64, LENGTH * 8))) return fprintf(stderr, "values: no memory\n"), 1;
    printf("times those of normal values (median of %d rounds), and ns an element at least\n", rounds);
    for (int type = 0; type < TYPES; type++) {
        uint32_t dtype = dtypes[type];
        for (int k = 0; k < KINDS; k++) {
            double scale = 1;
            for (int i = 0; i < LENGTH; i++) {
                int least = dtype == GRADCLIP_F64 ? -1022 : dtype == GRADCLIP_F16 ? -14 : -126;
                double x = value(k, i, &scale, least, dtype == GRADCLIP_F64 ? 1023 : dtype == GRADCLIP_F16 ? 15 : 127);
                float f = (float)x;
                uint32_t bits;
                memcpy(&bits, &f, sizeof bits);
                if (dtype == GRADCLIP_F16 && fabs(x) > 60000) f = 60000;
                if (dtype == GRADCLIP_F32) ((float *)memory[k])[i] = f;
                if (dtype == GRADCLIP_F64) ((double *)memory[k])[i] = x;
                if (dtype == GRADCLIP_BF16) ((uint16_t *)memory[k])[i] = (uint16_t)(bits >> 16);
                if (dtype == GRADCLIP_F16) ((_Float16 *)memory[k])[i] = (_Float16)f;
            }
        }
        for (int p = 0; p < ORDERS; p++) {
            gradclip_options options;
            gradclip_options_init(&options, sizeof options);
            options.num_threads = 1;
            options.exact_f64 = type == 4;
            for (int round = 0; round < rounds; round++) {
                for (int k = 0; k < KINDS; k++) {
                    gradclip_tensor grad = {memory[k], LENGTH, dtype, 0, 0, 0};
                    gradclip_result result;
                    gradclip_result_init(&result, sizeof result);
                    double start = now();
                    for (int i = 0; i < 4; i++) {
                        if (gradclip_get_total_norm(&grad, 1, orders[p], &options, &result) < 0)
                            return fprintf(stderr, "values: %s\n", gradclip_last_error()), 1;
                    }
                    times[k][round] = (now() - start) / (4.0 * LENGTH);
                }
            }
            for (int k = 0; k < KINDS; k++) {
                double least = INFINITY;
                for (int round = 0; round < rounds; round++) {
                    ratios[round] = times[k][round] / times[0][round];
                    if (times[k][round] < least) least = times[k][round];
                }
                qsort(ratios, (size_t)rounds, sizeof *ratios, compare);
                printf("%-18s  p = %-4g %-26s %6.2f  %7.3f\n", types[type], orders[p], kinds[k], ratios[rounds / 2], least);
            }
        }
    }
    for (int k = 0; k < KINDS; k++) free(memory[k]);
    return 0;
}
