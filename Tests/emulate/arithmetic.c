/*
 * Print a hash of what each kind of vector arithmetic comes to. Compiled once
 * for any x86-64 and once for AVX-512, it must print the same text: the one run
 * on a real CPU, the other on the emulated one (see check-emulator.sh).
 *
 * Build with -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math.
 */
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { COUNT = 1 << 14 };

static float f[COUNT], g[COUNT], h[COUNT], fr[COUNT];
static double d[COUNT], e[COUNT], c[COUNT], dr[COUNT];
static _Float16 half[COUNT];
static int32_t i32[COUNT];
static uint16_t u16[COUNT];
static uint64_t u64[COUNT];

static uint64_t random64(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state * UINT64_C(0x2545f4914f6cdd1d);
}

/* Any bits (subnormals, infinities and NaN among them), numbers near 1, and
 * ones whose float16 is a tie. */
static void fill(void)
{
    for (int i = 0; i < COUNT; i++) {
        uint64_t bits[3] = {random64(), random64(), random64()};
        if (i % 3)
            for (int j = 0; j < 3; j++) bits[j] = (bits[j] & UINT64_C(0x83ffffff83ffffff)) + UINT64_C(0x3e0000003e000000);
        if (i % 3 == 2)
            for (int j = 0; j < 3; j++) bits[j] = (bits[j] & UINT64_C(0xffffe000ffffe000)) | UINT64_C(0x100000001000);
        uint32_t low[3] = {(uint32_t)bits[0], (uint32_t)bits[1], (uint32_t)bits[2]};
        memcpy(f + i, low, 4), memcpy(g + i, low + 1, 4), memcpy(h + i, low + 2, 4);
        memcpy(d + i, bits, 8), memcpy(e + i, bits + 1, 8), memcpy(c + i, bits + 2, 8);
    }
}

/* The sign and payload of a NaN are nobody's promise: each counts as 1. */
static void print(const char *name, const void *results, size_t size, uint64_t infinity)
{
    uint64_t sum = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t bits = 0;
        memcpy(&bits, (const char *)results + i * size, size);
        if (infinity && (bits & (infinity | (infinity - 1))) > infinity) bits = 1;
        sum = (sum ^ bits) * UINT64_C(1099511628211);
    }
    printf("%-28s %016" PRIx64 "\n", name, sum);
}

#define F16 0x7c00
#define F32 0x7f800000
#define F64 UINT64_C(0x7ff0000000000000)
#define INTEGER 0
#define EACH(TO, INFINITE, EXPRESSION)                      \
    do {                                                    \
        for (int i = 0; i < COUNT; i++) TO[i] = EXPRESSION; \
        print(#EXPRESSION, TO, sizeof *TO, INFINITE);       \
    } while (0)

int main(void)
{
    fill();
    EACH(fr, F32, f[i] + g[i]);
    EACH(fr, F32, f[i] - g[i]);
    EACH(fr, F32, f[i] * g[i]);
    EACH(fr, F32, f[i] / g[i]);
    EACH(fr, F32, fmaf(f[i], g[i], h[i]));
    EACH(fr, F32, sqrtf(fabsf(f[i])));
    EACH(fr, F32, f[i] > g[i] ? f[i] : g[i]);
    EACH(fr, F32, f[i] < g[i] ? h[i] : -f[i]);
    EACH(dr, F64, d[i] + e[i]);
    EACH(dr, F64, d[i] - e[i]);
    EACH(dr, F64, d[i] * e[i]);
    EACH(dr, F64, d[i] / e[i]);
    EACH(dr, F64, fma(d[i], e[i], c[i]));
    EACH(dr, F64, sqrt(fabs(d[i])));
    EACH(dr, F64, d[i] < e[i] ? d[i] : e[i]);
    EACH(dr, F64, (double)f[i] * g[i]);
    EACH(fr, F32, (float)d[i]);
    EACH(half, F16, (_Float16)f[i]);
    for (int i = 0; i < COUNT; i++) u16[i] = (uint16_t)(4 * i); /* a quarter of all float16 */
    memcpy(half, u16, sizeof half);
    EACH(fr, F32, (float)half[i]);
    for (int i = 0; i < COUNT; i++) u64[i] = random64(), i32[i] = (int32_t)random64();
    EACH(fr, F32, (float)i32[i]);
    EACH(dr, F64, (double)(int64_t)u64[i]);
    EACH(u64, INTEGER, u64[i] << (i & 63) ^ u64[i] >> 7);
    EACH(u64, INTEGER, u64[i] * 3 + (u64[i] > UINT64_C(1) << 63));
    EACH(u64, INTEGER, (uint64_t)__builtin_popcountll(u64[i]));
    EACH(u64, INTEGER, (uint64_t)__builtin_clzll(u64[i] | 1));
    EACH(i32, INTEGER, i32[i] < 0 ? i32[i] >> 3 : i32[i] ^ 5);
    EACH(u16, INTEGER, (uint16_t)(i32[i] >> 16));
    return 0;
}
