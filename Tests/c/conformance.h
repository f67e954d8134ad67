/* What the conformance program computes with, and how it prints. */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include "calls.h"

#include <inttypes.h>

enum { LONGEST = 20011, ROOM = LONGEST * 8 + 64, TYPES = 4 };

static uint64_t state = 88172645463325252u;

static inline uint64_t next(void)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state * UINT64_C(0x2545f4914f6cdd1d);
}

static const struct { uint32_t dtype; const char *name; unsigned size, exponent, mantissa; } types[TYPES] = {
    {GRADCLIP_F32, "f32", 4, 8, 23}, {GRADCLIP_F64, "f64", 8, 11, 52},
    {GRADCLIP_F16, "f16", 2, 5, 10}, {GRADCLIP_BF16, "bf16", 2, 8, 7}};

/* The gradients of a call, a copy of them, and what is written elsewhere. */
static unsigned char data[ROOM], copy[ROOM], out[ROOM];

/* An element's bits. (Sizes that the compiler knows: an emulator would call memcpy for each.) */
static uint64_t get_bits(const unsigned char *from, unsigned size)
{
    uint64_t wide;
    uint32_t word;
    uint16_t half;
    if (size == 8) return memcpy(&wide, from, 8), wide;
    if (size == 4) return memcpy(&word, from, 4), word;
    return memcpy(&half, from, 2), half;
}

static void put_bits(unsigned char *to, unsigned size, uint64_t bits)
{
    uint32_t word = (uint32_t)bits;
    uint16_t half = (uint16_t)bits;
    if (size == 8) memcpy(to, &bits, 8);
    else if (size == 4) memcpy(to, &word, 4);
    else memcpy(to, &half, 2);
}

/* n elements of a type at an offset in data: random ones whose exponents lie in `span` binades up to
 * `top`; if spoiled some are NaN or infinite. */
struct sample {
    int type;
    size_t n, offset;
    unsigned span, top;
    int spoiled;
};

static void make_sample(struct sample s)
{
    const unsigned mantissa_bits = types[s.type].mantissa, exponent_bits = types[s.type].exponent;
    for (size_t i = 0; i < s.n; i++) {
        uint64_t bits = next(), exponent = s.top - (s.span ? next() % s.span : 0);
        uint64_t mantissa = bits & ((UINT64_C(1) << mantissa_bits) - 1), sign = bits >> 63;
        if (s.spoiled && next() % 997 == 0) exponent = (UINT64_C(1) << exponent_bits) - 1;
        bits = ((sign << exponent_bits) + exponent) << mantissa_bits | mantissa;
        put_bits(copy + s.offset + i * types[s.type].size, types[s.type].size, bits);
    }
}

/* Before each call that writes. */
static void fresh(struct sample s)
{
    memcpy(data + s.offset, copy + s.offset, s.n * types[s.type].size);
}

/* The elements from `first` on of a buffer as a tensor. */
static gradclip_tensor part(struct sample s, unsigned char *buffer, size_t first, size_t n)
{
    return tensor_of(buffer + s.offset + first * types[s.type].size, n, types[s.type].dtype);
}

/* --------------------------------------------------------------- printing -- */

/* A NaN's sign and payload are nobody's promise: all are alike. */
static uint64_t hash_elements(int type, const void *bytes, size_t n)
{
    const unsigned size = types[type].size;
    const uint64_t infinity = ((UINT64_C(1) << types[type].exponent) - 1) << types[type].mantissa;
    const uint64_t magnitude = (UINT64_C(1) << (types[type].exponent + types[type].mantissa)) - 1;
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = get_bits((const unsigned char *)bytes + i * size, size);
        if ((bits & magnitude) > infinity) bits = magnitude;
        hash = (hash ^ bits) * UINT64_C(1099511628211);
        hash ^= hash >> 29;
    }
    return hash;
}

static uint64_t hash_bytes(const void *bytes, size_t n)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < n; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(1099511628211);
    return hash;
}

/* As bits: %a has a spelling of its own in every libc. */
static void print_number(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (isnan(x)) printf(" nan");
    else printf(" %016" PRIx64, bits);
}

static void print_numbers(const double *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++) print_number(numbers[i]);
}

static void print_count(uint64_t n) { printf(" %" PRIu64, n); }

static void print_hash(uint64_t hash) { printf(" %016" PRIx64, hash); }

static void print_sample(struct sample s, const char *call)
{
    printf("%s %s %u span %u top %u%s:", call, types[s.type].name, (unsigned)s.n, s.span, s.top, s.spoiled ? " spoiled" : "");
}

static void print_result(gradclip_status status, const gradclip_result *r)
{
    printf(" %d", (int)status);
    print_number(r->total_norm), print_number(r->clip_coef), print_number(r->factor);
    print_count(r->nonfinite_count), print_count(r->nan_count), print_count(r->first_tensor), print_count(r->first_element);
}

/* What is in data after a call. */
static void print_written(struct sample s) { print_hash(hash_elements(s.type, data + s.offset, s.n)); }

static void print_end(void) { putchar('\n'); }

#endif
