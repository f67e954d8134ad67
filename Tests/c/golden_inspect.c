/*
 * golden_inspect FILE: the report on every tensor of the golden file, against counts
 * made here element by element and the oracle's norms.
 */
#include "check.h"
#include "golden_file.h"

#include <math.h>
#include <stdlib.h>

enum { INVALID = GRADCLIP_ERROR_INVALID_ARGUMENT };

static const struct golden *g;

/* The value of a finite element, exactly (every type fits in a double). */
static double value_of(const struct element_type *type, uint64_t bits)
{
    uint64_t magnitude = bits & ~type->sign, field;
    double found;
    int mantissa = type->dtype == GRADCLIP_F64 ? 52 : type->dtype == GRADCLIP_F32 ? 23 : type->dtype == GRADCLIP_F16 ? 10 : 7;
    int bias = type->dtype == GRADCLIP_F64 ? 1023 : type->dtype == GRADCLIP_F16 ? 15 : 127;
    field = magnitude >> mantissa;
    magnitude &= (UINT64_C(1) << mantissa) - 1;
    if (field) magnitude |= UINT64_C(1) << mantissa;
    found = ldexp((double)magnitude, (field ? (int)field : 1) - bias - mantissa);
    return bits & type->sign ? -found : found;
}

static void check_report(size_t i, const gradclip_report *r)
{
    const struct tensor *t = &g->tensors[i];
    const struct element_type *type = t->type;
    uint64_t nans = 0, up = 0, down = 0, zeros = 0, subnormals = 0, first = GRADCLIP_NONE;
    uint64_t normal = type->infinity & (~type->infinity + 1); /* the smallest normal number */
    long double sum = 0, sum_abs = 0;
    double largest = 0;
    for (size_t j = 0; j < t->length; j++) {
        uint64_t magnitude = t->input[j] & ~type->sign;
        if (magnitude >= type->infinity) {
            if (first == GRADCLIP_NONE) first = j;
            if (magnitude > type->infinity) nans++;
            else if (t->input[j] & type->sign) down++;
            else up++;
            continue;
        }
        double x = value_of(type, t->input[j]);
        zeros += magnitude == 0;
        subnormals += magnitude > 0 && magnitude < normal;
        sum += x;
        sum_abs += fabs(x);
        if (fabs(x) > largest) largest = fabs(x);
    }
    CHECK(r->length == t->length && r->nan_count == nans && r->positive_infinity_count == up && r->negative_infinity_count == down,
          "line %d, tensor %zu: counts", g->line, i);
    CHECK(r->zero_count == zeros && r->subnormal_count == subnormals, "line %d, tensor %zu: %llu zeros, %llu subnormal; expected %llu, %llu", g->line, i,
          (unsigned long long)r->zero_count, (unsigned long long)r->subnormal_count, (unsigned long long)zeros, (unsigned long long)subnormals);
    CHECK(r->first_nonfinite == first, "line %d, tensor %zu: first %llu", g->line, i, (unsigned long long)r->first_nonfinite);
    CHECK_NUMBER(r->max_abs, largest / g->grad_scale);
    if (t->counted && (nans + up + down == 0 || g->policy == GRADCLIP_NONFINITE_ZERO)) {
        int64_t apart;
        memcpy(&apart, &r->norm, 8);
        int64_t expected;
        memcpy(&expected, &t->norm, 8);
        apart -= expected;
        CHECK(apart >= -t->norm_ulps && apart <= t->norm_ulps, "line %d, tensor %zu: norm %a, expected %a", g->line, i, r->norm, t->norm);
    }
    uint64_t finite = t->length - nans - up - down;
    long double mean = finite ? sum / finite / g->grad_scale : 0, size = finite ? sum_abs / finite / g->grad_scale : 0;
    /* A plain sum of thousands of float64: no more is promised of the mean. */
    if (size < 0x1p1000L && size > 0x1p-900L)
        CHECK(fabsl(r->mean - mean) <= size * 0x1p-40L, "line %d, tensor %zu: mean %a, expected %La", g->line, i, r->mean, mean);
    if (size == 0) CHECK(r->mean == 0, "line %d, tensor %zu: mean %a", g->line, i, r->mean);
}

static void one_case(void)
{
    static gradclip_tensor list[MAX_TENSORS];
    static unsigned char *data[MAX_TENSORS];
    struct { gradclip_report report; unsigned char tail[24]; } reports[MAX_TENSORS];
    gradclip_options options = default_options();
    gradclip_result r = new_result();
    options.grad_scale = g->grad_scale;
    for (size_t i = 0; i < g->count; i++) {
        const struct tensor *t = &g->tensors[i];
        data[i] = realloc(data[i], t->offset + t->length * t->type->size + 1);
        if (!data[i]) exit(2);
        for (size_t j = 0; j < t->length; j++) memcpy(data[i] + t->offset + j * t->type->size, &t->input[j], t->type->size);
        list[i] = tensor_of(data[i] + t->offset, t->length, t->type->dtype);
        list[i].flags = t->counted ? 0 : GRADCLIP_UNCOUNTED;
    }
    memset(reports, 0x5a, sizeof reports);
    CHECK_STATUS(gradclip_inspect(list, g->count, g->p, &options, &reports[0].report, sizeof *reports, &r), GRADCLIP_OK);
    for (size_t i = 0; i < g->count; i++) {
        check_report(i, &reports[i].report);
        CHECK(reports[i].tail[0] == 0x5a && reports[i].tail[23] == 0x5a, "line %d: written past what is known", g->line);
    }
    CHECK(r.nonfinite_count == g->nonfinite && r.nan_count == g->nans && r.first_tensor == g->first_tensor && r.first_element == g->first_element,
          "line %d: result", g->line);
}

static void rules(void)
{
    float x[] = {1, 2};
    gradclip_tensor list = tensor_of(x, 2, GRADCLIP_F32);
    gradclip_report report;
    memset(&report, 0x5a, sizeof report);
    CHECK_STATUS(gradclip_inspect(NULL, 1, 2, NULL, &report, sizeof report, NULL), INVALID);
    CHECK_STATUS(gradclip_inspect(&list, 1, 2, NULL, NULL, sizeof report, NULL), INVALID);
    CHECK_STATUS(gradclip_inspect(&list, 1, NAN, NULL, &report, sizeof report, NULL), INVALID);
    CHECK_STATUS(gradclip_inspect(&list, 1, 2, NULL, &report, 0, NULL), INVALID);
    list.dtype = 9;
    CHECK_STATUS(gradclip_inspect(&list, 1, 2, NULL, &report, sizeof report, NULL), INVALID);
    CHECK(report.length == UINT64_C(0x5a5a5a5a5a5a5a5a), "a refused call wrote a report");
    CHECK_STATUS(gradclip_inspect(NULL, 0, 2, NULL, NULL, sizeof report, NULL), GRADCLIP_OK);
}

int main(int argc, char **argv)
{
    static struct golden golden;
    if (argc != 2) {
        fprintf(stderr, "usage: golden_inspect FILE\n");
        return 2;
    }
    rules();
    golden_open(argv[1]);
    g = &golden;
    while (golden_next(&golden))
        if (golden.call == CALL_CLIP) one_case();
    return checks_summary("golden_inspect");
}
