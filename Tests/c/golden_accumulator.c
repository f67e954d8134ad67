/*
 * golden_accumulator FILE: the gradients of the golden file once more, added piece by
 * piece, merged, sent as bytes; and exact sums of float64. Then bytes that are not
 * what they should be, and the rest of the accumulator's rules.
 */
#include "check.h"
#include "golden_file.h"

#include <math.h>
#include <stdlib.h>

enum { INVALID = GRADCLIP_ERROR_INVALID_ARGUMENT, BAD_DATA = GRADCLIP_ERROR_BAD_DATA, PARTS = 3 };

static const struct golden *g;
static uint64_t state = 88172645463325252u;

static size_t below(size_t n)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (size_t)(state % n);
}

static gradclip_accumulator *create(double p, const gradclip_options *options)
{
    gradclip_accumulator *made = NULL;
    CHECK_STATUS(gradclip_accumulator_create(p, options, &made), GRADCLIP_OK);
    if (!made) exit(2);
    return made;
}

static int within(double got, double expected, long ulps)
{
    int64_t a, b;
    if (isnan(got) || isnan(expected)) return isnan(got) && isnan(expected);
    memcpy(&a, &got, 8);
    memcpy(&b, &expected, 8);
    return a == b || (isfinite(got) && isfinite(expected) && a - b >= -ulps && a - b <= ulps);
}

static int has_f64(void)
{
    for (size_t i = 0; i < g->count; i++)
        if (g->tensors[i].type->dtype == GRADCLIP_F64 && g->tensors[i].counted && g->tensors[i].length) return 1;
    return 0;
}

/* Cut the list into pieces, deal them out to several accumulators in any order,
 * and bring those together by merging and as bytes. */
static void pieces(const gradclip_tensor *list, const gradclip_options *options, gradclip_accumulator *whole)
{
    gradclip_accumulator *part[PARTS];
    unsigned char bytes[1024];
    for (int i = 0; i < PARTS; i++) part[i] = create(g->p, options);
    for (size_t i = g->count; i-- > 0;) {
        gradclip_tensor piece = list[i];
        size_t size = g->tensors[i].type->size, left = g->tensors[i].length, most = left / (1 + below(7)) + 1;
        while (left) {
            piece.length = 1 + below(most);
            if (piece.length > left) piece.length = left;
            CHECK_STATUS(gradclip_accumulator_add(part[below(PARTS)], &piece, 1), GRADCLIP_OK);
            piece.data = (unsigned char *)piece.data + piece.length * size;
            left -= piece.length;
        }
    }
    CHECK_STATUS(gradclip_accumulator_merge(whole, part[2]), GRADCLIP_OK);
    for (int i = 0; i < 2; i++) {
        size_t size = 0, room = sizeof bytes;
        CHECK_STATUS(gradclip_accumulator_export(part[i], NULL, &size), GRADCLIP_OK);
        CHECK(size <= ((g->p == 1 || g->p == 2) && !has_f64() && !options->exact_f64 ? 192 : 1024), "line %d: %zu bytes", g->line, size);
        CHECK_STATUS(gradclip_accumulator_export(part[i], bytes, &room), GRADCLIP_OK);
        CHECK(room == size, "line %d: %zu and %zu bytes", g->line, room, size);
        CHECK_STATUS(gradclip_accumulator_import(whole, bytes, room), GRADCLIP_OK);
    }
    for (int i = 0; i < PARTS; i++) gradclip_accumulator_free(part[i]);
}

static void one_case(uint32_t exact_f64)
{
    static gradclip_tensor list[MAX_TENSORS];
    static unsigned char *data[MAX_TENSORS];
    gradclip_options options = default_options();
    gradclip_result direct = new_result(), found = new_result();
    gradclip_accumulator *a;
    int one_or_two = g->p == 1 || g->p == 2, infinite = fabs(g->p) > 0x1p50;
    int is_exact = infinite || (one_or_two && (exact_f64 || !has_f64()));
    long ulps = g->total_ulps;
    options.eps = g->eps;
    options.grad_scale = g->grad_scale;
    options.nonfinite = (uint32_t)g->policy;
    options.exact_f64 = exact_f64;
    for (size_t i = 0; i < g->count; i++) {
        const struct tensor *t = &g->tensors[i];
        data[i] = realloc(data[i], t->offset + t->length * t->type->size + 1);
        if (!data[i]) exit(2);
        for (size_t j = 0; j < t->length; j++) memcpy(data[i] + t->offset + j * t->type->size, &t->input[j], t->type->size);
        list[i] = tensor_of(data[i] + t->offset, t->length, t->type->dtype);
        list[i].flags = t->counted ? 0 : GRADCLIP_UNCOUNTED;
    }
    if (exact_f64 && one_or_two) ulps = g->grad_scale == 1 ? 0 : ulps > 1 ? 1 : ulps;
    /* Nothing is written: what ZERO would replace is still there. */
    gradclip_status deferred = g->policy == GRADCLIP_NONFINITE_ZERO && g->nonfinite > 0 ? GRADCLIP_NON_FINITE : g->status;
    CHECK_STATUS(gradclip_defer_clip(list, g->count, g->max_norm, g->p, &options, &direct), deferred);
    CHECK(within(direct.total_norm, g->total_norm, ulps), "line %d, exact_f64 %u: %a, expected %a", g->line, exact_f64, direct.total_norm, g->total_norm);
    /* All at once: the bits of the call, everything else included. */
    a = create(g->p, &options);
    CHECK_STATUS(gradclip_accumulator_add(a, list, g->count), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_finish(a, g->max_norm, &found), deferred);
    CHECK(same_bits(&found, &direct, sizeof found), "line %d, exact_f64 %u: %a after adding, %a in one call", g->line, exact_f64, found.total_norm, direct.total_norm);
    /* In pieces. (For p = 0 each piece would count as a tensor.) */
    CHECK_STATUS(gradclip_accumulator_reset(a), GRADCLIP_OK);
    if (g->p != 0) {
        pieces(list, &options, a);
        found = new_result();
        CHECK_STATUS(gradclip_accumulator_finish(a, g->max_norm, &found), deferred);
        CHECK(is_exact ? within(found.total_norm, direct.total_norm, 0) && within(found.clip_coef, direct.clip_coef, 0)
                       : within(found.total_norm, g->total_norm, ulps),
              "line %d, exact_f64 %u: %a in pieces, %a in one call", g->line, exact_f64, found.total_norm, direct.total_norm);
        CHECK(found.nonfinite_count == g->nonfinite && found.nan_count == g->nans, "line %d: counts", g->line);
    }
    gradclip_accumulator_free(a);
}

static void damaged_bytes(void)
{
    float x[] = {3, -4, 5e-30f};
    gradclip_options exact = default_options();
    gradclip_accumulator *a = create(2, NULL), *b = create(2, NULL), *c;
    gradclip_result before = new_result(), after = new_result();
    unsigned char bytes[1024], spoiled[1025] = {0};
    size_t size = sizeof bytes, small;
    exact.exact_f64 = 1;
    CHECK_STATUS(gradclip_accumulator_add_f32(a, x, 3), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_add_f32(b, x, 1), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_export(a, bytes, &size), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_finish(b, 1, &before), GRADCLIP_OK);
    for (size_t i = 0; i < size; i++)
        for (int bit = 0; bit < 8; bit++) {
            memcpy(spoiled, bytes, size);
            spoiled[i] ^= (unsigned char)(1 << bit);
            CHECK_STATUS(gradclip_accumulator_import(b, spoiled, size), BAD_DATA);
        }
    for (size_t i = 0; i < size; i++) CHECK_STATUS(gradclip_accumulator_import(b, bytes, i), BAD_DATA);
    memcpy(spoiled, bytes, size);
    CHECK_STATUS(gradclip_accumulator_import(b, spoiled, size + 1), BAD_DATA);
    CHECK_STATUS(gradclip_accumulator_finish(b, 1, &after), GRADCLIP_OK);
    CHECK(same_bits(&before, &after, sizeof before), "damaged bytes changed an accumulator");
    c = create(1, NULL);
    CHECK_STATUS(gradclip_accumulator_import(c, bytes, size), BAD_DATA);
    CHECK_STATUS(gradclip_accumulator_merge(c, a), INVALID);
    gradclip_accumulator_free(c);
    c = create(2, &exact);
    CHECK_STATUS(gradclip_accumulator_import(c, bytes, size), BAD_DATA);
    CHECK_STATUS(gradclip_accumulator_merge(c, a), INVALID);
    gradclip_accumulator_free(c);
    small = size - 1;
    memset(spoiled, 0x5a, sizeof spoiled);
    CHECK_STATUS(gradclip_accumulator_export(a, spoiled, &small), INVALID);
    CHECK(spoiled[0] == 0x5a, "written beyond the room there is");
    gradclip_accumulator_free(a), gradclip_accumulator_free(b);
}

static void rules(void)
{
    double x[] = {3, 4}, nan[] = {NAN};
    gradclip_result r = new_result();
    gradclip_accumulator *a = create(2, NULL), *none = a;
    gradclip_accumulator_free(NULL);
    CHECK_STATUS(gradclip_accumulator_create(NAN, NULL, &none), INVALID);
    CHECK(none == NULL, "not NULL after an error");
    CHECK_STATUS(gradclip_accumulator_create(2, NULL, NULL), INVALID);
    CHECK_STATUS(gradclip_accumulator_reset(NULL), INVALID);
    CHECK_STATUS(gradclip_accumulator_add_f64(NULL, x, 2), INVALID);
    CHECK_STATUS(gradclip_accumulator_add_f64(a, NULL, 2), INVALID);
    CHECK_STATUS(gradclip_accumulator_add_f64(a, x, SIZE_MAX), INVALID);
    CHECK_STATUS(gradclip_accumulator_merge(a, NULL), INVALID);
    CHECK_STATUS(gradclip_accumulator_export(a, NULL, NULL), INVALID);
    CHECK_STATUS(gradclip_accumulator_import(a, NULL, 10), INVALID);
    CHECK_STATUS(gradclip_accumulator_finish(a, 1, NULL), INVALID);
    CHECK_STATUS(gradclip_accumulator_finish(a, -1, &r), INVALID);
    CHECK_STATUS(gradclip_accumulator_finish(a, 1, &r), GRADCLIP_OK);
    CHECK(r.total_norm == 0 && r.clip_coef == 1, "an empty accumulator");
    CHECK_STATUS(gradclip_accumulator_add_f64(a, NULL, 0), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_add_f64(a, x, 2), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_finish(a, 1, &r), GRADCLIP_OK);
    CHECK(r.total_norm == 5, "%a", r.total_norm);
    for (int i = 0; i < 2; i++) CHECK_STATUS(gradclip_accumulator_merge(a, a), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_finish(a, INFINITY, &r), GRADCLIP_OK);
    CHECK(r.total_norm == 10 && r.clip_coef == 1, "four times the same: %a", r.total_norm);
    CHECK_STATUS(gradclip_accumulator_add_f64(a, nan, 1), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_finish(a, 1, &r), GRADCLIP_NON_FINITE);
    CHECK(r.nan_count == 1 && r.first_tensor == 8 && r.first_element == 0, "tensor %llu", (unsigned long long)r.first_tensor);
    CHECK_STATUS(gradclip_accumulator_reset(a), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_finish(a, 1, &r), GRADCLIP_OK);
    CHECK(r.total_norm == 0 && r.nonfinite_count == 0, "after a reset");
    gradclip_accumulator_free(a);
}

int main(int argc, char **argv)
{
    static struct golden golden;
    if (argc != 2) {
        fprintf(stderr, "usage: golden_accumulator FILE\n");
        return 2;
    }
    rules();
    damaged_bytes();
    golden_open(argv[1]);
    g = &golden;
    while (golden_next(&golden))
        if (golden.call == CALL_CLIP)
            for (uint32_t exact = 0; exact < 2; exact++) one_case(exact);
    return checks_summary("golden_accumulator");
}
