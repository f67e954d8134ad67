/* Random gradients for the C tests; the seed is fixed, and printed by what uses it. */
#ifndef RANDOM_H
#define RANDOM_H

#include <gradclip.h>
#include <stdint.h>
#include <string.h>

#define RANDOM_SEED UINT64_C(88172645463325252)
static uint64_t random_state = RANDOM_SEED;

/* xorshift64* */
static inline uint64_t next_random(void)
{
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return random_state * UINT64_C(0x2545f4914f6cdd1d);
}

/* A number in 0 ..< n. */
static inline size_t below(size_t n) { return (size_t)((next_random() >> 11) % n); }

struct element_type { uint32_t dtype; const char *name; unsigned size, exponent_bits, mantissa_bits; };
static const struct element_type element_types[] = {{GRADCLIP_F32, "f32", 4, 8, 23},
                                                    {GRADCLIP_F64, "f64", 8, 11, 52},
                                                    {GRADCLIP_F16, "f16", 2, 5, 10},
                                                    {GRADCLIP_BF16, "bf16", 2, 8, 7}};
enum { ELEMENT_TYPES = 4 };

static inline uint64_t all_ones(unsigned bits) { return (UINT64_C(1) << bits) - 1; }

/* Elements with exponent fields in low ..< low + span (0: subnormals and zeros), of either sign. */
static inline void fill_random(void *to, size_t n, const struct element_type *t, unsigned low, unsigned span)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = next_random(), exponent = low + (bits >> 53) % span;
        bits = (((bits >> 52 & 1) << t->exponent_bits | exponent) << t->mantissa_bits) | (bits & all_ones(t->mantissa_bits));
        memcpy((unsigned char *)to + i * t->size, &bits, t->size); /* little endian */
    }
}

static inline void set_bits(void *data, size_t i, const struct element_type *t, uint64_t bits)
{
    memcpy((unsigned char *)data + i * t->size, &bits, t->size);
}

static inline uint64_t infinity_bits(const struct element_type *t) { return all_ones(t->exponent_bits) << t->mantissa_bits; }

#endif
