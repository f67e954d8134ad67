/*
 * What an accumulator holds at every point of its life, and its bytes: empty,
 * finished and gone on with, reset, merged with itself, exported and read back,
 * damaged, forged, foreign.
 */
#include "check.h"
#include "random.h"

#include <math.h>
#include <stdlib.h>

enum { INVALID = GRADCLIP_ERROR_INVALID_ARGUMENT, BAD_DATA = GRADCLIP_ERROR_BAD_DATA, MOST_BYTES = 1024 };

static const double orders[] = {2, 1, 0, 3, -1, INFINITY, -INFINITY};
enum { ORDERS = sizeof orders / sizeof *orders };

static gradclip_accumulator *new_accumulator(double p, const gradclip_options *options)
{
    gradclip_accumulator *made = NULL;
    CHECK_STATUS(gradclip_accumulator_create(p, options, &made), GRADCLIP_OK);
    if (!made) exit(2);
    return made;
}

static void add_f64(gradclip_accumulator *a, double x) { CHECK_STATUS(gradclip_accumulator_add_f64(a, &x, 1), GRADCLIP_OK); }

static gradclip_result finished(gradclip_accumulator *a, double max_norm, gradclip_status expected)
{
    gradclip_result r = new_result();
    CHECK_STATUS(gradclip_accumulator_finish(a, max_norm, &r), expected);
    return r;
}

static size_t exported(gradclip_accumulator *a, unsigned char *bytes)
{
    size_t size = MOST_BYTES, asked = 0;
    CHECK_STATUS(gradclip_accumulator_export(a, NULL, &asked), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_export(a, bytes, &size), GRADCLIP_OK);
    CHECK(size == asked, "%zu bytes, and %zu when asked", size, asked);
    return size;
}

/* ------------------------------------------------------------- its life -- */

static void empty_accumulators(void)
{
    for (uint32_t exact = 0; exact < 2; exact++)
        for (int i = 0; i < ORDERS; i++) {
            gradclip_options options = default_options();
            unsigned char bytes[MOST_BYTES];
            options.exact_f64 = exact;
            gradclip_accumulator *a = new_accumulator(orders[i], &options), *b = new_accumulator(orders[i], &options);
            for (int step = 0; step < 4; step++) {
                gradclip_result r = finished(a, 1, GRADCLIP_OK);
                CHECK_NUMBER(r.total_norm, 0);
                CHECK_NUMBER(r.clip_coef, 1);
                CHECK(r.nonfinite_count == 0 && r.first_tensor == GRADCLIP_NONE && r.first_element == GRADCLIP_NONE, "p %g", orders[i]);
                if (step == 0) CHECK_STATUS(gradclip_accumulator_add(a, NULL, 0), GRADCLIP_OK);
                if (step == 1) CHECK_STATUS(gradclip_accumulator_add_f32(a, NULL, 0), GRADCLIP_OK);
                if (step == 2) {
                    CHECK_STATUS(gradclip_accumulator_import(a, bytes, exported(b, bytes)), GRADCLIP_OK);
                    CHECK_STATUS(gradclip_accumulator_merge(a, b), GRADCLIP_OK);
                }
            }
            gradclip_accumulator_free(a), gradclip_accumulator_free(b);
        }
}

static void finish_and_go_on(void)
{
    gradclip_options options = default_options();
    gradclip_result r;
    options.eps = 0;
    options.grad_scale = 2;
    for (options.exact_f64 = 0; options.exact_f64 < 2; options.exact_f64++) {
        gradclip_accumulator *a = new_accumulator(2, &options);
        add_f64(a, 6);
        r = finished(a, INFINITY, GRADCLIP_OK);
        CHECK(r.total_norm == 3 && r.clip_coef == 1 && r.factor == 0.5, "%g %g %g", r.total_norm, r.clip_coef, r.factor);
        add_f64(a, 8);
        for (int again = 0; again < 2; again++) {
            r = finished(a, 2.5, GRADCLIP_OK);
            CHECK(r.total_norm == 5 && r.clip_coef == 0.5 && r.factor == 0.25, "%g %g %g", r.total_norm, r.clip_coef, r.factor);
        }
        float more = 24; /* another type after a finish */
        CHECK_STATUS(gradclip_accumulator_add_f32(a, &more, 1), GRADCLIP_OK);
        r = finished(a, 0, GRADCLIP_OK);
        CHECK(r.total_norm == 13 && r.clip_coef == 0 && r.factor == 0, "%g %g %g", r.total_norm, r.clip_coef, r.factor);
        CHECK_STATUS(gradclip_accumulator_reset(a), GRADCLIP_OK);
        r = finished(a, 1, GRADCLIP_OK);
        CHECK(r.total_norm == 0 && r.clip_coef == 1, "%g after a reset", r.total_norm);
        add_f64(a, 6), add_f64(a, 8);
        CHECK_NUMBER(finished(a, 2.5, GRADCLIP_OK).total_norm, 5); /* options outlive a reset */
        gradclip_accumulator_free(a);
    }
}

static void merged_with_itself(void)
{
    static const struct { double p, once, twice; } rows[] = {
        {1, 7, 14}, {2, 5, 0x1.c48c6001f0acp+2}, {INFINITY, 4, 4}, {-INFINITY, 3, 3}, {0, 2, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (uint32_t exact = 0; exact < 2; exact++) {
            gradclip_options options = default_options();
            unsigned char bytes[MOST_BYTES];
            float three = 3;
            options.exact_f64 = exact;
            gradclip_accumulator *a = new_accumulator(rows[i].p, &options), *b = new_accumulator(rows[i].p, &options);
            CHECK_STATUS(gradclip_accumulator_add_f32(a, &three, 1), GRADCLIP_OK);
            add_f64(a, -4);
            CHECK_NUMBER(finished(a, 1, GRADCLIP_OK).total_norm, rows[i].once);
            CHECK_STATUS(gradclip_accumulator_merge(a, a), GRADCLIP_OK);
            CHECK_NUMBER(finished(a, 1, GRADCLIP_OK).total_norm, rows[i].twice);
            /* 2^60 elements: the norm of 2^58 times as many is 2^58 (p = 1) or 2^29 (p = 2) times as large. */
            for (int k = 0; k < 58; k++) CHECK_STATUS(gradclip_accumulator_merge(a, a), GRADCLIP_OK);
            double factor = rows[i].p == 1 || rows[i].p == 0 ? 0x1p58 : rows[i].p == 2 ? 0x1p29 : 1;
            CHECK_NUMBER(finished(a, 1, GRADCLIP_OK).total_norm, rows[i].twice * factor);
            CHECK_STATUS(gradclip_accumulator_import(b, bytes, exported(a, bytes)), GRADCLIP_OK);
            CHECK_NUMBER(finished(b, 1, GRADCLIP_OK).total_norm, rows[i].twice * factor);
            /* More elements than 64 bits can count: nothing is promised but that nothing breaks. */
            for (int k = 0; k < 100; k++) {
                CHECK_STATUS(gradclip_accumulator_merge(a, a), GRADCLIP_OK);
                exported(a, bytes);
                (void)finished(a, 1, GRADCLIP_OK);
            }
            gradclip_accumulator_free(a), gradclip_accumulator_free(b);
        }
}

static void neither_overflow_nor_underflow(void)
{
    static const double coefs[] = {0x1p-24, 0x1.6a09e667f3bcdp-24, 0x1.965fea53d6e3dp-24}; /* 2^(-23 - 1/p) */
    gradclip_options options = default_options();
    options.eps = 0;
    for (options.exact_f64 = 0; options.exact_f64 < 2; options.exact_f64++)
        for (int p = 1; p <= 3; p++) {
            gradclip_accumulator *a = new_accumulator(p, &options);
            add_f64(a, 0x1p1023), add_f64(a, 0x1p1023);
            gradclip_result r = finished(a, 0x1p1000, GRADCLIP_OK);
            CHECK(p == 1 ? r.total_norm == INFINITY : isfinite(r.total_norm), "p %d: %a", p, r.total_norm);
            CHECK(fabs(r.clip_coef / coefs[p - 1] - 1) < 1e-15, "p %d: %a", p, r.clip_coef);
            CHECK_STATUS(gradclip_accumulator_reset(a), GRADCLIP_OK);
            add_f64(a, 0x1p-1074), add_f64(a, 0x1p-1074);
            CHECK_NUMBER(finished(a, INFINITY, GRADCLIP_OK).total_norm, p == 1 ? 0x1p-1073 : 0x1p-1074);
            gradclip_accumulator_free(a);
        }
}

/* Tensors are numbered as they were added, those of a merge behind them. */
static void first_tensor_numbers(void)
{
    double bad[] = {2, NAN, INFINITY};
    unsigned char bytes[MOST_BYTES];
    for (int by_bytes = 0; by_bytes < 2; by_bytes++) {
        gradclip_accumulator *a = new_accumulator(2, NULL), *b = new_accumulator(2, NULL), *c = new_accumulator(2, NULL);
        gradclip_tensor ignored = tensor_of(bad, 3, GRADCLIP_F64);
        ignored.flags = GRADCLIP_UNCOUNTED;
        add_f64(a, 1);                                                          /* 0 */
        CHECK_STATUS(gradclip_accumulator_add_f32(a, NULL, 0), GRADCLIP_OK);    /* 1, empty */
        CHECK_STATUS(gradclip_accumulator_add(a, &ignored, 1), GRADCLIP_OK);    /* 2, uncounted */
        add_f64(b, 1);                                                          /* 3 after the merge */
        CHECK_STATUS(gradclip_accumulator_add_f64(b, bad, 3), GRADCLIP_OK);     /* 4 */
        CHECK_STATUS(gradclip_accumulator_add_f64(c, bad + 1, 2), GRADCLIP_OK); /* 5 */
        gradclip_result r = finished(a, 1, GRADCLIP_OK);
        CHECK(r.first_tensor == GRADCLIP_NONE && r.nonfinite_count == 0, "an uncounted tensor was looked at");
        for (int k = 0; k < 2; k++) {
            gradclip_accumulator *other = k ? c : b;
            if (by_bytes) CHECK_STATUS(gradclip_accumulator_import(a, bytes, exported(other, bytes)), GRADCLIP_OK);
            else CHECK_STATUS(gradclip_accumulator_merge(a, other), GRADCLIP_OK);
        }
        r = finished(a, 1, GRADCLIP_NON_FINITE);
        CHECK(r.first_tensor == 4 && r.first_element == 1 && r.nonfinite_count == 4 && r.nan_count == 2, "by bytes %d: %llu, %llu", by_bytes,
              (unsigned long long)r.first_tensor, (unsigned long long)r.first_element);
        CHECK(isnan(r.total_norm) && r.clip_coef == 1 && r.factor == 1, "left alone");
        CHECK_STATUS(gradclip_accumulator_merge(a, a), GRADCLIP_OK);
        r = finished(a, 1, GRADCLIP_NON_FINITE);
        CHECK(r.first_tensor == 4 && r.nonfinite_count == 8, "merged with itself: %llu", (unsigned long long)r.first_tensor);
        CHECK_STATUS(gradclip_accumulator_reset(a), GRADCLIP_OK);
        CHECK_STATUS(gradclip_accumulator_add_f64(a, bad, 3), GRADCLIP_OK);
        r = finished(a, 1, GRADCLIP_NON_FINITE);
        CHECK(r.first_tensor == 0 && r.first_element == 1, "numbers start anew after a reset");
        gradclip_accumulator_free(a), gradclip_accumulator_free(b), gradclip_accumulator_free(c);
    }
}

/* ------------------------------------------------------------- as bytes -- */

/* One accumulator of every form that bytes have; NULL after the last. */
static gradclip_accumulator *sample(int form, double *p, gradclip_options *options, size_t *most)
{
    static const struct { double p; int exact, f64, bad; } forms[] = {
        {2, 0, 0, 0}, {1, 0, 0, 1}, {2, 0, 1, 0}, {1, 0, 1, 1}, {2, 1, 0, 0}, {1, 1, 1, 1}, {3, 0, 0, 0},
        {-1, 0, 1, 1}, {INFINITY, 0, 0, 1}, {-INFINITY, 1, 1, 0}, {0, 0, 0, 1}, {2.7, 1, 1, 1}};
    if (form >= (int)(sizeof forms / sizeof *forms)) return NULL;
    *options = default_options();
    options->exact_f64 = (uint32_t)forms[form].exact;
    *p = forms[form].p;
    *most = (*p == 1 || *p == 2) && !forms[form].f64 && !options->exact_f64 ? 192 : 1024;
    gradclip_accumulator *a = new_accumulator(*p, options);
    float x[] = {1e-40f, 3e38f, 0, -7};
    if (forms[form].bad) x[2] = NAN;
    CHECK_STATUS(gradclip_accumulator_add_f32(a, x, 4), GRADCLIP_OK);
    if (forms[form].f64) add_f64(a, 1e200);
    return a;
}

static uint64_t checksum(const unsigned char *bytes, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static void round_trips_and_sizes(void)
{
    double p;
    gradclip_options options;
    gradclip_accumulator *a;
    size_t most;
    for (int form = 0; (a = sample(form, &p, &options, &most)); form++) {
        unsigned char bytes[MOST_BYTES + 8], again[MOST_BYTES + 8];
        gradclip_result before = new_result(), after = new_result();
        gradclip_status status = gradclip_accumulator_finish(a, 1, &before);
        memset(bytes, 0x5c, sizeof bytes);
        size_t size = exported(a, bytes + 1); /* no alignment is asked for */
        CHECK(size <= most, "p %g: %zu bytes", p, size);
        CHECK(bytes[0] == 0x5c && bytes[size + 1] == 0x5c, "p %g: written beyond the bytes", p);
        gradclip_accumulator *b = new_accumulator(p, &options);
        CHECK_STATUS(gradclip_accumulator_import(b, bytes + 1, size), GRADCLIP_OK);
        CHECK_STATUS(gradclip_accumulator_finish(b, 1, &after), status);
        CHECK(same_bits(&before, &after, sizeof before), "p %g: %a became %a", p, before.total_norm, after.total_norm);
        CHECK(exported(b, again) == size && same_bits(bytes + 1, again, size), "p %g: the copy's bytes differ", p);
        after = new_result();
        CHECK_STATUS(gradclip_accumulator_finish(a, 1, &after), status);
        CHECK(same_bits(&before, &after, sizeof before), "p %g: changed by the export", p);
        for (size_t room = 0; room < size; room++) { /* too little room: nothing is written */
            size_t given = room;
            memset(again, 0x77, sizeof again);
            CHECK_STATUS(gradclip_accumulator_export(a, again, &given), INVALID);
            CHECK(strstr(gradclip_last_error(), "size") && again[0] == 0x77 && given == room, "%s", gradclip_last_error());
        }
        gradclip_accumulator_free(a), gradclip_accumulator_free(b);
    }
}

/* The bytes are the same on every machine: these, since version 1. */
static void bytes_by_hand(void)
{
    unsigned char bytes[MOST_BYTES], expected[160] = {0};
    float x[] = {3, 4};
    gradclip_accumulator *a = new_accumulator(2, NULL);
    CHECK_STATUS(gradclip_accumulator_add_f32(a, x, 2), GRADCLIP_OK);
    memcpy(expected, "GCLP\1\0\1\0", 8); /* version 1; section 1, the exact sum */
    expected[15] = 0x40;                 /* norm_type 2 */
    expected[16] = 1;                    /* one tensor */
    expected[24 + 8 * 8] = 25;           /* the limb of bits 0 to 39 */
    uint64_t hash = checksum(expected, 152);
    for (int i = 0; i < 8; i++) expected[152 + i] = (unsigned char)(hash >> 8 * i);
    CHECK(exported(a, bytes) == 160 && same_bits(bytes, expected, 160), "the bytes have changed");
    gradclip_accumulator_free(a);
}

static void damaged_bytes(void)
{
    double p;
    gradclip_options options;
    gradclip_accumulator *a;
    size_t most;
    for (int form = 0; (a = sample(form, &p, &options, &most)); form++) {
        unsigned char bytes[MOST_BYTES + 8] = {0};
        gradclip_accumulator *b = new_accumulator(p, &options);
        add_f64(b, 5);
        size_t size = exported(a, bytes);
        gradclip_result before = finished(b, 1, GRADCLIP_OK), after;
        for (size_t i = 0; i < size * 8; i++) { /* every bit */
            bytes[i / 8] ^= (unsigned char)(1u << i % 8);
            CHECK_STATUS(gradclip_accumulator_import(b, bytes, size), BAD_DATA);
            bytes[i / 8] ^= (unsigned char)(1u << i % 8);
        }
        CHECK(strstr(gradclip_last_error(), "bytes"), "%s", gradclip_last_error());
        for (size_t other = 0; other <= size + 8; other++) /* every other length */
            if (other != size) CHECK_STATUS(gradclip_accumulator_import(b, bytes, other), BAD_DATA);
        after = finished(b, 1, GRADCLIP_OK);
        CHECK(same_bits(&before, &after, sizeof before), "p %g: refused bytes changed the accumulator", p);
        CHECK_STATUS(gradclip_accumulator_import(b, bytes, size), GRADCLIP_OK);
        gradclip_accumulator_free(a), gradclip_accumulator_free(b);
    }
}

/* The checksum is right and the content cannot be: refused or not, nothing breaks. */
static void forged_bytes(void)
{
    static const uint64_t extremes[] = {0, 1, UINT64_MAX, INT64_MAX, UINT64_C(1) << 63, UINT64_C(1) << 62, UINT64_C(0x7ff0000000000000)};
    double p;
    gradclip_options options;
    gradclip_accumulator *a;
    size_t most;
    int accepted = 0, refused = 0;
    for (int form = 0; (a = sample(form, &p, &options, &most)); form++) {
        unsigned char bytes[MOST_BYTES], copy[MOST_BYTES];
        size_t size = exported(a, bytes);
        for (int round = 0; round < 400; round++) {
            memcpy(copy, bytes, size);
            for (size_t k = below(3) + 1; k-- > 0;) {
                uint64_t word = below(2) ? extremes[below(7)] : next_random() >> below(64);
                memcpy(copy + 8 * (2 + below(size / 8 - 3)), &word, 8);
            }
            uint64_t hash = checksum(copy, size - 8);
            memcpy(copy + size - 8, &hash, 8);
            gradclip_accumulator *b = new_accumulator(p, &options);
            add_f64(b, 5);
            gradclip_status status = gradclip_accumulator_import(b, copy, size);
            CHECK(status == GRADCLIP_OK || status == BAD_DATA, "status %d", status);
            *(status == GRADCLIP_OK ? &accepted : &refused) += 1;
            for (int twice = 0; twice < 2; twice++) {
                gradclip_result r = new_result();
                CHECK(gradclip_accumulator_finish(b, 1, &r) >= 0, "%s", gradclip_last_error());
                exported(b, copy);
                add_f64(b, 5);
                CHECK_STATUS(gradclip_accumulator_merge(b, b), GRADCLIP_OK);
            }
            gradclip_accumulator_free(b);
        }
        gradclip_accumulator_free(a);
    }
    CHECK(accepted > 50 && refused > 50, "%d accepted, %d refused", accepted, refused);
}

/* Of another norm_type or exact_f64: refused, with nothing changed. */
static void foreign_accumulators(void)
{
    gradclip_options options = default_options();
    gradclip_accumulator *all[2 * ORDERS];
    unsigned char bytes[MOST_BYTES];
    for (int i = 0; i < 2 * ORDERS; i++) {
        options.exact_f64 = i >= ORDERS;
        all[i] = new_accumulator(orders[i % ORDERS], &options);
        add_f64(all[i], 3);
    }
    for (int i = 0; i < 2 * ORDERS; i++)
        for (int j = 0; j < 2 * ORDERS; j++) {
            if (i == j) continue;
            gradclip_result before = finished(all[i], 1, GRADCLIP_OK), after;
            CHECK_STATUS(gradclip_accumulator_merge(all[i], all[j]), INVALID);
            CHECK(strstr(gradclip_last_error(), "other"), "%s", gradclip_last_error());
            CHECK_STATUS(gradclip_accumulator_import(all[i], bytes, exported(all[j], bytes)), BAD_DATA);
            after = finished(all[i], 1, GRADCLIP_OK);
            CHECK(same_bits(&before, &after, sizeof before), "p %g into %g: changed all the same", orders[j % ORDERS], orders[i % ORDERS]);
        }
    for (int i = 0; i < 2 * ORDERS; i++) gradclip_accumulator_free(all[i]);
    /* Two names of one order. */
    static const double names[][2] = {{0, -0.0}, {INFINITY, 0x1p60}, {-INFINITY, -0x1p51}};
    for (int i = 0; i < 3; i++) {
        gradclip_accumulator *a = new_accumulator(names[i][0], NULL), *b = new_accumulator(names[i][1], NULL);
        CHECK_STATUS(gradclip_accumulator_merge(a, b), GRADCLIP_OK);
        CHECK_STATUS(gradclip_accumulator_import(a, bytes, exported(b, bytes)), GRADCLIP_OK);
        gradclip_accumulator_free(a), gradclip_accumulator_free(b);
    }
}

#define REFUSED(call, status, text)                                                                     \
    do {                                                                                                \
        CHECK_STATUS(call, status);                                                                     \
        CHECK(strstr(gradclip_last_error(), text), "\"%s\" lacks \"%s\"", gradclip_last_error(), text); \
    } while (0)

static void refused_arguments(void)
{
    gradclip_accumulator *a = (gradclip_accumulator *)&checks_passed; /* not NULL */
    gradclip_options options = default_options();
    gradclip_result r = new_result();
    double x[] = {3, 4}, norm;
    unsigned char bytes[MOST_BYTES];
    REFUSED(gradclip_accumulator_create(NAN, NULL, &a), INVALID, "norm_type");
    CHECK(a == NULL, "not NULL after an error");
    options.eps = -1;
    a = (gradclip_accumulator *)&checks_passed;
    REFUSED(gradclip_accumulator_create(2, &options, &a), INVALID, "eps");
    CHECK(a == NULL, "not NULL after an error");
    REFUSED(gradclip_accumulator_create(2, NULL, NULL), INVALID, "accumulator");
    a = new_accumulator(2, NULL);
    CHECK_STATUS(gradclip_accumulator_add_f64(a, x, 2), GRADCLIP_OK);
    size_t size = exported(a, bytes);
    REFUSED(gradclip_accumulator_reset(NULL), INVALID, "accumulator");
    REFUSED(gradclip_accumulator_add(NULL, NULL, 0), INVALID, "accumulator");
    REFUSED(gradclip_accumulator_add_f32(NULL, NULL, 0), INVALID, "accumulator");
    REFUSED(gradclip_accumulator_add_f64(NULL, x, 2), INVALID, "accumulator");
    REFUSED(gradclip_accumulator_finish(NULL, 1, &r), INVALID, "accumulator");
    REFUSED(gradclip_accumulator_export(NULL, bytes, &size), INVALID, "accumulator");
    REFUSED(gradclip_accumulator_import(NULL, bytes, size), INVALID, "accumulator");
    REFUSED(gradclip_accumulator_merge(NULL, a), INVALID, "accumulator");
    REFUSED(gradclip_accumulator_merge(a, NULL), INVALID, "other");
    REFUSED(gradclip_accumulator_import(a, NULL, size), INVALID, "bytes");
    REFUSED(gradclip_accumulator_export(a, bytes, NULL), INVALID, "size");
    REFUSED(gradclip_accumulator_add(a, NULL, 1), INVALID, "grads");
    REFUSED(gradclip_accumulator_add_f64(a, NULL, 2), INVALID, "grad");
    REFUSED(gradclip_accumulator_add_f32(a, NULL, 2), INVALID, "grad");
    REFUSED(gradclip_accumulator_add_f64(a, x, SIZE_MAX / 8), INVALID, "length");
    gradclip_tensor list[2] = {tensor_of(x, 2, GRADCLIP_F64), tensor_of(x, 1, 9)};
    REFUSED(gradclip_accumulator_add(a, list, 2), INVALID, "dtype");
    list[1] = tensor_of(x, 1, GRADCLIP_F64), list[1].device_type = 2;
    REFUSED(gradclip_accumulator_add(a, list, 2), GRADCLIP_ERROR_UNSUPPORTED, "device_type");
    REFUSED(gradclip_accumulator_finish(a, -1, &r), INVALID, "max_norm");
    REFUSED(gradclip_accumulator_finish(a, NAN, &r), INVALID, "max_norm");
    REFUSED(gradclip_accumulator_finish(a, 1, NULL), INVALID, "result");
    r.tensor_norms = &norm;
    REFUSED(gradclip_accumulator_finish(a, 1, &r), INVALID, "tensor_norms");
    CHECK_NUMBER(finished(a, 1, GRADCLIP_OK).total_norm, 5); /* none of it was added */
    gradclip_accumulator_free(a);
    gradclip_accumulator_free(NULL);
}

/* A backward pass adds the last tensor first; the caller says which one it is. */
static void numbered_tensors(void)
{
    float good[] = {1, 2}, bad[] = {1, NAN, INFINITY}, *grads[] = {good, bad, good, bad, good};
    size_t lengths[] = {2, 3, 2, 3, 2};
    unsigned char bytes[1024];
    size_t size = sizeof bytes;
    for (int cut = 0; cut < 3; cut++) {
        gradclip_accumulator *a = new_accumulator(2, NULL), *b = new_accumulator(2, NULL);
        gradclip_result r = new_result();
        for (int i = 4; i >= 0; i--) {
            gradclip_accumulator *into = cut && i < 3 ? b : a;
            CHECK_STATUS(gradclip_accumulator_set_next_tensor(into, (uint64_t)i), GRADCLIP_OK);
            CHECK_STATUS(gradclip_accumulator_add_f32(into, grads[i], lengths[i]), GRADCLIP_OK);
        }
        if (cut == 1) CHECK_STATUS(gradclip_accumulator_merge(a, b), GRADCLIP_OK);
        if (cut == 2) {
            size = sizeof bytes;
            CHECK_STATUS(gradclip_accumulator_export(b, bytes, &size), GRADCLIP_OK);
            CHECK(size <= 192, "%zu bytes", size);
            CHECK_STATUS(gradclip_accumulator_import(a, bytes, size), GRADCLIP_OK);
        }
        CHECK_STATUS(gradclip_accumulator_finish(a, 1, &r), GRADCLIP_NON_FINITE);
        CHECK(r.first_tensor == 1 && r.first_element == 1 && r.nonfinite_count == 4, "cut %d: tensor %llu, element %llu", cut,
              (unsigned long long)r.first_tensor, (unsigned long long)r.first_element);
        /* A chunk of a tensor that comes later keeps its number; those that follow count on. */
        CHECK_STATUS(gradclip_accumulator_reset(a), GRADCLIP_OK);
        CHECK_STATUS(gradclip_accumulator_set_next_tensor(a, 7), GRADCLIP_OK);
        CHECK_STATUS(gradclip_accumulator_add_f32(a, good, 2), GRADCLIP_OK);
        CHECK_STATUS(gradclip_accumulator_add_f32(a, bad, 3), GRADCLIP_OK);
        CHECK_STATUS(gradclip_accumulator_finish(a, 1, &r), GRADCLIP_NON_FINITE);
        CHECK(r.first_tensor == 8, "%llu", (unsigned long long)r.first_tensor);
        gradclip_accumulator_free(a), gradclip_accumulator_free(b);
    }
    gradclip_accumulator *a = new_accumulator(2, NULL);
    CHECK_STATUS(gradclip_accumulator_set_next_tensor(a, UINT64_MAX), INVALID);
    CHECK(!strcmp(gradclip_last_error(), "index must be below 2^63 (got 18446744073709551615)"), "%s", gradclip_last_error());
    CHECK_STATUS(gradclip_accumulator_set_next_tensor(NULL, 0), INVALID);
    gradclip_accumulator_free(a);
}

int main(void)
{
    empty_accumulators();
    finish_and_go_on();
    merged_with_itself();
    neither_overflow_nor_underflow();
    first_tensor_numbers();
    numbered_tensors();
    round_trips_and_sizes();
    bytes_by_hand();
    damaged_bytes();
    forged_bytes();
    foreign_accumulators();
    refused_arguments();
    printf("seed %llu; ", (unsigned long long)RANDOM_SEED);
    return checks_summary("accumulator_states");
}
