/*
 * Accumulators as words that ranks add up: the sum of the words of any number of
 * shards is the whole; whoever does not agree, and a call that was refused, is an
 * error for all; and clipping by what was put together is clipping in one call.
 */
#include "check.h"
#include "random.h"

#include <math.h>

enum { LONGEST = 5000, MOST_RANKS = 9 };

static unsigned char memory[LONGEST * 8], copy[LONGEST * 8];

struct rank {
    gradclip_accumulator *accumulator;
    gradclip_result own;
    int64_t words[GRADCLIP_WORDS];
    unsigned char bytes[1024];
    size_t size;
};
static struct rank ranks[MOST_RANKS];

static void add_words(int64_t *sums, const int64_t *words)
{
    for (int i = 0; i < GRADCLIP_WORDS; i++) sums[i] = (int64_t)((uint64_t)sums[i] + (uint64_t)words[i]);
}

/* Cuts a tensor into shards, some of them empty, one rank each. */
static void shard(const struct element_type *t, size_t length, size_t n, size_t unit, double p, const gradclip_options *options)
{
    size_t start = 0;
    for (size_t r = 0; r < n; r++) {
        size_t rest = length - start, take = r + 1 == n ? rest : below(3) == 0 ? 0 : below(rest / unit + 1) * unit;
        gradclip_tensor piece = tensor_of(memory + start * t->size, take, t->dtype);
        CHECK_STATUS(gradclip_accumulator_create(p, options, &ranks[r].accumulator), GRADCLIP_OK);
        CHECK_STATUS(gradclip_accumulator_add(ranks[r].accumulator, &piece, 1), GRADCLIP_OK);
        start += take;
    }
}

/* What a transport does, for ranks in one process: as the header says. */
static gradclip_status put_together(size_t n, double max_norm)
{
    int64_t sums[GRADCLIP_WORDS] = {0}, largest[2] = {0, 0};
    gradclip_status status = GRADCLIP_OK;
    for (size_t r = 0; r < n; r++) {
        CHECK_STATUS(gradclip_accumulator_to_words(ranks[r].accumulator, max_norm, ranks[r].words), GRADCLIP_OK);
        add_words(sums, ranks[r].words);
        for (int i = 0; i < 2; i++)
            if (ranks[r].words[i] > largest[i]) largest[i] = ranks[r].words[i];
        ranks[r].size = sizeof ranks[r].bytes;
        CHECK_STATUS(gradclip_accumulator_export(ranks[r].accumulator, ranks[r].bytes, &ranks[r].size), GRADCLIP_OK);
    }
    if (sums[GRADCLIP_WORD_KIND] < 0) sums[0] = largest[0], sums[1] = largest[1];
    for (size_t r = 0; r < n; r++) {
        status = gradclip_accumulator_from_words(ranks[r].accumulator, max_norm, sums);
        for (size_t i = 0; status >= 0 && sums[GRADCLIP_WORD_KIND] > 0 && i < n; i++)
            CHECK_STATUS(gradclip_accumulator_import(ranks[r].accumulator, ranks[i].bytes, ranks[i].size), GRADCLIP_OK);
    }
    return status;
}

static void free_ranks(size_t n)
{
    for (size_t r = 0; r < n; r++) gradclip_accumulator_free(ranks[r].accumulator);
}

static void one_cut(double p, const struct element_type *t, const gradclip_options *options, size_t unit)
{
    size_t n = 1 + below(MOST_RANKS), length = below(LONGEST);
    unsigned top = (unsigned)all_ones(t->exponent_bits), span = 1 + (unsigned)below(below(2) ? top : 6);
    double max_norm = below(2) ? 0.75 : 1e30;
    gradclip_result whole = new_result(), got = new_result();
    int has_nonfinite = length > 0 && below(4) == 0;
    fill_random(memory, length, t, (unsigned)below(top - span + 1), span);
    if (has_nonfinite) set_bits(memory, below(length), t, infinity_bits(t) | below(2));
    gradclip_tensor list = tensor_of(memory, length, t->dtype);
    shard(t, length, n, unit, p, options);
    CHECK_STATUS(put_together(n, max_norm), GRADCLIP_OK);

    memcpy(copy, memory, sizeof memory);
    gradclip_tensor clipped = tensor_of(copy, length, t->dtype);
    gradclip_status expected = gradclip_clip_grad_norm(&clipped, 1, max_norm, p, options, &whole);
    for (size_t r = 0; r < n; r++) {
        int reads_nonfinite = options->nonfinite == GRADCLIP_NONFINITE_ZERO && whole.nonfinite_count > 0;
        CHECK_STATUS(gradclip_accumulator_finish(ranks[r].accumulator, max_norm, &got), reads_nonfinite ? GRADCLIP_NON_FINITE : expected);
        CHECK(same_bits(&got.total_norm, &whole.total_norm, 8) || (isnan(got.total_norm) && isnan(whole.total_norm)),
              "%s, p %g, rank %zu of %zu: %a, one call %a", t->name, p, r, n, got.total_norm, whole.total_norm);
        CHECK(same_bits(&got.factor, &whole.factor, 8) || (isnan(got.factor) && isnan(whole.factor)), "%s, p %g: %a, one call %a", t->name, p,
              got.factor, whole.factor);
        CHECK(got.nonfinite_count == whole.nonfinite_count && got.nan_count == whole.nan_count, "%s, p %g: counts", t->name, p);
    }
    /* Every way of writing, by the last rank's accumulator. */
    CHECK_STATUS(gradclip_accumulator_clip(ranks[n - 1].accumulator, &list, 1, max_norm, &got), expected);
    CHECK(same_bits(memory, copy, length * t->size), "%s, p %g, policy %u: other gradients than after one call", t->name, p, options->nonfinite);
    free_ranks(n);
}

static void any_cut(void)
{
    static const double exact[] = {1, 2, INFINITY, -INFINITY}, others[] = {3, 0.5, 2.7, -1, 1, 2};
    for (int round = 0; round < 400; round++) {
        gradclip_options options = default_options();
        options.nonfinite = (uint32_t)below(3);
        options.grad_scale = below(2) ? 1 : 65536;
        options.exact_f64 = below(2) == 0;
        double p = exact[below(4)];
        const struct element_type *t = &element_types[below(ELEMENT_TYPES)];
        if (t->dtype == GRADCLIP_F64 && !isinf(p)) options.exact_f64 = 1;
        one_cut(p, t, &options, 1);
        options.exact_f64 = 0;
        one_cut(others[below(6)], &element_types[below(ELEMENT_TYPES)], &options, 4096);
    }
}

/* norm_type 0 counts tensors. */
static void order_zero_counts_shards(void)
{
    float values[6] = {0, 0, 1, 0, 2, 3};
    gradclip_result got = new_result();
    for (int r = 0; r < 3; r++) {
        CHECK_STATUS(gradclip_accumulator_create(0, NULL, &ranks[r].accumulator), GRADCLIP_OK);
        CHECK_STATUS(gradclip_accumulator_add_f32(ranks[r].accumulator, values + 2 * r, 2), GRADCLIP_OK);
    }
    CHECK_STATUS(put_together(3, 1), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_finish(ranks[0].accumulator, 1, &got), GRADCLIP_OK);
    CHECK_NUMBER(got.total_norm, 2);
    free_ranks(3);
}

/* One setting differs on one rank of several: an error on every rank, which names what. */
static void who_does_not_agree_is_found(void)
{
    for (int what = 0; what < 6; what++) {
        gradclip_options options[2] = {default_options(), default_options()};
        double p[2] = {2, 2}, max_norm[2] = {1, 1};
        if (what == 0) p[1] = 1;
        if (what == 1) p[1] = INFINITY;
        if (what == 2) max_norm[1] = 2;
        if (what == 3) options[1].eps = 0;
        if (what == 4) options[1].grad_scale = 2;
        if (what == 5) options[1].nonfinite = GRADCLIP_NONFINITE_ZERO;
        for (int odd = 0; odd < 4; odd++) {
            float x[] = {3, 4};
            int64_t sums[GRADCLIP_WORDS] = {0};
            gradclip_result before = new_result(), after = new_result();
            for (int r = 0; r < 4; r++) {
                CHECK_STATUS(gradclip_accumulator_create(p[r == odd], &options[r == odd], &ranks[r].accumulator), GRADCLIP_OK);
                CHECK_STATUS(gradclip_accumulator_add_f32(ranks[r].accumulator, x, 2), GRADCLIP_OK);
                CHECK_STATUS(gradclip_accumulator_to_words(ranks[r].accumulator, max_norm[r == odd], ranks[r].words), GRADCLIP_OK);
                add_words(sums, ranks[r].words);
            }
            for (int r = 0; r < 4; r++) {
                double m = max_norm[r == odd];
                CHECK_STATUS(gradclip_accumulator_finish(ranks[r].accumulator, m, &before), GRADCLIP_OK);
                CHECK_STATUS(gradclip_accumulator_from_words(ranks[r].accumulator, m, sums), GRADCLIP_ERROR_INVALID_ARGUMENT);
                CHECK(!strcmp(gradclip_last_error(), "norm_type, max_norm and options must be the same on all ranks"), "\"%s\"", gradclip_last_error());
                CHECK_STATUS(gradclip_accumulator_finish(ranks[r].accumulator, m, &after), GRADCLIP_OK);
                CHECK(same_bits(&before, &after, sizeof before), "an error changed the accumulator");
            }
            free_ranks(4);
        }
    }
    /* num_threads is each rank's own, and the zeros are one number. */
    gradclip_options options[2] = {default_options(), default_options()};
    int64_t sums[GRADCLIP_WORDS] = {0};
    options[1].num_threads = 1, options[0].eps = 0, options[1].eps = -0.0;
    for (int r = 0; r < 2; r++) {
        CHECK_STATUS(gradclip_accumulator_create(2, &options[r], &ranks[r].accumulator), GRADCLIP_OK);
        CHECK_STATUS(gradclip_accumulator_to_words(ranks[r].accumulator, r ? 0.0 : -0.0, ranks[r].words), GRADCLIP_OK);
        add_words(sums, ranks[r].words);
    }
    CHECK_STATUS(gradclip_accumulator_from_words(ranks[0].accumulator, 0.0, sums), GRADCLIP_OK);
    free_ranks(2);
}

static void a_refused_call_is_an_error_for_all(void)
{
    int64_t sums[GRADCLIP_WORDS], words[GRADCLIP_WORDS];
    gradclip_accumulator *a = NULL;
    CHECK_STATUS(gradclip_accumulator_create(2, NULL, &a), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_to_words(a, 1, sums), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_to_words(NULL, NAN, words), GRADCLIP_OK);
    add_words(sums, words);
    CHECK_STATUS(gradclip_accumulator_from_words(a, 1, sums), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK(!strcmp(gradclip_last_error(), "ranks whose call was refused must be none (got 1)"), "\"%s\"", gradclip_last_error());
    gradclip_accumulator_free(a);
}

/* As many ranks as there may be, each with the largest sum that float32 can make of many elements. */
static void limbs_have_room_for_all_ranks(void)
{
    float x[32];
    int64_t words[GRADCLIP_WORDS];
    gradclip_result got = new_result();
    gradclip_accumulator *a = NULL;
    for (int i = 0; i < 32; i++) x[i] = 0x1.fffffep127f;
    CHECK_STATUS(gradclip_accumulator_create(2, NULL, &a), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_add_f32(a, x, 32), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_to_words(a, 1, words), GRADCLIP_OK);
    for (int i = 0; i < GRADCLIP_WORDS; i++) words[i] *= (int64_t)1 << 23; /* 2^23 ranks that hold the same */
    CHECK_STATUS(gradclip_accumulator_from_words(a, 1, words), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_finish(a, 1, &got), GRADCLIP_OK);
    CHECK_NUMBER(got.total_norm, 0x1.fffffep127 * 0x1p14); /* sqrt(2^5 * 2^23) */
    gradclip_accumulator_free(a);
}

static void arguments(void)
{
    int64_t words[GRADCLIP_WORDS], bad[GRADCLIP_WORDS];
    float x[] = {3, 4};
    gradclip_tensor t = tensor_of(x, 2, GRADCLIP_F32), wrong = tensor_of(x, 2, 9);
    gradclip_result r = new_result();
    double norms[1];
    gradclip_accumulator *a = NULL;
    CHECK_STATUS(gradclip_accumulator_create(2, NULL, &a), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_add(a, &t, 1), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_to_words(a, -1, words), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK(!strcmp(gradclip_last_error(), "max_norm must be a number >= 0 (got -1)"), "\"%s\"", gradclip_last_error());
    CHECK_STATUS(gradclip_accumulator_to_words(a, 1, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gradclip_accumulator_to_words(a, 1, words), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_from_words(NULL, 1, words), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gradclip_accumulator_from_words(a, NAN, words), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gradclip_accumulator_from_words(a, 1, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT);
    for (int i = 0; i < 20; i++) { /* counters and limbs are not negative */
        memcpy(bad, words, sizeof bad);
        bad[i] = i == 19 ? 0 : -1;
        gradclip_status status = gradclip_accumulator_from_words(a, 1, bad);
        CHECK(status == GRADCLIP_ERROR_BAD_DATA, "word %d: %d", i, (int)status);
    }
    memset(bad, 0, sizeof bad);
    CHECK_STATUS(gradclip_accumulator_from_words(a, 1, bad), GRADCLIP_ERROR_BAD_DATA);
    for (int turn = 0; turn < 1000; turn++) { /* garbage is not taken for ranks that disagree */
        for (int i = 0; i < GRADCLIP_WORDS; i++) bad[i] = (int64_t)next_random();
        CHECK_STATUS(gradclip_accumulator_from_words(a, 1, bad), GRADCLIP_ERROR_BAD_DATA);
    }
    CHECK_STATUS(gradclip_accumulator_clip(NULL, &t, 1, 1, &r), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gradclip_accumulator_clip(a, &wrong, 1, 1, &r), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gradclip_accumulator_clip(a, &t, 1, NAN, &r), GRADCLIP_ERROR_INVALID_ARGUMENT);
    r.tensor_norms = norms;
    CHECK_STATUS(gradclip_accumulator_clip(a, &t, 1, 1, &r), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK(x[0] == 3 && x[1] == 4, "a refused call wrote");
    CHECK_STATUS(gradclip_accumulator_clip(a, &t, 1, 1, NULL), GRADCLIP_OK);
    CHECK(x[0] < 0.6001f && x[0] > 0.5999f, "%g", x[0]);
    /* An accumulator that does not know where its NaN was can be sent on. */
    unsigned char bytes[1024];
    size_t size = sizeof bytes;
    x[1] = NAN;
    CHECK_STATUS(gradclip_accumulator_add(a, &t, 1), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_to_words(a, 1, words), GRADCLIP_OK);
    CHECK(words[GRADCLIP_WORD_NONFINITE] == 1 && words[GRADCLIP_WORD_KIND] == 0, "words");
    CHECK_STATUS(gradclip_accumulator_from_words(a, 1, words), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_export(a, bytes, &size), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_import(a, bytes, size), GRADCLIP_OK);
    r.tensor_norms = NULL;
    CHECK_STATUS(gradclip_accumulator_finish(a, 1, &r), GRADCLIP_NON_FINITE);
    CHECK(r.nonfinite_count == 2 && r.first_tensor == GRADCLIP_NONE && r.first_element == GRADCLIP_NONE, "culprit");
    gradclip_accumulator_free(a);
}

int main(void)
{
    any_cut();
    order_zero_counts_shards();
    who_does_not_agree_is_found();
    a_refused_call_is_an_error_for_all();
    limbs_have_room_for_all_ranks();
    arguments();
    printf("seed %llu; ", (unsigned long long)RANDOM_SEED);
    return checks_summary("accumulator_words");
}
