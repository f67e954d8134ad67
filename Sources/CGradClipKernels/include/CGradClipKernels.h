// What the engine and the kernels say to each other, in C because the kernels
// of each instruction set must be reached through a C function table: through a
// Swift import the compiler would specialise them again for the caller's
// instruction set.
//
// Also the few things Swift cannot say: vector conversions, the floating point
// control word, room on the stack.
#ifndef CGRADCLIPKERNELS_H
#define CGRADCLIPKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#if defined(__aarch64__)
#include <arm_neon.h>
#endif

// ------------------------------------------------------------- the words --

// Element types; the numbers are those of the public header. In Swift an enum, whose switches
// have a case for each: a type more is an error in every place that must know it.
typedef enum __attribute__((enum_extensibility(closed))) gk_dtype : uint32_t {
    GK_FLOAT32 __attribute__((swift_name("float32"))) = 1,
    GK_FLOAT64 __attribute__((swift_name("float64"))) = 2,
    GK_FLOAT16 __attribute__((swift_name("float16"))) = 3,
    GK_BFLOAT16 __attribute__((swift_name("bfloat16"))) = 4,
} __attribute__((swift_name("DType"))) gk_dtype;

// What is summed over the elements of a tensor.
typedef enum __attribute__((enum_extensibility(closed))) gk_term : uint32_t {
    GK_NOTHING __attribute__((swift_name("nothing"))) = 0, // only the extremes, and how many are zero
    GK_ABSOLUTE __attribute__((swift_name("absolute"))) = 1,        // |x|
    GK_SQUARE __attribute__((swift_name("square"))) = 2,            // x^2
    GK_CUBE __attribute__((swift_name("cube"))) = 3,                // |x|^3
    GK_FOURTH __attribute__((swift_name("fourth"))) = 4,            // x^4
    GK_ROOT __attribute__((swift_name("root"))) = 5,                // |x|^(1/2)
    GK_THREE_HALVES __attribute__((swift_name("threeHalves"))) = 6, // |x|^(3/2)
    GK_POWER __attribute__((swift_name("power"))) = 7,              // |x|^p
} __attribute__((swift_name("TermKind"))) gk_term;

// ---------------------------------------------------------------- blocks --

// Elements that are summed as one block, the most that a kernel is given. Where a sum is rounded,
// it is rounded once per block at a place that depends on the block alone, so a tensor may
// be cut anywhere at a multiple of this without changing a bit.
enum { GK_BLOCK = 4096 };

// What a kernel found of a block.
typedef struct gk_block {
    // What the accumulators hold, in units of 2^(T - 43), 2^(T - 87), 2^(T - 131) and so on, where every
    // term is below 2^T. See Cascade.swift. Of fixed point: see FixedPoint.swift.
    int64_t sums[5];
    int32_t bound;     // T
    uint64_t largest;  // bits of the largest magnitude as float64; of NaN nothing is known
    uint64_t smallest; // bits of the smallest magnitude but zero, as float64; UINT64_MAX: all are zero
    uint64_t zeros;    // how many are zero (extremes only)
    // Whether all elements are finite and the sums are what they say they are. If not, the sums
    // mean nothing; largest and smallest are right where all elements are finite.
    bool holds;
} gk_block;

// How many elements of a block are NaN or infinite, and which is the first.
typedef struct gk_nonfinite {
    uint64_t count;
    uint64_t nan;
    uint64_t first; // GK_NOWHERE: none
} gk_nonfinite;
#define GK_NOWHERE UINT64_MAX

// Sums by exponent (Bins.swift), in GK_BIN_BYTES aligned to 64. Of narrow types a bin for each exponent field of
// float32, an integer. (Behind them stand three more tables while elements go in, and then room for a few of those.) Of
// float64 a bin has the fields 4k - 1 to 4k + 2, and is an integer of 128 bits. The last bin is of no use: it has what
// is not finite.
enum { GK_BINS_NARROW = 256, GK_BINS_WIDE = 513, GK_BIN_TABLES = 4, GK_BIN_ROOM = 1024 };
enum { GK_BIN_BYTES = GK_BIN_TABLES * GK_BINS_NARROW * 8 + GK_BIN_ROOM };
_Static_assert((GK_BINS_WIDE * 16 + 63) / 64 * 64 <= GK_BIN_BYTES, "wide bins have room");

// float64 values for gk_lookup8() and gk_lookup16(), as lower and upper halves.
typedef struct gk_table8 {
    uint32_t low[8], high[8];
} gk_table8;
typedef struct gk_table16 {
    gk_table8 first, second;
} gk_table16;

// What |x|^power of floats takes (FloatPower.swift): filled in at the baseline, for all.
enum { GK_POWER_COEFFICIENTS = 9, GK_POWER_NEAR = 15, GK_POWER_FAR = 20 };
typedef struct gk_power_tables {
    double coefficient[GK_POWER_COEFFICIENTS][8]; // of r, r^2 ... in (1 + r)^power; eight times each
    gk_table8 centre;                          // c^power for c = 17/16, 19/16 ... 31/16
    gk_table8 inverse;                         // 1/c
    gk_table16 scale;                          // 2^(-k power), k = 0 ... 14; then 0
    double far[GK_POWER_FAR];                  // 2^(-15 k power)
    uint64_t serve;                            // whether they do for this power
} gk_power_tables;

// The element d that a block's terms (|x| / d)^power are taken relative to: by the parts of its logarithm.
typedef struct gk_dominant {
    double power;
    double exponent;
    double fraction; // at most 1/2; 0 where the tables serve
    const gk_power_tables *tables; // NULL: they do not serve
} gk_dominant;

// How a tensor is multiplied.
typedef struct gk_scaling {
    double factor;
    bool zero_nonfinite; // NaN and infinities become 0
} gk_scaling;

// What gradclip_inspect counts beyond a norm, over finite elements.
typedef struct gk_statistics {
    double sum;          // of the elements, in blocks; with `correction` to twice the precision
    double correction;
    uint64_t largest;    // bits of the largest magnitude, as float64
    uint64_t zero;
    uint64_t subnormal;
    uint64_t positive_infinity;
    uint64_t negative_infinity;
    void *scratch;       // GK_SCRATCH bytes, aligned to 64
} gk_statistics;

// The kernels of one instruction set. data may have any alignment; src == dst or they do not overlap.
// Those that sum are functions of one block of at most GK_BLOCK elements, at least one.
typedef struct gk_kernels {
    // Terms that are exact, |x| or x^2: with T from `exponent`, the e for which all |x| < 2^e, and as many
    // accumulators as `levels` says, or more. Holds if the sum is exact.
    void (*exact)(gk_dtype dtype, gk_term term, const void *data, int64_t count, int32_t exponent, int32_t levels,
                  gk_block *block);
    // How many accumulators that has at most. 0: none.
    int32_t (*most_levels)(gk_dtype dtype, gk_term term);
    // Squares of float16 and bfloat16 in fixed point, again below 2^exponent. Holds if the sum is exact. NULL at
    // the baseline.
    void (*fixed_point)(gk_dtype dtype, const void *data, int64_t count, int32_t exponent, gk_block *block);
    // Terms that are exact, |x| or x^2 of all types: all that are finite, by exponent, into bins that it
    // clears first. False if an element was not finite.
    bool (*bins)(gk_dtype dtype, gk_term term, const void *data, int64_t count, void *bins);
    // Terms that float64 rounds, of all types, below 2^bound. Holds if all elements are finite.
    void (*rounded)(gk_dtype dtype, gk_term term, const void *data, int64_t count, int32_t bound, gk_block *block);
    // No sum. Holds if all elements are finite.
    void (*extremes)(gk_dtype dtype, const void *data, int64_t count, gk_block *block);
    // The sum of (|x| / d)^power, rounded, of finite elements not all of which are zero. The tables serve for
    // all types but float64; scratch is then GK_POWER_SCRATCH bytes, aligned to 64.
    double (*power)(gk_dtype dtype, const void *data, int64_t count, const gk_dominant *dominant, void *scratch);
    gk_nonfinite (*nonfinite)(gk_dtype dtype, const void *data, int64_t count);
    void (*inspect)(gk_dtype dtype, const void *data, int64_t count, gk_statistics *statistics);
    // Of any length.
    void (*scale)(gk_dtype dtype, const void *src, void *dst, int64_t length, const gk_scaling *scaling);
    void (*clamp)(gk_dtype dtype, void *data, int64_t length, double limit);
    // sums[i] += factors[r] * rows[r][i] for r = 0, 1, 2, 3 in this order, product and sum
    // each rounded as the processor is told to. sums has room for a multiple of 16,
    // scratch is 4 * GK_COLUMNS floats. Pointers in rows may change.
    void (*accumulate)(gk_dtype dtype, const void **rows, int64_t length, const double *factors, double *sums,
                       void *scratch);
    // sums[i] += factor * data[i], product and sum each rounded to nearest. sums has room for a
    // multiple of 16, scratch is 16 doubles.
    void (*add)(gk_dtype dtype, const void *data, int64_t length, double factor, double *sums, void *scratch);
} gk_kernels;

// Columns that are summed over examples at a time: at least as many as fit into the workspace
// with four rows of floats, and at most, where there is memory, so many that the sums stay in
// a cache of the processor's own. The more, the longer the stretches in which rows are read.
enum { GK_COLUMNS = 1792, GK_MOST_COLUMNS = 65536 };

// Each level fills its table, whose fields are pointers to functions and nothing else. The baseline is always there; the others exist in
// libgradclip.so on x86-64 only, hence weak.
void gradclip_kernels_baseline(gk_kernels *table);
#if defined(__x86_64__)
__attribute__((weak)) void gradclip_kernels_x86_64_v3(gk_kernels *table);
__attribute__((weak)) void gradclip_kernels_x86_64_v4(gk_kernels *table);
#endif

enum { GK_ISA_BASELINE = 0, GK_ISA_X86_64_V3 = 1, GK_ISA_X86_64_V4 = 2, GK_ISA_NEON = 3 };

// The kernels of this process: the best level that the CPU and the operating
// system support, or the one the environment variable GRADCLIP_ISA asks for if
// they support it. Chosen at the first call: by every thread that makes one, each for itself
// and to the same end, so that nobody waits.
const gk_kernels *gk_process_kernels(void);
uint32_t gk_process_isa(void);

// --------------------------------------------------------------- scratch --

// A sum held exactly, as limbs of 40 bits: the value is
// sum(limbs[i] * 2^(40 * (base + i))). Limbs are signed and may exceed 40 bits
// until carries are propagated. See ExactSum.swift.
enum { GK_LIMBS = 16 };
typedef struct gk_sum {
    int64_t limbs[GK_LIMBS];
    int64_t base;    // bin of limbs[0]; GK_EMPTY before the first value of a window that floats
    int64_t pending; // additions since carries were last propagated
} gk_sum;
#define GK_EMPTY INT64_MIN

// The same for any float64 term of p = 1 and 2 (bits -2148 ... 2111): fixed limbs,
// the lowest at bin GK_WIDE_BASE.
enum { GK_WIDE_LIMBS = 112, GK_WIDE_BASE = -56 };
typedef struct gk_wide_limbs {
    int64_t limbs[GK_WIDE_LIMBS];
} gk_wide_limbs;

// What a pass over tensors needs besides: GK_SCRATCH bytes for one block, then
// GK_TABLES for tables of powers, then limbs for two exact sums of float64 terms, then
// what is known of each column. It must leave room on a stack of 64 KB, so the last of it
// serves passes without columns to gather small tensors in, and room to turn columns into
// rows is the end of the scratch memory: of a piece of a column, 1472 bytes, kernels
// need four times as much at most. (A power of two would put all columns into the same
// cache lines.)
enum { GK_SCRATCH = GK_BLOCK * 8, GK_POWER_SCRATCH = 4096 };
enum { GK_TABLES = 1152, GK_GATHERED = 4096, GK_TILE_COLUMNS = 16, GK_TILE = 1472 * GK_TILE_COLUMNS };
enum { GK_PARTIALS = 512 * (GK_TILE_COLUMNS + 2), GK_LIMB_ROOM = 2 * GK_WIDE_LIMBS * 8 };
enum { GK_WORKSPACE = GK_SCRATCH + GK_TABLES + GK_LIMB_ROOM + GK_PARTIALS };
// Differences that are made at a time, where passes with columns keep what is known of each.
enum { GK_DIFFERENCES = 1024 };

_Static_assert(GK_COLUMNS * (8 + 4 * 4) <= GK_WORKSPACE, "sums over examples fit");
_Static_assert((GK_DIFFERENCES + 16) * 8 <= GK_PARTIALS, "differences fit");
// While columns stand at the end of the scratch memory, a piece of one goes through its beginning.
_Static_assert(GK_BIN_BYTES <= GK_SCRATCH - GK_TILE, "bins fit before the columns");
_Static_assert(GK_TILE / GK_TILE_COLUMNS + 64 + GK_POWER_SCRATCH <= GK_SCRATCH - GK_TILE, "powers of a copied piece do");

// What a thread does of a pass: on GK_WORKSPACE bytes, and with others at work on the same or not.
typedef void (*gk_body)(void *context, void *scratch, bool is_shared);

// Calls body with GK_WORKSPACE bytes of its own stack, aligned to 64.
void gk_with_scratch(gk_body body, void *context, bool is_shared);

// -------------------------------------------- the floating point control --

// Round to nearest, no flush to zero, IEEE halves, exceptions masked; returns what
// was, with the flags of the exceptions raised so far.
static inline uint64_t gk_float_environment_enter(void) {
#if defined(__x86_64__)
    uint32_t was;
    uint32_t ours = 0x1f80;
    __asm__ volatile("stmxcsr %0" : "=m"(was));
    __asm__ volatile("ldmxcsr %0" : : "m"(ours) : "memory");
    return was;
#elif defined(__aarch64__)
    uint64_t control, flags; // 32 bits each
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    __asm__ volatile("mrs %0, fpsr" : "=r"(flags));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0) : "memory");
    return flags << 32 | control;
#else
    return 0;
#endif
}

// Towards zero, and to nearest again.
static inline void gk_round_towards_zero(bool towards_zero) {
#if defined(__x86_64__)
    uint32_t ours = towards_zero ? 0x7f80 : 0x1f80;
    __asm__ volatile("ldmxcsr %0" : : "m"(ours) : "memory");
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)(towards_zero ? 0xc00000 : 0)) : "memory");
#endif
}

static inline void gk_float_environment_leave(uint64_t was) {
#if defined(__x86_64__)
    uint32_t value = (uint32_t)was;
    __asm__ volatile("ldmxcsr %0" : : "m"(value) : "memory");
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(was & 0xffffffff) : "memory");
    __asm__ volatile("msr fpsr, %0" : : "r"(was >> 32) : "memory");
#else
    (void)was;
#endif
}

// --------------------------------------------------- vector conversions --

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

GK_INLINE double gk_far_power(const gk_power_tables *tables, uint32_t k) { return tables->far[k]; }

// Lookups in small tables, by numbers below 8 and 16, and the widening of floats that
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
GK_INLINE gk_f64x8 gk_lookup16(const gk_table16 *table, gk_u32x8 index) {
    gk_u32x8 first = gk_pick(table->first.low, index), second = gk_pick(table->second.low, index);
    gk_u32x8 low = index > 7 ? second : first;
    first = gk_pick(table->first.high, index), second = gk_pick(table->second.high, index);
    return gk_interleave(low, index > 7 ? second : first);
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
GK_INLINE gk_f64x8 gk_lookup16(const gk_table16 *table, gk_u32x8 index) {
    uint8x16_t first = gk_bytes((uint32x4_t)index.lo), second = gk_bytes((uint32x4_t)index.hi);
    uint8x16x2_t low0 = gk_table_bytes(table->first.low), low1 = gk_table_bytes(table->second.low);
    uint8x16x2_t high0 = gk_table_bytes(table->first.high), high1 = gk_table_bytes(table->second.high);
    uint8x16x4_t low = {{low0.val[0], low0.val[1], low1.val[0], low1.val[1]}};
    uint8x16x4_t high = {{high0.val[0], high0.val[1], high1.val[0], high1.val[1]}};
    return gk_interleave(
        vqtbl4q_u8(low, first), vqtbl4q_u8(high, first), vqtbl4q_u8(low, second), vqtbl4q_u8(high, second));
}
#else
void gk_lookup(const gk_table8 *tables, const gk_u32x8 *index, gk_f64x8 *values);
GK_INLINE gk_f64x8 gk_lookup16(const gk_table16 *table, gk_u32x8 index) {
    gk_f64x8 values;
    gk_lookup(&table->first, &index, &values);
    return values;
}
GK_INLINE gk_f64x8 gk_lookup8(const gk_table8 *table, gk_u32x8 index) {
    return gk_lookup16((const gk_table16 *)table, index);
}
#endif
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
