// What the engine needs from C; see the header.
#include "CGradClipKernels.h"

#include <string.h>

void gk_with_scratch(gk_body body, void *context, bool is_shared) {
    _Alignas(64) unsigned char scratch[GK_WORKSPACE];
    body(context, scratch, is_shared);
}

#if !defined(__AVX2__) && !defined(__aarch64__)
void gk_lookup(const gk_table8 *table, const gk_u32x8 *index, gk_f64x8 *values) {
    static const uint8_t order[8] = {GK_ORDER8};
    for (int i = 0; i < 8; i++) {
        uint32_t at = (*index)[order[i]] & 7;
        uint64_t bits = (uint64_t)table->high[at] << 32 | table->low[at];
        memcpy((char *)values + 8 * i, &bits, sizeof bits);
    }
}
#endif
