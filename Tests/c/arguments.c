/*
 * Whatever a caller passes, a call answers with a status: it never traps. A
 * refused call has written nothing, and its message names argument and value.
 */
#include "check.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { INVALID = GRADCLIP_ERROR_INVALID_ARGUMENT, UNSUPPORTED = GRADCLIP_ERROR_UNSUPPORTED };

static float fa[] = {3, -4}, fb[] = {5}, fo[] = {7, 7}, fp[] = {7};
static double da[] = {3, -4}, db[] = {5}, dout[] = {7, 7}, dp[] = {7};
static float *fgrads[] = {fa, fb}, *fouts[] = {fo, fp};
static double *dgrads[] = {da, db}, *douts[] = {dout, dp};
static size_t lengths[] = {2, 1};
static gradclip_tensor list[2], outs[2];
static gradclip_options options;
static gradclip_result result;
static double norms[2], coef;

/* Everything as a call that succeeds would have it. */
static void reset(void)
{
    fa[0] = 3, fa[1] = -4, fb[0] = 5, fo[0] = fo[1] = fp[0] = 7;
    da[0] = 3, da[1] = -4, db[0] = 5, dout[0] = dout[1] = dp[0] = 7;
    fgrads[0] = fa, fgrads[1] = fb, fouts[0] = fo, fouts[1] = fp;
    dgrads[0] = da, dgrads[1] = db, douts[0] = dout, douts[1] = dp;
    lengths[0] = 2, lengths[1] = 1;
    list[0] = tensor_of(fa, 2, GRADCLIP_F32), list[1] = tensor_of(db, 1, GRADCLIP_F64);
    outs[0] = tensor_of(fo, 2, GRADCLIP_F32), outs[1] = tensor_of(dp, 1, GRADCLIP_F64);
    options = default_options();
    result = new_result();
    norms[0] = norms[1] = coef = -7;
    result.tensor_norms = norms;
}

/* The call was refused with this status and a message that has both texts. */
static void refused(int line, gradclip_status got, gradclip_status expected, const char *argument, const char *value)
{
    const char *message = gradclip_last_error();
    gradclip_result untouched = new_result();
    CHECK(got == expected, "line %d: status %d, expected %d, last error \"%s\"", line, got, expected, message);
    CHECK(strstr(message, argument) && strstr(message, value), "line %d: \"%s\" lacks \"%s\" or \"%s\"", line, message, argument, value);
    CHECK(fa[0] == 3 && fa[1] == -4 && fb[0] == 5 && da[0] == 3 && da[1] == -4 && db[0] == 5, "line %d: gradients written", line);
    CHECK(fo[0] == 7 && fo[1] == 7 && fp[0] == 7 && dout[0] == 7 && dout[1] == 7 && dp[0] == 7, "line %d: outputs written", line);
    untouched.tensor_norms = result.tensor_norms;
    untouched.struct_size = result.struct_size;
    CHECK(same_bits(&result, &untouched, sizeof result) && norms[0] == -7 && norms[1] == -7 && coef == -7, "line %d: result written", line);
    reset();
}

#define REFUSED(call, status, argument, value) refused(__LINE__, (call), (status), (argument), (value))

/* The same bad argument through every call that takes it. */
#define CLIP_CALLS(status, max_norm, p, argument, value)                                                              \
    do {                                                                                                              \
        gradclip_options o_ = options;                                                                                \
        REFUSED(gradclip_clip_grad_norm_f32(fgrads, lengths, 2, max_norm, p, &o_, &result), status, argument, value);          \
        REFUSED(gradclip_clip_grad_norm_f64(dgrads, lengths, 2, max_norm, p, &o_, &result), status, argument, value);          \
        REFUSED(gradclip_clip_grad_norm(list, 2, max_norm, p, &o_, &result), status, argument, value);                    \
        REFUSED(gradclip_defer_clip_f32(fgrads, lengths, 2, max_norm, p, &o_, &result), status, argument, value);              \
        REFUSED(gradclip_defer_clip_f64(dgrads, lengths, 2, max_norm, p, &o_, &result), status, argument, value);              \
        REFUSED(gradclip_defer_clip(list, 2, max_norm, p, &o_, &result), status, argument, value);                        \
        REFUSED(gradclip_clip_grad_norm_to_f32(fgrads, fouts, lengths, 2, max_norm, p, &o_, &result), status, argument, value); \
        REFUSED(gradclip_clip_grad_norm_to_f64(dgrads, douts, lengths, 2, max_norm, p, &o_, &result), status, argument, value); \
        REFUSED(gradclip_clip_grad_norm_to(list, outs, 2, max_norm, p, &o_, &result), status, argument, value);           \
    } while (0)

#define NORM_CALLS(status, p, argument, value)                                                               \
    do {                                                                                                     \
        gradclip_options o_ = options;                                                                       \
        REFUSED(gradclip_get_total_norm_f32(fgrads, lengths, 2, p, &o_, &result), status, argument, value);  \
        REFUSED(gradclip_get_total_norm_f64(dgrads, lengths, 2, p, &o_, &result), status, argument, value);  \
        REFUSED(gradclip_get_total_norm(list, 2, p, &o_, &result), status, argument, value);                 \
    } while (0)

/* (result.tensor_norms must be NULL for these) */
#define WITH_CALLS(status, max_norm, total, argument, value)                                                            \
    do {                                                                                                                \
        gradclip_options o_ = options;                                                                                  \
        REFUSED(gradclip_clip_grads_with_norm_f32(fgrads, lengths, 2, max_norm, total, &o_, NULL), status, argument, value); \
        REFUSED(gradclip_clip_grads_with_norm_f64(dgrads, lengths, 2, max_norm, total, &o_, NULL), status, argument, value); \
        REFUSED(gradclip_clip_grads_with_norm(list, 2, max_norm, total, &o_, NULL), status, argument, value);           \
    } while (0)

static void numbers(void)
{
    static const struct { double bad; const char *text; } rows[] = {{-1, "-1"}, {-INFINITY, "inf"}, {NAN, "nan"}, {-DBL_MIN, "-2.225"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CLIP_CALLS(INVALID, rows[i].bad, 2, "max_norm", rows[i].text);
        WITH_CALLS(INVALID, rows[i].bad, 5, "max_norm", rows[i].text);
        WITH_CALLS(INVALID, 1, rows[i].bad, "total_norm", rows[i].text);
        REFUSED(gradclip_clip_coef(rows[i].bad, 1, NULL, &coef), INVALID, "max_norm", rows[i].text);
        REFUSED(gradclip_clip_coef(1, rows[i].bad, NULL, &coef), INVALID, "total_norm", rows[i].text);
        REFUSED(gradclip_clip_grad_value_f32(fgrads, lengths, 2, rows[i].bad, NULL), INVALID, "clip_value", rows[i].text);
        REFUSED(gradclip_clip_grad_value_f64(dgrads, lengths, 2, rows[i].bad, NULL), INVALID, "clip_value", rows[i].text);
        REFUSED(gradclip_clip_grad_value(list, 2, rows[i].bad, NULL), INVALID, "clip_value", rows[i].text);
        for (int j = 0; j < 2; j++) {
            double bad = j ? (i ? rows[i].bad : INFINITY) : rows[i].bad; /* +INFINITY too */
            const char *text = j && !i ? "inf" : rows[i].text;
            options.eps = bad;
            REFUSED(gradclip_clip_coef(1, 1, &options, &coef), INVALID, "eps", text);
            options.eps = bad;
            CLIP_CALLS(INVALID, 1, 2, "eps", text);
            options.eps = bad;
            WITH_CALLS(INVALID, 1, 2, "eps", text);
            options.grad_scale = bad;
            CLIP_CALLS(INVALID, 1, 2, "grad_scale", text);
            options.grad_scale = bad;
            NORM_CALLS(INVALID, 2, "grad_scale", text);
            options.grad_scale = bad;
            WITH_CALLS(INVALID, 1, 2, "grad_scale", text);
        }
    }
    options.grad_scale = 0;
    CLIP_CALLS(INVALID, 1, 2, "grad_scale", "0");
    options.grad_scale = 0x1p-1024; /* whose inverse is infinite */
    CLIP_CALLS(INVALID, 1, 2, "grad_scale", "5.56268464626800");
    options.grad_scale = nextafter(0x1p-1024, 1);
    gradclip_result r = new_result();
    CHECK_STATUS(gradclip_get_total_norm_f32(fgrads, lengths, 2, 2, &options, &r), GRADCLIP_OK);
    CHECK(isfinite(r.factor), "%a", r.factor);
    CLIP_CALLS(INVALID, 1, (double)NAN, "norm_type", "nan");
    NORM_CALLS(INVALID, (double)NAN, "norm_type", "nan");
    REFUSED(gradclip_scale(list, 2, NAN, NULL), INVALID, "factor", "nan");
    REFUSED(gradclip_scale(list, 2, INFINITY, NULL), INVALID, "factor", "inf");
    REFUSED(gradclip_scale(list, 2, -INFINITY, NULL), INVALID, "factor", "-inf");
    /* The text that the header gives. */
    (void)gradclip_clip_coef(-1, 1, NULL, &coef);
    CHECK(strcmp(gradclip_last_error(), "max_norm must be a number >= 0 (got -1)") == 0, "%s", gradclip_last_error());
}

/* A field of the options that is out of its range, seen by every call that uses it. */
static void option_fields(void)
{
    options.nonfinite = 3;
    CLIP_CALLS(INVALID, 1, 2, "nonfinite", "3");
    options.nonfinite = 4000000000u;
    NORM_CALLS(INVALID, 2, "nonfinite", "4000000000");
    options.nonfinite = 3;
    WITH_CALLS(INVALID, 1, 2, "nonfinite", "3");
    options.reserved = 1;
    CLIP_CALLS(INVALID, 1, 2, "reserved", "1");
    options.exact_f64 = 2;
    CLIP_CALLS(INVALID, 1, 2, "exact_f64", "2");
}

static void null_pointers(void)
{
    REFUSED(gradclip_clip_grad_norm_f32(NULL, lengths, 2, 1, 2, NULL, &result), INVALID, "grads", "NULL");
    REFUSED(gradclip_clip_grad_norm_f32(fgrads, NULL, 2, 1, 2, NULL, &result), INVALID, "lengths", "NULL");
    REFUSED(gradclip_clip_grad_norm_f64(NULL, lengths, 2, 1, 2, NULL, &result), INVALID, "grads", "NULL");
    REFUSED(gradclip_clip_grad_norm(NULL, 2, 1, 2, NULL, &result), INVALID, "grads", "NULL");
    REFUSED(gradclip_clip_grad_norm_to_f32(fgrads, NULL, lengths, 2, 1, 2, NULL, &result), INVALID, "outputs", "NULL");
    REFUSED(gradclip_clip_grad_norm_to_f64(NULL, douts, lengths, 2, 1, 2, NULL, &result), INVALID, "grads", "NULL");
    REFUSED(gradclip_clip_grad_norm_to(list, NULL, 2, 1, 2, NULL, &result), INVALID, "outputs", "NULL");
    REFUSED(gradclip_clip_grad_norm_to(NULL, outs, 2, 1, 2, NULL, &result), INVALID, "grads", "NULL");
    REFUSED(gradclip_get_total_norm_f32(NULL, lengths, 2, 2, NULL, &result), INVALID, "grads", "NULL");
    REFUSED(gradclip_get_total_norm_f32(fgrads, lengths, 2, 2, NULL, NULL), INVALID, "result", "NULL");
    REFUSED(gradclip_get_total_norm_f64(dgrads, lengths, 2, 2, NULL, NULL), INVALID, "result", "NULL");
    REFUSED(gradclip_get_total_norm(list, 2, 2, NULL, NULL), INVALID, "result", "NULL");
    REFUSED(gradclip_defer_clip_f32(fgrads, lengths, 2, 1, 2, NULL, NULL), INVALID, "result", "NULL");
    REFUSED(gradclip_defer_clip_f64(dgrads, lengths, 2, 1, 2, NULL, NULL), INVALID, "result", "NULL");
    REFUSED(gradclip_defer_clip(list, 2, 1, 2, NULL, NULL), INVALID, "result", "NULL");
    REFUSED(gradclip_defer_clip(NULL, 2, 1, 2, NULL, &result), INVALID, "grads", "NULL");
    REFUSED(gradclip_defer_clip_f32(fgrads, NULL, 2, 1, 2, NULL, &result), INVALID, "lengths", "NULL");
    REFUSED(gradclip_clip_coef(1, 1, NULL, NULL), INVALID, "clip_coef", "NULL");
    REFUSED(gradclip_clip_grads_with_norm(NULL, 2, 1, 2, NULL, NULL), INVALID, "grads", "NULL");
    REFUSED(gradclip_clip_grads_with_norm_f32(fgrads, NULL, 2, 1, 2, NULL, NULL), INVALID, "lengths", "NULL");
    REFUSED(gradclip_scale(NULL, 2, 2, NULL), INVALID, "grads", "NULL");
    REFUSED(gradclip_clip_grad_value_f32(NULL, lengths, 2, 2, NULL), INVALID, "grads", "NULL");
    REFUSED(gradclip_clip_grad_value_f64(dgrads, NULL, 2, 2, NULL), INVALID, "lengths", "NULL");
    REFUSED(gradclip_clip_grad_value(NULL, 2, 2, NULL), INVALID, "grads", "NULL");
    /* One pointer of the array. */
    fgrads[1] = NULL;
    REFUSED(gradclip_clip_grad_norm_f32(fgrads, lengths, 2, 1, 2, NULL, &result), INVALID, "grads[1]", "NULL");
    dgrads[0] = NULL;
    REFUSED(gradclip_get_total_norm_f64(dgrads, lengths, 2, 2, NULL, &result), INVALID, "grads[0]", "NULL");
    fouts[1] = NULL;
    REFUSED(gradclip_clip_grad_norm_to_f32(fgrads, fouts, lengths, 2, 1, 2, NULL, &result), INVALID, "outputs[1]", "NULL");
    list[1].data = NULL;
    REFUSED(gradclip_clip_grad_norm(list, 2, 1, 2, NULL, &result), INVALID, "grads[1].data", "NULL");
    outs[0].data = NULL;
    REFUSED(gradclip_clip_grad_norm_to(list, outs, 2, 1, 2, NULL, &result), INVALID, "outputs[0].data", "NULL");
    fgrads[0] = NULL;
    REFUSED(gradclip_clip_grad_value_f32(fgrads, lengths, 2, 1, NULL), INVALID, "grads[0]", "NULL");
}

static void sizes(void)
{
    static const size_t f32_bad[] = {SIZE_MAX, (size_t)PTRDIFF_MAX + 1, (size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX / 4 + 1};
    char text[32];
    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "%zu", f32_bad[i]);
        lengths[1] = f32_bad[i];
        REFUSED(gradclip_clip_grad_norm_f32(fgrads, lengths, 2, 1, 2, NULL, &result), INVALID, "lengths[1]", text);
        lengths[0] = f32_bad[i];
        REFUSED(gradclip_clip_grad_norm_to_f32(fgrads, fouts, lengths, 2, 1, 2, NULL, &result), INVALID, "lengths[0]", text);
        lengths[1] = f32_bad[i];
        REFUSED(gradclip_get_total_norm_f64(dgrads, lengths, 2, 2, NULL, &result), INVALID, "lengths[1]", text);
        lengths[1] = f32_bad[i];
        REFUSED(gradclip_clip_grad_value_f64(dgrads, lengths, 2, 2, NULL), INVALID, "lengths[1]", text);
        list[1].length = f32_bad[i];
        REFUSED(gradclip_clip_grad_norm(list, 2, 1, 2, NULL, &result), INVALID, "grads[1].length", text);
        list[1].length = f32_bad[i];
        REFUSED(gradclip_scale(list, 2, 2, NULL), INVALID, "grads[1].length", text);
        outs[1].length = f32_bad[i];
        REFUSED(gradclip_clip_grad_norm_to(list, outs, 2, 1, 2, NULL, &result), INVALID, "outputs[1].length", text);
    }
    lengths[0] = (size_t)PTRDIFF_MAX / 8 + 1; /* too many bytes as doubles only */
    snprintf(text, sizeof text, "%zu", lengths[0]);
    REFUSED(gradclip_clip_grad_norm_f64(dgrads, lengths, 2, 1, 2, NULL, &result), INVALID, "lengths[0]", text);
    /* No array of pointers can be that long. */
    static const size_t counts[] = {SIZE_MAX, (size_t)PTRDIFF_MAX + 1, (size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX / 8 + 1};
    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "%zu", counts[i]);
        REFUSED(gradclip_clip_grad_norm_f32(fgrads, lengths, counts[i], 1, 2, NULL, &result), INVALID, "count", text);
        REFUSED(gradclip_get_total_norm_f64(dgrads, lengths, counts[i], 2, NULL, &result), INVALID, "count", text);
        REFUSED(gradclip_clip_grad_norm(list, counts[i], 1, 2, NULL, &result), INVALID, "count", text);
        REFUSED(gradclip_clip_grad_norm_to(list, outs, counts[i], 1, 2, NULL, &result), INVALID, "count", text);
        REFUSED(gradclip_clip_grads_with_norm(list, counts[i], 1, 2, NULL, NULL), INVALID, "count", text);
        REFUSED(gradclip_scale(list, counts[i], 2, NULL), INVALID, "count", text);
        REFUSED(gradclip_clip_grad_value(list, counts[i], 2, NULL), INVALID, "count", text);
        REFUSED(gradclip_clip_grad_value_f32(fgrads, lengths, counts[i], 2, NULL), INVALID, "count", text);
    }
}

/* One bad field of one tensor, through every call on a list. */
#define LIST_CALLS(change, status, argument, value)                                                   \
    do {                                                                                              \
        change;                                                                                       \
        REFUSED(gradclip_clip_grad_norm(list, 2, 1, 2, NULL, &result), status, argument, value);      \
        change;                                                                                       \
        REFUSED(gradclip_clip_grad_norm_to(list, outs, 2, 1, 2, NULL, &result), status, argument, value); \
        change;                                                                                       \
        REFUSED(gradclip_get_total_norm(list, 2, 2, NULL, &result), status, argument, value);         \
        change;                                                                                       \
        REFUSED(gradclip_clip_grads_with_norm(list, 2, 1, 2, NULL, NULL), status, argument, value);   \
        change;                                                                                       \
        REFUSED(gradclip_scale(list, 2, 2, NULL), status, argument, value);                           \
        change;                                                                                       \
        REFUSED(gradclip_clip_grad_value(list, 2, 1, NULL), status, argument, value);                 \
    } while (0)

static void tensor_fields(void)
{
    LIST_CALLS(list[1].dtype = 0, INVALID, "grads[1].dtype", "0");
    LIST_CALLS(list[1].dtype = 99, INVALID, "grads[1].dtype", "99");
    LIST_CALLS(list[0].dtype = UINT32_MAX, INVALID, "grads[0].dtype", "4294967295");
    LIST_CALLS(list[1].flags = 2, INVALID, "grads[1].flags", "2");
    LIST_CALLS(list[1].flags = UINT32_MAX, INVALID, "grads[1].flags", "4294967295");
    LIST_CALLS(list[1].device_type = 2, UNSUPPORTED, "grads[1].device_type", "2");
    LIST_CALLS(list[0].device_type = -1, UNSUPPORTED, "grads[0].device_type", "-1");
    LIST_CALLS(list[0].device_type = INT32_MIN, UNSUPPORTED, "grads[0].device_type", "-2147483648");
    outs[1].dtype = GRADCLIP_F32;
    REFUSED(gradclip_clip_grad_norm_to(list, outs, 2, 1, 2, NULL, &result), INVALID, "outputs[1].dtype", "");
    outs[0].length = 1;
    REFUSED(gradclip_clip_grad_norm_to(list, outs, 2, 1, 2, NULL, &result), INVALID, "outputs[0].length", "1");
    outs[0].flags = GRADCLIP_UNCOUNTED;
    REFUSED(gradclip_clip_grad_norm_to(list, outs, 2, 1, 2, NULL, &result), INVALID, "outputs[0].flags", "1");
    outs[1].device_type = 2;
    REFUSED(gradclip_clip_grad_norm_to(list, outs, 2, 1, 2, NULL, &result), UNSUPPORTED, "outputs[1].device_type", "2");
    /* device_id is of no account on the CPU, nor is the flag of an empty tensor. */
    list[0].device_id = list[1].device_id = -5, list[0].device_type = 0;
    CHECK_STATUS(gradclip_get_total_norm(list, 2, 2, NULL, &result), GRADCLIP_OK);
    reset();
    /* tensor_norms has nothing to hold here. */
    REFUSED(gradclip_clip_grads_with_norm(list, 2, 1, 2, NULL, &result), INVALID, "tensor_norms", "NULL");
    REFUSED(gradclip_clip_grads_with_norm_f32(fgrads, lengths, 2, 1, 2, NULL, &result), INVALID, "tensor_norms", "NULL");
}

int main(void)
{
    CHECK(strcmp(gradclip_last_error(), "") == 0, "%s", gradclip_last_error());
    reset();
    numbers();
    option_fields();
    null_pointers();
    sizes();
    tensor_fields();
    return checks_summary("arguments");
}
