/*
 * accumulate_backward.c - the norm added up while the backward pass makes the gradients
 *
 * A wide network (34 MB of gradients) learns to read digits. A norm pass after the
 * backward pass reads all gradients from memory once more. Here the rows of a
 * gradient are added to an accumulator as soon as they are there, while they lie in
 * cache, and at the end the norm is known already. SGD multiplies by the factor
 * (deferred clipping), so the step reads the gradients once instead of twice.
 *
 *     cc -std=c11 -O3 -march=native accumulate_backward.c -lgradclip -lm -o accumulate_backward
 *     ./accumulate_backward data/digits.txt 1       clip to norm 1
 *     ./accumulate_backward data/digits.txt none    measure only
 *
 * Steps take turns: one measures as it goes, one in a pass of its own, one not at
 * all; the times are medians. Every tenth step does both, and the two norms must have
 * the same bits: the sum is exact, so it does not matter how it is cut.
 *
 * The norm of 34 MB on one thread of an EPYC virtual machine with AVX2 (CPU time):
 *
 *     norm_type  as it goes  a pass of its own  (./accumulate_backward data/digits.txt none NORM_TYPE)
 *     inf        0.8 ms      1.6 ms
 *     1          2.9 ms      3.0 ms
 *     2          4.0 ms      4.0 ms
 *
 * So what is saved is memory traffic, and half of the time where memory was the limit.
 * The exact sums of p = 1 and 2 were limited by arithmetic here, and save the traffic
 * only: of use to the other threads, when several share the memory.
 * The network ends with 264 of 297 test digits right at max_norm 1 (every step clipped),
 * and with 265 without clipping.
 */
#define _POSIX_C_SOURCE 199309L
#include "digits.h"
#include <gradclip.h>
#include <math.h>
#include <stdint.h>
#include <time.h>

enum { WIDTH = 2048, BATCH = 16, LAYERS = 4, ROWS = 16, STEPS = 120 };
static const int sizes[LAYERS + 1] = {DIGIT_PIXELS, WIDTH, WIDTH, WIDTH, 10};

static float *weights[LAYERS], *grads[LAYERS]; /* (sizes[l], sizes[l + 1]), no biases */
static size_t lengths[LAYERS];
static float *values[LAYERS + 1], *back[LAYERS + 1]; /* (BATCH, sizes[l]), and their gradients */

static void refuse(const char *what)
{
    fprintf(stderr, "accumulate_backward: %s: %s\n", what, gradclip_last_error());
    exit(1);
}

static float *zeros(size_t count)
{
    float *memory = calloc(count, sizeof(float));
    if (memory == NULL) refuse("out of memory");
    return memory;
}

static uint64_t random_state = 1; /* SplitMix64 */
static double random_uniform(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return ((double)((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53;
}

static double milliseconds(void) /* of this thread, wherever else the machine is busy */
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* values[l + 1] = relu(values[l] weights[l]), and softmax at the end. */
static void forward(int batch)
{
    for (int l = 0; l < LAYERS; l++) {
        int m = sizes[l], n = sizes[l + 1];
        memset(values[l + 1], 0, (size_t)(batch * n) * sizeof(float));
        for (int i = 0; i < m; i++) /* one row of weights for all of the batch */
            for (int b = 0; b < batch; b++) {
                float a = values[l][b * m + i], *out = values[l + 1] + b * n;
                const float *row = weights[l] + (size_t)i * (size_t)n;
                for (int k = 0; a != 0 && k < n; k++) out[k] += a * row[k];
            }
        for (int k = 0; l < LAYERS - 1 && k < batch * n; k++)
            if (values[l + 1][k] < 0) values[l + 1][k] = 0;
    }
    for (int b = 0; b < batch; b++) {
        float *p = values[LAYERS] + b * 10, largest = p[0], sum = 0;
        for (int c = 1; c < 10; c++) largest = p[c] > largest ? p[c] : largest;
        for (int c = 0; c < 10; c++) sum += p[c] = expf(p[c] - largest);
        for (int c = 0; c < 10; c++) p[c] /= sum;
    }
}

/* From back[LAYERS] to all gradients. With a norm they are added to it, a few rows
 * at a time, when the rows have just been written. */
static void backward(gradclip_accumulator *norm)
{
    for (int l = LAYERS - 1; l >= 0; l--) {
        int m = sizes[l], n = sizes[l + 1];
        for (int i = 0; i < m; i++) {
            float *row = grads[l] + (size_t)i * (size_t)n;
            const float *weight = weights[l] + (size_t)i * (size_t)n;
            memset(row, 0, (size_t)n * sizeof(float));
            for (int b = 0; b < BATCH; b++) {
                const float *d = back[l + 1] + b * n;
                float a = values[l][b * m + i], lane[8] = {0};
                if (a == 0) { /* after relu: nothing comes back either, but for the pixels */
                    back[l][b * m + i] = 0;
                    continue;
                }
                for (int k = 0; k < n; k++) row[k] += a * d[k];
                for (int k = 0; k + 8 <= n; k += 8)
                    for (int j = 0; j < 8; j++) lane[j] += weight[k + j] * d[k + j];
                for (int k = n & ~7; k < n; k++) lane[0] += weight[k] * d[k];
                back[l][b * m + i] = ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
            }
            if (norm != NULL && (i + 1) % ROWS == 0 &&
                (gradclip_accumulator_set_next_tensor(norm, (uint64_t)l) < 0 ||
                 gradclip_accumulator_add_f32(norm, row - (ROWS - 1) * n, (size_t)(ROWS * n)) < 0))
                refuse("gradclip_accumulator_add_f32");
        }
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 4) return fprintf(stderr, "usage: accumulate_backward DIGITS [MAX_NORM|none [NORM_TYPE]]\n"), 2;
    const char *max_norm_text = argc > 2 ? argv[2] : "1";
    double max_norm = strcmp(max_norm_text, "none") ? atof(max_norm_text) : INFINITY;
    const double norm_type = argc > 3 ? strtod(argv[3], NULL) : 2.0; /* "inf" too */
    const float rate = 0.1f;
    digits *d = read_digits(argv[1]);
    size_t parameters = 0;
    for (int l = 0; l <= LAYERS; l++) {
        values[l] = zeros((size_t)((DIGITS - DIGIT_TRAINING) * sizes[l])); /* the test takes most */
        back[l] = zeros((size_t)(BATCH * sizes[l]));
        if (l == LAYERS) break;
        parameters += lengths[l] = (size_t)sizes[l] * (size_t)sizes[l + 1];
        weights[l] = zeros(lengths[l]);
        grads[l] = zeros(lengths[l]);
        for (size_t i = 0; i < lengths[l]; i++)
            weights[l][i] = (float)((random_uniform() - 0.5) * sqrt(24.0 / sizes[l]));
    }
    gradclip_set_num_threads(1); /* as the trainer; the figures compare work, not cores */

    enum { AS_IT_GOES, OWN_PASS, NO_NORM, WAYS };
    static const char *const ways[WAYS] = {"added as it goes", "in its own pass", "not at all"};
    static double times[WAYS][STEPS];
    int counts[WAYS] = {0}, same = 0, clipped = 0;
    float mean_loss = 0;
    gradclip_accumulator *norm;
    if (gradclip_accumulator_create(norm_type, NULL, &norm) < 0) refuse("gradclip_accumulator_create");
    for (int step = 1; step <= STEPS; step++) {
        int way = step % WAYS, both = step % 10 == 0;
        float loss = 0;
        int labels[BATCH];
        for (int b = 0; b < BATCH; b++) {
            int i = (int)(random_uniform() * DIGIT_TRAINING);
            labels[b] = d->label[i];
            memcpy(values[0] + b * DIGIT_PIXELS, d->pixels[i], sizeof d->pixels[i]);
        }
        forward(BATCH);
        for (int b = 0; b < BATCH; b++)
            for (int c = 0; c < 10; c++) {
                float p = values[LAYERS][b * 10 + c];
                if (c == labels[b]) loss -= logf(p + 1e-30f) / BATCH;
                back[LAYERS][b * 10 + c] = (p - (float)(c == labels[b])) / BATCH;
            }

        /* What is measured: the backward pass with its norm. */
        gradclip_result result, other;
        gradclip_result_init(&result, sizeof result);
        gradclip_result_init(&other, sizeof other);
        gradclip_accumulator_reset(norm);
        double begin = milliseconds();
        backward(way == AS_IT_GOES || both ? norm : NULL);
        gradclip_status status = GRADCLIP_OK;
        if (way == AS_IT_GOES || both) status = gradclip_accumulator_finish(norm, max_norm, &result);
        else if (way == OWN_PASS) status = gradclip_defer_clip_f32(grads, lengths, LAYERS, max_norm, norm_type, NULL, &result);
        double end = milliseconds();
        if (status < 0) refuse("the norm");
        if (!both) times[way][counts[way]++] = end - begin;

        /* The step needs a norm all the same; this one is not timed. */
        if (both || way == NO_NORM) {
            gradclip_status told = gradclip_defer_clip_f32(grads, lengths, LAYERS, max_norm, norm_type, NULL, &other);
            if (told < 0) refuse("the norm");
            if (!both) result = other, status = told;
            same += both && memcmp(&other.total_norm, &result.total_norm, sizeof(double)) == 0;
        }
        if (status == GRADCLIP_NON_FINITE)
            printf("step %d: NaN or infinite gradients, the first in layer %d: skipped\n", step, (int)result.first_tensor);
        float factor = (float)result.factor;
        for (int l = 0; l < LAYERS && status == GRADCLIP_OK; l++)
            for (size_t i = 0; i < lengths[l]; i++) weights[l][i] -= rate * (factor * grads[l][i]);
        clipped += result.clip_coef < 1;
        mean_loss += (loss - mean_loss) / (step < 20 ? (float)step : 20.0f);
        if (step % 20 == 0) printf("step %d: loss %.4f, total_norm %.3f\n", step, (double)mean_loss, result.total_norm);
    }

    for (int i = DIGIT_TRAINING; i < DIGITS; i++)
        memcpy(values[0] + (i - DIGIT_TRAINING) * DIGIT_PIXELS, d->pixels[i], sizeof d->pixels[i]);
    forward(DIGITS - DIGIT_TRAINING);
    int right = 0;
    for (int i = 0; i < DIGITS - DIGIT_TRAINING; i++) {
        int best = 0;
        for (int c = 1; c < 10; c++)
            if (values[LAYERS][i * 10 + c] > values[LAYERS][i * 10 + best]) best = c;
        right += best == d->label[DIGIT_TRAINING + i];
    }
    double medians[WAYS];
    for (int way = 0; way < WAYS; way++) {
        qsort(times[way], (size_t)counts[way], sizeof(double), by_value);
        medians[way] = times[way][counts[way] / 2];
        printf("backward pass, norm %-18s %8.2f ms (median of %d)\n", ways[way], medians[way], counts[way]);
    }
    double pass = medians[OWN_PASS] - medians[NO_NORM], added = medians[AS_IT_GOES] - medians[NO_NORM];
    printf("the norm of %.1f MB costs %.2f ms as it goes, %.2f ms in a pass of its own\n", (double)parameters * 4e-6, added, pass);
    printf("norms with the same bits: %d of %d\n", same, STEPS / 10);
    printf("max_norm %s: final loss %.4f, %d of %d test digits right, %d of %d steps clipped\n", max_norm_text,
           (double)mean_loss, right, DIGITS - DIGIT_TRAINING, clipped, STEPS);
    gradclip_accumulator_free(norm);
    for (int l = 0; l <= LAYERS; l++) {
        free(values[l]);
        free(back[l]);
        if (l < LAYERS) free(weights[l]), free(grads[l]);
    }
    free(d);
    return same != STEPS / 10;
}
