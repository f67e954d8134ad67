/*
 * Clipping by example: gradclip_clip_per_example, gradclip_adapt_max_norm. (That no
 * contribution exceeds max_norm is tested with exact arithmetic in
 * bindings/python/tests/test_per_example.py.)
 */
#include "check.h"
#include "random.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

static gradclip_options no_eps(void)
{
    gradclip_options options = default_options();
    options.eps = 0;
    return options;
}

static void by_hand(void)
{
    /* Three examples over two tensors: norms 5, 0.5 and 0. */
    double a[] = {3, 0.3, 0}, b[] = {4, 0, 0.4, 0, 0, 0}, norms[6], factors[6], sum_b[2], one = 1;
    float sum_a[1];
    gradclip_tensor grads[] = {tensor_of(a, 3, GRADCLIP_F64), tensor_of(b, 6, GRADCLIP_F64)};
    gradclip_tensor sums[] = {tensor_of(sum_a, 1, GRADCLIP_F32), tensor_of(sum_b, 2, GRADCLIP_F64)};
    gradclip_per_example_result r = {sizeof r, 9, 9, 9, 9, 9};
    gradclip_options options = no_eps();
    CHECK_STATUS(gradclip_clip_per_example(grads, sums, 2, 3, &one, 1, GRADCLIP_EXAMPLE_CLIP, &options, &r, norms, factors), GRADCLIP_OK);
    CHECK(norms[0] == 5 && fabs(norms[1] - 0.5) < 1e-16 && norms[2] == 0, "%a", norms[1]);
    CHECK(factors[0] <= 0.2 && factors[0] > 0.2 * (1 - 1e-14) && factors[1] == 1 && factors[2] == 1, "%a", factors[0]);
    CHECK(r.clipped == 1 && r.nonfinite == 0 && r.first_nonfinite == GRADCLIP_NONE && r.sensitivity == 1, "counts");
    CHECK(fabs(sum_a[0] - 0.9) < 1e-7 && fabs(sum_b[0] - 1.2) < 1e-14 && sum_b[1] == 0, "%a %a", sum_a[0], sum_b[0]);
    CHECK(r.rounding_bound >= 3 * 2 * DBL_EPSILON + 3 * 0x1p-24 && r.rounding_bound < 3.0001 * 0x1p-24, "%a", r.rounding_bound);
    CHECK(a[0] == 3 && b[0] == 4, "gradients are not written");
    /* Per layer: each tensor of an example by its own norm. */
    double limits[] = {1, 0.2};
    CHECK_STATUS(gradclip_clip_per_example(grads, sums, 2, 3, limits, 2, GRADCLIP_EXAMPLE_CLIP, &options, &r, norms, factors), GRADCLIP_OK);
    CHECK(norms[0] == 3 && norms[1] == 4 && norms[2] == 0.3 && norms[3] == 0.4 && norms[5] == 0, "per layer");
    CHECK(fabs(factors[0] - 1 / 3.) < 1e-15 && fabs(factors[1] - 0.05) < 1e-16 && factors[2] == 1 && fabs(factors[3] - 0.5) < 1e-15, "%a", factors[3]);
    CHECK(r.clipped == 2 && fabs(r.sensitivity - sqrt(1.04)) < 1e-11 && r.sensitivity >= sqrt(1.04), "%a", r.sensitivity);
    /* Automatic: AUTO-S with eps = 0.01, larger than 1 for a small norm. */
    options.eps = 0.01;
    CHECK_STATUS(gradclip_clip_per_example(grads, sums, 2, 3, &one, 1, GRADCLIP_EXAMPLE_AUTOMATIC, &options, &r, norms, factors), GRADCLIP_OK);
    CHECK(fabs(factors[0] - 1 / 5.01) < 1e-15 && fabs(factors[1] - 1 / 0.51) < 1e-14 && fabs(factors[2] - 100) < 1e-12, "%a", factors[1]);
    options.eps = 0;
    CHECK_STATUS(gradclip_clip_per_example(grads, sums, 2, 3, &one, 1, GRADCLIP_EXAMPLE_AUTOMATIC, &options, &r, norms, factors), GRADCLIP_OK);
    CHECK(fabs(factors[1] - 2) < 1e-14 && factors[2] == 1, "AUTO-V: %a", factors[1]);
    /* Threshold: out with what is too large. */
    CHECK_STATUS(gradclip_clip_per_example(grads, sums, 2, 3, &one, 1, GRADCLIP_EXAMPLE_THRESHOLD, &options, &r, norms, factors), GRADCLIP_OK);
    CHECK(factors[0] == 0 && factors[1] == 1 && sum_b[0] == 0.4 && r.clipped == 1, "%a", sum_b[0]);
    /* grad_scale, and Opacus's eps. */
    options = default_options();
    options.grad_scale = 4;
    CHECK_STATUS(gradclip_clip_per_example(grads, sums, 2, 3, &one, 1, GRADCLIP_EXAMPLE_CLIP, &options, &r, norms, factors), GRADCLIP_OK);
    CHECK(norms[0] == 1.25 && fabs(factors[0] - 0.25 / (1.25 + 1e-6)) < 1e-15 && fabs(factors[1] - 0.25) < 1e-15, "%a", factors[0]);
    /* max_norm 0, only measuring, no tensors. */
    double zero = 0;
    CHECK_STATUS(gradclip_clip_per_example(grads, sums, 2, 3, &zero, 1, GRADCLIP_EXAMPLE_CLIP, NULL, &r, NULL, NULL), GRADCLIP_OK);
    CHECK(sum_a[0] == 0 && sum_b[0] == 0 && r.clipped == 2 && r.sensitivity == 0, "max_norm 0");
    sum_b[0] = 7;
    CHECK_STATUS(gradclip_clip_per_example(grads, NULL, 2, 3, &one, 1, GRADCLIP_EXAMPLE_CLIP, NULL, &r, norms, NULL), GRADCLIP_OK);
    CHECK(norms[0] == 5 && sum_b[0] == 7 && r.clipped == 1, "measured only");
    CHECK_STATUS(gradclip_clip_per_example(NULL, NULL, 0, 3, &one, 1, GRADCLIP_EXAMPLE_CLIP, NULL, &r, norms, NULL), GRADCLIP_OK);
    CHECK(norms[0] == 0 && norms[2] == 0, "no tensors");
}

static void dropped(void)
{
    float a[] = {1, NAN, 3, INFINITY, 2}, b[] = {1, 1, 1, 1, NAN}, sum[2];
    double one = 1, norms[5], factors[5], each[] = {1, 1}, layer_factors[10];
    gradclip_tensor grads[] = {tensor_of(a, 5, GRADCLIP_F32), tensor_of(b, 5, GRADCLIP_F32)};
    gradclip_tensor sums[] = {tensor_of(sum, 1, GRADCLIP_F32), tensor_of(sum + 1, 1, GRADCLIP_F32)};
    gradclip_per_example_result r = {.struct_size = sizeof r};
    CHECK_STATUS(gradclip_clip_per_example(grads, sums, 2, 5, &one, 1, GRADCLIP_EXAMPLE_CLIP, NULL, &r, norms, factors), GRADCLIP_OK);
    CHECK(r.nonfinite == 3 && r.first_nonfinite == 1 && r.clipped == 2, "%d", (int)r.nonfinite);
    CHECK(isnan(norms[1]) && norms[3] == INFINITY && isnan(norms[4]) && factors[1] == 0 && factors[3] == 0, "named by index");
    CHECK(fabs(sum[0] - (1 / sqrt(2) + 3 / sqrt(10))) < 1e-5, "%g", sum[0]);
    /* Dropped in all layers for an element in one. */
    CHECK_STATUS(gradclip_clip_per_example(grads, sums, 2, 5, each, 2, GRADCLIP_EXAMPLE_CLIP, NULL, &r, NULL, layer_factors), GRADCLIP_OK);
    CHECK(r.nonfinite == 3 && layer_factors[3] == 0 && layer_factors[8] == 0 && fabs(sum[1] - 2) < 1e-5, "%g", sum[1]);
    /* A finite example whose norm is past DBL_MAX is clipped like any other. */
    double huge[] = {1.7e308, 1.7e308}, s[2];
    gradclip_tensor h = tensor_of(huge, 2, GRADCLIP_F64), t = tensor_of(s, 2, GRADCLIP_F64);
    gradclip_options options = no_eps();
    CHECK_STATUS(gradclip_clip_per_example(&h, &t, 1, 1, &one, 1, GRADCLIP_EXAMPLE_CLIP, &options, &r, norms, factors), GRADCLIP_OK);
    CHECK(r.nonfinite == 0 && norms[0] == INFINITY && fabs(s[0] - sqrt(0.5)) < 1e-14, "%a", s[0]);
}

/* Norms that are subnormal, or past DBL_MAX, are no wider on the way to a factor. */
static void norms_at_the_ends(void)
{
    static const struct { double x, max_norm, scale; uint32_t rule; } cases[] = {
        {0x1p-1074, 0x1p-100, 1, GRADCLIP_EXAMPLE_AUTOMATIC}, {0x1p-1074, 0x1p-100, 0.75, GRADCLIP_EXAMPLE_AUTOMATIC},
        {0x1p-1070, 0x1p-100, 3, GRADCLIP_EXAMPLE_AUTOMATIC}, {1.7e308, 100, 1e-3, GRADCLIP_EXAMPLE_AUTOMATIC},
        {1.7e308, 100, 1, GRADCLIP_EXAMPLE_AUTOMATIC},        {1.7e308, 100, 1e-3, GRADCLIP_EXAMPLE_CLIP},
        {1.7e308, DBL_MAX, 1, GRADCLIP_EXAMPLE_THRESHOLD},    {1.7e308, DBL_MAX, 1, GRADCLIP_EXAMPLE_CLIP}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double x[] = {cases[i].x, cases[i].x}, sum[2], factor;
        gradclip_tensor g = tensor_of(x, 2, GRADCLIP_F64), t = tensor_of(sum, 2, GRADCLIP_F64);
        gradclip_per_example_result r = {.struct_size = sizeof r};
        gradclip_options options = no_eps();
        options.grad_scale = cases[i].scale;
        CHECK_STATUS(gradclip_clip_per_example(&g, &t, 1, 1, &cases[i].max_norm, 1, cases[i].rule, &options, &r, NULL, &factor), GRADCLIP_OK);
        long double norm = sqrtl(2) * sum[0];
        CHECK(norm <= cases[i].max_norm, "case %zu: factor %a, a contribution of %La", i, factor, norm);
        if (cases[i].rule == GRADCLIP_EXAMPLE_THRESHOLD) CHECK(factor == 0, "%a", factor);
        else if (cases[i].x > 1) CHECK(norm > cases[i].max_norm * (1 - 1e-14L), "case %zu: less than it could be: %La", i, norm);
        else CHECK(norm > cases[i].max_norm / 2, "case %zu: less than half: %La", i, norm);
    }
}

/* The same bits for any number of threads, and against plain sums of doubles. */
static void threads_and_plain_sums(void)
{
    static const uint32_t dtypes[] = {GRADCLIP_F32, GRADCLIP_F64, GRADCLIP_BF16};
    enum { B = 33, N = 30011 };
    for (int k = 0; k < 3; k++) {
        size_t size = k == 1 ? 8 : k == 2 ? 2 : 4;
        unsigned char *data = malloc((size_t)B * N * size);
        double *x = malloc((size_t)B * N * 8), *sums[2], factors[2][B], one = 1;
        gradclip_per_example_result r[2];
        for (size_t i = 0; i < (size_t)B * N; i++) {
            float f = (float)((double)(below(2000001)) - 1e6) * (i % 7 ? 1e-9f : 1e-3f);
            uint32_t bits;
            memcpy(&bits, &f, 4);
            if (k == 2) bits &= 0xffff0000, memcpy(&f, &bits, 4);
            x[i] = f;
            if (k == 0) memcpy(data + i * 4, &f, 4);
            if (k == 1) memcpy(data + i * 8, &x[i], 8);
            if (k == 2) memcpy(data + i * 2, (unsigned char *)&bits + 2, 2);
        }
        gradclip_tensor grads = tensor_of(data, (size_t)B * N, dtypes[k]);
        for (int pass = 0; pass < 2; pass++) {
            gradclip_options options = no_eps();
            options.num_threads = pass ? 5 : 1;
            sums[pass] = malloc(N * 8);
            gradclip_tensor t = tensor_of(sums[pass], N, GRADCLIP_F64);
            r[pass] = (gradclip_per_example_result){.struct_size = sizeof r[pass]};
            CHECK_STATUS(gradclip_clip_per_example(&grads, &t, 1, B, &one, 1, GRADCLIP_EXAMPLE_CLIP, &options, &r[pass], NULL, factors[pass]), GRADCLIP_OK);
        }
        CHECK(same_bits(sums[0], sums[1], N * 8) && same_bits(factors[0], factors[1], sizeof factors[0]), "dtype %d", k);
        CHECK(same_bits(&r[0], &r[1], sizeof r[0]), "results");
        for (int j = 0; j < N; j++) {
            long double s = 0, m = 0;
            for (int i = 0; i < B; i++) {
                long double p = (long double)x[(size_t)i * N + j] * factors[0][i];
                s += p, m += fabsl(p);
            }
            CHECK(fabsl(sums[0][j] - s) <= m * B * DBL_EPSILON, "element %d: %a, %La", j, sums[0][j], s);
        }
        free(data), free(x), free(sums[0]), free(sums[1]);
    }
}

static void adapted(void)
{
    double c = -1;
    CHECK_STATUS(gradclip_adapt_max_norm(2, 50, 100, 0.5, 0.2, &c), GRADCLIP_OK);
    CHECK_NUMBER(c, 2);
    CHECK_STATUS(gradclip_adapt_max_norm(0, 50, 100, 0.7, 0.2, &c), GRADCLIP_OK);
    CHECK_NUMBER(c, 0);
    for (int i = -200; i <= 300; i++) /* noisy counts may be anything */
        for (int k = 0; k < 4; k++) {
            static const double rates[] = {0.2, 1e-9, 3.7, 100};
            double power = rates[k] * (0.4 - i / 128.), expected = 1.5 * exp(power);
            CHECK_STATUS(gradclip_adapt_max_norm(1.5, i, 128, 0.4, rates[k], &c), GRADCLIP_OK);
            CHECK(fabs(c / expected - 1) < 5e-16 * (1 + fabs(power)), "%a, expected %a", c, expected);
        }
    CHECK_STATUS(gradclip_adapt_max_norm(1, 1e9, 1, 0, 1e9, &c), GRADCLIP_OK);
    CHECK_NUMBER(c, 0);
    CHECK_STATUS(gradclip_adapt_max_norm(1, -1e9, 1, 0, 1e9, &c), GRADCLIP_OK);
    CHECK_NUMBER(c, INFINITY);
}

static void refused(void)
{
    float x[] = {3, 4}, s[] = {7, 7};
    double one[] = {1, 1, 1}, bad[] = {-1, NAN, INFINITY, 0x1p-1030}, c = 7;
    gradclip_tensor g = tensor_of(x, 2, GRADCLIP_F32), t = tensor_of(s, 1, GRADCLIP_F32), half = t, two = tensor_of(s, 2, GRADCLIP_F32);
    gradclip_tensor gpu = t;
    gradclip_per_example_result r = {.struct_size = sizeof r}, unset = {0};
    half.dtype = GRADCLIP_F16;
    gpu.device_type = 2;
#define REFUSED(call, text)                                                                       \
    do {                                                                                          \
        CHECK((call) < 0, "accepted");                                                            \
        CHECK(strcmp(gradclip_last_error(), text) == 0, "\"%s\"", gradclip_last_error());         \
        CHECK(s[0] == 7 && s[1] == 7 && c == 7, "nothing is written");                            \
    } while (0)
#define CALL(grads, sums, examples, norms, count, rule, result) \
    gradclip_clip_per_example(grads, sums, 1, examples, norms, count, rule, NULL, result, NULL, NULL)
    REFUSED(CALL(&g, &t, SIZE_MAX, one, 1, 0, &r), "examples is more than memory can hold (got 18446744073709551615)");
    REFUSED(CALL(&g, &t, 0, one, 1, 0, &r), "grads[0].length must be a multiple of examples (got 2)");
    REFUSED(CALL(&g, &t, 3, one, 1, 0, &r), "grads[0].length must be a multiple of examples (got 2)");
    REFUSED(CALL(&g, &two, 2, one, 1, 0, &r), "sums[0].length must be that of one example (got 2)");
    REFUSED(CALL(&g, &half, 2, one, 1, 0, &r), "sums[0].dtype must be GRADCLIP_F32 or F64 (got 3)");
    REFUSED(CALL(&g, &gpu, 2, one, 1, 0, &r), "sums[0].device_type must be 0 or 1 (CPU memory) (got 2)");
    REFUSED(CALL(&g, &t, 2, one, 3, 0, &r), "max_norm_count must be 1 or count (got 3)");
    REFUSED(CALL(&g, &t, 2, NULL, 1, 0, &r), "max_norms must not be NULL (got NULL)");
    REFUSED(CALL(&g, &t, 2, bad, 1, 0, &r), "max_norms[0] must be finite and >= 0 (got -1)");
    REFUSED(CALL(&g, &t, 2, bad + 1, 1, 0, &r), "max_norms[0] must be finite and >= 0 (got nan)");
    REFUSED(CALL(&g, &t, 2, bad + 2, 1, 0, &r), "max_norms[0] must be finite and >= 0 (got inf)");
    CHECK(CALL(&g, &t, 2, bad + 3, 1, 0, &r) == GRADCLIP_ERROR_INVALID_ARGUMENT, "subnormal");
    CHECK(strstr(gradclip_last_error(), "max_norms[0] must be 0 or at least DBL_MIN") == gradclip_last_error(), "%s", gradclip_last_error());
    REFUSED(CALL(&g, &t, 2, one, 1, 3, &r), "rule must be a GRADCLIP_EXAMPLE_ rule (got 3)");
    REFUSED(CALL(&g, &t, 2, one, 1, 0, NULL), "result must not be NULL (got NULL)");
    REFUSED(CALL(&g, &t, 2, one, 1, 0, &unset), "result.struct_size must be between 8 and 4096: initialise the struct (got 0)");
    REFUSED(gradclip_adapt_max_norm(-1, 1, 1, 0.5, 1, &c), "max_norm must be finite and >= 0 (got -1)");
    REFUSED(gradclip_adapt_max_norm(1, NAN, 1, 0.5, 1, &c), "unclipped must be finite (got nan)");
    REFUSED(gradclip_adapt_max_norm(1, 1, 0, 0.5, 1, &c), "examples must be finite and > 0 (got 0)");
    REFUSED(gradclip_adapt_max_norm(1, 1, 1, 1.5, 1, &c), "quantile must be between 0 and 1 (got 1.5)");
    REFUSED(gradclip_adapt_max_norm(1, 1, 1, 0.5, -2, &c), "rate must be finite and >= 0 (got -2)");
    /* A shorter struct, an older program's, is filled as far as it goes. */
    r.rounding_bound = -5;
    r.struct_size = offsetof(gradclip_per_example_result, rounding_bound);
    CHECK_STATUS(CALL(&g, &t, 2, one, 1, 0, &r), GRADCLIP_OK);
    CHECK(r.rounding_bound == -5 && r.sensitivity == 1, "%g", r.rounding_bound);
}

/* Poisson sampling draws empty batches: sums of zeros, and no privacy is lost. */
static void no_examples(void)
{
    float s[] = {7, 7, 7};
    double d[] = {7}, one[] = {1, 1}, norms[] = {7}, factors[] = {7};
    gradclip_tensor grads[] = {{NULL, 0, GRADCLIP_F32, 0, 0, 0}, {NULL, 0, GRADCLIP_BF16, 0, 0, 0}};
    gradclip_tensor sums[] = {{s, 3, GRADCLIP_F32, 0, 0, 0}, {d, 1, GRADCLIP_F64, 0, 0, 0}};
    for (size_t layers = 1; layers <= 2; layers++) {
        gradclip_per_example_result r = {sizeof r, 9, 9, 9, 9, 9};
        memset(s, 0x77, sizeof s), memset(d, 0x77, sizeof d);
        CHECK_STATUS(gradclip_clip_per_example(grads, sums, 2, 0, one, layers, 0, NULL, &r, norms, factors), GRADCLIP_OK);
        CHECK(s[0] == 0 && s[1] == 0 && s[2] == 0 && d[0] == 0, "%g %g %g %g", s[0], s[1], s[2], d[0]);
        CHECK(r.clipped == 0 && r.nonfinite == 0 && r.first_nonfinite == GRADCLIP_NONE, "%llu", (unsigned long long)r.nonfinite);
        CHECK(r.sensitivity >= 1 && r.rounding_bound >= 0 && r.rounding_bound < 1e-40, "%g, %g", r.sensitivity, r.rounding_bound);
        CHECK(norms[0] == 7 && factors[0] == 7, "no norms of no examples");
    }
    gradclip_per_example_result r = {sizeof r, 9, 9, 9, 9, 9};
    CHECK_STATUS(gradclip_clip_per_example(grads, NULL, 2, 0, one, 1, 0, NULL, &r, NULL, NULL), GRADCLIP_OK);
    CHECK_STATUS(gradclip_clip_per_example(NULL, NULL, 0, 0, one, 1, 0, NULL, &r, NULL, NULL), GRADCLIP_OK);
}

int main(void)
{
    printf("seed %llu; ", (unsigned long long)RANDOM_SEED);
    by_hand();
    dropped();
    norms_at_the_ends();
    threads_and_plain_sums();
    adapted();
    no_examples();
    refused();
    return checks_summary("per_example");
}
