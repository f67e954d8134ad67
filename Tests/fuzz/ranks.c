/* Norms that span ranks: the words of accumulators, added up, and gradclip_mpi.h between
 * threads. Also words that are no such sum: taken or refused as a whole. */
#include "input.h"
#include "reference.h"

#include <mpi.h> /* threads_as_ranks/mpi.h */

#include "gradclip_mpi.h"

/* Merged with itself an accumulator holds what it would if all were added twice. */
static void check_merge(gradclip_accumulator *accumulator, const list *grads, double p) {
    gradclip_result merged, added;
    gradclip_result_init(&merged, sizeof merged);
    gradclip_result_init(&added, sizeof added);
    for (int way = 0; way < 2; way++) {
        REQUIRE(gradclip_accumulator_reset(accumulator) == GRADCLIP_OK, "%s", gradclip_last_error());
        REQUIRE(gradclip_accumulator_add(accumulator, grads->tensors, grads->count) == GRADCLIP_OK, "%s", gradclip_last_error());
        const gradclip_status status = way ? gradclip_accumulator_add(accumulator, grads->tensors, grads->count)
                                           : gradclip_accumulator_merge(accumulator, accumulator);
        REQUIRE(status == GRADCLIP_OK, "%s", gradclip_last_error());
        REQUIRE(gradclip_accumulator_finish(accumulator, 1.0, way ? &added : &merged) >= 0, "%s", gradclip_last_error());
    }
    REQUIRE(same(merged.total_norm, added.total_norm) || fabs(merged.total_norm - added.total_norm) <= added.total_norm * (1e-14 + 1e-15 / fabs(p)) + 5e-324,
            "%a merged, %a added", merged.total_norm, added.total_norm);
    REQUIRE(merged.nonfinite_count == added.nonfinite_count && merged.nan_count == added.nan_count && merged.first_tensor == added.first_tensor &&
                merged.first_element == added.first_element, "counts");
}

/* Words as somebody may send them: any bits, or those of ranks with a few changed. */
static void check_foreign_words(input *in) {
    gradclip_accumulator *accumulator = NULL;
    const double p = take_double(in), max_norm = take_double(in);
    const gradclip_options options = take_options(in);
    if (gradclip_accumulator_create(p, &options, &accumulator) != GRADCLIP_OK) return;
    list grads = take_list(in, 0);
    REQUIRE(gradclip_accumulator_add(accumulator, grads.tensors, grads.count) == GRADCLIP_OK, "%s", gradclip_last_error());
    int64_t words[GRADCLIP_WORDS], once[GRADCLIP_WORDS];
    const gradclip_status told = gradclip_accumulator_to_words(accumulator, max_norm, words);
    REQUIRE(told == GRADCLIP_OK || !(max_norm >= 0), "%s", gradclip_last_error());
    if (told == GRADCLIP_OK) {
        memcpy(once, words, sizeof words);
        for (unsigned changes = take_byte(in) % 5; changes > 0; changes--) {
            const uint8_t at = take_byte(in) % GRADCLIP_WORDS;
            int64_t word;
            take(in, &word, sizeof word);
            words[at] = take_byte(in) & 1 ? word : words[at] ^ (int64_t)((uint64_t)1 << (word & 63));
        }
        uint8_t before[1024], after[1024];
        size_t before_size = sizeof before, after_size = sizeof after;
        gradclip_accumulator_export(accumulator, before, &before_size);
        const gradclip_status status = gradclip_accumulator_from_words(accumulator, max_norm, words);
        if (memcmp(once, words, sizeof words) == 0) REQUIRE(status == GRADCLIP_OK, "%s", gradclip_last_error());
        if (status != GRADCLIP_OK) {
            REQUIRE(status == GRADCLIP_ERROR_BAD_DATA || status == GRADCLIP_ERROR_INVALID_ARGUMENT, "status %d", status);
            REQUIRE(*gradclip_last_error() != '\0', "no message");
            gradclip_accumulator_export(accumulator, after, &after_size);
            REQUIRE(before_size == after_size && memcmp(before, after, after_size) == 0, "refused words changed the accumulator");
        }
    }
    /* Whatever was taken, the accumulator can be used. */
    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    REQUIRE(gradclip_accumulator_add(accumulator, grads.tensors, grads.count) == GRADCLIP_OK, "%s", gradclip_last_error());
    REQUIRE(gradclip_accumulator_finish(accumulator, 1.0, &result) >= 0, "%s", gradclip_last_error());
    REQUIRE(gradclip_accumulator_to_words(accumulator, 1.0, words) == GRADCLIP_OK, "%s", gradclip_last_error());
    REQUIRE(gradclip_accumulator_reset(accumulator) == GRADCLIP_OK, "%s", gradclip_last_error());
    REQUIRE(gradclip_accumulator_finish(accumulator, 1.0, &result) == GRADCLIP_OK && result.total_norm == 0, "reset, and not empty");
    check_merge(accumulator, &grads, p);
    gradclip_accumulator_free(accumulator);
    release(&grads);
}

typedef struct shard {
    rank where;
    list grads;
    double max_norm, p;
    gradclip_options options;
    int way;
    gradclip_mpi_result found;
    gradclip_status status;
    pthread_t thread;
} shard;

static void *run_rank(void *argument) {
    shard *own = argument;
    gradclip_accumulator *accumulator = NULL;
    switch (own->way) {
    case 0:
        own->status = gradclip_mpi_clip_grad_norm(&own->where, own->grads.tensors, own->grads.count, own->max_norm, own->p, &own->options, &own->found);
        break;
    case 1:
        own->status = gradclip_mpi_defer_clip(&own->where, own->grads.tensors, own->grads.count, own->max_norm, own->p, &own->options, &own->found);
        break;
    default:
        /* (A rank whose accumulator could not be made takes part with NULL.) */
        if (gradclip_accumulator_create(own->p, &own->options, &accumulator) == GRADCLIP_OK)
            for (size_t i = 0; i < own->grads.count; i++) {
                const gradclip_tensor *tensor = &own->grads.tensors[i];
                const uint32_t dtype = tensor->flags ? 0 : tensor->dtype;
                const gradclip_status status = dtype == GRADCLIP_F32   ? gradclip_accumulator_add_f32(accumulator, tensor->data, tensor->length)
                                               : dtype == GRADCLIP_F64 ? gradclip_accumulator_add_f64(accumulator, tensor->data, tensor->length)
                                                                       : gradclip_accumulator_add(accumulator, tensor, 1);
                REQUIRE(status == GRADCLIP_OK, "%s", gradclip_last_error());
            }
        own->status = gradclip_mpi_accumulator_clip(&own->where, accumulator, own->grads.tensors, own->grads.count, own->max_norm, &own->found);
        gradclip_accumulator_free(accumulator);
    }
    if (own->status < 0) REQUIRE(*gradclip_mpi_last_error(&own->found) != '\0', "no message");
    return NULL;
}

static void check_mpi(input *in) {
    shard shards[MOST_RANKS];
    list before[MOST_RANKS];
    world all = {.ranks = 1 + take_byte(in) % MOST_RANKS};
    const uint8_t what = take_byte(in), failing = take_byte(in);
    if (failing >= 0xf0) all.fail_at = failing - 0xef;
    pthread_barrier_init(&all.barrier, NULL, (unsigned)all.ranks);
    const double max_norm = take_double(in), p = take_double(in);
    gradclip_options options = take_options(in);
    options.num_threads = 1;
    int refused = 0, disagree = 0;
    for (int r = 0; r < all.ranks; r++) {
        shards[r] = (shard){.where = {&all, r, 0}, .grads = take_list(in, 0), .max_norm = max_norm, .p = p, .options = options, .way = what % 3};
        if (what >= 0xe0 && take_byte(in) & 1) {
            shards[r].max_norm = take_double(in);
        }
        /* -0 and 0 are one max_norm. */
        refused += !options_are_valid(&options) || p != p || !(shards[r].max_norm >= 0);
        disagree += r > 0 && shards[r].max_norm != shards[0].max_norm;
        before[r] = copy_of(&shards[r].grads);
    }
    for (int r = 1; r < all.ranks; r++) REQUIRE(pthread_create(&shards[r].thread, NULL, run_rank, &shards[r]) == 0, "no thread");
    run_rank(&shards[0]);
    for (int r = 1; r < all.ranks; r++) pthread_join(shards[r].thread, NULL);
    pthread_barrier_destroy(&all.barrier);

    for (int r = 0; r < all.ranks; r++) {
        const shard *own = &shards[r];
        if (own->status < 0) REQUIRE(same_bytes(&own->grads, &before[r]), "rank %d failed and wrote", r);
        /* Ranks decide alike. */
        REQUIRE((own->status < 0) == (shards[0].status < 0), "rank %d: %d, rank 0: %d", r, own->status, shards[0].status);
        if (refused || disagree) REQUIRE(own->status < 0, "rank %d went on", r);
        if (own->status < 0) continue;
        const gradclip_result *a = &own->found.all, *b = &shards[0].found.all;
        REQUIRE(own->status == shards[0].status && memcmp(&a->total_norm, &b->total_norm, sizeof(double)) == 0 && same(a->clip_coef, b->clip_coef) &&
                    same(a->factor, b->factor) && a->nonfinite_count == b->nonfinite_count && a->nan_count == b->nan_count &&
                    a->first_tensor == b->first_tensor && a->first_element == b->first_element && own->found.rank == shards[0].found.rank,
                "rank %d has another result", r);
        if (own->way == 1 || own->status == GRADCLIP_NON_FINITE) REQUIRE(same_bytes(&own->grads, &before[r]), "rank %d wrote", r);
    }
    if (!refused && !disagree && all.fail_at == 0) {
        const shard *first = &shards[0];
        REQUIRE(first->status >= 0, "%s", gradclip_mpi_last_error(&first->found));
        /* Against one process with all gradients; by order 0 each shard is a tensor. */
        gradclip_tensor whole[MOST_RANKS * MOST_TENSORS];
        size_t count = 0;
        bool is_exact = p == 0 || isinf(p) || fabs(p) >= 0x1p50 || p == 1 || p == 2;
        uint64_t first_tensor = GRADCLIP_NONE;
        int culprit = -1;
        for (int r = 0; r < all.ranks; r++)
            for (size_t i = 0; i < before[r].count; i++) {
                whole[count++] = before[r].tensors[i];
                if (whole[count - 1].dtype == GRADCLIP_F64 && !options.exact_f64 && (p == 1 || p == 2)) is_exact = false;
                for (uint64_t k = 0; culprit < 0 && !whole[count - 1].flags && k < whole[count - 1].length; k++)
                    if (!isfinite(element(&whole[count - 1], k))) culprit = r, first_tensor = i;
            }
        gradclip_result expected;
        gradclip_result_init(&expected, sizeof expected);
        gradclip_status status = gradclip_defer_clip(whole, count, first->max_norm, p, &options, &expected);
        if (first->way != 1 && options.nonfinite == GRADCLIP_NONFINITE_ZERO) status = GRADCLIP_OK; /* these replace it */
        REQUIRE(status == first->status, "status %d, expected %d", first->status, status);
        const double got = first->found.all.total_norm, wanted = expected.total_norm;
        REQUIRE(is_exact ? same(got, wanted) : same(got, wanted) || fabs(got - wanted) <= fabs(wanted) * (1e-14 + 1e-15 / fabs(p)) + 5e-324,
                "%a over %d ranks, %a in one process, p %g", got, all.ranks, wanted, p);
        if (is_exact) REQUIRE(same(first->found.all.clip_coef, expected.clip_coef), "clip_coef %a, expected %a: max_norm %a, total_norm %a, p %g, eps %a, grad_scale %a",
                              first->found.all.clip_coef, expected.clip_coef, first->max_norm, got, p, options.eps, options.grad_scale);
        REQUIRE(first->found.all.nonfinite_count == expected.nonfinite_count && first->found.all.nan_count == expected.nan_count, "counts");
        REQUIRE(first->found.rank == culprit && (culprit < 0 || first->found.all.first_tensor == first_tensor), "rank %d, expected %d", first->found.rank, culprit);
    }
    for (int r = 0; r < all.ranks; r++) {
        release(&shards[r].grads);
        release(&before[r]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    input in = {bytes, size};
    if (take_byte(&in) & 1) check_mpi(&in);
    else check_foreign_words(&in);
    return 0;
}
