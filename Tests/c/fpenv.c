/*
 * The host's floating point environment neither changes a result nor is
 * changed: rounding modes, flush-to-zero, unmasked exceptions, and a program
 * compiled with -Ofast, which sets flush-to-zero for the whole process.
 *
 * Results are compared as bytes and inputs are written as bit patterns, so that
 * nothing in this file depends on what it tests.
 */
#define _GNU_SOURCE
#include "check.h"
#include "unmasked.h"

#include <stdlib.h>

/* The register that controls rounding and flushing, its usual value, and settings
 * of it that hosts have: the bits in which they differ from that. */
struct setting { uint64_t bits; const char *name; };
#if defined(__x86_64__)
#include <immintrin.h>
#define CONTROL "MXCSR"
enum { USUAL = 0x1f80 };
static const struct setting settings[] = {
    {0x8000, "FTZ"}, {0x0040, "DAZ"}, {0x8040, "FTZ and DAZ"}, {0xe040, "FTZ, DAZ, toward zero"}, {0x8040 ^ 0x1f80, "FTZ, DAZ, unmasked"}};
static uint64_t get_control(void) { return _mm_getcsr(); }
static void set_control(uint64_t value) { _mm_setcsr((unsigned)value); }
#elif defined(__aarch64__)
#define CONTROL "FPCR"
enum { USUAL = 0 };
static const struct setting settings[] = {
    {1u << 24, "FZ"}, {1u << 25, "DN"}, {1u << 26, "AHP"}, {0x3u << 22 | 1u << 24, "FZ, toward zero"}, {0x7u << 24, "FZ, DN, AHP"}};
/* FZ16 is set too where the processor has it (it keeps the bit only then). */
enum { FZ16 = 1u << 19 };
static uint64_t get_control(void)
{
    uint64_t value;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value & ~(uint64_t)FZ16;
}
static void set_control(uint64_t value)
{
    if (value & 1u << 24) value |= FZ16;
    __asm__ volatile("msr fpcr, %0" : : "r"(value) : "memory");
}
#else
#error "which register controls rounding and flushing here?"
#endif

enum { N = 5003, ORDERS = 12 };

static const uint64_t order_bits[ORDERS] = {
    0x4000000000000000, /* 2 */    0x3ff0000000000000, /* 1 */    0x4008000000000000, /* 3 */
    0x3fe0000000000000, /* 0.5 */  0x400599999999999a, /* 2.7 */  0x4059000000000000, /* 100 */
    0x3f847ae147ae147b, /* 0.01 */ 0xbff0000000000000, /* -1 */   0xc004000000000000, /* -2.5 */
    0x7ff0000000000000, /* inf */  0xfff0000000000000, /* -inf */ 0x0000000000000000, /* 0 */
};

/* All that the calls produce, as bytes. */
struct everything {
    uint32_t f32[ORDERS][N];
    uint64_t f64[ORDERS][N];
    uint16_t half[ORDERS][2][N]; /* float16 and bfloat16 */
    gradclip_result r32[ORDERS], r64[ORDERS], r16[ORDERS];
    uint32_t value[N];
    uint64_t scaled[N];
    uint16_t extremes[3]; /* float16: an infinity, and what becomes one */
    gradclip_result infinite;
};

static uint32_t seed32[N];
static uint64_t seed64[N];
static uint16_t seed16[2][N];

static void make_inputs(void)
{
    uint64_t state = 88172645463325252u;
    for (int i = 0; i < N; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        seed64[i] = state;
        /* Finite, and every fifth one denormal. */
        if ((seed64[i] >> 52 & 0x7ff) == 0x7ff) seed64[i] ^= UINT64_C(1) << 60;
        if (i % 5 == 0) seed64[i] &= ~(UINT64_C(0x7ff) << 52);
        seed32[i] = (uint32_t)(state >> 20);
        if ((seed32[i] >> 23 & 0xff) == 0xff) seed32[i] ^= 1u << 28;
        if (i % 5 == 0) seed32[i] &= ~0x7f800000u;
        seed16[0][i] = (uint16_t)(state >> 40);
        if ((seed16[0][i] & 0x7c00) == 0x7c00) seed16[0][i] ^= 0x2000;
        if (i % 5 == 0) seed16[0][i] &= 0x83ff;
        seed16[1][i] = (uint16_t)(seed32[i] >> 16);
    }
}

static double from_bits(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, 8);
    return d;
}

static void compute(struct everything *e)
{
    size_t n = N;
    memset(e, 0, sizeof *e);
    for (int i = 0; i < ORDERS; i++) {
        float *f = (float *)e->f32[i];
        double *d = (double *)e->f64[i];
        gradclip_options options = default_options();
        memcpy(e->f32[i], seed32, sizeof seed32);
        memcpy(e->f64[i], seed64, sizeof seed64);
        e->r32[i] = e->r64[i] = new_result();
        options.nonfinite = (uint32_t)i % 3;
        /* A max_norm of 2**-130 makes the factor denormal in float32. */
        CHECK_STATUS(gradclip_clip_grad_norm_f32(&f, &n, 1, from_bits(i % 2 ? UINT64_C(893) << 52 : 0x3ff3333333333333), from_bits(order_bits[i]), &options, &e->r32[i]), GRADCLIP_OK);
        CHECK_STATUS(gradclip_clip_grad_norm_f64(&d, &n, 1, from_bits(i % 2 ? 0x0000000000abcdef : 0x7e00000000000001), from_bits(order_bits[i]), &options, &e->r64[i]), GRADCLIP_OK);
    }
    for (int i = 0; i < ORDERS; i++) {
        gradclip_tensor list[] = {tensor_of(e->half[i][0], N, GRADCLIP_F16), tensor_of(e->half[i][1], N, GRADCLIP_BF16)};
        memcpy(e->half[i], seed16, sizeof seed16);
        e->r16[i] = new_result();
        CHECK_STATUS(gradclip_clip_grad_norm(list, 2, from_bits(i % 2 ? UINT64_C(893) << 52 : 0x3ff3333333333333), from_bits(order_bits[i]), NULL, &e->r16[i]), GRADCLIP_OK);
    }
    float *v = (float *)e->value;
    memcpy(e->value, seed32, sizeof seed32);
    CHECK_STATUS(gradclip_clip_grad_value_f32(&v, &n, 1, from_bits(0x36b0000000000000), NULL), GRADCLIP_OK); /* 2**-148 */
    gradclip_tensor list = tensor_of(e->scaled, N, GRADCLIP_F64);
    memcpy(e->scaled, seed64, sizeof seed64);
    CHECK_STATUS(gradclip_scale(&list, 1, from_bits(0x3fd5555555555555), NULL), GRADCLIP_OK);

    static const uint16_t extremes[3] = {0x7c00, 0x7bff, 0x3c00};
    list = tensor_of(e->extremes, 3, GRADCLIP_F16);
    memcpy(e->extremes, extremes, sizeof extremes);
    e->infinite = new_result();
    CHECK_STATUS(gradclip_get_total_norm(&list, 1, from_bits(order_bits[0]), NULL, &e->infinite), GRADCLIP_NON_FINITE);
    CHECK_STATUS(gradclip_scale(&list, 1, from_bits(0x4010000000000000), NULL), GRADCLIP_OK); /* 4 */
}

static struct everything expected, found;

static void compare(const char *name)
{
    for (int i = 0; i < ORDERS; i++) {
        CHECK(same_bits(expected.f32[i], found.f32[i], sizeof found.f32[i]), "%s: float32, order %d", name, i);
        CHECK(same_bits(expected.f64[i], found.f64[i], sizeof found.f64[i]), "%s: float64, order %d", name, i);
        CHECK(same_bits(expected.half[i], found.half[i], sizeof found.half[i]), "%s: sixteen bits, order %d", name, i);
        CHECK(same_bits(&expected.r16[i], &found.r16[i], sizeof found.r16[i]), "%s: result of sixteen bits, order %d", name, i);
        CHECK(same_bits(&expected.r32[i], &found.r32[i], sizeof found.r32[i]), "%s: result of float32, order %d", name, i);
        CHECK(same_bits(&expected.r64[i], &found.r64[i], sizeof found.r64[i]), "%s: result of float64, order %d", name, i);
    }
    CHECK(same_bits(expected.value, found.value, sizeof found.value), "%s: clip by value", name);
    CHECK(same_bits(expected.scaled, found.scaled, sizeof found.scaled), "%s: scale", name);
    CHECK(same_bits(expected.extremes, found.extremes, sizeof found.extremes), "%s: infinite halves", name);
    CHECK(same_bits(&expected.infinite, &found.infinite, sizeof found.infinite), "%s: result of infinite halves", name);
}

static void rounding_modes(void)
{
    static const struct { int mode; const char *name; } modes[] = {
        {FE_UPWARD, "upward"}, {FE_DOWNWARD, "downward"}, {FE_TOWARDZERO, "toward zero"}, {FE_TONEAREST, "to nearest"}};
    for (int i = 0; i < 4; i++) {
        CHECK(fesetround(modes[i].mode) == 0, "%s", modes[i].name);
        compute(&found);
        CHECK(fegetround() == modes[i].mode, "rounding %s was changed", modes[i].name);
        fesetround(FE_TONEAREST);
        compare(modes[i].name);
    }
}

static void unmasked_exceptions(void)
{
    unmasked_call = "one of the calls of compute()";
    unmask_exceptions();
    compute(&found);
    unsigned seen = exceptions_seen();
    mask_exceptions();
    CHECK(seen == 0, "flags and masks %x left to the host", seen);
    compare("unmasked exceptions");
}

static void flush_to_zero(void)
{
    uint64_t before = get_control();
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        uint64_t set = USUAL ^ settings[i].bits, taken, after;
        set_control(set);
        taken = get_control();
        compute(&found);
        after = get_control();
        set_control(before);
        CHECK(taken == set && after == set, "%s: " CONTROL " %llx, set to %llx, became %llx", settings[i].name,
              (unsigned long long)taken, (unsigned long long)set, (unsigned long long)after);
        compare(settings[i].name);
    }
}

int main(void)
{
    uint64_t at_start = get_control();
    make_inputs();
    set_control(USUAL); /* -Ofast has set another one at start */
    compute(&expected);
    set_control(at_start);
    compute(&found);
    compare("as the program started");
    CHECK(expected.extremes[0] == 0x7c00 && expected.extremes[1] == 0x7c00, "%x and %x, not infinities", expected.extremes[0], expected.extremes[1]);
    flush_to_zero();
    rounding_modes();
    unmasked_exceptions();
    printf("fpenv: the program started with " CONTROL " %llx\n", (unsigned long long)at_start & ~0x3fULL);
    return checks_summary("fpenv");
}
