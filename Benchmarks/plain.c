/* The float64 norm that one would write by hand, in a loop that the compiler can
 * vectorise without being allowed to reorder anything: 32 sums, added at the end. */
#include "driver.h"

#include <math.h>

enum { LANES = 32, AHEAD = 1024 };

static inline __attribute__((always_inline)) double norm_of(const float *x, size_t length, int prefetch) {
    double sums[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= length; i += LANES) {
        if (prefetch) __builtin_prefetch(x + i + AHEAD, 0, 3), __builtin_prefetch(x + i + AHEAD + 16, 0, 3);
        for (int j = 0; j < LANES; j++) sums[j] += (double)x[i + j] * (double)x[i + j];
    }
    double sum = 0;
    for (; i < length; i++) sum += (double)x[i] * (double)x[i];
    for (int j = 0; j < LANES; j++) sum += sums[j];
    return sqrt(sum);
}

static __attribute__((noinline)) double as_it_is(const float *x, size_t length) { return norm_of(x, length, 0); }
static __attribute__((noinline)) double prefetched(const float *x, size_t length) { return norm_of(x, length, 1); }

double bench_plain_norm(const float *x, size_t length, int prefetch, int calls, double *norm) {
    double start = bench_now();
    for (int i = 0; i < calls; i++) *norm = prefetch ? prefetched(x, length) : as_it_is(x, length);
    return (bench_now() - start) / calls;
}
