/* The float64 norm that one would write by hand, in a loop that the compiler can
 * vectorise without being allowed to reorder anything: 32 sums, added at the end. */
#include "driver.h"

#include <math.h>

enum { LANES = 32 };

static __attribute__((noinline)) double plain_norm(const float *x, size_t length) {
    double sums[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= length; i += LANES)
        for (int j = 0; j < LANES; j++) sums[j] += (double)x[i + j] * (double)x[i + j];
    double sum = 0;
    for (; i < length; i++) sum += (double)x[i] * (double)x[i];
    for (int j = 0; j < LANES; j++) sum += sums[j];
    return sqrt(sum);
}

double bench_plain_norm(const float *x, size_t length, int calls, double *norm) {
    double start = bench_now();
    for (int i = 0; i < calls; i++) *norm = plain_norm(x, length);
    return (bench_now() - start) / calls;
}
