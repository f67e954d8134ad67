/* gradclip_accumulator_add_difference(): the norm of x - y has the bits of that of an array of the
 * differences, whatever their types, lengths and places. */
#include "check.h"
#include "random.h"

#include <math.h>
#include <stdlib.h>

enum { MOST = 1 << 20 };
static unsigned char *xs, *ys;
static double *differences;

/* What an element is, in integers and with ldexp() alone. */
static double value_of(const struct element_type *t, const unsigned char *at)
{
    uint64_t bits = 0;
    memcpy(&bits, at, t->size);
    const uint64_t top = all_ones(t->exponent_bits), exponent = bits >> t->mantissa_bits & top;
    const uint64_t mantissa = bits & all_ones(t->mantissa_bits);
    const int bias = (1 << (t->exponent_bits - 1)) - 1, lowest = 1 - bias - (int)t->mantissa_bits;
    double value = exponent == 0 ? ldexp((double)mantissa, lowest)
                                 : ldexp((double)(mantissa | UINT64_C(1) << t->mantissa_bits), lowest + (int)exponent - 1);
    if (exponent == top) value = mantissa ? NAN : INFINITY;
    return bits >> (t->exponent_bits + t->mantissa_bits) ? -value : value;
}

static gradclip_accumulator *new_accumulator(double p, uint32_t exact, uint32_t threads)
{
    gradclip_options options = default_options();
    gradclip_accumulator *made = NULL;
    options.exact_f64 = exact, options.num_threads = threads;
    CHECK_STATUS(gradclip_accumulator_create(p, &options, &made), GRADCLIP_OK);
    if (!made) exit(2);
    return made;
}

static gradclip_result finished(gradclip_accumulator *a)
{
    gradclip_result r = new_result();
    CHECK(gradclip_accumulator_finish(a, INFINITY, &r) >= 0, "%s", gradclip_last_error());
    return r;
}

/* As a list of pieces of these lengths. */
static void compare(const struct element_type *s, const struct element_type *t, size_t n, size_t shift, double p, uint32_t threads)
{
    unsigned char *x = xs + shift, *y = ys + shift;
    const size_t cut = n / 3;
    gradclip_tensor from[] = {tensor_of(x, cut, s->dtype), tensor_of(NULL, 0, s->dtype), tensor_of(x + cut * s->size, n - cut, s->dtype)};
    gradclip_tensor minus[] = {tensor_of(y, cut, t->dtype), tensor_of(NULL, 0, t->dtype), tensor_of(y + cut * t->size, n - cut, t->dtype)};
    gradclip_tensor whole[] = {tensor_of(differences, cut, GRADCLIP_F64), tensor_of(NULL, 0, GRADCLIP_F64), tensor_of(differences + cut, n - cut, GRADCLIP_F64)};
    for (uint32_t exact = 0; exact <= 1; exact++) {
        gradclip_accumulator *a = new_accumulator(p, exact, threads), *b = new_accumulator(p, exact, 1);
        CHECK_STATUS(gradclip_accumulator_add_difference(a, from, minus, 3), GRADCLIP_OK);
        CHECK_STATUS(gradclip_accumulator_add(b, whole, 3), GRADCLIP_OK);
        gradclip_result got = finished(a), wanted = finished(b);
        const int has_bits = exact || isinf(p) || p == 0; /* sums that are rounded are cut at other places */
        if (has_bits || isnan(wanted.total_norm)) CHECK_NUMBER(got.total_norm, wanted.total_norm);
        else CHECK(fabs(got.total_norm / wanted.total_norm - 1) < 1e-15 || got.total_norm == wanted.total_norm,
                   "%a, not %a (%s - %s, %zu, p %g)", got.total_norm, wanted.total_norm, s->name, t->name, n, p);
        CHECK(got.nonfinite_count == wanted.nonfinite_count && got.nan_count == wanted.nan_count, "%llu not finite",
              (unsigned long long)got.nonfinite_count);
        CHECK(got.first_tensor == wanted.first_tensor && got.first_element == wanted.first_element, "the first is another");
        gradclip_accumulator_free(a);
        gradclip_accumulator_free(b);
    }
}

/* Elements of any kind, or of one magnitude; some of them not finite. */
static void fill(const struct element_type *s, const struct element_type *t, size_t n, size_t shift, int kind)
{
    const unsigned high_s = (1u << s->exponent_bits) - 1, high_t = (1u << t->exponent_bits) - 1;
    if (kind == 0) fill_random(xs + shift, n, s, high_s / 2 - 3, 4), fill_random(ys + shift, n, t, high_t / 2 - 3, 4);
    else fill_random(xs + shift, n, s, 0, high_s), fill_random(ys + shift, n, t, 0, high_t);
    if (kind == 2 && n > 4) {
        set_bits(xs + shift, n / 2, s, infinity_bits(s)), set_bits(ys + shift, n / 2, t, infinity_bits(t)); /* NaN */
        set_bits(ys + shift, n - 1, t, infinity_bits(t));
        set_bits(xs + shift, n / 3, s, infinity_bits(s) | 1);
    }
    for (size_t i = 0; i < n; i++)
        differences[i] = value_of(s, xs + shift + i * s->size) - value_of(t, ys + shift + i * t->size);
}

static void every_type_and_length(void)
{
    static const size_t lengths[] = {0, 1, 2, 15, 16, 17, 100, 1023, 1024, 1025, 3071, 4096, 4097, 9000};
    static const double orders[] = {2, 1, INFINITY, -INFINITY, 0, 3, 2.7};
    for (int s = 0; s < ELEMENT_TYPES; s++)
        for (int t = 0; t < ELEMENT_TYPES; t++)
            for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
                for (int kind = 0; kind < 3; kind++) {
                    const size_t shift = (l + (size_t)kind) % 4; /* at any address */
                    fill(element_types + s, element_types + t, lengths[l], shift, kind);
                    for (size_t p = 0; p < sizeof orders / sizeof *orders; p++) {
                        /* (2.7 of float64 that spans 2000 binary orders of magnitude is the same rule, and slow.) */
                        if (lengths[l] > 1025 && orders[p] == 2.7) continue;
                        compare(element_types + s, element_types + t, lengths[l], shift, orders[p], 1);
                    }
                }
}

static void on_all_threads(void)
{
    for (int t = 0; t < ELEMENT_TYPES; t++)
        for (int kind = 0; kind < 3; kind += 2) {
            fill(element_types, element_types + t, MOST, 0, kind);
            compare(element_types, element_types + t, MOST, 0, 2, 4);
            compare(element_types, element_types + t, MOST, 0, 0, 4); /* a norm of each */
        }
    fill(element_types + 1, element_types + 1, MOST, 0, 0); /* beyond 8 MiB */
    for (uint32_t threads = 1; threads <= 4; threads += 3) {
        compare(element_types + 1, element_types + 1, MOST, 0, 2, threads);
        compare(element_types + 1, element_types + 1, MOST, 0, 0, threads);
    }
}

static void what_float64_cannot_hold(void)
{
    float x[] = {0x1p60f, 3.0f}, y[] = {1.0f, -1.0f};
    double big[] = {0x1.8p1023}, small[] = {-0x1.8p1023};
    gradclip_tensor a = tensor_of(x, 2, GRADCLIP_F32), b = tensor_of(y, 2, GRADCLIP_F32);
    gradclip_tensor p = tensor_of(big, 1, GRADCLIP_F64), q = tensor_of(small, 1, GRADCLIP_F64);
    gradclip_accumulator *sum = new_accumulator(1, 1, 1);
    CHECK_STATUS(gradclip_accumulator_add_difference(sum, &a, &b, 1), GRADCLIP_OK);
    CHECK_NUMBER(finished(sum).total_norm, 0x1p60 + 0); /* 2^60 - 1 is rounded to 2^60, and 4 more are not seen */
    CHECK_STATUS(gradclip_accumulator_add_difference(sum, &p, &q, 1), GRADCLIP_OK);
    gradclip_result r = finished(sum);
    CHECK(r.nonfinite_count == 1 && r.nan_count == 0 && r.first_tensor == 1, "the difference beyond DBL_MAX is infinite");
    gradclip_accumulator_free(sum);
}

static void a_pair_is_left_out(void)
{
    float x[] = {4, 5}, y[] = {1, 1};
    gradclip_tensor from[] = {tensor_of(x, 1, GRADCLIP_F32), tensor_of(x + 1, 1, GRADCLIP_F32)};
    gradclip_tensor minus[] = {tensor_of(y, 1, GRADCLIP_F32), tensor_of(y + 1, 1, GRADCLIP_F32)};
    gradclip_accumulator *a = new_accumulator(2, 0, 1);
    from[1].flags = GRADCLIP_UNCOUNTED;
    CHECK_STATUS(gradclip_accumulator_add_difference(a, from, minus, 2), GRADCLIP_OK);
    CHECK_NUMBER(finished(a).total_norm, 3);
    CHECK(x[0] == 4 && x[1] == 5 && y[0] == 1 && y[1] == 1, "something was written");
    CHECK_STATUS(gradclip_accumulator_add_difference(a, NULL, NULL, 0), GRADCLIP_OK);
    gradclip_accumulator_free(a);
}

static void what_is_refused(void)
{
    float x[] = {1, 2};
    gradclip_tensor t = tensor_of(x, 2, GRADCLIP_F32), other = t;
    gradclip_accumulator *a = new_accumulator(2, 0, 1);
#define REFUSED(call, message)                                                                                  \
    do {                                                                                                        \
        CHECK_STATUS(call, GRADCLIP_ERROR_INVALID_ARGUMENT);                                                    \
        CHECK(strcmp(gradclip_last_error(), message) == 0, "the message is \"%s\"", gradclip_last_error());     \
        CHECK_NUMBER(finished(a).total_norm, 0);                                                                \
    } while (0)
    REFUSED(gradclip_accumulator_add_difference(NULL, &t, &t, 1), "accumulator must not be NULL (got NULL)");
    REFUSED(gradclip_accumulator_add_difference(a, NULL, &t, 1), "tensors must not be NULL (got NULL)");
    REFUSED(gradclip_accumulator_add_difference(a, &t, NULL, 1), "minus must not be NULL (got NULL)");
    other.length = 1;
    REFUSED(gradclip_accumulator_add_difference(a, &t, &other, 1), "minus[0].length must be that of the tensor (got 1)");
    other = t, other.flags = GRADCLIP_UNCOUNTED;
    REFUSED(gradclip_accumulator_add_difference(a, &t, &other, 1), "minus[0].flags must be 0 (got 1)");
    other = t, other.dtype = 9;
    REFUSED(gradclip_accumulator_add_difference(a, &t, &other, 1), "minus[0].dtype must be GRADCLIP_F32, F64, F16 or BF16 (got 9)");
    other = t, other.data = NULL;
    REFUSED(gradclip_accumulator_add_difference(a, &t, &other, 1), "minus[0].data must not be NULL where the length is not 0 (got NULL)");
    gradclip_accumulator_free(a);
}

int main(void)
{
    printf("differences: random numbers from %llu\n", (unsigned long long)RANDOM_SEED);
    xs = malloc(MOST * 8 + 8), ys = malloc(MOST * 8 + 8), differences = malloc(MOST * 8);
    if (!xs || !ys || !differences) return 2;
    every_type_and_length();
    on_all_threads();
    what_float64_cannot_hold();
    a_pair_is_left_out();
    what_is_refused();
    free(xs), free(ys), free(differences);
    return checks_summary("differences");
}
