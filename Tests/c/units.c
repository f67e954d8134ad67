/* Adaptive gradient clipping: gradclip_adaptive_clip_grad. */
#include "check.h"
#include "random.h"

#include <math.h>
#include <stdlib.h>

static gradclip_status clip(gradclip_tensor *g, gradclip_tensor *w, gradclip_units units, double factor, double eps,
                            gradclip_result *r, double *coefs)
{
    return gradclip_adaptive_clip_grad(g, w, &units, 1, factor, eps, 2, NULL, r, coefs);
}

static void by_hand(void)
{
    /* Rows: the first is over its limit 0.5 * 5, the second below 0.5 * 10, the third against eps. */
    double w[] = {3, 4, 6, 8, 0, 0}, g[] = {30, 40, 3, 4, 0.3, 0.4}, coefs[3];
    gradclip_tensor grad = tensor_of(g, 6, GRADCLIP_F64), weight = tensor_of(w, 6, GRADCLIP_F64);
    gradclip_result r = new_result();
    CHECK_STATUS(clip(&grad, &weight, (gradclip_units){3, 2, 1}, 0.5, 0.1, &r, coefs), GRADCLIP_OK);
    CHECK(coefs[0] == 2.5 / 50 && coefs[1] == 1 && fabs(coefs[2] - 0.1) < 1e-16, "%a %a %a", coefs[0], coefs[1], coefs[2]);
    CHECK(g[0] == 30 * (2.5 / 50) && g[2] == 3 && g[4] == 0.3 * coefs[2], "%a", g[0]);
    CHECK_NUMBER(r.clip_coef, 2.5 / 50);
    CHECK(fabs(r.total_norm - sqrt(2500 + 25 + 0.25)) < 1e-13, "%a", r.total_norm);
    /* The same numbers as columns, in float32, the weights in float64. */
    double wc[] = {3, 6, 0, 4, 8, 0};
    float gc[] = {30, 3, 0.3f, 40, 4, 0.4f};
    grad = tensor_of(gc, 6, GRADCLIP_F32), weight = tensor_of(wc, 6, GRADCLIP_F64);
    CHECK_STATUS(clip(&grad, &weight, (gradclip_units){1, 2, 3}, 0.5, 0.1, &r, coefs), GRADCLIP_OK);
    CHECK(coefs[0] == 2.5 / 50 && coefs[1] == 1 && fabs(coefs[2] - 0.1) < 1e-8, "%a %a %a", coefs[0], coefs[1], coefs[2]);
    CHECK(gc[0] == 30 * (float)coefs[0] && gc[3] == 40 * (float)coefs[0] && gc[1] == 3, "%a", gc[0]);
    /* Below 1e-6 a norm divides as 1e-6; below the limit nothing happens; a limit of 0 gives 0. */
    double tiny[] = {4e-7, 0, 4e-7}, zeros[] = {0, 0, 0};
    grad = tensor_of(tiny, 3, GRADCLIP_F64), weight = tensor_of(zeros, 3, GRADCLIP_F64);
    CHECK_STATUS(clip(&grad, &weight, (gradclip_units){3, 1, 1}, 1, 2e-7, &r, coefs), GRADCLIP_OK);
    CHECK(coefs[0] == 2e-7 / 1e-6 && coefs[1] == 1, "%a", coefs[0]);
    tiny[0] = 4e-7;
    CHECK_STATUS(clip(&grad, &weight, (gradclip_units){3, 1, 1}, 1, 5e-7, &r, coefs), GRADCLIP_OK);
    CHECK(coefs[0] == 1 && tiny[0] == 4e-7, "unchanged below the limit");
    CHECK_STATUS(clip(&grad, &weight, (gradclip_units){1, 3, 1}, 0, 1e-3, &r, coefs), GRADCLIP_OK);
    CHECK(tiny[0] == 0 && tiny[2] == 0, "clip_factor 0");
    CHECK_STATUS(gradclip_adaptive_clip_grad(NULL, NULL, NULL, 0, 0.01, 1e-3, 2, NULL, &r, NULL), GRADCLIP_OK);
    grad.length = weight.length = 0;
    CHECK_STATUS(clip(&grad, &weight, (gradclip_units){5, 0, 1}, 1, 1e-3, &r, NULL), GRADCLIP_OK);
}

/* Columns, whatever their number and length, as the same columns laid out as rows. */
static void columns_as_rows(void)
{
    static const unsigned lows[] = {120, 1016, 8, 120}; /* exponent fields of about 2^-7 */
    for (int trial = 0; trial < 150; trial++) {
        const struct element_type *type = &element_types[trial % ELEMENT_TYPES];
        size_t size = type->size, outer = 1 + below(3), inner = 2 + below(40), reduced = 1 + below(trial % 10 == 0 ? 3000 : 60),
               n = outer * reduced * inner;
        unsigned char *g = malloc(n * size), *w = malloc(n * size), *rows = malloc(n * size), *wrows = malloc(n * size);
        double *coefs = malloc(outer * inner * 8), *expected = malloc(outer * inner * 8);
        gradclip_options options = default_options();
        options.exact_f64 = trial % 3 == 0;
        options.num_threads = 1 + trial % 3;
        fill_random(g, n, type, lows[trial % ELEMENT_TYPES], 10);
        fill_random(w, n, type, lows[trial % ELEMENT_TYPES], 10);
        for (size_t o = 0; o < outer; o++)
            for (size_t r = 0; r < reduced; r++)
                for (size_t c = 0; c < inner; c++) {
                    memcpy(rows + ((o * inner + c) * reduced + r) * size, g + ((o * reduced + r) * inner + c) * size, size);
                    memcpy(wrows + ((o * inner + c) * reduced + r) * size, w + ((o * reduced + r) * inner + c) * size, size);
                }
        gradclip_tensor a = tensor_of(g, n, type->dtype), b = tensor_of(w, n, type->dtype);
        gradclip_tensor ra = tensor_of(rows, n, type->dtype), rb = tensor_of(wrows, n, type->dtype);
        gradclip_units columns = {outer, reduced, inner}, units = {outer * inner, reduced, 1};
        gradclip_result r = new_result(), q = new_result();
        CHECK_STATUS(gradclip_adaptive_clip_grad(&a, &b, &columns, 1, 1, 1e-3, 2, &options, &r, coefs), GRADCLIP_OK);
        CHECK_STATUS(gradclip_adaptive_clip_grad(&ra, &rb, &units, 1, 1, 1e-3, 2, &options, &q, expected), GRADCLIP_OK);
        /* The sums of float64 depend on how blocks fall, by an ulp. */
        int exact = type->dtype != GRADCLIP_F64 || options.exact_f64;
        for (size_t i = 0; i < outer * inner; i++)
            CHECK(exact ? same_bits(&coefs[i], &expected[i], 8) : fabs(coefs[i] - expected[i]) <= 1e-15 * expected[i],
                  "trial %d: unit %zu of %zu x %zu x %zu: %a, %a", trial, i, outer, reduced, inner, coefs[i], expected[i]);
        for (size_t o = 0; o < outer && exact; o++)
            for (size_t i = 0; i < reduced; i++)
                for (size_t c = 0; c < inner; c++)
                    CHECK(same_bits(rows + ((o * inner + c) * reduced + i) * size, g + ((o * reduced + i) * inner + c) * size, size),
                          "trial %d: element %zu %zu %zu", trial, o, i, c);
        free(g), free(w), free(rows), free(wrows), free(coefs), free(expected);
    }
}

static void policies_and_flags(void)
{
    for (int p = 0; p < 3; p++)
        for (int columns = 0; columns < 2; columns++) {
            /* Two units of two, the second with a NaN, then a tensor that is left out. */
            float g[] = {30, 40, 3, NAN}, h[] = {50, 60}, w[] = {3, 4, 3, 4};
            if (columns) g[1] = 3, g[2] = 40, w[1] = 3, w[2] = 4;
            gradclip_tensor grads[] = {tensor_of(h, 2, GRADCLIP_F32), tensor_of(g, 4, GRADCLIP_F32)};
            gradclip_tensor weights[] = {tensor_of(w, 2, GRADCLIP_F32), tensor_of(w, 4, GRADCLIP_F32)};
            gradclip_units units[] = {{1, 2, 1}, {columns ? 1 : 2, 2, columns ? 2 : 1}};
            gradclip_options options = default_options();
            gradclip_result r = new_result();
            double coefs[3];
            grads[0].flags = GRADCLIP_UNCOUNTED;
            options.nonfinite = (uint32_t)p;
            options.grad_scale = 2;
            CHECK_STATUS(gradclip_adaptive_clip_grad(grads, weights, units, 2, 1, 1e-3, 2, &options, &r, coefs),
                         p == GRADCLIP_NONFINITE_LEAVE ? GRADCLIP_NON_FINITE : GRADCLIP_OK);
            CHECK(r.nonfinite_count == 1 && r.nan_count == 1 && r.first_tensor == 1 && r.first_element == 3, "policy %d", p);
            if (p == GRADCLIP_NONFINITE_LEAVE) CHECK(g[0] == 30 && h[0] == 50 && coefs[1] == 1, "left alone");
            else CHECK(g[0] == 30 * 0.1f && h[0] == 25 && h[1] == 30 && coefs[0] == 1 && coefs[1] == 0.2, "%g %g", g[0], h[0]);
            if (p == GRADCLIP_NONFINITE_PROPAGATE) CHECK(isnan(g[3]) && isnan(g[columns ? 1 : 2]), "its own unit");
            if (p == GRADCLIP_NONFINITE_ZERO) CHECK(g[3] == 0 && g[columns ? 1 : 2] == 1.5f, "%g", g[2]);
            /* Weights that are not finite. */
            float one[] = {1, 1}, bad[] = {1, INFINITY};
            gradclip_tensor grad = tensor_of(one, 2, GRADCLIP_F32), weight = tensor_of(bad, 2, GRADCLIP_F32);
            gradclip_units unit = {columns ? 1 : 2, 1, columns ? 2 : 1};
            if (p == GRADCLIP_NONFINITE_PROPAGATE) {
                CHECK_STATUS(gradclip_adaptive_clip_grad(&grad, &weight, &unit, 1, 0.1, 1e-3, 2, &options, NULL, coefs), GRADCLIP_OK);
                CHECK(fabs(coefs[0] - 0.2) < 1e-16 && coefs[1] == 1, "%g", coefs[0]);
                bad[1] = NAN;
                CHECK_STATUS(gradclip_adaptive_clip_grad(&grad, &weight, &unit, 1, 0.1, 1e-3, 2, &options, NULL, coefs), GRADCLIP_OK);
                CHECK(isnan(coefs[1]) && isnan(one[1]), "%g", coefs[1]);
            } else {
                coefs[0] = coefs[1] = -7;
                CHECK_STATUS(gradclip_adaptive_clip_grad(&grad, &weight, &unit, 1, 0.1, 1e-3, 2, &options, NULL, coefs),
                             GRADCLIP_ERROR_INVALID_ARGUMENT);
                CHECK(strstr(gradclip_last_error(), "weights[0] must be finite") && one[0] == 1, "%s", gradclip_last_error());
                CHECK(coefs[0] == -7 && coefs[1] == -7, "a failing call wrote coefficients");
            }
        }
}

static void refused(void)
{
    float g[] = {3, 4}, w[] = {1, 1, 1};
    gradclip_tensor grad = tensor_of(g, 2, GRADCLIP_F32), weight = tensor_of(w, 2, GRADCLIP_F32), longer = tensor_of(w, 3, GRADCLIP_F32);
    gradclip_tensor gpu = weight;
    gradclip_units units = {2, 1, 1};
    double norms[1];
    gradclip_result r = new_result();
    gpu.device_type = 2;
#define REFUSED(call, text)                                                                       \
    do {                                                                                          \
        CHECK((call) < 0, "accepted");                                                            \
        CHECK(strcmp(gradclip_last_error(), text) == 0, "\"%s\"", gradclip_last_error());         \
        CHECK(g[0] == 3 && g[1] == 4, "nothing is written");                                      \
    } while (0)
    REFUSED(clip(&grad, &longer, units, 1, 1, &r, NULL), "weights[0].length must be that of the gradient (got 3)");
    REFUSED(clip(&grad, &gpu, units, 1, 1, &r, NULL), "weights[0].device_type must be 0 or 1 (CPU memory) (got 2)");
    REFUSED(clip(&grad, NULL, units, 1, 1, &r, NULL), "weights must not be NULL (got NULL)");
    REFUSED(clip(&grad, &weight, (gradclip_units){3, 1, 1}, 1, 1, &r, NULL), "units[0] must have as product of outer, reduced and inner the gradient's length (got 3)");
    REFUSED(clip(&grad, &weight, (gradclip_units){1ull << 63, 1ull << 63, 2}, 1, 1, &r, NULL), "units[0].outer is more than memory can hold (got 9223372036854775808)");
    REFUSED(gradclip_adaptive_clip_grad(&grad, &weight, NULL, 1, 1, 1, 2, NULL, &r, NULL), "units must not be NULL (got NULL)");
    REFUSED(clip(&grad, &weight, units, -1, 1, &r, NULL), "clip_factor must be finite and >= 0 (got -1)");
    REFUSED(clip(&grad, &weight, units, NAN, 1, &r, NULL), "clip_factor must be finite and >= 0 (got nan)");
    REFUSED(clip(&grad, &weight, units, 1, -1e-3, &r, NULL), "eps must be finite and >= 0 (got -0.001)");
    REFUSED(clip(&grad, &weight, units, 1, INFINITY, &r, NULL), "eps must be finite and >= 0 (got inf)");
    REFUSED(gradclip_adaptive_clip_grad(&grad, &weight, &units, 1, 1, 1, 0, NULL, &r, NULL), "norm_type must be a number > 0 (got 0)");
    r.tensor_norms = norms;
    REFUSED(clip(&grad, &weight, units, 1, 1, &r, NULL), "result.tensor_norms must be NULL: units are measured (got a pointer)");
}

/* Empty tensors may claim any number of units; there is no memory for so many coefficients. */
static void units_without_end(void)
{
    gradclip_tensor none[4];
    gradclip_units units[4];
    gradclip_result r = new_result();
    for (int i = 0; i < 4; i++) none[i] = tensor_of(NULL, 0, GRADCLIP_F32), units[i] = (gradclip_units){1ull << 31, 0, 1ull << 31};
    for (size_t count = 1; count <= 4; count++) { /* 2^62 units each: 4 are 2^64 */
        CHECK_STATUS(gradclip_adaptive_clip_grad(none, none, units, count, 1, 1, 2, NULL, &r, NULL), GRADCLIP_ERROR_OUT_OF_MEMORY);
        CHECK(strstr(gradclip_last_error(), "memory"), "%s", gradclip_last_error());
    }
}

/* Leaves numbers on the stack, where a call's working memory will lie. */
static void leave_numbers(uint32_t pattern)
{
    volatile uint32_t room[40000];
    for (size_t i = 0; i < sizeof room / sizeof *room; i++) room[i] = pattern;
}

/* The norm of a unit that is a whole tensor is that tensor's, for every order, and whatever was on the stack before. */
static void any_order(void)
{
    enum { N = 700 };
    static const double orders[] = {2, 1, 3, INFINITY, 4, 0.5, 1.5, 2.7, 100, 0.01, 1.1};
    static const uint32_t left[] = {0, 1, 0x3f800000, 0xffffffff};
    for (size_t k = 0; k < sizeof orders / sizeof *orders; k++)
        for (int i = 0; i < ELEMENT_TYPES; i++)
            for (size_t j = 0; j < sizeof left / sizeof *left; j++) {
                static const unsigned lows[] = {120, 1016, 8, 120};
                unsigned char g[N * 8], w[N * 8];
                double coef;
                gradclip_result r = new_result(), expected = new_result();
                const gradclip_units whole = {1, N, 1};
                fill_random(g, N, &element_types[i], lows[i], 10);
                fill_random(w, N, &element_types[i], lows[i], 10);
                gradclip_tensor grad = tensor_of(g, N, element_types[i].dtype), weight = tensor_of(w, N, element_types[i].dtype);
                CHECK_STATUS(gradclip_get_total_norm(&weight, 1, orders[k], NULL, &expected), GRADCLIP_OK);
                const double limit = 0.25 * expected.total_norm;
                CHECK_STATUS(gradclip_get_total_norm(&grad, 1, orders[k], NULL, &expected), GRADCLIP_OK);
                leave_numbers(left[j]);
                CHECK_STATUS(gradclip_adaptive_clip_grad(&grad, &weight, &whole, 1, 0.25, 1e-3, orders[k], NULL, &r, &coef), GRADCLIP_OK);
                CHECK(same_bits(&r.total_norm, &expected.total_norm, 8), "p %g, type %d: %a, of the tensor %a", orders[k], i, r.total_norm,
                      expected.total_norm);
                CHECK(fabs(coef / (limit / expected.total_norm) - 1) < 1e-15, "p %g, type %d: %a", orders[k], i, coef);
            }
}

int main(void)
{
    printf("seed %llu; ", (unsigned long long)RANDOM_SEED);
    by_hand();
    columns_as_rows();
    policies_and_flags();
    refused();
    units_without_end();
    any_order();
    return checks_summary("units");
}
