// What the engine needs from C; see the header.
#define _POSIX_C_SOURCE 200112L
#include "CGradClipKernels.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gk_with_scratch(void (*body)(void *context, void *scratch), void *context) {
    _Alignas(64) unsigned char scratch[GK_WORKSPACE];
    body(context, scratch);
}

void *gk_allocate(size_t size) {
    void *memory = NULL;
    size = (size + 63) / 64 * 64;
    if (posix_memalign(&memory, 64, size) != 0) return NULL;
    return memset(memory, 0, size);
}

void gk_release(void *memory) { free(memory); }

#ifndef __AVX2__
void gk_lookup(const gk_table8 *tables, const gk_u32x8 *index, gk_f64x8 *values) {
    static const uint8_t order[8] = {GK_ORDER8};
    for (int i = 0; i < 8; i++) {
        uint32_t at = (*index)[order[i]];
        const gk_table8 *table = &tables[at >> 3];
        uint64_t bits = (uint64_t)table->high[at & 7] << 32 | table->low[at & 7];
        memcpy((char *)values + 8 * i, &bits, sizeof bits);
    }
}
#endif

static _Thread_local char message[GK_MESSAGE];

char *gk_thread_message(void) { return message; }

static _Thread_local char line[GK_MESSAGE];

char *gk_thread_line(void) { return line; }

static _Thread_local _Alignas(16) unsigned char refusal[GK_REFUSAL];

void *gk_thread_refusal(void) { return refusal; }

bool gk_format_double(char *buffer, size_t size, int digits, double value) {
    snprintf(buffer, size, "%.*g", digits, value);
    bool faithful = strtod(buffer, NULL) == value || value != value;
    const char *point = localeconv()->decimal_point;
    char *found = point[0] && strcmp(point, ".") ? strstr(buffer, point) : NULL;
    if (found) {
        found[0] = '.';
        memmove(found + 1, found + strlen(point), strlen(found + strlen(point)) + 1);
    }
    return faithful;
}
