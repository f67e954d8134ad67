// Text, and what each thread has of its own; see the header.
#include "CGradClipSystem.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char message[GK_MESSAGE];

char *gk_thread_message(void) { return message; }

static _Thread_local char line[GK_MESSAGE];

char *gk_thread_line(void) { return line; }

static _Thread_local _Alignas(16) unsigned char refusal[GK_REFUSAL];

void *gk_thread_refusal(void) { return refusal; }

const char *gk_environment(const char *name) { return getenv(name); }

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
