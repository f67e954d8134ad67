// What Swift cannot say about vectors: conversions, comparisons, lookups, fused operations. All is inlined.
#ifndef GK_VECTORS_H
#define GK_VECTORS_H

#include "gk_kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

// (Nothing below is ever called: all is inlined, so how it would pass vectors is no matter.)
#pragma clang diagnostic ignored "-Wpsabi"
typedef float gk_f32x16 __attribute__((ext_vector_type(16)));
typedef uint32_t gk_u32x16 __attribute__((ext_vector_type(16)));
typedef uint16_t gk_u16x16 __attribute__((ext_vector_type(16)));

#define GK_INLINE static inline __attribute__((always_inline))

GK_INLINE void gk_prefetch(const void *place) { __builtin_prefetch(place, 0, 3); }

// Comparisons, a > b ? x : y lane by lane. Swift's own are loops over the lanes
// that the compiler does not always turn into instructions; nor are its conversions
// between vectors always inlined.
typedef int32_t gk_i32x16 __attribute__((ext_vector_type(16)));
typedef uint64_t gk_u64x8 __attribute__((ext_vector_type(8)));
#define GK_CHOOSE(NAME, VECTOR) \
    GK_INLINE VECTOR NAME(VECTOR a, VECTOR b, VECTOR x, VECTOR y) { return a > b ? x : y; }
typedef float gk_f32x8 __attribute__((ext_vector_type(8)));
typedef double gk_f64x8 __attribute__((ext_vector_type(8)));
GK_INLINE gk_u32x16 gk_choose_u32(gk_i32x16 a, gk_i32x16 b, gk_u32x16 x, gk_u32x16 y) { return a > b ? x : y; }
GK_CHOOSE(gk_choose_i32, gk_i32x16)
typedef int32_t gk_i32x8 __attribute__((ext_vector_type(8)));
GK_CHOOSE(gk_choose_i32x8, gk_i32x8)
GK_CHOOSE(gk_choose_f32, gk_f32x16)
GK_CHOOSE(gk_choose_u16, gk_u16x16)
GK_CHOOSE(gk_choose_u64, gk_u64x8)
GK_CHOOSE(gk_choose_f64, gk_f64x8)
GK_INLINE gk_f64x8 gk_f64_from_f32(gk_f32x8 v) { return __builtin_convertvector(v, gk_f64x8); }
GK_INLINE gk_f32x8 gk_f32_from_f64(gk_f64x8 v) { return __builtin_convertvector(v, gk_f32x8); }

GK_INLINE int32_t gk_largest_i32(gk_i32x16 v) { return __builtin_reduce_max(v); }
GK_INLINE int32_t gk_largest_i32x8(gk_i32x8 v) { return __builtin_reduce_max(v); }

// count, and 1 more where a > b.
GK_INLINE gk_u32x16 gk_count_u32(gk_u32x16 count, gk_i32x16 a, gk_i32x16 b) { return count - (gk_u32x16)(a > b); }
GK_INLINE gk_u64x8 gk_count_f64(gk_u64x8 count, gk_f64x8 a, gk_f64x8 b) { return count - (gk_u64x8)(a > b); }
GK_INLINE gk_u64x8 gk_and_u64(gk_u64x8 a, gk_u64x8 b) { return a & b; }
GK_INLINE gk_u64x8 gk_or_u64(gk_u64x8 a, gk_u64x8 b) { return a | b; }
GK_INLINE gk_u64x8 gk_add_u64(gk_u64x8 a, gk_u64x8 b) { return a + b; }
GK_INLINE gk_f64x8 gk_add_f64(gk_f64x8 a, gk_f64x8 b) { return a + b; }
GK_INLINE gk_f64x8 gk_subtract_f64(gk_f64x8 a, gk_f64x8 b) { return a - b; }
GK_INLINE gk_f64x8 gk_multiply_f64(gk_f64x8 a, gk_f64x8 b) { return a * b; }

// sum + x * x, rounded once. Without the instruction: right where the square is exact.
GK_INLINE gk_f64x8 gk_plus_square(gk_f64x8 sum, gk_f64x8 x) {
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_elementwise_fma(x, x, sum);
#else
    return sum + x * x;
#endif
}

// x * y - product, rounded once, where there is the instruction.
GK_INLINE gk_f64x8 gk_remainder(gk_f64x8 x, gk_f64x8 y, gk_f64x8 product) {
    return __builtin_elementwise_fma(x, y, -product);
}

// Lookups in small tables, by numbers below 8, and the widening of floats that
// goes with them. The results are in the order 0, 1, 4, 5, 2, 3, 6, 7, in which two
// halves of a vector interleave at the least cost.
typedef uint32_t gk_u32x8 __attribute__((ext_vector_type(8)));
#define GK_ORDER8 0, 1, 4, 5, 2, 3, 6, 7
#define GK_ALL16 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
GK_INLINE gk_f64x8 gk_f64_in_order(gk_f32x8 v) {
    return gk_f64_from_f32(__builtin_shufflevector(v, v, GK_ORDER8));
}
#if defined(__AVX2__)
GK_INLINE gk_u32x8 gk_pick(const uint32_t *table, gk_u32x8 index) {
    gk_u32x8 values;
    __builtin_memcpy(&values, table, sizeof values);
    typedef int vector __attribute__((vector_size(32)));
    return (gk_u32x8)__builtin_ia32_permvarsi256((vector)values, (vector)index);
}
// The empty instruction keeps the compiler from looking through the interleaving,
// which makes it compute some of the lanes one by one.
GK_INLINE gk_f64x8 gk_interleave(gk_u32x8 low, gk_u32x8 high) {
    gk_u32x8 first = __builtin_shufflevector(low, high, 0, 8, 1, 9, 4, 12, 5, 13);
    gk_u32x8 second = __builtin_shufflevector(low, high, 2, 10, 3, 11, 6, 14, 7, 15);
    __asm__("" : "+x"(first), "+x"(second));
    return (gk_f64x8)__builtin_shufflevector(first, second, GK_ALL16);
}
GK_INLINE gk_f64x8 gk_lookup8(const gk_table8 *table, gk_u32x8 index) {
    return gk_interleave(gk_pick(table->low, index), gk_pick(table->high, index));
}
#elif defined(__aarch64__)
// Bytes of tables of 32 and 64, by the numbers of the values of four bytes.
GK_INLINE uint8x16_t gk_bytes(uint32x4_t index) {
    return vreinterpretq_u8_u32(vaddq_u32(vmulq_n_u32(index, 0x04040404), vdupq_n_u32(0x03020100)));
}
GK_INLINE uint8x16x2_t gk_table_bytes(const uint32_t *table) {
    uint8x16x2_t bytes = {{vreinterpretq_u8_u32(vld1q_u32(table)), vreinterpretq_u8_u32(vld1q_u32(table + 4))}};
    return bytes;
}
// The halves of eight values, four at a time, in the order above.
GK_INLINE gk_f64x8 gk_interleave(uint8x16_t low0, uint8x16_t high0, uint8x16_t low1, uint8x16_t high1) {
    uint32x4_t l0 = vreinterpretq_u32_u8(low0), h0 = vreinterpretq_u32_u8(high0);
    uint32x4_t l1 = vreinterpretq_u32_u8(low1), h1 = vreinterpretq_u32_u8(high1);
    uint32x4_t parts[4] = {vzip1q_u32(l0, h0), vzip1q_u32(l1, h1), vzip2q_u32(l0, h0), vzip2q_u32(l1, h1)};
    gk_f64x8 values;
    __builtin_memcpy(&values, parts, sizeof values);
    return values;
}
GK_INLINE gk_f64x8 gk_lookup8(const gk_table8 *table, gk_u32x8 index) {
    uint8x16_t first = gk_bytes((uint32x4_t)index.lo), second = gk_bytes((uint32x4_t)index.hi);
    uint8x16x2_t low = gk_table_bytes(table->low), high = gk_table_bytes(table->high);
    return gk_interleave(
        vqtbl2q_u8(low, first), vqtbl2q_u8(high, first), vqtbl2q_u8(low, second), vqtbl2q_u8(high, second));
}
#else
void gk_lookup(const gk_table8 *table, const gk_u32x8 *index, gk_f64x8 *values);
GK_INLINE gk_f64x8 gk_lookup8(const gk_table8 *table, gk_u32x8 index) {
    gk_f64x8 values;
    gk_lookup(table, &index, &values);
    return values;
}
#endif
// The same from a table in memory, where it is too large for registers.
GK_INLINE gk_f64x8 gk_gather(const double *table, const uint32_t *index) {
    return (gk_f64x8){table[index[0]], table[index[1]], table[index[4]], table[index[5]],
                      table[index[2]], table[index[3]], table[index[6]], table[index[7]]};
}
// Their arrays, which Swift sees as tuples.
GK_INLINE const double *gk_tables_far(const gk_power_tables *tables) { return tables->far; }
GK_INLINE double *gk_piece_known(gk_power_piece *piece) { return piece->known; }
GK_INLINE double *gk_piece_r(gk_power_piece *piece) { return piece->r; }
GK_INLINE uint32_t *gk_piece_index(gk_power_piece *piece) { return piece->index; }

#if defined(__AVX2__)
GK_INLINE bool gk_any(gk_u32x16 v) {
    typedef long long vector __attribute__((vector_size(32)));
    vector both = (vector)(v.lo | v.hi);
    return !__builtin_ia32_ptestz256(both, both);
}
#else
GK_INLINE bool gk_any(gk_u32x16 v) { return __builtin_reduce_or(v) != 0; }
#endif

// Four rows of four elements of 2, 4 or 8 bytes become columns.
typedef uint64_t gk_u64x16 __attribute__((ext_vector_type(16)));
#define GK_TRANSPOSE(NAME, VECTOR) \
    GK_INLINE void NAME(const void *from, ptrdiff_t stride, void *to, ptrdiff_t pitch) { \
        VECTOR rows; \
        const size_t size = sizeof rows / 4; \
        for (int i = 0; i < 4; i++) __builtin_memcpy((char *)&rows + size * i, (const char *)from + i * stride, size); \
        rows = __builtin_shufflevector(rows, rows, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15); \
        for (int i = 0; i < 4; i++) __builtin_memcpy((char *)to + i * pitch, (const char *)&rows + size * i, size); \
    }
GK_TRANSPOSE(gk_transpose2, gk_u16x16)
GK_TRANSPOSE(gk_transpose4, gk_u32x16)
GK_TRANSPOSE(gk_transpose8, gk_u64x16)

// Of squareRoot() the compiler makes a call to libm, in debug builds always.
GK_INLINE double gk_square_root(double x) { return __builtin_elementwise_sqrt(x); }
GK_INLINE gk_f64x8 gk_square_root_f64(gk_f64x8 v) { return __builtin_elementwise_sqrt(v); }

GK_INLINE gk_u32x16 gk_widen_u16x16(gk_u16x16 v) { return __builtin_convertvector(v, gk_u32x16); }
GK_INLINE gk_u16x16 gk_narrow_u32x16(gk_u32x16 v) { return __builtin_convertvector(v, gk_u16x16); }

// What is behind the point is cut off; of numbers beyond 31 bits comes anything.
GK_INLINE gk_i32x16 gk_i32_from_f32(gk_f32x16 v) { return __builtin_convertvector(v, gk_i32x16); }
GK_INLINE gk_f32x16 gk_f32_from_i32(gk_i32x16 v) { return __builtin_convertvector(v, gk_f32x16); }
typedef int64_t gk_i64x8 __attribute__((ext_vector_type(8)));
// The squares of the lanes 0, 2, 4 ... and of 1, 3, 5 ...
GK_INLINE gk_u64x8 gk_square_even(gk_i32x16 v) {
    gk_i64x8 x = (gk_i64x8)((gk_u64x8)v << 32) >> 32;
    return (gk_u64x8)(x * x);
}
GK_INLINE gk_u64x8 gk_square_odd(gk_i32x16 v) {
    gk_i64x8 x = (gk_i64x8)v >> 32;
    return (gk_u64x8)(x * x);
}

// Sixteen bfloat16 as floats, those with even numbers first: shorter than widening each.
GK_INLINE gk_f32x16 gk_f32_from_bf16_in_pairs(gk_u16x16 v) {
    gk_u32x8 pairs = (gk_u32x8)v;
    return __builtin_shufflevector((gk_f32x8)(pairs << 16), (gk_f32x8)(pairs & 0xffff0000), GK_ALL16);
}

// And back, each rounded to nearest, ties to even. A NaN that came from sixteen bits has nothing in its lower half, and
// so stays as it is.
GK_INLINE gk_u16x16 gk_bf16_from_f32_in_pairs(gk_f32x16 v) {
    gk_u32x8 even = (gk_u32x8)v.lo, odd = (gk_u32x8)v.hi;
    even += 0x7fff + ((even >> 16) & 1);
    odd += 0x7fff + ((odd >> 16) & 1);
    return (gk_u16x16)((even >> 16) | (odd & 0xffff0000));
}
// The significands of bfloat16: 128 to 255, below that of subnormals. And squares of as much.
GK_INLINE gk_u16x16 gk_bf16_significands(gk_u16x16 v) {
    typedef int16_t gk_i16x16 __attribute__((ext_vector_type(16)));
    gk_u16x16 is_normal = (gk_u16x16)((gk_i16x16)(v & 0x7f80) > 0);
    return (v & 0x7f) | (is_normal & 0x80);
}
GK_INLINE gk_u16x16 gk_square_u16(gk_u16x16 v) { return v * v; }

#if defined(__F16C__) || defined(__aarch64__)
typedef _Float16 gk_f16x16 __attribute__((ext_vector_type(16)));
GK_INLINE gk_f32x16 gk_f32_from_f16(gk_u16x16 bits) {
    gk_f16x16 v;
    __builtin_memcpy(&v, &bits, sizeof v);
    return __builtin_convertvector(v, gk_f32x16);
}
// From memory. The empty instruction keeps the compiler from using what it has loaded from
// there already: conversions that load are shorter than taking that apart.
GK_INLINE gk_f32x16 gk_f32_from_f16_at(const void *place) {
    typedef _Float16 half __attribute__((ext_vector_type(8)));
    half low, high;
    __asm__("" : "+r"(place));
    __builtin_memcpy(&low, place, sizeof low);
    __builtin_memcpy(&high, (const char *)place + sizeof low, sizeof high);
    return __builtin_shufflevector(
        __builtin_convertvector(low, gk_f32x8), __builtin_convertvector(high, gk_f32x8), GK_ALL16);
}
GK_INLINE gk_u16x16 gk_f16_from_f32(gk_f32x16 v) {
    gk_f16x16 h = __builtin_convertvector(v, gk_f16x16);
    gk_u16x16 bits;
    __builtin_memcpy(&bits, &h, sizeof bits);
    return bits;
}
#endif

#endif
