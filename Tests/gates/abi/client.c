/*
 * A program of the first header's day, which calls every function of it and knows what
 * each comes to. It is built with that header for ever, and runs with every library of
 * the same soname; with structs that are shorter and longer than the library's, too.
 */
#include "gradclip-1.0.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect(int holds, const char *what, int line)
{
    if (holds) return;
    fprintf(stderr, "client.c:%d: %s; last error \"%s\"\n", line, what, gradclip_last_error());
    exit(1);
}
#define EXPECT(condition) expect(condition, #condition, __LINE__)

static float a[2], b[2], c[2];
static double d[2], e[2];
static float *as[] = {a}, *cs[] = {c};
static double *ds[] = {d}, *es[] = {e};
static const size_t two = 2;
static gradclip_options options;
static gradclip_result result;

/* The gradients (3, 4), again; and results without a trace of the last call. */
static void anew(void)
{
    for (int i = 0; i < 2; i++) {
        a[i] = b[i] = (float)(3 + i);
        c[i] = -1;
        d[i] = 3 + i;
        e[i] = -1;
    }
    EXPECT(gradclip_result_init(&result, sizeof result) == GRADCLIP_OK);
}

static gradclip_tensor tensor(void *data, uint32_t dtype)
{
    gradclip_tensor t = {data, 2, dtype, 0, 1, 0};
    return t;
}

/* Clipped from norm 5 to 2.5. */
static int half(const float *x) { return x[0] == 1.5f && x[1] == 2; }
static int half64(const double *x) { return x[0] == 1.5 && x[1] == 2; }
static int found(double norm, double coef) { return result.total_norm == norm && result.clip_coef == coef && result.factor == coef; }

static void whole_job(void)
{
    gradclip_tensor t = tensor(a, GRADCLIP_F32), out = tensor(c, GRADCLIP_F32);
    anew();
    EXPECT(gradclip_clip_grad_norm_f32(as, &two, 1, 2.5, 2, &options, &result) == GRADCLIP_OK && half(a) && found(5, 0.5));
    anew();
    EXPECT(gradclip_clip_grad_norm_f64(ds, &two, 1, 2.5, 2, &options, &result) == GRADCLIP_OK && half64(d) && found(5, 0.5));
    anew();
    EXPECT(gradclip_clip_grad_norm(&t, 1, 2.5, 2, &options, &result) == GRADCLIP_OK && half(a) && found(5, 0.5));
    anew();
    EXPECT(gradclip_clip_grad_norm_to_f32(as, cs, &two, 1, 2.5, 2, &options, &result) == GRADCLIP_OK && half(c) && a[0] == 3);
    anew();
    EXPECT(gradclip_clip_grad_norm_to_f64(ds, es, &two, 1, 2.5, 2, &options, &result) == GRADCLIP_OK && half64(e) && d[0] == 3);
    anew();
    EXPECT(gradclip_clip_grad_norm_to(&t, &out, 1, 2.5, 2, &options, &result) == GRADCLIP_OK && half(c) && a[0] == 3);
    anew();
    EXPECT(gradclip_clip_grad_value_f32(as, &two, 1, 3.5, &options) == GRADCLIP_OK && a[0] == 3 && a[1] == 3.5f);
    EXPECT(gradclip_clip_grad_value_f64(ds, &two, 1, 3.5, &options) == GRADCLIP_OK && d[0] == 3 && d[1] == 3.5);
    EXPECT(gradclip_clip_grad_value(&t, 1, 2, &options) == GRADCLIP_OK && a[0] == 2 && a[1] == 2);
}

static void separate_steps(void)
{
    gradclip_tensor t = tensor(a, GRADCLIP_F32);
    double coef = -1;
    anew();
    EXPECT(gradclip_get_total_norm_f32(as, &two, 1, 1, NULL, &result) == GRADCLIP_OK && found(7, 1));
    EXPECT(gradclip_get_total_norm_f64(ds, &two, 1, INFINITY, NULL, &result) == GRADCLIP_OK && found(4, 1));
    EXPECT(gradclip_get_total_norm(&t, 1, -INFINITY, NULL, &result) == GRADCLIP_OK && found(3, 1));
    EXPECT(gradclip_defer_clip_f32(as, &two, 1, 2.5, 2, &options, &result) == GRADCLIP_OK && found(5, 0.5));
    EXPECT(gradclip_defer_clip_f64(ds, &two, 1, 2.5, 2, &options, &result) == GRADCLIP_OK && found(5, 0.5));
    EXPECT(gradclip_defer_clip(&t, 1, 2.5, 2, &options, &result) == GRADCLIP_OK && found(5, 0.5) && a[0] == 3);
    EXPECT(gradclip_clip_coef(1, 4, &options, &coef) == GRADCLIP_OK && coef == 0.25);
    EXPECT(gradclip_clip_grads_with_norm_f32(as, &two, 1, 2.5, 5, &options, &result) == GRADCLIP_OK && half(a));
    EXPECT(gradclip_clip_grads_with_norm_f64(ds, &two, 1, 2.5, 5, &options, &result) == GRADCLIP_OK && half64(d));
    anew();
    EXPECT(gradclip_clip_grads_with_norm(&t, 1, 2.5, 5, &options, NULL) == GRADCLIP_OK && half(a));
    EXPECT(gradclip_scale(&t, 1, 2, NULL) == GRADCLIP_OK && a[0] == 3 && a[1] == 4);
}

static void accumulator(void)
{
    gradclip_tensor t = tensor(a, GRADCLIP_F32);
    gradclip_accumulator *one = NULL, *other = NULL;
    unsigned char bytes[1024];
    size_t size = sizeof bytes;
    anew();
    EXPECT(gradclip_accumulator_create(1, &options, &one) == GRADCLIP_OK && one);
    EXPECT(gradclip_accumulator_create(1, &options, &other) == GRADCLIP_OK && other);
    EXPECT(gradclip_accumulator_add(one, &t, 1) == GRADCLIP_OK);
    EXPECT(gradclip_accumulator_add_f32(one, b, 2) == GRADCLIP_OK);
    EXPECT(gradclip_accumulator_add_f64(other, d, 2) == GRADCLIP_OK);
    EXPECT(gradclip_accumulator_merge(one, other) == GRADCLIP_OK);
    EXPECT(gradclip_accumulator_export(one, bytes, &size) == GRADCLIP_OK && size <= 1024);
    EXPECT(gradclip_accumulator_reset(other) == GRADCLIP_OK);
    EXPECT(gradclip_accumulator_import(other, bytes, size) == GRADCLIP_OK);
    EXPECT(gradclip_accumulator_finish(other, 10.5, &result) == GRADCLIP_OK && found(21, 0.5));
    bytes[size - 1] ^= 1;
    EXPECT(gradclip_accumulator_import(other, bytes, size) == GRADCLIP_ERROR_BAD_DATA);
    gradclip_accumulator_free(one);
    gradclip_accumulator_free(other);
    gradclip_accumulator_free(NULL);
}

static void report(void)
{
    gradclip_report reports[2];
    gradclip_tensor list[] = {tensor(a, GRADCLIP_F32), tensor(d, GRADCLIP_F64)};
    anew();
    a[1] = NAN;
    EXPECT(gradclip_inspect(list, 2, 2, NULL, reports, sizeof *reports, &result) == GRADCLIP_OK);
    EXPECT(reports[0].norm == 3 && reports[0].nan_count == 1 && reports[0].first_nonfinite == 1 && reports[0].length == 2);
    EXPECT(reports[1].norm == 5 && reports[1].max_abs == 4 && reports[1].mean == 3.5 && reports[1].first_nonfinite == GRADCLIP_NONE);
    EXPECT(result.nonfinite_count == 1 && result.nan_count == 1 && result.first_tensor == 0 && result.first_element == 1);
    a[0] = 3;
    EXPECT(gradclip_clip_grad_norm(list, 2, 1, 2, NULL, NULL) == GRADCLIP_NON_FINITE && a[0] == 3 && d[0] == 3);
}

/* Callers whose structs end earlier than the library's, and later. */
static void sizes(void)
{
    struct { gradclip_options options; unsigned char tail[96]; } o;
    struct { gradclip_result result; unsigned char tail[96]; } r;
    for (size_t size = 16; size <= sizeof o; size += 8) {
        memset(&o, 0xff, sizeof o);
        memset(&r, 0xee, sizeof r);
        anew();
        size_t result_size = size < 24 ? 24 : size;
        EXPECT(gradclip_options_init(&o.options, size) == GRADCLIP_OK && o.options.struct_size == size);
        EXPECT(gradclip_result_init(&r.result, result_size) == GRADCLIP_OK && r.result.struct_size == result_size);
        o.options.eps = 0;
        EXPECT(gradclip_clip_grad_norm_f32(as, &two, 1, 2.5, 2, &o.options, &r.result) == GRADCLIP_OK && half(a));
        EXPECT(r.result.total_norm == 5 && r.result.clip_coef == 0.5);
        for (size_t i = size; i < sizeof o; i++) EXPECT(((unsigned char *)&o)[i] == 0xff);
        for (size_t i = result_size; i < sizeof r; i++) EXPECT(((unsigned char *)&r)[i] == 0xee);
    }
    /* A field that this library does not know and that is not 0. (Much later than any known.) */
    anew();
    EXPECT(gradclip_options_init(&o.options, sizeof o) == GRADCLIP_OK);
    o.tail[sizeof o.tail - 1] = 1;
    EXPECT(gradclip_clip_grad_norm_f32(as, &two, 1, 2.5, 2, &o.options, NULL) == GRADCLIP_ERROR_INVALID_ARGUMENT && a[0] == 3);
}

int main(void)
{
    char text[32];
    uint32_t version = gradclip_version();
    EXPECT(version >= GRADCLIP_VERSION && version / 10000 == GRADCLIP_VERSION_MAJOR);
    snprintf(text, sizeof text, "%u.%u.%u", version / 10000, version / 100 % 100, version % 100);
    EXPECT(strcmp(gradclip_version_string(), text) == 0 && gradclip_isa()[0]);
    gradclip_set_num_threads(3);
    EXPECT(gradclip_get_num_threads() == 3);
    gradclip_set_num_threads(0);
    EXPECT(gradclip_get_num_threads() >= 1);
    EXPECT(strcmp(gradclip_status_string(GRADCLIP_ERROR_INVALID_ARGUMENT), "invalid argument") == 0);
    EXPECT(gradclip_options_init(&options, sizeof options) == GRADCLIP_OK && options.eps == 1e-6 && options.grad_scale == 1);
    options.eps = 0;
    whole_job();
    separate_steps();
    accumulator();
    report();
    sizes();
    EXPECT(gradclip_clip_grad_norm_f32(as, &two, 1, -1, 2, NULL, NULL) == GRADCLIP_ERROR_INVALID_ARGUMENT);
    EXPECT(strcmp(gradclip_last_error(), "max_norm must be a number >= 0 (got -1)") == 0);
    return 0;
}
