// The kernel for squares of float32 in fixed point, with the instructions of AVX-512 IFMA: its integers are those of
// __int128, and it says of every block whether they are exact. (`swift test` holds the same kernel against integers with
// a model of the instructions.)
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "CGradClipKernels.h"

static gk_kernels table;
static long checks, failures;

static uint64_t random64(void) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state * UINT64_C(0x2545f4914f6cdd1d);
}

// 2^exponent times an odd number of 24 bits, or of as many as are asked for.
static float element(int exponent, int bits) {
    const uint32_t significand = (uint32_t)(random64() % (1u << (bits - 1))) | 1u << (bits - 1) | 1;
    const float x = ldexpf((float)significand, exponent - bits + 1);
    return random64() & 1 ? x : -x;
}

// Whether all are below 2^exponent and multiples of 2^(exponent - 52), and the sum of their squares in units of
// 2^(2 exponent - 104).
static bool in_integers(const float *x, int count, int exponent, unsigned __int128 *sum) {
    *sum = 0;
    for (int i = 0; i < count; i++) {
        const double scaled = ldexp(fabs((double)x[i]), 52 - exponent);
        if (!(scaled < 0x1p52) || scaled != floor(scaled)) return false;
        *sum += (unsigned __int128)scaled * (unsigned __int128)scaled;
    }
    return true;
}

static void check(const float *x, int count, int exponent) {
    gk_block found;
    memset(&found, 0, sizeof found);
    table.exact(GK_FLOAT32, GK_SQUARE, x, count, exponent, 2, &found);
    unsigned __int128 sum;
    const bool holds = in_integers(x, count, exponent, &sum);
    bool right = found.holds == holds;
    if (holds && right) {
        const unsigned __int128 has = ((unsigned __int128)found.sums[0] << 61) + ((unsigned __int128)found.sums[1] << 17) +
                                      ((unsigned __int128)found.sums[2] >> 27);
        right = has == sum && found.bound == 2 * exponent && !found.sums[3] && !found.sums[4];
    }
    checks++;
    if (right) return;
    failures++;
    fprintf(stderr, "squares: %d elements below 2^%d: holds %d, and should %d\n", count, exponent, found.holds, holds);
}

int main(void) {
    gradclip_kernels_x86_64_v4_ifma(&table);
    static float x[GK_BLOCK];
    const int counts[] = {1, 7, 8, 9, 15, 16, 17, 1000, GK_BLOCK - 1, GK_BLOCK};
    const int bounds[] = {-96, -12, 0, 1, 60, 128};
    const float odd[] = {INFINITY, -INFINITY, NAN, 0x1p-149f, -0x1p-149f, 0x1p127f, 0, -0.0f, 1, -1};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++) {
            const int count = counts[c], exponent = bounds[b];
            // The largest in every place.
            for (int i = 0; i < count; i++) x[i] = ldexpf(0xffffff, exponent - 24);
            check(x, count, exponent);
            // Windows of binades, within what fits and beyond.
            for (int window = 0; window < 40; window++) {
                const int lowest = exponent - 1 - window < -126 ? -126 : exponent - 1 - window;
                for (int i = 0; i < count; i++)
                    x[i] = element(lowest + (int)(random64() % (unsigned)(exponent - lowest)), 24 - (int)(random64() % 8));
                check(x, count, exponent);
            }
            // One that differs, anywhere.
            for (size_t o = 0; o < 40; o++) {
                for (int i = 0; i < count; i++) x[i] = element(exponent - 3, 24);
                const int place = (int)(random64() % (unsigned)count);
                x[place] = o < 10 ? odd[o] : element(exponent - 15 - (int)o > -126 ? exponent - 15 - (int)o : -126, 24);
                check(x, count, exponent);
                if (exponent < 128) x[place] = element(exponent, 1 + (int)(o % 24)), check(x, count, exponent);
            }
        }
    }
    printf("squares: %ld checks passed, %ld failed\n", checks - failures, failures);
    return failures != 0;
}
