/*
 * gradclip_inspect against plain loops over decoded elements: every type, every
 * length around the vectors and the blocks, any address; and every report_size.
 */
#include "check.h"
#include "random.h"

#include <float.h>
#include <math.h>

enum { INVALID = GRADCLIP_ERROR_INVALID_ARGUMENT, LONGEST = 3 * 4096 + 70 };

static unsigned char data[LONGEST * 8 + 64], copy[LONGEST * 8 + 64];

/* The element that these bits stand for. */
static double decode(uint64_t bits, const struct element_type *t)
{
    unsigned field = (unsigned)(bits >> t->mantissa_bits & all_ones(t->exponent_bits));
    int bias = (1 << (t->exponent_bits - 1)) - 1;
    uint64_t mantissa = bits & all_ones(t->mantissa_bits);
    double sign = bits >> (8 * t->size - 1) ? -1 : 1;
    if (field == all_ones(t->exponent_bits)) return mantissa ? (double)NAN : sign * (double)INFINITY;
    if (field) mantissa += UINT64_C(1) << t->mantissa_bits;
    else field = 1;
    return sign * ldexp((double)mantissa, (int)field - bias - (int)t->mantissa_bits);
}

struct reference {
    gradclip_report report; /* all but norm and mean */
    long double sum, sum_of_magnitudes, power_sum;
};

/* (A long double has room for the cube of a float64.) */
static long double power_of(long double x, double p) { return p == 1 ? x : p == 2 ? x * x : x * x * x; }

static struct reference reference(const unsigned char *from, size_t n, const struct element_type *t, double p)
{
    struct reference found;
    memset(&found, 0, sizeof found);
    gradclip_report *r = &found.report;
    double smallest_normal = ldexp(1, 2 - (1 << (t->exponent_bits - 1)));
    r->length = n;
    r->first_nonfinite = GRADCLIP_NONE;
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = 0;
        memcpy(&bits, from + i * t->size, t->size);
        double x = decode(bits, t);
        if (isfinite(x)) {
            r->max_abs = fmax(r->max_abs, fabs(x));
            r->zero_count += x == 0;
            r->subnormal_count += x != 0 && fabs(x) < smallest_normal;
            found.sum += x;
            found.sum_of_magnitudes += fabsl(x);
            found.power_sum += isinf(p) ? 0 : power_of(fabsl(x), p);
            continue;
        }
        r->nan_count += isnan(x);
        r->positive_infinity_count += x == (double)INFINITY;
        r->negative_infinity_count += x == -(double)INFINITY;
        if (r->first_nonfinite == GRADCLIP_NONE) r->first_nonfinite = i;
    }
    return found;
}

static void check_report(const gradclip_report *got, const unsigned char *from, size_t n, const struct element_type *t, double p, double scale)
{
    struct reference expected = reference(from, n, t, p);
    const gradclip_report *want = &expected.report;
    CHECK(got->length == want->length && got->nan_count == want->nan_count && got->positive_infinity_count == want->positive_infinity_count &&
              got->negative_infinity_count == want->negative_infinity_count && got->zero_count == want->zero_count &&
              got->subnormal_count == want->subnormal_count && got->first_nonfinite == want->first_nonfinite,
          "%zu %s: %llu NaN, %llu +inf, %llu -inf, %llu zero, %llu subnormal, first %lld; expected %llu, %llu, %llu, %llu, %llu, %lld", n, t->name,
          (unsigned long long)got->nan_count, (unsigned long long)got->positive_infinity_count, (unsigned long long)got->negative_infinity_count,
          (unsigned long long)got->zero_count, (unsigned long long)got->subnormal_count, (long long)got->first_nonfinite,
          (unsigned long long)want->nan_count, (unsigned long long)want->positive_infinity_count, (unsigned long long)want->negative_infinity_count,
          (unsigned long long)want->zero_count, (unsigned long long)want->subnormal_count, (long long)want->first_nonfinite);
    CHECK_NUMBER(got->max_abs, want->max_abs / scale);
    uint64_t finite = n - want->nan_count - want->positive_infinity_count - want->negative_infinity_count;
    long double mean = 0, slack = 0;
    if (finite) mean = expected.sum / finite / scale, slack = expected.sum_of_magnitudes / finite / scale * 0x1p-50L + 0x1p-1060L;
    CHECK(fabsl(got->mean - mean) <= slack, "%zu %s: mean %a, expected %La", n, t->name, got->mean, mean);
    long double norm = p == 1 ? expected.power_sum : p == 2 ? sqrtl(expected.power_sum) : p == 3 ? cbrtl(expected.power_sum) : want->max_abs;
    norm /= scale;
    /* The reference is off by some 2^-64 for each element. */
    CHECK(norm > DBL_MAX ? got->norm >= DBL_MAX * (1 - 0x1p-50) : fabsl(got->norm - norm) <= norm * (n + 8) * 0x1p-52L + 0x1p-1073L,
          "%zu %s, p %g: norm %a, expected %La", n, t->name, p, got->norm, norm);
}

/* What the norm functions say, with non-finite elements left out, has the same bits. */
static void check_with_total_norm(const gradclip_tensor *list, size_t count, double p, gradclip_options options, const gradclip_report *reports,
                                  const gradclip_result *result)
{
    double norms[8];
    gradclip_result r = new_result();
    options.nonfinite = GRADCLIP_NONFINITE_ZERO;
    r.tensor_norms = norms;
    CHECK_STATUS(gradclip_get_total_norm(list, count, p, &options, &r), GRADCLIP_OK);
    for (size_t i = 0; i < count; i++)
        if (!(list[i].flags & GRADCLIP_UNCOUNTED)) CHECK_NUMBER(reports[i].norm, norms[i]);
    CHECK_NUMBER(result->total_norm, r.total_norm);
    CHECK(r.nonfinite_count == result->nonfinite_count && r.nan_count == result->nan_count && r.first_tensor == result->first_tensor &&
              r.first_element == result->first_element,
          "p %g: %llu not finite, %llu reported", p, (unsigned long long)r.nonfinite_count, (unsigned long long)result->nonfinite_count);
    CHECK_NUMBER(result->clip_coef, 1);
    CHECK_NUMBER(result->factor, 1 / options.grad_scale);
}

enum content { ORDINARY, HOSTILE, NONFINITE, CONTENTS };

static void fill(unsigned char *to, size_t n, const struct element_type *t, enum content content)
{
    unsigned top = (unsigned)all_ones(t->exponent_bits);
    if (content == ORDINARY) fill_random(to, n, t, top / 2 - 3, 6);
    else fill_random(to, n, t, 0, top);
    for (size_t i = 0; i < n; i++) {
        uint64_t sign = (next_random() >> 60 & 1) << (8 * t->size - 1);
        if (below(9) == 0) set_bits(to, i, t, sign);
        if (below(9) == 0) set_bits(to, i, t, sign | (1 + next_random() % all_ones(t->mantissa_bits))); /* subnormal */
        if (content == NONFINITE && below(12) == 0) set_bits(to, i, t, sign | infinity_bits(t) | (below(2) ? 1 + below(100) : 0));
    }
}

static void one(const struct element_type *t, size_t n, size_t offset, double p, double scale, enum content content)
{
    gradclip_report report;
    gradclip_result result = new_result();
    gradclip_options options = default_options();
    options.grad_scale = scale;
    options.nonfinite = (uint32_t)below(3); /* does not matter */
    options.exact_f64 = (uint32_t)below(2);
    fill(data + offset, n, t, content);
    memcpy(copy, data, offset + n * t->size);
    gradclip_tensor list = tensor_of(data + offset, n, t->dtype);
    memset(&report, 0x55, sizeof report);
    CHECK_STATUS(gradclip_inspect(&list, 1, p, &options, &report, sizeof report, &result), GRADCLIP_OK);
    CHECK(same_bits(copy, data, offset + n * t->size), "gradients written");
    check_report(&report, data + offset, n, t, p, scale);
    check_with_total_norm(&list, 1, p, options, &report, &result);
}

static void lengths_and_addresses(void)
{
    static const double some_orders[] = {2, 1, 3, INFINITY}, scales[] = {1, 65536, 3};
    for (size_t type = 0; type < ELEMENT_TYPES; type++)
        for (enum content content = ORDINARY; content < CONTENTS; content++) {
            for (size_t n = 0; n <= 70; n++)
                for (size_t offset = 0; offset < 3; offset++)
                    one(&element_types[type], n, offset, some_orders[n % 4], scales[(n + offset) % 3], content);
            for (size_t blocks = 1; blocks <= 3; blocks++)
                for (size_t n = 4096 * blocks - 17; n <= 4096 * blocks + 18; n++)
                    one(&element_types[type], n, below(16), some_orders[below(4)], scales[below(3)], content);
        }
}

/* Lists of all types, some uncounted, and orders that the reference does not know. */
static void lists_and_other_orders(void)
{
    static const double other_orders[] = {0, 0.5, 2.7, 100, -1, -INFINITY, 4, 2};
    for (size_t i = 0; i < sizeof other_orders / sizeof *other_orders; i++)
        for (int round = 0; round < 20; round++) {
            gradclip_tensor list[ELEMENT_TYPES];
            gradclip_report reports[ELEMENT_TYPES];
            gradclip_result result = new_result();
            gradclip_options options = default_options();
            size_t at = 0;
            options.exact_f64 = (uint32_t)below(2);
            options.grad_scale = below(2) ? 1 : 0.25;
            for (size_t k = 0; k < ELEMENT_TYPES; k++) {
                size_t n = below(3) ? below(900) : 0;
                fill(data + at, n, &element_types[k], (enum content)below(CONTENTS));
                list[k] = tensor_of(data + at, n, element_types[k].dtype);
                if (below(4) == 0) list[k].flags = GRADCLIP_UNCOUNTED;
                at += n * 8;
            }
            CHECK_STATUS(gradclip_inspect(list, ELEMENT_TYPES, other_orders[i], &options, reports, sizeof *reports, &result), GRADCLIP_OK);
            check_with_total_norm(list, ELEMENT_TYPES, other_orders[i], options, reports, &result);
        }
}

static void uncounted_and_nothing(void)
{
    double a[] = {3, NAN}, b[] = {-INFINITY, 4, INFINITY, -0.0};
    gradclip_tensor list[2] = {tensor_of(a, 2, GRADCLIP_F64), tensor_of(b, 4, GRADCLIP_F64)};
    gradclip_report reports[2];
    gradclip_result r = new_result();
    list[0].flags = GRADCLIP_UNCOUNTED;
    CHECK_STATUS(gradclip_inspect(list, 2, 2, NULL, reports, sizeof *reports, &r), GRADCLIP_OK);
    CHECK(reports[0].norm == 3 && reports[0].mean == 3 && reports[0].nan_count == 1 && reports[0].first_nonfinite == 1, "the uncounted one is reported");
    CHECK(reports[1].norm == 4 && reports[1].mean == 2 && reports[1].positive_infinity_count == 1 && reports[1].negative_infinity_count == 1 &&
              reports[1].zero_count == 1 && reports[1].first_nonfinite == 0, "the other one");
    CHECK(r.total_norm == 4 && r.nonfinite_count == 2 && r.nan_count == 0 && r.first_tensor == 1 && r.first_element == 0, "and is left out of the result");
    CHECK_STATUS(gradclip_inspect(list, 2, 2, NULL, reports, sizeof *reports, NULL), GRADCLIP_OK);
    CHECK_STATUS(gradclip_inspect(list, 1, 2, NULL, reports, sizeof *reports, &r), GRADCLIP_OK);
    CHECK(r.total_norm == 0 && r.nonfinite_count == 0 && r.first_tensor == GRADCLIP_NONE, "nothing is counted");
    list[0] = tensor_of(a + 1, 1, GRADCLIP_F64);
    CHECK_STATUS(gradclip_inspect(list, 1, 2, NULL, reports, sizeof *reports, &r), GRADCLIP_OK);
    CHECK(reports[0].norm == 0 && reports[0].max_abs == 0 && reports[0].mean == 0 && reports[0].nan_count == 1 && r.total_norm == 0, "only a NaN");
    CHECK_STATUS(gradclip_inspect(NULL, 0, 2, NULL, NULL, sizeof *reports, &r), GRADCLIP_OK);
    CHECK(r.total_norm == 0 && r.nonfinite_count == 0, "no tensors");
}

/* Sums of such numbers overflow; their mean does not. */
static void large_and_small_float64(void)
{
    enum { N = 10000 };
    static double x[N];
    gradclip_report report;
    gradclip_options scaled = default_options();
    gradclip_tensor list = tensor_of(x, N, GRADCLIP_F64);
    scaled.grad_scale = 0x1p100;
    for (int i = 0; i < N; i++) x[i] = DBL_MAX;
    CHECK_STATUS(gradclip_inspect(&list, 1, 2, NULL, &report, sizeof report, NULL), GRADCLIP_OK);
    CHECK(report.mean <= DBL_MAX && report.mean >= DBL_MAX * (1 - 1e-15) && report.max_abs == DBL_MAX && report.norm == INFINITY, "mean %a, norm %a", report.mean, report.norm);
    CHECK_STATUS(gradclip_inspect(&list, 1, 2, &scaled, &report, sizeof report, NULL), GRADCLIP_OK);
    CHECK(fabs(report.mean / (DBL_MAX * 0x1p-100) - 1) < 1e-15 && report.max_abs == DBL_MAX * 0x1p-100, "mean %a", report.mean);
    CHECK(fabs(report.norm / (DBL_MAX * 0x1p-100) / 100 - 1) < 1e-15, "norm %a", report.norm);
    for (int i = 0; i < N; i++) x[i] = i % 2 ? -1.7e308 : 1.7e308;
    CHECK_STATUS(gradclip_inspect(&list, 1, INFINITY, NULL, &report, sizeof report, NULL), GRADCLIP_OK);
    CHECK(report.mean == 0 && report.norm == 1.7e308, "mean %a", report.mean);
    for (int i = 0; i < N; i++) x[i] = i < 5000 ? -1.7e308 : i == 9999 ? 1 : 1e-3;
    CHECK_STATUS(gradclip_inspect(&list, 1, INFINITY, NULL, &report, sizeof report, NULL), GRADCLIP_OK);
    CHECK(fabs(report.mean / -0.85e308 - 1) < 1e-14, "mean %a", report.mean);
    for (int i = 0; i < N; i++) x[i] = -0x1p-1000;
    CHECK_STATUS(gradclip_inspect(&list, 1, 2, NULL, &report, sizeof report, NULL), GRADCLIP_OK);
    CHECK(fabs(report.mean / -0x1p-1000 - 1) < 1e-15 && report.subnormal_count == 0, "mean %a", report.mean);
    for (int i = 0; i < N; i++) x[i] = 0x1p-1060;
    CHECK_STATUS(gradclip_inspect(&list, 1, 2, NULL, &report, sizeof report, NULL), GRADCLIP_OK);
    CHECK(report.max_abs == 0x1p-1060 && report.subnormal_count == N, "%llu subnormal", (unsigned long long)report.subnormal_count);
}

/* Callers that know fewer fields, and more. */
static void report_sizes(void)
{
    double x[] = {1, -2, NAN}, y[] = {0, -INFINITY};
    gradclip_tensor list[2] = {tensor_of(x, 3, GRADCLIP_F64), tensor_of(y, 2, GRADCLIP_F64)};
    gradclip_report full[2];
    CHECK(sizeof(gradclip_report) == 80, "%zu", sizeof(gradclip_report));
    CHECK_STATUS(gradclip_inspect(list, 2, 1, NULL, full, sizeof *full, NULL), GRADCLIP_OK);
    for (size_t size = 8; size <= 200; size += 8) {
        unsigned char reports[2 * 200 + 8];
        size_t known = size < sizeof *full ? size : sizeof *full;
        memset(reports, 0x66, sizeof reports);
        CHECK_STATUS(gradclip_inspect(list, 2, 1, NULL, (gradclip_report *)(void *)reports, size, NULL), GRADCLIP_OK);
        for (size_t i = 0; i < 2; i++) {
            CHECK(same_bits(reports + i * size, &full[i], known), "size %zu, report %zu", size, i);
            for (size_t k = known; k < size; k++) CHECK(reports[i * size + k] == 0x66, "size %zu: byte %zu of report %zu written", size, k, i);
        }
        CHECK(reports[2 * size] == 0x66, "written behind the reports");
    }
}

#define REFUSED(call, status, text)                                                                     \
    do {                                                                                                \
        CHECK_STATUS(call, status);                                                                     \
        CHECK(strstr(gradclip_last_error(), text), "\"%s\" lacks \"%s\"", gradclip_last_error(), text); \
        CHECK(same_bits(&report, &untouched, sizeof report), "report written");                         \
    } while (0)

static void refused_arguments(void)
{
    double x[] = {3}, norm;
    gradclip_tensor list = tensor_of(x, 1, GRADCLIP_F64);
    gradclip_report report, untouched;
    gradclip_result r = new_result();
    gradclip_options options = default_options();
    memset(&report, 0x44, sizeof report);
    untouched = report;
    REFUSED(gradclip_inspect(NULL, 1, 2, NULL, &report, sizeof report, &r), INVALID, "grads");
    REFUSED(gradclip_inspect(&list, 1, NAN, NULL, &report, sizeof report, &r), INVALID, "norm_type");
    REFUSED(gradclip_inspect(&list, 1, 2, NULL, NULL, sizeof report, &r), INVALID, "reports");
    for (size_t size = 0; size < 8; size++) REFUSED(gradclip_inspect(&list, 1, 2, NULL, &report, size, &r), INVALID, "report_size");
    options.grad_scale = 0;
    REFUSED(gradclip_inspect(&list, 1, 2, &options, &report, sizeof report, &r), INVALID, "grad_scale");
    r.tensor_norms = &norm;
    REFUSED(gradclip_inspect(&list, 1, 2, NULL, &report, sizeof report, &r), INVALID, "tensor_norms");
    r.tensor_norms = NULL;
    r.struct_size = 3;
    REFUSED(gradclip_inspect(&list, 1, 2, NULL, &report, sizeof report, &r), INVALID, "struct_size");
    r.struct_size = sizeof r;
    list.device_type = 2;
    REFUSED(gradclip_inspect(&list, 1, 2, NULL, &report, sizeof report, &r), GRADCLIP_ERROR_UNSUPPORTED, "device_type");
    list.device_type = 0;
    list.data = NULL;
    REFUSED(gradclip_inspect(&list, 1, 2, NULL, &report, sizeof report, &r), INVALID, "data");
    CHECK(r.total_norm == 0 && r.factor == 0, "result written");
}

int main(void)
{
    uncounted_and_nothing();
    large_and_small_float64();
    report_sizes();
    refused_arguments();
    lengths_and_addresses();
    lists_and_other_orders();
    printf("seed %llu; ", (unsigned long long)RANDOM_SEED);
    return checks_summary("inspect_lengths");
}
