/*
 * However gradients are cut, distributed over accumulators, merged and sent as
 * bytes: the result is that of one call on the whole list.
 */
#include "check.h"
#include "random.h"

#include <math.h>
#include <stdlib.h>

enum { LONGEST = 20011, BLOCK = 4096, MOST_TENSORS = 5, MOST_PARTS = 6, MOST_BYTES = 1024 };

static gradclip_accumulator *new_accumulator(double p, const gradclip_options *options)
{
    gradclip_accumulator *made = NULL;
    CHECK_STATUS(gradclip_accumulator_create(p, options, &made), GRADCLIP_OK);
    if (!made) exit(2);
    return made;
}

static void check_same(const char *how, double p, const gradclip_result *got, const gradclip_result *whole)
{
    CHECK(same_bits(&got->total_norm, &whole->total_norm, 8), "%s, p %g: %a, one call %a", how, p, got->total_norm, whole->total_norm);
    CHECK(same_bits(&got->clip_coef, &whole->clip_coef, 8) && same_bits(&got->factor, &whole->factor, 8), "%s, p %g: coefficient %a, one call %a",
          how, p, got->clip_coef, whole->clip_coef);
    CHECK(got->nonfinite_count == 0 && whole->nonfinite_count == 0, "%s, p %g: not finite", how, p);
}

static unsigned char memory[MOST_TENSORS][LONGEST * 8 + 16];
static gradclip_tensor whole[MOST_TENSORS];

/* Random finite tensors of one type, or of any (NULL), at any address, their
 * exponents close together or as far apart as the type allows. */
static size_t random_list(const struct element_type *only)
{
    size_t count = 1 + below(MOST_TENSORS);
    for (size_t i = 0; i < count; i++) {
        const struct element_type *t = only ? only : &element_types[below(ELEMENT_TYPES)];
        size_t n = below(4) ? below(300) : below(LONGEST), offset = below(16);
        unsigned top = (unsigned)all_ones(t->exponent_bits), span = 1 + (unsigned)below(below(2) ? top : 6);
        fill_random(memory[i] + offset, n, t, (unsigned)below(top - span + 1), span);
        whole[i] = tensor_of(memory[i] + offset, n, t->dtype);
    }
    return count;
}

static size_t size_of(const gradclip_tensor *t) { return t->dtype == GRADCLIP_F64 ? 8 : t->dtype == GRADCLIP_F32 ? 4 : 2; }

static void add_piece(gradclip_accumulator *into, const gradclip_tensor *piece)
{
    gradclip_result r = new_result();
    if (piece->dtype == GRADCLIP_F32 && below(2)) CHECK_STATUS(gradclip_accumulator_add_f32(into, piece->data, piece->length), GRADCLIP_OK);
    else if (piece->dtype == GRADCLIP_F64 && below(2)) CHECK_STATUS(gradclip_accumulator_add_f64(into, piece->data, piece->length), GRADCLIP_OK);
    else CHECK_STATUS(gradclip_accumulator_add(into, piece, 1), GRADCLIP_OK);
    if (below(8) == 0) CHECK_STATUS(gradclip_accumulator_finish(into, 1, &r), GRADCLIP_OK); /* one may look in between */
}

/* Pieces of random lengths (multiples of unit; 0: any) into random accumulators,
 * which are merged in random order, some of them as bytes. */
static void put_together(const char *how, size_t count, double p, const gradclip_options *options, size_t unit)
{
    gradclip_accumulator *parts[MOST_PARTS];
    size_t n_parts = 1 + below(MOST_PARTS);
    unsigned char bytes[MOST_BYTES];
    gradclip_result one_call = new_result(), got = new_result();
    CHECK_STATUS(gradclip_defer_clip(whole, count, 0.75, p, options, &one_call), GRADCLIP_OK);
    for (size_t i = 0; i < n_parts; i++) parts[i] = new_accumulator(p, options);
    for (size_t i = 0; i < count; i++) {
        gradclip_tensor piece = whole[i];
        uint64_t rest = whole[i].length;
        do {
            piece.length = unit ? unit * (1 + below(3)) : 1 + below(below(3) ? 700 : 9);
            if (piece.length > rest) piece.length = rest;
            add_piece(parts[below(n_parts)], &piece);
            piece.data = (unsigned char *)piece.data + piece.length * size_of(&piece);
            rest -= piece.length;
        } while (rest);
    }
    while (n_parts > 1) {
        size_t from = below(n_parts), to = (from + 1 + below(n_parts - 1)) % n_parts, size = sizeof bytes;
        if (below(2)) CHECK_STATUS(gradclip_accumulator_merge(parts[to], parts[from]), GRADCLIP_OK);
        else {
            CHECK_STATUS(gradclip_accumulator_export(parts[from], bytes, &size), GRADCLIP_OK);
            CHECK_STATUS(gradclip_accumulator_import(parts[to], bytes, size), GRADCLIP_OK);
        }
        gradclip_accumulator_free(parts[from]);
        parts[from] = parts[--n_parts];
    }
    CHECK_STATUS(gradclip_accumulator_finish(parts[0], 0.75, &got), GRADCLIP_OK);
    check_same(how, p, &got, &one_call);
    gradclip_accumulator_free(parts[0]);
}

static void cut_anywhere(void)
{
    static const double orders[] = {1, 2, INFINITY, -INFINITY}, scales[] = {1, 65536, 0.1};
    static const int narrow[] = {0, 2, 3};
    for (int round = 0; round < 300; round++) {
        gradclip_options options = default_options();
        double p = orders[below(4)];
        options.grad_scale = scales[below(3)];
        options.exact_f64 = round & 1;
        /* float64 where its sum is exact too, or there is none; else lists of one narrower type. */
        const struct element_type *only = options.exact_f64 || isinf(p) ? NULL : &element_types[narrow[below(3)]];
        put_together("cut anywhere", random_list(only), p, &options, 0);
    }
}

static void cut_at_blocks(void)
{
    static const double orders[] = {3, 4, 0.5, 1.5, 2.7, 100, 0.01, -1, -2.5, 1, 2};
    for (int round = 0; round < 200; round++)
        put_together("cut at blocks", random_list(NULL), orders[below(sizeof orders / sizeof *orders)], NULL, BLOCK);
}

/* norm_type 0: every tensor that is added counts, so they stay whole. */
static void whole_tensors_only(void)
{
    for (int round = 0; round < 60; round++) put_together("whole tensors", random_list(NULL), 0, NULL, LONGEST);
}

/* Every place for one cut, second half first; and single elements, last first. */
static void every_cut(void)
{
    enum { N = 40 };
    for (size_t type = 0; type < ELEMENT_TYPES; type++) {
        const struct element_type *t = &element_types[type];
        unsigned char x[N * 8];
        gradclip_options options = default_options();
        gradclip_result one_call = new_result(), got = new_result();
        options.exact_f64 = 1;
        fill_random(x, N, t, 0, (unsigned)all_ones(t->exponent_bits));
        gradclip_tensor list = tensor_of(x, N, t->dtype);
        CHECK_STATUS(gradclip_defer_clip(&list, 1, 1e-3, 2, &options, &one_call), GRADCLIP_OK);
        gradclip_accumulator *a = new_accumulator(2, &options);
        for (size_t cut = 0; cut <= N; cut++) {
            gradclip_tensor halves[2] = {tensor_of(x + cut * t->size, N - cut, t->dtype), tensor_of(x, cut, t->dtype)};
            CHECK_STATUS(gradclip_accumulator_reset(a), GRADCLIP_OK);
            CHECK_STATUS(gradclip_accumulator_add(a, halves, 2), GRADCLIP_OK);
            CHECK_STATUS(gradclip_accumulator_finish(a, 1e-3, &got), GRADCLIP_OK);
            check_same("one cut", 2, &got, &one_call);
        }
        CHECK_STATUS(gradclip_accumulator_reset(a), GRADCLIP_OK);
        for (size_t i = N; i-- > 0;) {
            gradclip_tensor one = tensor_of(x + i * t->size, 1, t->dtype);
            CHECK_STATUS(gradclip_accumulator_add(a, &one, 1), GRADCLIP_OK);
        }
        CHECK_STATUS(gradclip_accumulator_finish(a, 1e-3, &got), GRADCLIP_OK);
        check_same("single elements", 2, &got, &one_call);
        gradclip_accumulator_free(a);
    }
}

int main(void)
{
    every_cut();
    cut_anywhere();
    cut_at_blocks();
    whole_tensors_only();
    printf("seed %llu; ", (unsigned long long)RANDOM_SEED);
    return checks_summary("accumulator_cuts");
}
