// Memory: the limbs of exact sums, and the workspace of a thread of a pass.
#ifndef GK_SCRATCH_H
#define GK_SCRATCH_H

#include "gk_kernels.h"

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
enum { GK_SCRATCH = GK_BLOCK * 8 };
enum { GK_TABLES = 1536, GK_GATHERED = 4096, GK_TILE_COLUMNS = 16, GK_TILE = 1472 * GK_TILE_COLUMNS };
enum { GK_PARTIAL = 512 }; // as much as what is known of a column, or of a list, takes at most (LayoutTests.swift)
enum { GK_PARTIALS = GK_PARTIAL * (GK_TILE_COLUMNS + 3), GK_LIMB_ROOM = 2 * GK_WIDE_LIMBS * 8 };
enum { GK_WORKSPACE = GK_SCRATCH + GK_TABLES + GK_LIMB_ROOM + GK_PARTIALS };
// Differences that are made at a time, where passes with columns keep what is known of each but the first.
enum { GK_DIFFERENCES = 1024 };

_Static_assert(sizeof(gk_power_tables) <= GK_TABLES && GK_TABLES % 64 == 0, "tables fit");
_Static_assert(GK_COLUMNS * (8 + 4 * 4) <= GK_WORKSPACE, "sums over examples fit");
_Static_assert(GK_PARTIAL + (GK_DIFFERENCES + 16) * 8 <= GK_PARTIALS, "differences fit");
// While columns stand at the end of the scratch memory, a piece of one goes through its beginning.
_Static_assert(GK_BIN_BYTES <= GK_SCRATCH - GK_TILE, "bins fit before the columns");
_Static_assert(GK_TILE / GK_TILE_COLUMNS + 64 + sizeof(gk_power_piece) <= GK_SCRATCH - GK_TILE, "powers of a copied piece do");

// What a thread does of a pass: on GK_WORKSPACE bytes, and with others at work on the same or not.
typedef void (*gk_body)(void *context, void *scratch, bool is_shared);

// Calls body with GK_WORKSPACE bytes of its own stack, aligned to 64.
void gk_with_scratch(gk_body body, void *context, bool is_shared);

#endif
