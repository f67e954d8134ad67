/*
 * choose_max_norm.c - a chooser of max_norm, combined with all else that a trainer may have
 *
 * A linear classifier learns to read digits. max_norm is chosen step by step from the norms
 * of the steps before, and each step is logged with what was decided. There are three ways
 * to get from the gradients to a step:
 *
 *     in-place     gradclip_chooser_clip() measures, decides and clips
 *     deferred     gradclip_defer_clip() measures, the chooser is told the norm, and the
 *                  optimizer multiplies by decision.clip_coef * result.factor
 *     accumulated  the same, but the norm was added up during the backward pass
 *
 * All three train the same classifier: their logs are the same file, to the byte.
 *
 *     cc -std=c11 -O3 choose_max_norm.c -lgradclip -lm -o choose_max_norm
 *     ./choose_max_norm data/digits.txt deferred zclip > run.csv    or autoclip, skipstep, adagc
 *
 * Two batches are bad on purpose. The images of step 100 are 40 times too bright, so that the
 * norm is an outlier; an image of step 200 has an infinite pixel. zclip clips the first and
 * skips the second.
 */
#include "digits.h"
#include <gradclip.h>
#include <math.h>
#include <stdint.h>

enum { CLASSES = 10, BATCH = 50, STEPS = 300, TENSORS = 2 };
static const size_t lengths[TENSORS] = {DIGIT_PIXELS * CLASSES, CLASSES};
static float weights[TENSORS][DIGIT_PIXELS * CLASSES], momentum[TENSORS][DIGIT_PIXELS * CLASSES];
static float grads[TENSORS][DIGIT_PIXELS * CLASSES];
static float *const list[TENSORS] = {grads[0], grads[1]};

static void refuse(const char *what)
{
    fprintf(stderr, "choose_max_norm: %s: %s\n", what, gradclip_last_error());
    exit(1);
}

static uint64_t random_state = 1; /* SplitMix64 */
static double random_uniform(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return ((double)((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53;
}

/* The probabilities of the classes; returns the loss. */
static float forward(const float *x, int label, float *p)
{
    memcpy(p, weights[1], sizeof(float) * CLASSES);
    for (int i = 0; i < DIGIT_PIXELS; i++)
        for (int c = 0; c < CLASSES; c++) p[c] += x[i] * weights[0][i * CLASSES + c];
    float largest = p[0], sum = 0;
    for (int c = 1; c < CLASSES; c++) largest = p[c] > largest ? p[c] : largest;
    for (int c = 0; c < CLASSES; c++) sum += p[c] = expf(p[c] - largest);
    for (int c = 0; c < CLASSES; c++) p[c] /= sum;
    return -logf(p[label] + 1e-30f);
}

/* The mean loss of a batch, and its gradients. With a norm each is added to it when it is final. */
static double loss_and_gradients(const digits *d, int step, gradclip_accumulator *norm)
{
    float loss = 0, x[BATCH][DIGIT_PIXELS], delta[BATCH][CLASSES];
    for (int n = 0; n < BATCH; n++) {
        int i = (int)(random_uniform() * DIGIT_TRAINING);
        for (int k = 0; k < DIGIT_PIXELS; k++) x[n][k] = d->pixels[i][k] * (step == 100 ? 40.0f : 1.0f);
        if (step == 200 && n == 0) x[n][0] = INFINITY;
        loss += forward(x[n], d->label[i], delta[n]) / BATCH;
        for (int c = 0; c < CLASSES; c++) delta[n][c] = (delta[n][c] - (float)(c == d->label[i])) / BATCH;
    }
    memset(grads, 0, sizeof grads);
    for (int t = TENSORS; t-- > 0;) { /* the last layer first */
        for (int n = 0; n < BATCH; n++)
            for (size_t i = 0; i < lengths[t]; i++)
                grads[t][i] += delta[n][i % CLASSES] * (t == 0 ? x[n][i / CLASSES] : 1.0f);
        if (norm == NULL) continue;
        if (gradclip_accumulator_set_next_tensor(norm, (uint64_t)t) < 0) refuse("gradclip_accumulator_set_next_tensor");
        if (gradclip_accumulator_add_f32(norm, grads[t], lengths[t]) < 0) refuse("gradclip_accumulator_add_f32");
    }
    return (double)loss;
}

static void log_line(void *file, uint32_t kind, const char *text)
{
    fprintf(kind == GRADCLIP_LOG_CSV ? (FILE *)file : stderr, "%s\n", text);
}

int main(int argc, char **argv)
{
    static const char *const rules[] = {"", "autoclip", "zclip", "adagc", "skipstep"};
    const char *way = argc > 2 ? argv[2] : "in-place", *rule = argc > 3 ? argv[3] : "zclip";
    uint32_t kind = GRADCLIP_SKIPSTEP;
    while (kind > 0 && strcmp(rule, rules[kind])) kind--;
    int is_deferred = !strcmp(way, "deferred"), is_accumulated = !strcmp(way, "accumulated");
    if (argc < 2 || argc > 4 || kind == 0 || (!is_deferred && !is_accumulated && strcmp(way, "in-place")))
        return fprintf(stderr, "usage: choose_max_norm DIGITS [in-place|deferred|accumulated "
                               "[autoclip|zclip|adagc|skipstep]]\n"), 2;
    /* AdaGC goes by the norm of each tensor, and one accumulator has the norm of all. */
    if (is_accumulated && kind == GRADCLIP_ADAGC)
        return fprintf(stderr, "choose_max_norm: adagc needs the norm of each tensor\n"), 2;
    digits *d = read_digits(argv[1]);

    gradclip_chooser_options chooser_options;
    gradclip_chooser *chooser;
    gradclip_chooser_options_init(&chooser_options, sizeof chooser_options, kind);
    chooser_options.percentile = 90; /* of AutoClip alone */
    if (gradclip_chooser_create(&chooser_options, &chooser) < 0) refuse("gradclip_chooser_create");
    gradclip_accumulator *norm = NULL;
    if (is_accumulated && gradclip_accumulator_create(2.0, NULL, &norm) < 0) refuse("gradclip_accumulator_create");
    gradclip_monitor monitor;
    gradclip_monitor_init(&monitor, sizeof monitor);
    monitor.callback = log_line;
    monitor.user_data = stdout;
    gradclip_tensor tensors[TENSORS];
    for (int t = 0; t < TENSORS; t++) {
        gradclip_tensor tensor = {.data = grads[t], .length = lengths[t], .dtype = GRADCLIP_F32};
        tensors[t] = tensor;
    }

    const double rate = 0.5;
    int clipped = 0, skipped = 0;
    for (int step = 1; step <= STEPS; step++) {
        double loss = loss_and_gradients(d, step, norm), tensor_norms[TENSORS], tensor_coefs[TENSORS];
        double factors[TENSORS] = {1, 1}; /* what the optimizer multiplies by */
        gradclip_result result;
        gradclip_decision decision;
        gradclip_status status;
        gradclip_result_init(&result, sizeof result);
        gradclip_decision_init(&decision, sizeof decision);
        if (!is_deferred && !is_accumulated) {
            status = gradclip_chooser_clip(chooser, tensors, TENSORS, 2.0, &loss, NULL, &result, &decision);
            if (status < 0) refuse("gradclip_chooser_clip");
        } else {
            /* The norm; a max_norm of INFINITY leaves the coefficient to the chooser. */
            result.tensor_norms = is_deferred ? tensor_norms : NULL;
            decision.tensor_coefs = tensor_coefs;
            status = is_deferred ? gradclip_defer_clip_f32(list, lengths, TENSORS, INFINITY, 2.0, NULL, &result)
                                 : gradclip_accumulator_finish(norm, INFINITY, &result);
            if (status < 0) refuse("the norm");
            /* A norm that is NaN or infinite is told, too: it enters no history, and the verdict is to skip. */
            status = kind == GRADCLIP_ADAGC ? gradclip_chooser_feed_tensors(chooser, tensor_norms, TENSORS, &decision)
                                            : gradclip_chooser_feed(chooser, result.total_norm, &loss, &decision);
            if (status < 0) refuse("the chooser");
            for (int t = 0; t < TENSORS; t++)
                factors[t] = (kind == GRADCLIP_ADAGC ? tensor_coefs[t] : decision.clip_coef) * result.factor;
            result.clip_coef = decision.clip_coef; /* for the log: it was measured with none */
        }
        if (norm != NULL && gradclip_accumulator_reset(norm) < 0) refuse("gradclip_accumulator_reset");
        /* A skipped step is logged as well. */
        if (gradclip_monitor_log(&monitor, &rate, &loss, &result, &decision) < 0) refuse("gradclip_monitor_log");
        if (status != GRADCLIP_OK) {
            skipped++;
            continue;
        }
        clipped += decision.clip_coef < 1;
        for (int t = 0; t < TENSORS; t++)
            for (size_t i = 0; i < lengths[t]; i++) {
                momentum[t][i] = 0.9f * momentum[t][i] + (float)factors[t] * grads[t][i];
                weights[t][i] -= (float)rate * momentum[t][i];
            }
    }

    int right = 0;
    for (int i = DIGIT_TRAINING; i < DIGITS; i++) {
        float p[CLASSES];
        forward(d->pixels[i], d->label[i], p);
        int best = 0;
        for (int c = 1; c < CLASSES; c++) best = p[c] > p[best] ? c : best;
        right += best == d->label[i];
    }
    fprintf(stderr, "%s, %s: %d of %d test digits right, %d of %d steps clipped, %d skipped\n", way, rule, right,
            DIGITS - DIGIT_TRAINING, clipped, STEPS, skipped);
    gradclip_accumulator_free(norm);
    gradclip_chooser_free(chooser);
    free(d);
    return 0;
}
