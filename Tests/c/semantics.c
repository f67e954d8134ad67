/*
 * The rules of the header, row by row, each on numbers small enough to work out
 * by hand. Thousands of further numbers are in the golden file.
 */
#include "check.h"

#include <float.h>
#include <math.h>

static const double orders[] = {0, 1, 2, 3, 4, 0.5, 1.5, 2.7, 100, 0.01, -1, -2.5, INFINITY, -INFINITY};
enum { ORDERS = sizeof orders / sizeof *orders };

/* Clip one float64 vector in place with eps = 0. */
static gradclip_status clip(double *x, size_t n, double max_norm, double p, uint32_t policy, gradclip_result *r)
{
    gradclip_options options = default_options();
    double *grads[] = {x};
    options.eps = 0;
    options.nonfinite = policy;
    *r = new_result();
    return gradclip_clip_grad_norm_f64(grads, &n, 1, max_norm, p, &options, r);
}

/* The norm divided by grad_scale is below every double, and eps is not. */
static void norms_too_small_for_a_double_leave_the_coefficient_to_eps(void)
{
    double tiny[] = {5e-324};
    double *grads[] = {tiny};
    size_t lengths[] = {1};
    gradclip_options options;
    gradclip_options_init(&options, sizeof options);
    options.grad_scale = 0x1p126;
    for (double p = 1; p <= 3; p++) {
        gradclip_result r;
        gradclip_result_init(&r, sizeof r);
        CHECK_STATUS(gradclip_defer_clip_f64(grads, lengths, 1, 0x1p-150, p, &options, &r), GRADCLIP_OK);
        CHECK_NUMBER(r.total_norm, 0);
        CHECK_NUMBER(r.clip_coef, 0x1p-150 / 1e-6);
    }
}

/* max_norm / norm of finite gradients is below every double, however far: 0. */
static void coefficients_too_small_for_a_double_are_zero(void)
{
    for (int exponent = 0; exponent >= -1074; exponent--) {
        double huge[] = {0x1p1023};
        double *grads[] = {huge};
        size_t lengths[] = {1};
        gradclip_options options = default_options();
        options.eps = 0;
        options.grad_scale = 0x1p-1023;
        gradclip_result r = new_result();
        CHECK_STATUS(gradclip_defer_clip_f64(grads, lengths, 1, ldexp(1, exponent), 2, &options, &r), GRADCLIP_OK);
        CHECK_NUMBER(r.total_norm, INFINITY);
        CHECK_NUMBER(r.clip_coef, 0);
        CHECK_NUMBER(r.factor, 0);
    }
}

static void no_tensors_and_empty_ones(void)
{
    gradclip_result r;
    for (int i = 0; i < ORDERS; i++) {
        float *none[] = {NULL, NULL};
        size_t lengths[] = {0, 0};
        double norms[] = {7, 7};
        r = new_result();
        CHECK_STATUS(gradclip_clip_grad_norm_f32(NULL, NULL, 0, 1, orders[i], NULL, &r), GRADCLIP_OK);
        CHECK_NUMBER(r.total_norm, 0);
        CHECK_NUMBER(r.clip_coef, 1);
        CHECK_NUMBER(r.factor, 1);
        CHECK(r.first_tensor == GRADCLIP_NONE && r.first_element == GRADCLIP_NONE && r.nonfinite_count == 0, "p %g", orders[i]);
        r.tensor_norms = norms;
        CHECK_STATUS(gradclip_clip_grad_norm_f32(none, lengths, 2, 1, orders[i], NULL, &r), GRADCLIP_OK);
        CHECK_NUMBER(r.total_norm, 0);
        CHECK_NUMBER(r.clip_coef, 1);
        CHECK_NUMBER(norms[0], 0);
        CHECK_NUMBER(norms[1], 0);
        CHECK_STATUS(gradclip_clip_grad_norm(NULL, 0, 1, orders[i], NULL, NULL), GRADCLIP_OK);
        CHECK_STATUS(gradclip_clip_grad_norm_to(NULL, NULL, 0, 1, orders[i], NULL, NULL), GRADCLIP_OK);
        CHECK_STATUS(gradclip_clip_grad_norm_to_f64(NULL, NULL, NULL, 0, 1, orders[i], NULL, NULL), GRADCLIP_OK);
    }
    r = new_result();
    CHECK_STATUS(gradclip_get_total_norm_f64(NULL, NULL, 0, 2, NULL, &r), GRADCLIP_OK);
    CHECK_STATUS(gradclip_clip_grads_with_norm_f32(NULL, NULL, 0, 1, 2, NULL, &r), GRADCLIP_OK);
    CHECK_NUMBER(r.clip_coef, 1 / (2 + 1e-6));
    CHECK_STATUS(gradclip_scale(NULL, 0, 2, NULL), GRADCLIP_OK);
    CHECK_STATUS(gradclip_clip_grad_value_f32(NULL, NULL, 0, 1, NULL), GRADCLIP_OK);
    CHECK_STATUS(gradclip_clip_grad_value(NULL, 0, 1, NULL), GRADCLIP_OK);
}

static void norms_by_hand(void)
{
    static const struct { double p, x[4], norm; } rows[] = {
        {0, {3, 0, -0.0, -4}, 2},  {1, {3, 0, -0.0, -4}, 7},  {2, {3, 0, -0.0, -4}, 5},
        {3, {3, 4, 5, 0}, 6},      {4, {30, 120, 272, 315}, 353}, {INFINITY, {1, -9, 3, 0}, 9},
        {-INFINITY, {5, -2, 3, 4}, 2}, {-1, {1, 0, 3, 4}, 0}, {-INFINITY, {1, 0, 3, 4}, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double x[4], norm = -1;
        gradclip_result r = new_result();
        double *grads[] = {x};
        size_t n = 4;
        memcpy(x, rows[i].x, sizeof x);
        r.tensor_norms = &norm;
        CHECK_STATUS(gradclip_get_total_norm_f64(grads, &n, 1, rows[i].p, NULL, &r), GRADCLIP_OK);
        CHECK(fabs(norm / rows[i].norm - 1) < 1e-15 || norm == rows[i].norm, "p %g: %a", rows[i].p, norm);
        if (rows[i].p != 0) CHECK_NUMBER(r.total_norm, norm);
        else CHECK_NUMBER(r.total_norm, 1); /* tensors, not elements */
        CHECK_NUMBER(r.clip_coef, 1);
    }
}

static void total_norm_over_tensors(void)
{
    float a[] = {3, 0}, b[] = {0, 0, 0}, c[] = {4};
    float *grads[] = {a, NULL, b, c};
    size_t lengths[] = {2, 0, 3, 1};
    double norms[4];
    gradclip_result r = new_result();
    r.tensor_norms = norms;
    CHECK_STATUS(gradclip_get_total_norm_f32(grads, lengths, 4, 2, NULL, &r), GRADCLIP_OK);
    CHECK_NUMBER(r.total_norm, 5);
    CHECK(norms[0] == 3 && norms[1] == 0 && norms[2] == 0 && norms[3] == 4, "norms");
    CHECK_STATUS(gradclip_get_total_norm_f32(grads, lengths, 4, 0, NULL, &r), GRADCLIP_OK);
    CHECK_NUMBER(r.total_norm, 2); /* tensors with an element that is not zero */
    CHECK(norms[0] == 1 && norms[2] == 0 && norms[3] == 1, "elements that are not zero");
    /* The empty tensor does not make the least norm 0, the zeros do. */
    CHECK_STATUS(gradclip_get_total_norm_f32(grads, lengths, 4, -INFINITY, NULL, &r), GRADCLIP_OK);
    CHECK_NUMBER(r.total_norm, 0);
    grads[2] = c, lengths[2] = 1, lengths[0] = 1;
    CHECK_STATUS(gradclip_get_total_norm_f32(grads, lengths, 3, -INFINITY, NULL, &r), GRADCLIP_OK);
    CHECK_NUMBER(r.total_norm, 3);
}

static void coefficient_rules(void)
{
    gradclip_options options = default_options();
    double coef, one[] = {0.5}, zero[] = {0, -0.0};
    gradclip_result r;
    CHECK_NUMBER(options.eps, 1e-6);
    CHECK_STATUS(gradclip_clip_coef(1, 4, NULL, &coef), GRADCLIP_OK);
    CHECK_NUMBER(coef, 1 / (4 + 1e-6));
    options.eps = 0;
    CHECK_STATUS(gradclip_clip_coef(1, 4, &options, &coef), GRADCLIP_OK);
    CHECK_NUMBER(coef, 0.25);
    CHECK_STATUS(gradclip_clip_coef(1, 0.5, &options, &coef), GRADCLIP_OK);
    CHECK_NUMBER(coef, 1);
    CHECK_STATUS(gradclip_clip_coef(0, 0, &options, &coef), GRADCLIP_OK);
    CHECK_NUMBER(coef, 0); /* max_norm = 0 comes before a norm of 0 */
    CHECK_STATUS(gradclip_clip_coef(1, 0, &options, &coef), GRADCLIP_OK);
    CHECK_NUMBER(coef, 1);
    CHECK_STATUS(gradclip_clip_coef(1, INFINITY, &options, &coef), GRADCLIP_OK);
    CHECK_NUMBER(coef, 0);
    CHECK_STATUS(gradclip_clip_coef(INFINITY, INFINITY, &options, &coef), GRADCLIP_OK);
    CHECK_NUMBER(coef, 1);
    /* max_norm = 0 sets all to zero, signs kept; INFINITY only measures. */
    CHECK_STATUS(clip(one, 1, 0, 2, 0, &r), GRADCLIP_OK);
    CHECK_NUMBER(one[0], 0);
    CHECK_STATUS(clip(zero, 2, 5, 2, 0, &r), GRADCLIP_OK);
    CHECK_NUMBER(r.clip_coef, 1);
    CHECK_NUMBER(zero[1], -0.0);
    one[0] = 1e300;
    CHECK_STATUS(clip(one, 1, INFINITY, 2, 0, &r), GRADCLIP_OK);
    CHECK_NUMBER(one[0], 1e300);
    CHECK_NUMBER(r.total_norm, 1e300);
}

static void magnitudes(void)
{
    double two[] = {1.7e308, 1.7e308}, kept[] = {1.7e308, 1.7e308};
    gradclip_result r;
    double *grads[] = {two};
    size_t n = 2;
    /* The norm is past DBL_MAX: it reads INFINITY, and yet all goes well. */
    CHECK_STATUS(clip(two, 2, 1, 2, GRADCLIP_NONFINITE_LEAVE, &r), GRADCLIP_OK);
    CHECK_NUMBER(r.total_norm, INFINITY);
    CHECK(r.nonfinite_count == 0, "finite gradients");
    CHECK(fabs(two[0] - sqrt(0.5)) < 1e-15 && two[0] == two[1], "%a", two[0]);
    memcpy(two, kept, sizeof two);
    CHECK_STATUS(clip(two, 2, INFINITY, 2, GRADCLIP_NONFINITE_LEAVE, &r), GRADCLIP_OK);
    CHECK(same_bits(two, kept, sizeof two), "max_norm = INFINITY only measures");
    CHECK_STATUS(clip(two, 2, DBL_MAX, 2, GRADCLIP_NONFINITE_PROPAGATE, &r), GRADCLIP_OK);
    CHECK(fabs(r.clip_coef / (DBL_MAX / 1.7e308 * sqrt(0.5)) - 1) < 1e-15, "%a", r.clip_coef);
    /* The norm alone has no coefficient; INFINITY handed on is not finite. */
    CHECK_STATUS(gradclip_clip_grads_with_norm_f64(grads, &n, 1, 1, INFINITY, NULL, NULL), GRADCLIP_NON_FINITE);
    double small[] = {3e-200, -4e-200, 5e-324};
    CHECK_STATUS(clip(small, 3, 5e-201, 2, 0, &r), GRADCLIP_OK);
    CHECK(fabs(r.total_norm / 5e-200 - 1) < 1e-15 && fabs(small[0] / 3e-201 - 1) < 1e-15, "%a", r.total_norm);
    float wide[] = {1e38f};
    float *wide_grads[] = {wide};
    n = 1;
    CHECK_STATUS(gradclip_clip_grad_norm_f32(wide_grads, &n, 1, 1e-7, 2, NULL, &r), GRADCLIP_OK);
    /* The factor is denormal in float32: the product goes through float64. */
    CHECK(r.factor < FLT_MIN && wide[0] == (float)(1e38f * r.factor) && fabs(wide[0] / 1e-7 - 1) < 1e-6, "%a", wide[0]);
    for (int i = 0; i < 2; i++) { /* extreme orders are the extremes of |x| */
        double x[] = {1e-300, 3, 1e300};
        CHECK_STATUS(clip(x, 3, INFINITY, i ? -1e300 : 1e300, 0, &r), GRADCLIP_OK);
        CHECK(fabs(r.total_norm / (i ? 1e-300 : 1e300) - 1) < 1e-15, "%a", r.total_norm);
    }
}

static void policies(void)
{
    for (int kind = 0; kind < 2; kind++)
        for (int i = 0; i < ORDERS; i++) {
            double bad = kind ? NAN : -INFINITY, x[] = {3, bad, 4}, y[3], kept[3], out[] = {7, 7, 7};
            double *grads[] = {x}, *outputs[] = {out};
            size_t n = 3;
            gradclip_result r;
            memcpy(kept, x, sizeof x);
            /* LEAVE: the elements are the trigger, not the norm, so even p < 0. */
            CHECK_STATUS(clip(x, 3, 1, orders[i], GRADCLIP_NONFINITE_LEAVE, &r), GRADCLIP_NON_FINITE);
            CHECK(same_bits(x, kept, sizeof x), "left alone");
            CHECK(r.nonfinite_count == 1 && r.nan_count == (unsigned)kind && r.first_tensor == 0 && r.first_element == 1, "p %g", orders[i]);
            r = new_result();
            CHECK_STATUS(gradclip_clip_grad_norm_to_f64(grads, outputs, &n, 1, 1, orders[i], NULL, &r), GRADCLIP_NON_FINITE);
            CHECK(out[0] == 7 && out[1] == 7 && out[2] == 7, "destinations left alone");
            CHECK_STATUS(gradclip_get_total_norm_f64(grads, &n, 1, orders[i], NULL, &r), GRADCLIP_NON_FINITE);
            /* ZERO: replaced, and the rest clipped by the norm of the rest. */
            double rest[] = {3, 4};
            gradclip_result of_rest;
            memcpy(y, x, sizeof x);
            CHECK_STATUS(clip(rest, 2, 1, orders[i], 0, &of_rest), GRADCLIP_OK);
            CHECK_STATUS(clip(y, 3, 1, orders[i], GRADCLIP_NONFINITE_ZERO, &r), GRADCLIP_OK);
            CHECK(fabs(r.total_norm / of_rest.total_norm - 1) < 1e-13, "p %g: %a", orders[i], r.total_norm);
            CHECK_NUMBER(y[1], 0);
            CHECK(fabs(y[0] / rest[0] - 1) < 1e-13, "p %g", orders[i]);
            CHECK(r.nonfinite_count == 1 && r.first_element == 1, "counted all the same");
            /* ZERO replaces even when nothing else needs clipping. */
            memcpy(y, x, sizeof x);
            CHECK_STATUS(clip(y, 3, INFINITY, orders[i], GRADCLIP_NONFINITE_ZERO, &r), GRADCLIP_OK);
            CHECK(y[0] == 3 && y[1] == 0 && y[2] == 4, "p %g", orders[i]);
        }
    /* PROPAGATE: as torch does. */
    gradclip_result r;
    double inf[] = {3, INFINITY, -4}, nan[] = {3, NAN, 4};
    CHECK_STATUS(clip(inf, 3, 1, 2, GRADCLIP_NONFINITE_PROPAGATE, &r), GRADCLIP_OK);
    CHECK_NUMBER(r.clip_coef, 0);
    CHECK_NUMBER(inf[0], 0);
    CHECK_NUMBER(inf[2], -0.0);
    CHECK(isnan(inf[1]), "an infinity turns itself into NaN");
    CHECK_STATUS(clip(nan, 3, 1, 2, GRADCLIP_NONFINITE_PROPAGATE, &r), GRADCLIP_OK);
    CHECK(isnan(nan[0]) && isnan(nan[2]) && isnan(r.clip_coef) && isnan(r.total_norm), "a NaN turns all into NaN");
}

static void first_in_list_order(void)
{
    float a[] = {1, 2}, b[5000] = {0}, c[] = {NAN};
    float *grads[] = {a, NULL, b, c};
    size_t lengths[] = {2, 0, 5000, 1};
    gradclip_result r = new_result();
    for (int i = 4500; i < 5000; i++) b[i] = i % 2 ? INFINITY : NAN;
    CHECK_STATUS(gradclip_clip_grad_norm_f32(grads, lengths, 4, 1, 2, NULL, &r), GRADCLIP_NON_FINITE);
    CHECK(r.nonfinite_count == 501 && r.nan_count == 251, "%llu", (unsigned long long)r.nonfinite_count);
    CHECK(r.first_tensor == 2 && r.first_element == 4500, "%llu", (unsigned long long)r.first_element);
}

static void grad_scale_and_uncounted(void)
{
    float a[] = {3 * 1024, 4 * 1024}, copy[] = {100, INFINITY};
    gradclip_tensor grads[] = {tensor_of(copy, 2, GRADCLIP_F32), tensor_of(a, 2, GRADCLIP_F32)};
    gradclip_options options = default_options();
    double norms[2] = {7, 7};
    gradclip_result r = new_result();
    grads[0].flags = GRADCLIP_UNCOUNTED;
    options.eps = 0;
    options.grad_scale = 1024;
    r.tensor_norms = norms;
    CHECK_STATUS(gradclip_get_total_norm(grads, 2, 2, &options, &r), GRADCLIP_OK);
    CHECK(r.total_norm == 5 && r.clip_coef == 1 && r.factor == 1.0 / 1024, "%a", r.total_norm);
    CHECK_STATUS(gradclip_clip_grad_norm(grads, 2, 2.5, 2, &options, &r), GRADCLIP_OK);
    CHECK(r.total_norm == 5 && r.clip_coef == 0.5 && r.factor == 0.5 / 1024, "%a", r.factor);
    CHECK(norms[0] == 0 && norms[1] == 5, "an uncounted tensor's norm reads 0");
    CHECK(a[0] == 1.5f && a[1] == 2.0f && copy[0] == 100 * 0.5f / 1024 && copy[1] == INFINITY, "scaled all the same");
    CHECK(r.nonfinite_count == 0, "not inspected");
    /* Unscaling alone is a reason to write. */
    float b[] = {1024};
    grads[1] = tensor_of(b, 1, GRADCLIP_F32);
    CHECK_STATUS(gradclip_clip_grad_norm(grads + 1, 1, 5, 2, &options, NULL), GRADCLIP_OK);
    CHECK(b[0] == 1, "%g", b[0]);
}

static void out_of_place(void)
{
    float a[] = {3, -4}, same[] = {0}, out[] = {7, 7};
    float *grads[] = {a, same}, *outputs[] = {out, same};
    size_t lengths[] = {2, 1};
    gradclip_options options = default_options();
    options.eps = 0;
    CHECK_STATUS(gradclip_clip_grad_norm_to_f32(grads, outputs, lengths, 2, 2.5, 2, &options, NULL), GRADCLIP_OK);
    CHECK(a[0] == 3 && a[1] == -4 && out[0] == 1.5f && out[1] == -2, "sources untouched");
    CHECK_STATUS(gradclip_clip_grad_norm_to_f32(grads, outputs, lengths, 2, 50, 2, &options, NULL), GRADCLIP_OK);
    CHECK(out[0] == 3 && out[1] == -4, "copied when nothing is clipped");
    CHECK_STATUS(gradclip_clip_grad_norm_to_f32(grads, grads, lengths, 2, 2.5, 2, &options, NULL), GRADCLIP_OK);
    CHECK(a[0] == 1.5f && a[1] == -2, "a destination may be its own source");
}

static void known_norm_scale_and_value(void)
{
    double x[] = {8, -16, NAN, INFINITY};
    double *grads[] = {x};
    size_t n = 2;
    gradclip_options options = default_options();
    gradclip_result r = new_result();
    options.eps = 0;
    CHECK_STATUS(gradclip_clip_grads_with_norm_f64(grads, &n, 1, 1, 4, &options, &r), GRADCLIP_OK);
    CHECK(x[0] == 2 && x[1] == -4 && r.total_norm == 4 && r.clip_coef == 0.25 && r.factor == 0.25, "%g", x[0]);
    CHECK_STATUS(gradclip_clip_grads_with_norm_f64(grads, &n, 1, 1, INFINITY, &options, &r), GRADCLIP_NON_FINITE);
    CHECK(x[0] == 2, "an infinite norm leaves the gradients");
    n = 4;
    options.nonfinite = GRADCLIP_NONFINITE_ZERO;
    CHECK_STATUS(gradclip_clip_grads_with_norm_f64(grads, &n, 1, 9, 4, &options, &r), GRADCLIP_OK);
    CHECK(x[0] == 2 && x[1] == -4 && x[2] == 0 && x[3] == 0, "replaced whatever the norm");
    gradclip_tensor list = tensor_of(x, 2, GRADCLIP_F64);
    CHECK_STATUS(gradclip_scale(&list, 1, -0.5, NULL), GRADCLIP_OK);
    CHECK(x[0] == -1 && x[1] == 2, "%g", x[0]);
    float v[] = {0.05f, -3, INFINITY, -INFINITY, NAN, -0.0f};
    float *values[] = {v};
    n = 6;
    CHECK_STATUS(gradclip_clip_grad_value_f32(values, &n, 1, 0.1, NULL), GRADCLIP_OK);
    CHECK(v[0] == 0.05f && v[1] == -0.1f && v[2] == 0.1f && v[3] == -0.1f && isnan(v[4]), "clamped");
    CHECK(v[5] == 0 && signbit(v[5]), "-0 stays -0");
}

static void versions_and_texts(void)
{
    static const gradclip_status all[] = {0, 1, 2, -1, -2, -3, -4};
    CHECK(gradclip_version() == GRADCLIP_VERSION, "%u", gradclip_version());
    CHECK(strcmp(gradclip_version_string(), GRADCLIP_VERSION_STRING) == 0, "%s", gradclip_version_string());
    const char *isa = gradclip_isa();
    CHECK(!strcmp(isa, "baseline") || !strcmp(isa, "x86-64-v3") || !strcmp(isa, "x86-64-v4") || !strcmp(isa, "x86-64-v4-ifma") || !strcmp(isa, "neon"), "%s", isa);
    for (int i = 0; i < 7; i++)
        for (int j = 0; j < i; j++)
            CHECK(strcmp(gradclip_status_string(all[i]), gradclip_status_string(all[j])) != 0, "%d and %d", all[i], all[j]);
    CHECK(strcmp(gradclip_status_string(-1), "invalid argument") == 0, "%s", gradclip_status_string(-1));
    CHECK(strcmp(gradclip_status_string(3), "unknown status") == 0, "%s", gradclip_status_string(3));
    CHECK(strcmp(gradclip_status_string(INT32_MIN), "unknown status") == 0, "%s", gradclip_status_string(INT32_MIN));
}

int main(void)
{
    versions_and_texts();
    no_tensors_and_empty_ones();
    norms_too_small_for_a_double_leave_the_coefficient_to_eps();
    coefficients_too_small_for_a_double_are_zero();
    norms_by_hand();
    total_norm_over_tensors();
    coefficient_rules();
    magnitudes();
    policies();
    first_in_list_order();
    grad_scale_and_uncounted();
    out_of_place();
    known_norm_scale_and_value();
    return checks_summary("semantics");
}
