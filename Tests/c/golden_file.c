#define _POSIX_C_SOURCE 200809L
#include "golden_file.h"

#include <gradclip.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct element_type types[] = {
    {"f32", GRADCLIP_F32, 4, UINT64_C(1) << 31, UINT64_C(0x7f800000)},
    {"f64", GRADCLIP_F64, 8, UINT64_C(1) << 63, UINT64_C(0x7ff) << 52},
    {"f16", GRADCLIP_F16, 2, UINT64_C(1) << 15, UINT64_C(0x7c00)},
    {"bf16", GRADCLIP_BF16, 2, UINT64_C(1) << 15, UINT64_C(0x7f80)},
};

static FILE *file;
static char *text;
static size_t text_size;
static int line_number;
static char *rest; /* of the current line */

static void bad(const char *what)
{
    fprintf(stderr, "golden file, line %d: %s\n", line_number, what);
    exit(2);
}

void golden_open(const char *path)
{
    file = fopen(path, "r");
    if (!file) {
        perror(path);
        exit(2);
    }
    line_number = 0;
}

/* Read a line that is no comment; 0 at the end of the file. */
static int next_line(void)
{
    do {
        ssize_t got = getline(&text, &text_size, file);
        if (got < 0) return 0;
        line_number++;
        if (got && text[got - 1] == '\n') text[got - 1] = 0;
    } while (text[0] == '#' || text[0] == 0);
    rest = text;
    return 1;
}

static char *word(void)
{
    char *found = strtok_r(rest == text ? text : NULL, " ", &rest);
    if (!found) bad("a word is missing");
    return found;
}

static double number(void)
{
    char *w = word(), *end;
    double value = strtod(w, &end);
    if (end == w || *end) bad(w);
    return value;
}

static long integer(void)
{
    char *w = word(), *end;
    long value = strtol(w, &end, 10);
    if (end == w || *end) bad(w);
    return value;
}

static uint64_t index_or_none(void)
{
    char *w = word();
    return strcmp(w, "-") == 0 ? GRADCLIP_NONE : strtoull(w, NULL, 10);
}

/* Expand "12*3f800000,0;80000000": into is NULL to count only. */
static size_t expand(const char *runs, uint64_t *into)
{
    size_t n = 0;
    const char *s = runs;
    if (strcmp(runs, ".") == 0) return 0;
    while (*s) {
        char *end;
        size_t times = 1, start = n, group;
        const char *star = strchr(s, '*'), *stop = strchr(s, ';');
        if (star && (!stop || star < stop)) {
            times = strtoull(s, &end, 10);
            if (end != star) bad(s);
            s = star + 1;
        }
        for (;;) {
            uint64_t bits = ANY_NAN;
            if (*s == 'n') s++;
            else {
                bits = strtoull(s, &end, 16);
                if (end == s) bad(s);
                s = end;
            }
            if (into) into[n] = bits;
            n++;
            if (*s != ',') break;
            s++;
        }
        group = n - start;
        for (size_t i = 1; i < times; i++, n += group)
            if (into) memcpy(into + n, into + start, group * sizeof *into);
        if (*s == ';') s++;
        else if (*s) bad(s);
    }
    return n;
}

static void read_tensor(struct tensor *t)
{
    char *w;
    if (!next_line() || strcmp(word(), "t")) bad("a tensor was to follow");
    w = word();
    t->type = NULL;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(w, types[i].name) == 0) t->type = &types[i];
    if (!t->type) bad(w);
    t->counted = *word() == 'c';
    t->offset = (size_t)integer();
    t->norm = number();
    t->norm_ulps = integer();
    w = word();
    t->length = expand(w, NULL);
    t->input = realloc(t->input, t->length * sizeof *t->input + 1);
    t->expected = realloc(t->expected, t->length * sizeof *t->expected + 1);
    if (!t->input || !t->expected) bad("out of memory");
    expand(w, t->input);
    w = word();
    t->unwritten = strcmp(w, "-") == 0;
    if (t->unwritten || strcmp(w, "=") == 0)
        memcpy(t->expected, t->input, t->length * sizeof *t->input);
    else if (expand(w, NULL) != t->length) bad("input and output differ in length");
    else expand(w, t->expected);
}

int golden_next(struct golden *g)
{
    char *name;
    if (!next_line()) {
        fclose(file);
        return 0;
    }
    g->line = line_number;
    g->count = 0;
    g->element_ulps = g->coef_ulps = g->total_ulps = 0;
    name = word();
    if (strcmp(name, "clip") == 0) {
        g->call = CALL_CLIP;
        g->p = number();
        g->max_norm = number();
        g->eps = number();
        g->grad_scale = number();
        g->policy = (int)integer();
        g->count = (size_t)integer();
        g->status = (int)integer();
        g->total_norm = number();
        g->total_ulps = integer();
        g->coef = number();
        g->factor = number();
        g->coef_ulps = integer();
        g->element_ulps = integer();
        g->nonfinite = (uint64_t)integer();
        g->nans = (uint64_t)integer();
        g->first_tensor = index_or_none();
        g->first_element = index_or_none();
    } else if (strcmp(name, "with") == 0) {
        g->call = CALL_WITH;
        g->max_norm = number();
        g->total = number();
        g->eps = number();
        g->grad_scale = number();
        g->policy = (int)integer();
        g->count = (size_t)integer();
        g->status = (int)integer();
        g->coef = number();
        g->factor = number();
    } else if (strcmp(name, "scale") == 0 || strcmp(name, "value") == 0) {
        g->call = *name == 's' ? CALL_SCALE : CALL_VALUE;
        g->factor_in = number();
        g->count = (size_t)integer();
    } else if (strcmp(name, "coef") == 0) {
        g->call = CALL_COEF;
        g->max_norm = number();
        g->total = number();
        g->eps = number();
        g->coef = number();
        return 1;
    } else bad(name);
    g->note = "";
    if (g->count > MAX_TENSORS) bad("too many tensors");
    for (size_t i = 0; i < g->count; i++) read_tensor(&g->tensors[i]);
    return 1;
}
