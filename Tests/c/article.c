/*
 * article.c - the numbers of the well-known walk-through of clip_grad_norm_
 *
 * z = sum x^2 + sum y^3 at x = [99, 108], y = [45, 75] has the gradients
 * [198, 216] and [6075, 16875]. They are clipped to max_norm 100 in the 1-, 2-
 * and infinity-norm, in float32 and float64, in place, out of place, in separate
 * steps and through tensor lists. Every check that fails is printed; the last
 * line counts them, and the exit status is 1 if there was one.
 *
 *     cc -std=c11 -Iinclude Tests/c/article.c -Lbuild/lib -lgradclip -lm -o article
 */
#include <float.h>
#include <gradclip.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int passed, failed;

static void check(int good, const char *format, ...)
{
    va_list arguments;
    if (good) {
        passed++;
        return;
    }
    failed++;
    va_start(arguments, format);
    printf("FAILED: ");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

static void check_status(const char *what, gradclip_status got, gradclip_status expected)
{
    check(got == expected, "%s: status %d (%s; %s), expected %d", what, (int)got, gradclip_status_string(got),
          gradclip_last_error(), (int)expected);
}

/* Equal as numbers, to the last bit. */
static void check_equal(const char *what, double got, double expected)
{
    check(got == expected, "%s: %.17g, expected %.17g", what, got, expected);
}

/* Equal but for the rounding of the last place or two: `ulp` is 2^-23 or 2^-52. */
static void check_rounded(const char *what, double got, double expected, double ulp)
{
    check(fabs(got - expected) <= 1.5 * ulp * fabs(expected), "%s: %.17g, expected %.17g", what, got, expected);
}

/* Equal to the digits that the article prints. */
static void check_printed(const char *what, double got, const char *expected)
{
    char text[64];
    snprintf(text, sizeof text, "%.4f", got);
    check(strcmp(text, expected) == 0, "%s: prints as %s, the article has %s", what, text, expected);
}

/* ----------------------------------------------------- the article's function -- */

/* sign is 1 in the article; -1 turns the largest element of the gradient, which
 * is that of y[1], negative and leaves the others alone. */
static double article_function(const double *x, const double *y, double sign)
{
    return x[0] * x[0] + x[1] * x[1] + y[0] * y[0] * y[0] + sign * y[1] * y[1] * y[1];
}

static void article_gradient(const double *x, const double *y, double sign, double *x_grad, double *y_grad)
{
    for (int i = 0; i < 2; i++) x_grad[i] = 2 * x[i];
    y_grad[0] = 3 * y[0] * y[0];
    y_grad[1] = sign * 3 * y[1] * y[1];
}

static const double X[2] = {99, 108}, Y[2] = {45, 75};

/* The gradient is that of the function: the difference quotient over +-1/16 of a
 * square is 2x, and of a cube 3y^2 + 1/256, without any rounding. */
static void test_gradient(double sign)
{
    const double h = 0.0625;
    double x_grad[2], y_grad[2];
    article_gradient(X, Y, sign, x_grad, y_grad);
    for (int i = 0; i < 4; i++) {
        double up[4] = {X[0], X[1], Y[0], Y[1]}, down[4] = {X[0], X[1], Y[0], Y[1]};
        up[i] += h;
        down[i] -= h;
        double quotient = (article_function(up, up + 2, sign) - article_function(down, down + 2, sign)) / (2 * h);
        double error = i < 2 ? 0 : i == 2 ? h * h : sign * h * h;
        check_equal("difference quotient", i < 2 ? x_grad[i] : y_grad[i - 2], quotient - error);
    }
    check_equal("gradient of x[0]", x_grad[0], 198);
    check_equal("gradient of x[1]", x_grad[1], 216);
    check_equal("gradient of y[0]", y_grad[0], 6075);
    check_equal("gradient of y[1]", y_grad[1], sign * 16875);
}

/* ------------------------------------------------------------- the walk-through -- */

typedef struct walk {
    const char *name;
    double norm_type, sign;
    double norms[2], total_norm;  /* of x's gradient and of y's; of both */
    const char *printed[4];       /* clipped to 100, as the article prints it */
} walk;

/* The norms are integers, or their square roots, correctly rounded: of 85860,
 * 321671250 and 321757110. */
static const walk walks[] = {
    {"p = 2", 2, 1, {293.0187707297947, 17935.19584504167}, 17937.589302913588,
     {"1.1038", "1.2042", "33.8674", "94.0762"}},
    {"p = 1", 1, 1, {414, 22950}, 23364, {"0.8475", "0.9245", "26.0015", "72.2265"}},
    {"p = inf", INFINITY, 1, {216, 16875}, 16875, {"1.1733", "1.2800", "36.0000", "100.0000"}},
    {"p = 2, a negative gradient", 2, -1, {293.0187707297947, 17935.19584504167}, 17937.589302913588,
     {"1.1038", "1.2042", "33.8674", "-94.0762"}},
    {"p = 1, a negative gradient", 1, -1, {414, 22950}, 23364, {"0.8475", "0.9245", "26.0015", "-72.2265"}},
    {"p = inf, the largest is negative", INFINITY, -1, {216, 16875}, 16875,
     {"1.1733", "1.2800", "36.0000", "-100.0000"}},
};

/* One set of gradients, in both types at once: [0, 1] is x's, [2, 3] is y's. */
typedef struct gradients { float f32[4]; double f64[4]; } gradients;

static gradients article_gradients(double sign)
{
    gradients g;
    article_gradient(X, Y, sign, g.f64, g.f64 + 2);
    for (int i = 0; i < 4; i++) g.f32[i] = (float)g.f64[i];
    return g;
}

static const size_t LENGTHS[2] = {2, 2};

enum { IN_PLACE, OUT_OF_PLACE, SEPARATE_STEPS, TENSOR_LIST, WAYS };
static const char *const WAY_NAMES[WAYS] = {"in place", "out of place", "in separate steps", "as a tensor list"};

/* Clip *from into *to in one of four ways; result->tensor_norms is set by the caller. */
static gradclip_status clip(int way, int f64, gradients *from, gradients *to, double max_norm, double norm_type,
                            const gradclip_options *options, gradclip_result *result)
{
    gradients *source = way == OUT_OF_PLACE ? from : to;
    float *in32[] = {source->f32, source->f32 + 2}, *out32[] = {to->f32, to->f32 + 2};
    double *in64[] = {source->f64, source->f64 + 2}, *out64[] = {to->f64, to->f64 + 2};
    if (way != OUT_OF_PLACE) *to = *from;
    switch (way) {
    case IN_PLACE:
        return f64 ? gradclip_clip_grad_norm_f64(in64, LENGTHS, 2, max_norm, norm_type, options, result)
                   : gradclip_clip_grad_norm_f32(in32, LENGTHS, 2, max_norm, norm_type, options, result);
    case OUT_OF_PLACE:
        return f64 ? gradclip_clip_grad_norm_to_f64(in64, out64, LENGTHS, 2, max_norm, norm_type, options, result)
                   : gradclip_clip_grad_norm_to_f32(in32, out32, LENGTHS, 2, max_norm, norm_type, options, result);
    case SEPARATE_STEPS: {
        gradclip_result scaled;
        gradclip_result_init(&scaled, sizeof scaled);
        gradclip_status status = f64 ? gradclip_get_total_norm_f64(in64, LENGTHS, 2, norm_type, options, result)
                                     : gradclip_get_total_norm_f32(in32, LENGTHS, 2, norm_type, options, result);
        if (status != GRADCLIP_OK) return status;
        double norm = result->total_norm;
        status = f64 ? gradclip_clip_grads_with_norm_f64(in64, LENGTHS, 2, max_norm, norm, options, &scaled)
                     : gradclip_clip_grads_with_norm_f32(in32, LENGTHS, 2, max_norm, norm, options, &scaled);
        result->clip_coef = scaled.clip_coef;
        result->factor = scaled.factor;
        return status;
    }
    default: /* TENSOR_LIST */
        break;
    }
    gradclip_tensor list[2];
    memset(list, 0, sizeof list);
    for (int i = 0; i < 2; i++) {
        list[i].data = f64 ? (void *)in64[i] : (void *)in32[i];
        list[i].length = LENGTHS[i];
        list[i].dtype = f64 ? GRADCLIP_F64 : GRADCLIP_F32;
    }
    return gradclip_clip_grad_norm(list, 2, max_norm, norm_type, options, result);
}

static void test_walk(const walk *w, int f64, int way, double eps)
{
    char name[160];
    snprintf(name, sizeof name, "%s, %s, %s, eps %g", w->name, f64 ? "float64" : "float32", WAY_NAMES[way], eps);
    gradients from = article_gradients(w->sign), before = from, to = {{0}, {0}};
    gradclip_options options;
    gradclip_result result;
    double norms[2] = {-1, -1};
    check_status("options_init", gradclip_options_init(&options, sizeof options), GRADCLIP_OK);
    check_status("result_init", gradclip_result_init(&result, sizeof result), GRADCLIP_OK);
    check_equal("the default eps", options.eps, 1e-6);
    options.eps = eps;
    result.tensor_norms = norms;

    check_status(name, clip(way, f64, &from, &to, 100, w->norm_type, &options, &result), GRADCLIP_OK);
    check(memcmp(&from, &before, sizeof from) == 0, "%s: the source was written", name);
    check_equal(name, result.total_norm, w->total_norm);
    check_equal(name, norms[0], w->norms[0]);
    check_equal(name, norms[1], w->norms[1]);
    double clip_coef = 100 / (w->total_norm + eps);
    check_rounded(name, result.clip_coef, clip_coef, DBL_EPSILON);
    check_equal(name, result.factor, result.clip_coef);
    check_equal(name, (double)result.nonfinite_count, 0);
    check(result.first_tensor == GRADCLIP_NONE && result.first_element == GRADCLIP_NONE,
          "%s: first non-finite element [%llu][%llu], expected none", name, (unsigned long long)result.first_tensor,
          (unsigned long long)result.first_element);
    for (int i = 0; i < 4; i++) {
        double got = f64 ? to.f64[i] : (double)to.f32[i];
        check_printed(name, got, w->printed[i]);
        check_rounded(name, got, before.f64[i] * clip_coef, f64 ? DBL_EPSILON : FLT_EPSILON);
    }
}

/* max_norm at or above the norm: the gradients stay as they are, to the bit; out
 * of place they are copied. With eps = 0 that includes max_norm == total_norm. */
static void test_above(const walk *w, int f64, int way)
{
    const double max_norms[] = {w->total_norm, w->total_norm + 1, 1e9, INFINITY};
    for (int i = 0; i < 4; i++) {
        char name[160];
        snprintf(name, sizeof name, "%s, %s, %s, max_norm %.17g", w->name, f64 ? "float64" : "float32",
                 WAY_NAMES[way], max_norms[i]);
        gradients from = article_gradients(w->sign), before = from, to = {{0}, {0}};
        gradclip_options options;
        gradclip_result result;
        gradclip_options_init(&options, sizeof options);
        gradclip_result_init(&result, sizeof result);
        options.eps = i == 0 ? 0 : 1e-6;
        check_status(name, clip(way, f64, &from, &to, max_norms[i], w->norm_type, &options, &result), GRADCLIP_OK);
        check_equal(name, result.total_norm, w->total_norm);
        check_equal(name, result.clip_coef, 1);
        check(f64 ? memcmp(to.f64, before.f64, sizeof to.f64) == 0 : memcmp(to.f32, before.f32, sizeof to.f32) == 0,
              "%s: the gradients are not what they were", name);
        check(memcmp(&from, &before, sizeof from) == 0, "%s: the source was written", name);
    }
}

/* x's gradient in float32 and y's in float64, in one list: the same numbers. */
static void test_mixed(const walk *w)
{
    gradients g = article_gradients(w->sign);
    gradclip_tensor list[2];
    gradclip_result result;
    memset(list, 0, sizeof list);
    list[0].data = g.f32;
    list[0].dtype = GRADCLIP_F32;
    list[1].data = g.f64 + 2;
    list[1].dtype = GRADCLIP_F64;
    list[0].length = list[1].length = 2;
    gradclip_result_init(&result, sizeof result);
    check_status("mixed list", gradclip_clip_grad_norm(list, 2, 100, w->norm_type, NULL, &result), GRADCLIP_OK);
    check_equal("mixed list", result.total_norm, w->total_norm);
    for (int i = 0; i < 4; i++) check_printed("mixed list", i < 2 ? (double)g.f32[i] : g.f64[i], w->printed[i]);
}

/* The coefficient on its own, for those who multiply later. */
static void test_coefficient(const walk *w)
{
    double clip_coef = -1;
    gradclip_options options;
    check_status("clip_coef", gradclip_clip_coef(100, w->total_norm, NULL, &clip_coef), GRADCLIP_OK);
    check_rounded("clip_coef", clip_coef, 100 / (w->total_norm + 1e-6), DBL_EPSILON);
    gradclip_options_init(&options, sizeof options);
    options.eps = 0;
    check_status("clip_coef", gradclip_clip_coef(100, w->total_norm, &options, &clip_coef), GRADCLIP_OK);
    check_rounded("clip_coef, eps 0", clip_coef, 100 / w->total_norm, DBL_EPSILON);
    check_status("clip_coef", gradclip_clip_coef(w->total_norm, 100, NULL, &clip_coef), GRADCLIP_OK);
    check_equal("clip_coef of a norm below max_norm", clip_coef, 1);
}

/*
 * The article prints a total norm of 17937.5879, which is not the norm: torch
 * rounds the norm of each tensor to float32, squares and adds those in float32,
 * and lands one float32 below the true norm. Repeated here step by step (volatile,
 * so that every step is rounded), and compared with what the library says.
 */
static void test_printed_norm(void)
{
    gradients g = article_gradients(1);
    float *grads[] = {g.f32, g.f32 + 2};
    volatile float norms[2], sum = 0, torch;
    char text[64];
    for (int i = 0; i < 2; i++) {
        volatile float squares = grads[i][0] * grads[i][0];
        squares = squares + grads[i][1] * grads[i][1];
        norms[i] = sqrtf(squares);
    }
    for (int i = 0; i < 2; i++) {
        volatile float square = norms[i] * norms[i];
        sum = sum + square;
    }
    torch = sqrtf(sum);
    snprintf(text, sizeof text, "%.4f", (double)torch);
    check(strcmp(text, "17937.5879") == 0, "the article's float32 arithmetic gives %s, it prints 17937.5879", text);

    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    check_status("total norm", gradclip_get_total_norm_f32(grads, LENGTHS, 2, 2, NULL, &result), GRADCLIP_OK);
    check_equal("the norm as a float32", (double)(float)result.total_norm, 17937.58984375);
    check_equal("one float32 above the article's", (double)nextafterf(torch, INFINITY), 17937.58984375);
}

int main(void)
{
    test_gradient(1);
    test_gradient(-1);
    for (size_t i = 0; i < sizeof walks / sizeof *walks; i++) {
        for (int f64 = 0; f64 <= 1; f64++) {
            for (int way = 0; way < WAYS; way++) {
                test_walk(&walks[i], f64, way, 1e-6);
                test_walk(&walks[i], f64, way, 0);
                test_above(&walks[i], f64, way);
            }
        }
        test_mixed(&walks[i]);
        test_coefficient(&walks[i]);
    }
    test_printed_norm();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
