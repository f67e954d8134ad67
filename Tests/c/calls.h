/*
 * One call of every kind, each on gradients that were just filled in, for the tests that
 * call in the middle of something: from many threads, on a small stack, without memory.
 * All that a step writes lies in world.bytes, so that two runs are compared by memcmp.
 */
#ifndef CALLS_H
#define CALLS_H

#include "check.h"

#include <math.h>
#include <stdlib.h>

enum { EXAMPLES = 8, LISTED = 4, SAVED = 16384, ENOUGH_FOR_THREADS = 600000 };

struct found {
    gradclip_result result;
    gradclip_decision decision;
    gradclip_per_example_result per_example;
    gradclip_report reports[LISTED];
    double numbers[64];
    unsigned char text[64];
};

struct world {
    size_t n, part; /* elements of a, weights and out; of the others: a multiple of EXAMPLES */
    unsigned char *bytes;
    size_t size;
    unsigned char *saved; /* room for a saved chooser, which a small stack has not */
    float *a, *weights, *out;
    double *d;
    uint16_t *half, *brain;
    struct found *found;
    gradclip_options options;
    gradclip_tensor list[LISTED];
};

static inline int make_world(struct world *w, size_t n, uint32_t threads)
{
    memset(w, 0, sizeof *w);
    w->n = n;
    w->part = n / (8 * EXAMPLES) * EXAMPLES;
    w->size = n * 12 + w->part * 12 + sizeof *w->found;
    w->bytes = malloc(w->size + SAVED);
    if (!w->bytes) return 0;
    w->saved = w->bytes + w->size;
    w->d = (double *)(void *)w->bytes;
    w->found = (struct found *)(void *)(w->d + w->part);
    w->a = (float *)(void *)(w->found + 1);
    w->weights = w->a + n;
    w->out = w->weights + n;
    w->half = (uint16_t *)(void *)(w->out + n);
    w->brain = w->half + w->part;
    w->options = default_options();
    w->options.exact_f64 = 1;
    w->options.num_threads = threads;
    w->list[0] = tensor_of(w->a, n, GRADCLIP_F32);
    w->list[1] = tensor_of(w->d, w->part, GRADCLIP_F64);
    w->list[2] = tensor_of(w->half, w->part, GRADCLIP_F16);
    w->list[3] = tensor_of(w->brain, w->part, GRADCLIP_BF16);
    return 1;
}

static inline void fill_world(struct world *w)
{
    memset(w->bytes, 0, w->size);
    for (size_t i = 0; i < w->n; i++) {
        w->a[i] = (float)((int)(i * 7919 % 2001) - 1000) * 0x1p-9f;
        w->weights[i] = (float)(1 + i % 13);
    }
    for (size_t i = 0; i < w->part; i++) {
        w->d[i] = (double)(i % 101) / 7 - 5;
        w->half[i] = (uint16_t)(0x3c00 + i % 512);  /* 1 to 1.5 */
        w->brain[i] = (uint16_t)(0xbf80 + i % 64); /* -1 to -1.5 */
    }
    gradclip_result_init(&w->found->result, sizeof w->found->result);
    gradclip_decision_init(&w->found->decision, sizeof w->found->decision);
    w->found->per_example.struct_size = sizeof w->found->per_example;
}

#define STEP(name) static inline gradclip_status step_##name(struct world *w)
#define ALL w->list, LISTED
#define RESULT &w->found->result
#define DO(call)                            \
    do {                                    \
        status = (call);                    \
        if (status != GRADCLIP_OK) goto end; \
    } while (0)

STEP(clip_f32) { return gradclip_clip_grad_norm_f32(&w->a, &w->n, 1, 1, 2, &w->options, RESULT); }
STEP(clip_f64) { return gradclip_clip_grad_norm_f64(&w->d, &w->part, 1, 1, 2, &w->options, RESULT); }
STEP(clip_p1) { return gradclip_clip_grad_norm(ALL, 1, 1, &w->options, RESULT); }
STEP(clip_p2) { return gradclip_clip_grad_norm(ALL, 1, 2, &w->options, RESULT); }
STEP(clip_p3) { return gradclip_clip_grad_norm(ALL, 1, 3, &w->options, RESULT); }
STEP(clip_p27) { return gradclip_clip_grad_norm(ALL, 1, 2.7, &w->options, RESULT); }
STEP(clip_inf) { return gradclip_clip_grad_norm(ALL, 1, INFINITY, &w->options, RESULT); }
STEP(clip_to)
{
    gradclip_tensor out = tensor_of(w->out, w->n, GRADCLIP_F32);
    return gradclip_clip_grad_norm_to(w->list, &out, 1, 1, 2, &w->options, RESULT);
}
STEP(total_norm)
{
    w->found->result.tensor_norms = w->found->numbers;
    gradclip_status status = gradclip_get_total_norm(ALL, 2, &w->options, RESULT);
    w->found->result.tensor_norms = NULL; /* an address: no two runs have the same */
    return status;
}
STEP(with_norm) { return gradclip_clip_grads_with_norm(ALL, 1, 3, &w->options, RESULT); }
STEP(scale) { return gradclip_scale(ALL, 0.37, &w->options); }
STEP(value) { return gradclip_clip_grad_value(ALL, 0.7, &w->options); }
STEP(inspect) { return gradclip_inspect(ALL, 2, &w->options, w->found->reports, sizeof *w->found->reports, RESULT); }
STEP(accumulator)
{
    gradclip_accumulator *one = NULL, *other = NULL;
    unsigned char bytes[1024];
    size_t size = sizeof bytes;
    gradclip_status status;
    DO(gradclip_accumulator_create(2, &w->options, &one));
    DO(gradclip_accumulator_create(2, &w->options, &other));
    DO(gradclip_accumulator_add(one, w->list, 2));
    DO(gradclip_accumulator_add(other, w->list + 2, 2));
    DO(gradclip_accumulator_merge(one, other));
    DO(gradclip_accumulator_export(one, bytes, &size));
    DO(gradclip_accumulator_reset(one));
    DO(gradclip_accumulator_import(one, bytes, size));
    DO(gradclip_accumulator_clip(one, ALL, 1, RESULT));
end:
    gradclip_accumulator_free(one);
    gradclip_accumulator_free(other);
    return status;
}
STEP(difference)
{
    gradclip_accumulator *one = NULL;
    const gradclip_tensor from[] = {w->list[0], w->list[1], w->list[2]};
    const gradclip_tensor minus[] = {tensor_of(w->weights, w->n, GRADCLIP_F32), w->list[3], w->list[1]};
    gradclip_status status;
    DO(gradclip_accumulator_create(2, &w->options, &one));
    DO(gradclip_accumulator_add_difference(one, from, minus, 3));
    DO(gradclip_accumulator_finish(one, 1, RESULT));
end:
    gradclip_accumulator_free(one);
    return status;
}
STEP(words)
{
    gradclip_accumulator *one = NULL;
    int64_t words[GRADCLIP_WORDS];
    gradclip_options options = w->options;
    gradclip_status status;
    options.exact_f64 = 0;
    DO(gradclip_accumulator_create(2, &options, &one));
    DO(gradclip_accumulator_add(one, w->list, 1));
    DO(gradclip_accumulator_to_words(one, 1, words));
    DO(gradclip_accumulator_from_words(one, 1, words));
    DO(gradclip_accumulator_finish(one, 1, RESULT));
end:
    gradclip_accumulator_free(one);
    return status;
}
/* A chooser that has seen some norms, saved and restored, clips. */
static inline gradclip_status choose(struct world *w, uint32_t kind)
{
    gradclip_chooser_options options;
    gradclip_chooser *chooser = NULL, *second = NULL;
    size_t size = SAVED;
    gradclip_decision ignored;
    double norms[LISTED] = {1, 2, 3, 4}, loss = 1;
    gradclip_status status;
    DO(gradclip_chooser_options_init(&options, sizeof options, kind));
    DO(gradclip_chooser_create(&options, &chooser));
    DO(gradclip_chooser_create(&options, &second));
    DO(gradclip_decision_init(&ignored, sizeof ignored));
    for (int i = 0; i < 70; i++) {
        norms[0] = 1 + i % 5;
        if (kind == GRADCLIP_ADAGC) DO(gradclip_chooser_feed_tensors(chooser, norms, LISTED, &ignored));
        else DO(gradclip_chooser_feed(chooser, norms[0], &loss, &ignored));
    }
    DO(gradclip_chooser_export(chooser, w->saved, &size));
    DO(gradclip_chooser_import(second, w->saved, size));
    status = gradclip_chooser_clip(second, ALL, 2, &loss, &w->options, RESULT, &w->found->decision);
    if (status == GRADCLIP_SKIP_STEP && kind == GRADCLIP_SKIPSTEP) status = GRADCLIP_OK;
end:
    gradclip_chooser_free(chooser);
    gradclip_chooser_free(second);
    return status;
}
STEP(autoclip) { return choose(w, GRADCLIP_AUTOCLIP); }
STEP(zclip) { return choose(w, GRADCLIP_ZCLIP); }
STEP(adagc) { return choose(w, GRADCLIP_ADAGC); }
/* Tensor by tensor; the optimizer's step is left out. */
STEP(by_tensor)
{
    gradclip_chooser_options options;
    gradclip_chooser *chooser = NULL;
    gradclip_status status;
    DO(gradclip_chooser_options_init(&options, sizeof options, GRADCLIP_ADAGC));
    options.warmup_steps = 3;
    DO(gradclip_chooser_create(&options, &chooser));
    for (int i = 0; i < 5 * LISTED; i++) {
        gradclip_result *found = RESULT;
        DO(gradclip_chooser_feed_tensor(chooser, (size_t)(i % LISTED), w->list + i % LISTED, 2, &w->options, found));
        w->found->numbers[i % 64] = found->factor;
    }
end:
    gradclip_chooser_free(chooser);
    return status;
}
STEP(skipstep) { return choose(w, GRADCLIP_SKIPSTEP); }
static inline void take_line(void *text, uint32_t kind, const char *line)
{
    if (kind == GRADCLIP_LOG_CSV) strncpy(text, line, sizeof ((struct found *)0)->text - 1);
}
STEP(monitor)
{
    gradclip_monitor monitor;
    double rate = 0.1, loss = 2.5;
    gradclip_status status;
    DO(gradclip_monitor_init(&monitor, sizeof monitor));
    monitor.callback = take_line;
    monitor.user_data = w->found->text;
    DO(gradclip_get_total_norm(ALL, 2, &w->options, RESULT));
    DO(gradclip_monitor_log(&monitor, &rate, &loss, RESULT, NULL));
end:
    return status;
}
STEP(by_norm)
{
    double limit = 1;
    return gradclip_clip_by_norm(ALL, &limit, 1, 2, &w->options, RESULT, w->found->numbers);
}
STEP(by_group)
{
    const uint32_t groups[LISTED] = {1, 0, 1, 0};
    const double limits[] = {1, 2};
    return gradclip_clip_by_group(ALL, groups, limits, 2, 2, &w->options, RESULT, w->found->numbers, w->found->numbers + 8);
}
STEP(by_block_rms) { return gradclip_clip_by_block_rms(ALL, 0.5, &w->options, RESULT, w->found->numbers); }
static inline gradclip_status adapt(struct world *w, gradclip_units units, uint32_t exact)
{
    gradclip_tensor weights = tensor_of(w->weights, w->n, GRADCLIP_F32);
    gradclip_options options = w->options;
    options.exact_f64 = exact;
    return gradclip_adaptive_clip_grad(w->list, &weights, &units, 1, 0.01, 1e-3, 2, &options, RESULT, NULL);
}
STEP(adaptive_rows) { return adapt(w, (gradclip_units){w->n / 8, 8, 1}, 0); }
STEP(adaptive_columns) { return adapt(w, (gradclip_units){1, w->n / 8, 8}, 0); }
STEP(adaptive_exact) { return adapt(w, (gradclip_units){1, w->n / 8, 8}, 1); }
static inline gradclip_status adapt_type(struct world *w, int i, double p)
{
    gradclip_tensor weights = tensor_of(w->weights, w->part, GRADCLIP_F32);
    gradclip_units units = {1, w->part / 8, 8};
    return gradclip_adaptive_clip_grad(w->list + i, &weights, &units, 1, 0.01, 1e-3, p, &w->options, RESULT, NULL);
}
STEP(adaptive_f64) { return adapt_type(w, 1, 2.7); }
STEP(adaptive_f16) { return adapt_type(w, 2, 2); }
STEP(adaptive_bf16) { return adapt_type(w, 3, 3); }
STEP(per_example)
{
    gradclip_tensor sums[LISTED];
    double limit = 1;
    for (int i = 0; i < LISTED; i++) {
        sums[i] = tensor_of(w->out, w->list[i].length / EXAMPLES, GRADCLIP_F32);
        if (i) sums[i].data = (float *)sums[i - 1].data + sums[i - 1].length;
    }
    return gradclip_clip_per_example(w->list, sums, LISTED, EXAMPLES, &limit, 1, GRADCLIP_EXAMPLE_CLIP, &w->options,
                                     &w->found->per_example, w->found->numbers, NULL);
}
STEP(overlap)
{
    size_t pair[2];
    gradclip_status status = gradclip_find_overlap(ALL, &pair[0], &pair[1]);
    if (status == GRADCLIP_OK) w->found->numbers[0] = (double)pair[0], w->found->numbers[1] = (double)pair[1];
    return status;
}

static const struct step {
    const char *name;
    gradclip_status (*run)(struct world *);
} steps[] = {
#define NAMED(name) {#name, step_##name}
    NAMED(clip_f32), NAMED(clip_f64), NAMED(clip_p1), NAMED(clip_p2), NAMED(clip_p3), NAMED(clip_p27), NAMED(clip_inf), NAMED(clip_to),
    NAMED(total_norm), NAMED(with_norm), NAMED(scale), NAMED(value), NAMED(inspect), NAMED(accumulator), NAMED(words), NAMED(autoclip),
    NAMED(zclip), NAMED(adagc), NAMED(skipstep), NAMED(monitor), NAMED(by_norm), NAMED(by_group), NAMED(by_block_rms),
    NAMED(adaptive_rows), NAMED(adaptive_columns), NAMED(adaptive_exact), NAMED(adaptive_f64), NAMED(adaptive_f16), NAMED(adaptive_bf16),
    NAMED(per_example), NAMED(overlap), NAMED(difference), NAMED(by_tensor)};
enum { STEPS = sizeof steps / sizeof *steps };

/* A number for all that is in the world. */
static inline uint64_t digest(const struct world *w)
{
    uint64_t hash = 1469598103934665603u, word;
    for (size_t i = 0; i + 8 <= w->size; i += 8) {
        memcpy(&word, w->bytes + i, 8);
        hash = (hash ^ word) * 1099511628211u;
        hash ^= hash >> 29;
    }
    return hash;
}

/* Runs a step on fresh gradients; 0 if it fails. */
static inline uint64_t digest_of_step(struct world *w, int i)
{
    fill_world(w);
    return steps[i].run(w) == GRADCLIP_OK ? digest(w) : 0;
}

#endif
