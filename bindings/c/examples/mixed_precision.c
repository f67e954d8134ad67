/*
 * mixed_precision.c - bfloat16 gradients, a dynamic loss scale, one call
 *
 * A network of two layers learns to read digits. Weights are kept in float and used
 * in bfloat16; gradients are stored in bfloat16, of the loss times loss_scale. One
 * call then does what usually takes three: it measures the norm of gradient /
 * loss_scale, clips, and divides by loss_scale as it writes (options.grad_scale). If
 * a gradient has overflowed it leaves them all alone and says so: the step is skipped
 * and the scale halved. After 200 good steps the scale is doubled.
 *
 *     cc -std=c11 -O3 mixed_precision.c -lgradclip -lm -o mixed_precision
 *     ./mixed_precision data/digits.txt 0.3     clip to norm 0.3
 *     ./mixed_precision data/digits.txt none    no clipping, but the rest of the call
 *
 * bfloat16 has the range of float, so the scale must be absurd before anything
 * overflows. It starts at 2^132 here, to show that; with float16 (GRADCLIP_F16 and its
 * own conversion) 2^16 is enough.
 *
 * Trained at rate 0.8 (gcc 12, x86-64, a second), max_norm 0.3 ends with a loss of 0.0001
 * and 277 of 297 test digits right; 764 of 2000 steps were clipped and 8 skipped. With
 * "none" it ends at 0.66 and 179. At rate 0.1 both learn (0.0024 and 0.0020, 272 right):
 * clipping buys the larger rate.
 */
#include "digits.h"
#include <gradclip.h>
#include <math.h>
#include <stdint.h>

enum { INPUTS = DIGIT_PIXELS, HIDDEN = 64, CLASSES = 10, BATCH = 50, TENSORS = 4 };

static const uint64_t lengths[TENSORS] = {INPUTS * HIDDEN, HIDDEN, HIDDEN * CLASSES, CLASSES};
static float weights[TENSORS][INPUTS * HIDDEN];     /* the ones that learn */
static float momentum[TENSORS][INPUTS * HIDDEN];
static float used[TENSORS][INPUTS * HIDDEN];        /* rounded to bfloat16 */
static uint16_t grads[TENSORS][INPUTS * HIDDEN];    /* bfloat16, times loss_scale */

static float from_bf16(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &wide, sizeof x);
    return x;
}

static uint16_t to_bf16(float x) /* to nearest, ties to even; an overflow is an infinity */
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (x != x) return 0x7fc0;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static uint64_t random_state = 1; /* SplitMix64 */
static double random_uniform(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return ((double)((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53;
}

/* Forward for one image; returns the loss, and the probabilities in p. */
static float forward(const float *x, int label, float *h, float *p)
{
    memcpy(h, used[1], HIDDEN * sizeof(float));
    for (int i = 0; i < INPUTS; i++)
        for (int k = 0; k < HIDDEN; k++) h[k] += x[i] * used[0][i * HIDDEN + k];
    memcpy(p, used[3], CLASSES * sizeof(float));
    for (int k = 0; k < HIDDEN; k++) {
        h[k] = h[k] > 0 ? h[k] : 0;
        for (int c = 0; c < CLASSES; c++) p[c] += h[k] * used[2][k * CLASSES + c];
    }
    float largest = p[0], sum = 0;
    for (int c = 1; c < CLASSES; c++) largest = p[c] > largest ? p[c] : largest;
    for (int c = 0; c < CLASSES; c++) sum += p[c] = expf(p[c] - largest);
    for (int c = 0; c < CLASSES; c++) p[c] /= sum;
    return -logf(p[label] + 1e-30f);
}

/* The mean loss of a batch; its gradients, times loss_scale, are stored as bfloat16. */
static float loss_and_gradients(const digits *d, double loss_scale)
{
    static float sum[TENSORS][INPUTS * HIDDEN];
    float loss = 0, scale = (float)(loss_scale / BATCH);
    memset(sum, 0, sizeof sum);
    for (int n = 0; n < BATCH; n++) {
        int i = (int)(random_uniform() * DIGIT_TRAINING), label = d->label[i];
        float h[HIDDEN], p[CLASSES];
        loss += forward(d->pixels[i], label, h, p) / BATCH;
        for (int c = 0; c < CLASSES; c++) {
            p[c] = scale * (p[c] - (c == label)); /* the gradient of the logits */
            sum[3][c] += p[c];
        }
        for (int k = 0; k < HIDDEN; k++) {
            float dh = 0;
            for (int c = 0; c < CLASSES; c++) {
                sum[2][k * CLASSES + c] += h[k] * p[c];
                dh += p[c] * used[2][k * CLASSES + c];
            }
            if (h[k] <= 0) continue;
            sum[1][k] += dh;
            for (int j = 0; j < INPUTS; j++) sum[0][j * HIDDEN + k] += dh * d->pixels[i][j];
        }
    }
    for (int t = 0; t < TENSORS; t++)
        for (uint64_t i = 0; i < lengths[t]; i++) grads[t][i] = to_bf16(sum[t][i]);
    return loss;
}

static void round_weights(void)
{
    for (int t = 0; t < TENSORS; t++)
        for (uint64_t i = 0; i < lengths[t]; i++) used[t][i] = from_bf16(to_bf16(weights[t][i]));
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 4) return fprintf(stderr, "usage: mixed_precision DIGITS [MAX_NORM|none [LEARNING_RATE]]\n"), 2;
    const char *max_norm_text = argc > 2 ? argv[2] : "0.3";
    double max_norm = strcmp(max_norm_text, "none") ? atof(max_norm_text) : INFINITY;
    float rate = argc > 3 ? (float)atof(argv[3]) : 0.8f;
    digits *d = read_digits(argv[1]);
    for (int t = 0; t < TENSORS; t += 2)
        for (uint64_t i = 0; i < lengths[t]; i++)
            weights[t][i] = (float)((random_uniform() - 0.5) * 2 / sqrt(t == 0 ? INPUTS / 4 : HIDDEN));
    round_weights();

    double loss_scale = 0x1p132;
    int good = 0, skipped = 0, clipped = 0;
    const int steps = 2000;
    float mean_loss = 0;
    for (int step = 1; step <= steps; step++) {
        float loss = loss_and_gradients(d, loss_scale);

        gradclip_tensor list[TENSORS];
        for (int t = 0; t < TENSORS; t++) {
            gradclip_tensor tensor = {.data = grads[t], .length = lengths[t], .dtype = GRADCLIP_BF16};
            list[t] = tensor;
        }
        gradclip_options options;
        gradclip_result result;
        gradclip_options_init(&options, sizeof options);
        gradclip_result_init(&result, sizeof result);
        options.grad_scale = loss_scale;
        gradclip_status status = gradclip_clip_grad_norm(list, TENSORS, max_norm, 2.0, &options, &result);
        if (status < 0) return fprintf(stderr, "mixed_precision: %s\n", gradclip_last_error()), 1;

        if (status == GRADCLIP_NON_FINITE) {
            printf("step %d: scale 2^%g: %llu gradients overflowed, the first is %llu of tensor %llu: skipped\n", step,
                   log2(loss_scale), (unsigned long long)result.nonfinite_count,
                   (unsigned long long)result.first_element, (unsigned long long)result.first_tensor);
            loss_scale /= 2;
            good = 0, skipped++;
            continue;
        }
        if (++good % 200 == 0) loss_scale *= 2;
        for (int t = 0; t < TENSORS; t++)
            for (uint64_t i = 0; i < lengths[t]; i++) {
                momentum[t][i] = 0.9f * momentum[t][i] + from_bf16(grads[t][i]);
                weights[t][i] -= rate * momentum[t][i];
            }
        round_weights();
        clipped += result.clip_coef < 1.0;
        mean_loss += (loss - mean_loss) / (step < 100 ? (float)step : 100.0f);
        if (step % 400 == 0)
            printf("step %d: loss %.4f, total_norm %.3f, scale 2^%g\n", step, mean_loss, result.total_norm, log2(loss_scale));
    }

    int right = 0;
    for (int i = DIGIT_TRAINING; i < DIGITS; i++) {
        float h[HIDDEN], p[CLASSES];
        forward(d->pixels[i], d->label[i], h, p);
        int best = 0;
        for (int c = 1; c < CLASSES; c++)
            if (p[c] > p[best]) best = c;
        right += best == d->label[i];
    }
    printf("max_norm %s, rate %g: final loss %.4f, %d of %d test digits right, %d of %d steps clipped, %d skipped\n",
           max_norm_text, (double)rate, mean_loss, right, DIGITS - DIGIT_TRAINING, clipped, steps, skipped);
    free(d);
    return 0;
}
