/*
 * Clipping in parts: gradclip_clip_by_norm, gradclip_clip_by_group,
 * gradclip_clip_by_block_rms.
 */
#include "check.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

static gradclip_options no_eps(void)
{
    gradclip_options options = default_options();
    options.eps = 0;
    return options;
}

static void each_tensor_by_its_own_norm(void)
{
    float a[] = {3, 4}, b[] = {0.3f, 0.4f}, c[] = {0, 0};
    double d[] = {-30, 40};
    gradclip_tensor list[] = {tensor_of(a, 2, GRADCLIP_F32), tensor_of(b, 2, GRADCLIP_F32), tensor_of(c, 2, GRADCLIP_F32),
                              tensor_of(NULL, 0, GRADCLIP_F16), tensor_of(d, 2, GRADCLIP_F64)};
    double one = 1, coefs[5], norms[5];
    gradclip_options options = no_eps();
    gradclip_result r = new_result();
    r.tensor_norms = norms;
    CHECK_STATUS(gradclip_clip_by_norm(list, 5, &one, 1, 2, &options, &r, coefs), GRADCLIP_OK);
    CHECK_NUMBER(coefs[0], 0.2);
    CHECK(coefs[1] == 1 && coefs[2] == 1 && coefs[3] == 1, "below the limit, zero and empty");
    CHECK_NUMBER(coefs[4], 0.02);
    CHECK(a[0] == 3 * 0.2f && a[1] == 4 * 0.2f && b[0] == 0.3f && d[1] == 40 * 0.02, "%a %a", a[0], d[1]);
    CHECK_NUMBER(norms[0], 5);
    CHECK_NUMBER(norms[4], 50);
    CHECK(r.total_norm > 50.2 && r.total_norm < 50.3, "of all tensors: %g", r.total_norm);
    CHECK_NUMBER(r.clip_coef, 0.02);
    CHECK_NUMBER(r.factor, 0.02);
    /* One max_norm each; 0 gives zeros, INFINITY leaves alone. */
    double each[] = {0, 0.25, 1, 1, INFINITY}, b1 = b[1];
    CHECK_STATUS(gradclip_clip_by_norm(list, 5, each, 5, 2, &options, &r, coefs), GRADCLIP_OK);
    CHECK(a[0] == 0 && a[1] == 0 && d[1] == 40 * 0.02 && coefs[0] == 0 && coefs[4] == 1, "max_norms");
    CHECK(fabs(b[1] / b1 - 0.5) < 1e-6, "%g", b[1]);
    /* The default eps is torch's, and grad_scale divides. */
    double e[] = {6, 8};
    gradclip_tensor t = tensor_of(e, 2, GRADCLIP_F64);
    options = default_options();
    options.grad_scale = 2;
    CHECK_STATUS(gradclip_clip_by_norm(&t, 1, &one, 1, 2, &options, NULL, coefs), GRADCLIP_OK);
    CHECK_NUMBER(coefs[0], 1 / (5 + 1e-6));
    CHECK_NUMBER(e[0], 6 * (1 / (5 + 1e-6) / 2));
    CHECK_STATUS(gradclip_clip_by_norm(NULL, 0, NULL, 0, 2, NULL, NULL, NULL), GRADCLIP_OK);
    CHECK_STATUS(gradclip_clip_by_norm(NULL, 0, &one, 1, 2, NULL, NULL, NULL), GRADCLIP_OK);
}

/* 1.7e308 twice: the norm is past DBL_MAX, and the coefficient right all the same. */
static void no_overflow(void)
{
    double x[] = {1.7e308, 1.7e308}, y[] = {1e-310, 0}, one = 1, coefs[2];
    gradclip_tensor list[] = {tensor_of(x, 2, GRADCLIP_F64), tensor_of(y, 2, GRADCLIP_F64)};
    gradclip_options options = no_eps();
    CHECK_STATUS(gradclip_clip_by_norm(list, 2, &one, 1, 2, &options, NULL, coefs), GRADCLIP_OK);
    CHECK(fabs(x[0] - sqrt(0.5)) < 1e-15 && y[0] == 1e-310 && coefs[1] == 1, "%a", x[0]);
    uint32_t groups[] = {1, 1};
    double limits[] = {1, 2}, norms[2] = {7, 7};
    x[0] = x[1] = 1.7e308;
    CHECK_STATUS(gradclip_clip_by_group(list, 2, groups, limits, 2, 2, &options, NULL, norms, coefs), GRADCLIP_OK);
    CHECK(fabs(x[0] - sqrt(2)) < 1e-15 && norms[0] == 0 && norms[1] == INFINITY && coefs[0] == 1, "%a", x[0]);
}

static void groups_by_the_norm_of_the_whole_group(void)
{
    double a[] = {3}, b[] = {1, 1}, c[] = {4}, d[] = {2};
    gradclip_tensor list[] = {tensor_of(a, 1, GRADCLIP_F64), tensor_of(b, 2, GRADCLIP_F64), tensor_of(c, 1, GRADCLIP_F64),
                              tensor_of(d, 1, GRADCLIP_F64)};
    uint32_t groups[] = {0, 2, 0, 2};
    double limits[] = {1, 1, INFINITY}, norms[3], coefs[3];
    gradclip_options options = no_eps();
    gradclip_result r = new_result();
    list[3].flags = GRADCLIP_UNCOUNTED;
    CHECK_STATUS(gradclip_clip_by_group(list, 4, groups, limits, 3, 2, &options, &r, norms, coefs), GRADCLIP_OK);
    CHECK_NUMBER(norms[0], 5);
    CHECK_NUMBER(norms[1], 0);
    CHECK_NUMBER(norms[2], sqrt(2));
    CHECK_NUMBER(coefs[0], 0.2);
    CHECK(coefs[1] == 1 && coefs[2] == 1, "an empty group, and one that is only measured");
    CHECK(a[0] == 3 * 0.2 && c[0] == 4 * 0.2 && b[0] == 1 && d[0] == 2, "%a", a[0]);
    CHECK_NUMBER(r.total_norm, sqrt(27));
    /* An uncounted tensor is scaled with its group. */
    limits[2] = 0.5;
    CHECK_STATUS(gradclip_clip_by_group(list, 4, groups, limits, 3, 2, &options, &r, norms, coefs), GRADCLIP_OK);
    CHECK(d[0] == 2 * coefs[2] && coefs[2] < 0.36, "%a", d[0]);
    /* For p = 0 the norm of a group is how many of its tensors have an element. */
    CHECK_STATUS(gradclip_clip_by_group(list, 4, groups, limits, 3, 0, &options, &r, norms, coefs), GRADCLIP_OK);
    CHECK(norms[0] == 2 && norms[1] == 0 && norms[2] == 1, "%g %g %g", norms[0], norms[1], norms[2]);
    CHECK_STATUS(gradclip_clip_by_group(NULL, 0, NULL, limits, 3, 2, &options, NULL, norms, coefs), GRADCLIP_OK);
    CHECK(norms[0] == 0 && coefs[2] == 1, "no tensors");
    CHECK_STATUS(gradclip_clip_by_group(NULL, 0, NULL, NULL, 0, 2, NULL, NULL, NULL, NULL), GRADCLIP_OK);
}

static void root_mean_square(void)
{
    double x[] = {2, 2, 2, 2}, y[] = {0.5, -0.5}, coefs[2];
    gradclip_tensor list[] = {tensor_of(x, 4, GRADCLIP_F64), tensor_of(y, 2, GRADCLIP_F64)};
    gradclip_result r = new_result();
    CHECK_STATUS(gradclip_clip_by_block_rms(list, 2, 1, NULL, &r, coefs), GRADCLIP_OK);
    CHECK(x[0] == 1 && y[0] == 0.5 && coefs[0] == 0.5 && coefs[1] == 1, "%a (no eps)", x[0]);
    CHECK_STATUS(gradclip_clip_by_block_rms(list, 2, 0, NULL, &r, coefs), GRADCLIP_OK);
    CHECK(x[3] == 0 && y[1] == 0, "threshold 0");
    /* Thresholds whose product with the root of the length is no normal double. */
    float small[] = {0x1p-140f, 0x1p-140f, 0x1p-140f};
    double huge[] = {0x1.8p1023, 0x1.8p1023, 0x1.8p1023, 0x1.8p1023, 0x1.8p1023};
    gradclip_tensor ends[] = {tensor_of(small, 3, GRADCLIP_F32), tensor_of(huge, 5, GRADCLIP_F64)};
    CHECK_STATUS(gradclip_clip_by_block_rms(ends, 1, 0x1.8p-1060, NULL, NULL, coefs), GRADCLIP_OK);
    CHECK(fabs(coefs[0] / 0x1.8p-920 - 1) < 1e-15, "%a", coefs[0]);
    CHECK_STATUS(gradclip_clip_by_block_rms(ends + 1, 1, 0x1p1023, NULL, NULL, coefs), GRADCLIP_OK);
    CHECK(fabs(coefs[0] * 1.5 - 1) < 1e-15, "%a", coefs[0]);
}

static void policies(void)
{
    double one = 1;
    for (int p = 0; p < 3; p++) {
        float a[] = {3, 4}, b[] = {3, NAN, 4}, c[] = {INFINITY, 1};
        gradclip_tensor list[] = {tensor_of(a, 2, GRADCLIP_F32), tensor_of(b, 3, GRADCLIP_F32), tensor_of(c, 2, GRADCLIP_F32)};
        gradclip_options options = no_eps();
        double coefs[3];
        gradclip_result r = new_result();
        options.nonfinite = (uint32_t)p;
        CHECK_STATUS(gradclip_clip_by_norm(list, 3, &one, 1, 2, &options, &r, coefs),
                     p == GRADCLIP_NONFINITE_LEAVE ? GRADCLIP_NON_FINITE : GRADCLIP_OK);
        CHECK(r.nonfinite_count == 2 && r.nan_count == 1 && r.first_tensor == 1 && r.first_element == 1, "policy %d", p);
        if (p == GRADCLIP_NONFINITE_LEAVE)
            CHECK(a[0] == 3 && b[0] == 3 && coefs[0] == 1 && coefs[1] == 1 && r.clip_coef == 1 && r.factor == 1, "left alone");
        if (p == GRADCLIP_NONFINITE_PROPAGATE)
            CHECK(a[0] == 3 * 0.2f && isnan(b[0]) && isnan(c[0]) && c[1] == 0 && isnan(r.clip_coef), "%g %g", a[0], c[1]);
        if (p == GRADCLIP_NONFINITE_ZERO)
            CHECK(a[0] == 3 * 0.2f && b[0] == 3 * 0.2f && b[1] == 0 && c[0] == 0 && c[1] == 1, "%g %g", b[0], c[1]);
    }
}

/* Large enough for several threads: the bits do not depend on how many. */
static void threads_and_bits(void)
{
    enum { N = 3, LENGTH = 700001 };
    static float first[N][LENGTH], second[N][LENGTH];
    double one = 1, coefs[2][N], norms[2][2], limits[] = {1, 2};
    uint32_t groups[] = {1, 0, 1};
    for (int i = 0; i < N; i++)
        for (int j = 0; j < LENGTH; j++) first[i][j] = (float)((j * 2654435761u + (unsigned)i) % 1000003u) - 5e5f;
    for (int call = 0; call < 2; call++) {
        for (int pass = 0; pass < 2; pass++) {
            float(*x)[LENGTH] = pass ? second : first;
            gradclip_tensor list[N];
            gradclip_options options = no_eps();
            options.num_threads = pass ? 7 : 1;
            if (pass == 0) memcpy(second, first, sizeof first);
            for (int i = 0; i < N; i++) list[i] = tensor_of(x[i], LENGTH, GRADCLIP_F32);
            if (call == 0)
                CHECK_STATUS(gradclip_clip_by_norm(list, N, &one, 1, 2, &options, NULL, coefs[pass]), GRADCLIP_OK);
            else
                CHECK_STATUS(gradclip_clip_by_group(list, N, groups, limits, 2, 2, &options, NULL, norms[pass], coefs[pass]), GRADCLIP_OK);
        }
        CHECK(same_bits(first, second, sizeof first) && same_bits(coefs[0], coefs[1], 16), "call %d", call);
    }
    CHECK(same_bits(norms[0], norms[1], 16), "group norms");
}

static void refused(void)
{
    float x[] = {3, 4};
    gradclip_tensor t = tensor_of(x, 2, GRADCLIP_F32), gpu = t;
    double bad[] = {-1, NAN}, one[] = {1, 1};
    uint32_t groups[] = {1};
    gradclip_result r = new_result();
    gpu.device_type = 2;
#define REFUSED(call, status, text)                                                                        \
    do {                                                                                                   \
        CHECK_STATUS(call, status);                                                                        \
        CHECK(strcmp(gradclip_last_error(), text) == 0, "\"%s\"", gradclip_last_error());                  \
        CHECK(x[0] == 3 && x[1] == 4 && r.total_norm == 0, "nothing is written");                          \
    } while (0)
    REFUSED(gradclip_clip_by_norm(&t, 1, bad, 1, 2, NULL, &r, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT, "max_norms[0] must be a number >= 0 (got -1)");
    REFUSED(gradclip_clip_by_norm(&t, 1, bad + 1, 1, 2, NULL, &r, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT, "max_norms[0] must be a number >= 0 (got nan)");
    REFUSED(gradclip_clip_by_norm(&t, 1, one, 2, 2, NULL, &r, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT, "max_norm_count must be 1 or count (got 2)");
    REFUSED(gradclip_clip_by_norm(&t, 1, NULL, 1, 2, NULL, &r, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT, "max_norms must not be NULL (got NULL)");
    REFUSED(gradclip_clip_by_norm(&t, 1, one, 1, NAN, NULL, &r, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT, "norm_type must be a number (got nan)");
    REFUSED(gradclip_clip_by_norm(&gpu, 1, one, 1, 2, NULL, &r, NULL), GRADCLIP_ERROR_UNSUPPORTED, "grads[0].device_type must be 0 or 1 (CPU memory) (got 2)");
    REFUSED(gradclip_clip_by_norm(NULL, 1, one, 1, 2, NULL, &r, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT, "grads must not be NULL (got NULL)");
    REFUSED(gradclip_clip_by_group(&t, 1, groups, one, 1, 2, NULL, &r, NULL, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT, "groups[0] must be below group_count (got 1)");
    REFUSED(gradclip_clip_by_group(&t, 1, NULL, one, 1, 2, NULL, &r, NULL, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT, "groups must not be NULL (got NULL)");
    REFUSED(gradclip_clip_by_group(&t, 1, groups, one, SIZE_MAX, 2, NULL, &r, NULL, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT, "group_count is too large for an array (got 18446744073709551615)");
    REFUSED(gradclip_clip_by_block_rms(&t, 1, -0.5, NULL, &r, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT, "threshold must be a number >= 0 (got -0.5)");
}

int main(void)
{
    each_tensor_by_its_own_norm();
    no_overflow();
    groups_by_the_norm_of_the_whole_group();
    root_mean_square();
    policies();
    threads_and_bits();
    refused();
    return checks_summary("parts");
}
