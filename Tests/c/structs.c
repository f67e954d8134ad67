/* struct_size: programs built with older and with newer headers. */
#include "check.h"

#include <math.h>
#include <stddef.h>

enum { INVALID = GRADCLIP_ERROR_INVALID_ARGUMENT };

static double x[2];
static double *grads[] = {x};
static size_t n = 2;

static void layout(void)
{
    CHECK(sizeof(gradclip_tensor) == 32 && offsetof(gradclip_tensor, length) == 8 && offsetof(gradclip_tensor, dtype) == 16 &&
              offsetof(gradclip_tensor, device_type) == 24, "the layout of gradclip_tensor is frozen");
    CHECK(sizeof(gradclip_options) == 40 && offsetof(gradclip_options, nonfinite) == 24, "%zu", sizeof(gradclip_options));
    CHECK(sizeof(gradclip_result) == 72 && offsetof(gradclip_result, tensor_norms) == 64, "%zu", sizeof(gradclip_result));
}

static void initialisers(void)
{
    struct { gradclip_options options; unsigned char tail[64]; } o;
    struct { gradclip_result result; unsigned char tail[64]; } r;
    memset(&o, 0xff, sizeof o);
    CHECK_STATUS(gradclip_options_init(&o.options, sizeof o.options), GRADCLIP_OK);
    CHECK(o.options.struct_size == sizeof o.options && o.options.grad_scale == 1 && o.options.nonfinite == 0 && o.options.exact_f64 == 0 &&
              o.options.num_threads == 0 && o.options.reserved == 0, "defaults");
    CHECK_NUMBER(o.options.eps, 1e-6);
    CHECK(o.tail[0] == 0xff, "beyond struct_size");
    memset(&r, 0xff, sizeof r);
    CHECK_STATUS(gradclip_result_init(&r.result, sizeof r.result), GRADCLIP_OK);
    CHECK(r.result.struct_size == sizeof r.result && r.result.total_norm == 0 && r.result.tensor_norms == NULL && r.result.first_tensor == 0, "zeros");
    CHECK(r.tail[0] == 0xff, "beyond struct_size");
    /* A caller with a shorter struct: nothing behind it is written. */
    memset(&o, 0xff, sizeof o);
    CHECK_STATUS(gradclip_options_init(&o.options, 16), GRADCLIP_OK);
    CHECK(o.options.struct_size == 16 && o.options.eps == 1e-6 && ((unsigned char *)&o)[16] == 0xff, "16 bytes");
    memset(&o, 0xff, sizeof o);
    CHECK_STATUS(gradclip_options_init(&o.options, 8), GRADCLIP_OK);
    CHECK(o.options.struct_size == 8 && ((unsigned char *)&o)[8] == 0xff, "8 bytes");
    memset(&r, 0xff, sizeof r);
    CHECK_STATUS(gradclip_result_init(&r.result, 24), GRADCLIP_OK);
    CHECK(r.result.struct_size == 24 && r.result.clip_coef == 0 && ((unsigned char *)&r)[24] == 0xff, "24 bytes");
    /* With a longer one: the fields that the library does not know are 0. */
    memset(&o, 0xff, sizeof o);
    memset(&r, 0xff, sizeof r);
    CHECK_STATUS(gradclip_options_init(&o.options, sizeof o), GRADCLIP_OK);
    CHECK_STATUS(gradclip_result_init(&r.result, sizeof r), GRADCLIP_OK);
    for (size_t i = 0; i < sizeof o.tail; i++) CHECK(o.tail[i] == 0 && r.tail[i] == 0, "byte %zu", i);
    CHECK(o.options.struct_size == sizeof o && r.result.struct_size == sizeof r, "sizes");
    /* And what cannot be. */
    CHECK_STATUS(gradclip_options_init(NULL, sizeof o.options), INVALID);
    CHECK(strstr(gradclip_last_error(), "options") && strstr(gradclip_last_error(), "NULL"), "%s", gradclip_last_error());
    CHECK_STATUS(gradclip_result_init(NULL, sizeof r.result), INVALID);
    CHECK(strstr(gradclip_last_error(), "result") && strstr(gradclip_last_error(), "NULL"), "%s", gradclip_last_error());
    for (size_t size = 0; size < 8; size++) {
        char text[16];
        snprintf(text, sizeof text, "%zu", size);
        memset(&o, 0x77, sizeof o);
        CHECK_STATUS(gradclip_options_init(&o.options, size), INVALID);
        CHECK(strstr(gradclip_last_error(), "struct_size") && strstr(gradclip_last_error(), text), "%s", gradclip_last_error());
        CHECK(((unsigned char *)&o)[0] == 0x77, "written all the same");
        CHECK_STATUS(gradclip_result_init(&r.result, size), INVALID);
        CHECK(strstr(gradclip_last_error(), "struct_size") && strstr(gradclip_last_error(), text), "%s", gradclip_last_error());
    }
}

/* Options of every size: what lies behind struct_size is never looked at. */
static void shorter_options(void)
{
    for (uint64_t size = 8; size < sizeof(gradclip_options); size += 4) {
        gradclip_options options;
        gradclip_result r = new_result();
        memset(&options, 0xff, sizeof options); /* NaN, unknown policy: errors if read */
        options.struct_size = size;
        if (size >= 16) options.eps = 0;
        if (size >= 24) options.grad_scale = 2;
        if (size >= 28) options.nonfinite = 0;
        if (size >= 32) options.exact_f64 = 0;
        if (size >= 36) options.num_threads = 1;
        if (size % 8 && size < 24) continue; /* half a double is no field */
        x[0] = 6, x[1] = 8;
        CHECK_STATUS(gradclip_clip_grad_norm_f64(grads, &n, 1, 2.5, 2, &options, &r), GRADCLIP_OK);
        double norm = size >= 24 ? 5 : 10, eps = size >= 16 ? 0 : 1e-6;
        CHECK_NUMBER(r.total_norm, norm);
        CHECK_NUMBER(r.clip_coef, 2.5 / (norm + eps));
    }
}

static void longer_options(void)
{
    struct { gradclip_options options; unsigned char tail[64]; } o;
    gradclip_options_init(&o.options, sizeof o);
    x[0] = 3, x[1] = 4;
    CHECK_STATUS(gradclip_clip_grad_norm_f64(grads, &n, 1, 100, 2, &o.options, NULL), GRADCLIP_OK);
    for (size_t i = 0; i < sizeof o.tail; i += 7) {
        o.tail[i] = 1;
        CHECK_STATUS(gradclip_clip_grad_norm_f64(grads, &n, 1, 1, 2, &o.options, NULL), INVALID);
        CHECK(strstr(gradclip_last_error(), "options"), "%s", gradclip_last_error());
        o.tail[i] = 0;
    }
    CHECK(x[0] == 3 && x[1] == 4, "written by refused calls");
    for (uint64_t size = 0; size < 8; size++) {
        gradclip_options options = default_options();
        options.struct_size = size;
        CHECK_STATUS(gradclip_clip_grad_norm_f64(grads, &n, 1, 1, 2, &options, NULL), INVALID);
        CHECK(strstr(gradclip_last_error(), "struct_size"), "%s", gradclip_last_error());
    }
    CHECK(x[0] == 3 && x[1] == 4, "written by refused calls");
}

/* Results of every size: no byte behind struct_size is written. */
static void result_sizes(void)
{
    static const size_t ends[] = {8, 16, 24, 32, 40, 48, 56, 64, 72};
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++) {
        union { gradclip_result result; unsigned char bytes[sizeof(gradclip_result)]; } r, full;
        double norm = -1;
        memset(&r, 0xee, sizeof r);
        gradclip_result_init(&r.result, ends[k]);
        gradclip_result_init(&full.result, sizeof full.result);
        full.result.tensor_norms = &norm;
        if (ends[k] == 72) r.result.tensor_norms = &norm;
        x[0] = 3, x[1] = INFINITY;
        CHECK_STATUS(gradclip_clip_grad_norm_f64(grads, &n, 1, 1, 2, NULL, &r.result), GRADCLIP_NON_FINITE);
        CHECK_STATUS(gradclip_clip_grad_norm_f64(grads, &n, 1, 1, 2, NULL, &full.result), GRADCLIP_NON_FINITE);
        CHECK(same_bits(r.bytes + 8, full.bytes + 8, ends[k] - 8), "fields up to %zu", ends[k]);
        CHECK(r.result.struct_size == ends[k], "struct_size changed");
        for (size_t i = ends[k]; i < sizeof r; i++) CHECK(r.bytes[i] == 0xee, "byte %zu of %zu written", i, ends[k]);
    }
    struct { gradclip_result result; unsigned char tail[64]; } longer;
    memset(&longer, 0, sizeof longer);
    gradclip_result_init(&longer.result, sizeof longer);
    memset(longer.tail, 0x33, sizeof longer.tail);
    x[0] = 3, x[1] = 4;
    CHECK_STATUS(gradclip_get_total_norm_f64(grads, &n, 1, 2, NULL, &longer.result), GRADCLIP_OK);
    CHECK_NUMBER(longer.result.total_norm, 5);
    CHECK(longer.result.struct_size == sizeof longer && longer.tail[0] == 0x33, "the tail is the caller's");
    for (uint64_t size = 0; size < 8; size++) {
        gradclip_result r = new_result();
        r.struct_size = size;
        CHECK_STATUS(gradclip_clip_grad_norm_f64(grads, &n, 1, 1, 2, NULL, &r), INVALID);
        CHECK(strstr(gradclip_last_error(), "struct_size"), "%s", gradclip_last_error());
    }
    CHECK(x[0] == 3 && x[1] == 4, "written by refused calls");
}

/* Structs of every size from the first field on, as older and younger programs have them: each call takes what
 * gradclip_..._init() made of so many bytes, and writes none behind them. */
static void every_size(void)
{
    union { gradclip_options options; gradclip_result result; gradclip_chooser_options chooser_options; gradclip_decision decision;
            gradclip_per_example_result per_example; unsigned char bytes[256]; } u;
    double limit = 1, sums[2];
    gradclip_tensor t = tensor_of(x, 2, GRADCLIP_F64), sum = tensor_of(sums, 2, GRADCLIP_F64);
    for (size_t size = 8; size <= 200; size++) {
        gradclip_chooser *chooser = NULL;
        memset(&u, 0x5a, sizeof u);
        CHECK_STATUS(gradclip_options_init(&u.options, size), GRADCLIP_OK);
        x[0] = 3, x[1] = 4;
        CHECK_STATUS(gradclip_clip_grad_norm(&t, 1, 10, 2, &u.options, NULL), GRADCLIP_OK);
        CHECK(u.bytes[size] == 0x5a, "options of %zu bytes", size);
        memset(&u, 0x5a, sizeof u);
        CHECK_STATUS(gradclip_result_init(&u.result, size), GRADCLIP_OK);
        CHECK_STATUS(gradclip_clip_grad_norm(&t, 1, 10, 2, NULL, &u.result), GRADCLIP_OK);
        CHECK(u.bytes[size] == 0x5a && u.result.struct_size == size && (size < 16 || u.result.total_norm == 5), "a result of %zu bytes", size);
        memset(&u, 0x5a, sizeof u);
        u.per_example.struct_size = size;
        CHECK_STATUS(gradclip_clip_per_example(&t, &sum, 1, 1, &limit, 1, GRADCLIP_EXAMPLE_CLIP, NULL, &u.per_example, NULL, NULL), GRADCLIP_OK);
        CHECK(u.bytes[size] == 0x5a && (size < 16 || u.per_example.clipped == 1), "a result by example of %zu bytes", size);
        for (uint32_t kind = GRADCLIP_AUTOCLIP; size >= 16 && kind <= GRADCLIP_SKIPSTEP; kind++) {
            memset(&u, 0x5a, sizeof u);
            CHECK_STATUS(gradclip_chooser_options_init(&u.chooser_options, size, kind), GRADCLIP_OK);
            CHECK(u.bytes[size] == 0x5a, "a chooser's options of %zu bytes", size);
            CHECK_STATUS(gradclip_chooser_create(&u.chooser_options, &chooser), GRADCLIP_OK);
            memset(&u, 0x5a, sizeof u);
            CHECK_STATUS(gradclip_decision_init(&u.decision, size), GRADCLIP_OK);
            CHECK_STATUS(gradclip_chooser_feed(chooser, 5, NULL, &u.decision), GRADCLIP_OK);
            CHECK(u.bytes[size] == 0x5a && u.decision.struct_size == size, "a decision of %zu bytes", size);
            gradclip_chooser_free(chooser);
        }
    }
}

int main(void)
{
    layout();
    initialisers();
    shorter_options();
    longer_options();
    result_sizes();
    every_size();
    return checks_summary("structs");
}
