/* What a fuzzer's bytes are turned into: numbers that hurt, and lists of tensors in
 * memory of exactly their size, so that AddressSanitizer sees every step beyond it. */
#ifndef GRADCLIP_FUZZ_INPUT_H
#define GRADCLIP_FUZZ_INPUT_H

#include "gradclip.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct input {
    const uint8_t *bytes;
    size_t size;
} input;

/* Ends the run with a report: libFuzzer keeps the input. */
#define REQUIRE(condition, ...) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__); \
            fprintf(stderr, "\n"); \
            abort(); \
        } \
    } while (0)

static inline uint8_t take_byte(input *in) {
    if (in->size == 0) return 0;
    in->size--;
    return *in->bytes++;
}

static inline void take(input *in, void *to, size_t size) {
    for (size_t i = 0; i < size; i++) ((uint8_t *)to)[i] = take_byte(in);
}

/* Any double: often a round or an extreme one, otherwise any bits. */
static inline double take_double(input *in) {
    static const double special[] = {0.0, -0.0, 1.0, 2.0, 3.0, 0.5, -1.0, 1e-6, 100.0, 1e38, 1e-45, 1e308, 5e-324, 1e-310,
                                     INFINITY, -INFINITY, NAN, 1.5, 4.0, 2.7};
    const uint8_t kind = take_byte(in);
    if (kind < sizeof special / sizeof *special) return special[kind];
    if (kind < 128) return ldexp(1.0 + take_byte(in) / 256.0, (int)take_byte(in) - 128);
    double value;
    take(in, &value, sizeof value);
    return value;
}

enum { MOST_TENSORS = 6 };

typedef struct list {
    gradclip_tensor tensors[MOST_TENSORS];
    void *blocks[MOST_TENSORS]; /* as malloc returned them */
    size_t count;
} list;

static inline size_t element_size(uint32_t dtype) { return dtype == GRADCLIP_F64 ? 8 : dtype == GRADCLIP_F32 ? 4 : 2; }

/* Memory of `bytes` bytes that ends where its block ends, at an address that is
 * `offset` off an aligned one. */
static inline void *place(size_t bytes, size_t offset, void **block) {
    *block = malloc(bytes + offset + 1);
    REQUIRE(*block != NULL, "out of memory");
    return (char *)*block + offset;
}

/* Up to MOST_TENSORS tensors of dtype 1 ... 4, or all of `dtype` if that is not 0. A
 * tensor repeats a short pattern of its elements, so that few bytes give long ones. */
static inline list take_list(input *in, uint32_t dtype) {
    list made = {.count = take_byte(in) % (MOST_TENSORS + 1)};
    for (size_t i = 0; i < made.count; i++) {
        gradclip_tensor *tensor = &made.tensors[i];
        tensor->dtype = dtype ? dtype : 1 + take_byte(in) % 4;
        const uint8_t length = take_byte(in);
        tensor->length = length < 200 ? length % 70 : (uint64_t)(length - 199) * 257;
        tensor->flags = take_byte(in) % 8 == 7 ? GRADCLIP_UNCOUNTED : 0;
        const size_t size = element_size(tensor->dtype);
        tensor->data = place(tensor->length * size, take_byte(in) % 16, &made.blocks[i]);
        uint8_t pattern[64];
        const size_t elements = 1 + take_byte(in) % 8;
        take(in, pattern, elements * size);
        for (uint64_t k = 0; k < tensor->length; k++)
            memcpy((char *)tensor->data + k * size, pattern + (k % elements) * size, size);
        if (tensor->length > 0 && take_byte(in) % 4 == 3) /* one element unlike the others */
            take(in, (char *)tensor->data + take_byte(in) % tensor->length * size, size);
    }
    return made;
}

static inline list copy_of(const list *original) {
    list made = *original;
    for (size_t i = 0; i < made.count; i++) {
        const size_t bytes = made.tensors[i].length * element_size(made.tensors[i].dtype);
        made.tensors[i].data = place(bytes, 0, &made.blocks[i]);
        if (bytes) memcpy(made.tensors[i].data, original->tensors[i].data, bytes);
    }
    return made;
}

static inline bool same_bytes(const list *a, const list *b) {
    for (size_t i = 0; i < a->count; i++) {
        const size_t bytes = a->tensors[i].length * element_size(a->tensors[i].dtype);
        if (bytes && memcmp(a->tensors[i].data, b->tensors[i].data, bytes) != 0) return false;
    }
    return true;
}

static inline void release(list *made) {
    for (size_t i = 0; i < made->count; i++) free(made->blocks[i]);
}

/* Options from the input, most of the time valid ones. */
static inline gradclip_options take_options(input *in) {
    gradclip_options options;
    gradclip_options_init(&options, sizeof options);
    const uint8_t what = take_byte(in);
    if (what & 1) options.eps = take_double(in);
    if (what & 2) options.grad_scale = take_double(in);
    options.nonfinite = what & 4 ? take_byte(in) % 4 : 0;
    options.exact_f64 = what >> 3 & 1;
    options.num_threads = what >> 4 & 3;
    return options;
}

static inline bool options_are_valid(const gradclip_options *options) {
    return options->eps >= 0 && isfinite(options->eps) && options->grad_scale > 0x1p-1024 && isfinite(options->grad_scale) &&
           options->nonfinite <= GRADCLIP_NONFINITE_ZERO;
}

/* True if two doubles are the same, or NaN both. */
static inline bool same(double a, double b) { return a == b || (a != a && b != b); }

#endif
