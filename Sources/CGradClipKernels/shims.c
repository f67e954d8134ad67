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

static _Thread_local char message[GK_MESSAGE];

char *gk_thread_message(void) { return message; }

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
