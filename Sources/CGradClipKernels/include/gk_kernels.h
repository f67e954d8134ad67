// The words and the values that engine and kernels share, and the table of kernels.
#ifndef GK_KERNELS_H
#define GK_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    // (Where `exact` holds, powers of two may stand for both: the largest's own, and one that asks for no more accumulators
    // than the elements do.)
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

// float64 values for gk_lookup8(), as lower and upper halves.
typedef struct gk_table8 {
    uint32_t low[8], high[8];
} gk_table8;

// What |x|^power of floats takes (FloatPower.swift): filled in at the baseline, for all.
enum { GK_POWER_COEFFICIENTS = 9, GK_POWER_NEAR = 15, GK_POWER_KNOWN = (GK_POWER_NEAR + 1) * 8, GK_POWER_FAR = 20 };
typedef struct gk_power_tables {
    double known[GK_POWER_KNOWN]; // 0 for each c; then 2^(-k power) c^power, k = 14 ... 0, c = 17/16, 19/16 ... 31/16
    gk_table8 inverse;            // 1/c
    double coefficient[GK_POWER_COEFFICIENTS]; // of r, r^2 ... in (1 + r)^power
    double far[GK_POWER_FAR];                  // 2^(-15 k power)
    uint64_t serve;                            // whether they do for this power
} gk_power_tables;

// Some elements of a block, between the loops that they go through.
enum { GK_POWER_PIECE = 256 };
typedef struct gk_power_piece {
    double known[GK_POWER_KNOWN + GK_POWER_PIECE]; // the table, and behind it those of elements that it has not
    double r[GK_POWER_PIECE];
    uint32_t index[GK_POWER_PIECE]; // into `known`
} gk_power_piece;

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
    // How far below T two of them reach, or what stands for two: terms are multiples of 2^(T - that).
    int32_t (*reach)(gk_dtype dtype, gk_term term);
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
    // all types but float64; scratch is then a gk_power_piece, aligned to 64.
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
__attribute__((weak)) void gradclip_kernels_x86_64_v4_ifma(gk_kernels *table);
#endif

enum { GK_ISA_BASELINE, GK_ISA_X86_64_V3, GK_ISA_X86_64_V4, GK_ISA_X86_64_V4_IFMA, GK_ISA_NEON };

// The kernels of this process: the best level that the CPU and the operating
// system support, or the one the environment variable GRADCLIP_ISA asks for if
// they support it. Chosen when the library is loaded (dispatch.c).
const gk_kernels *gk_process_kernels(void);
uint32_t gk_process_isa(void);

#endif
