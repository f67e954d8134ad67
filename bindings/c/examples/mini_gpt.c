/*
 * mini_gpt.c - a small GPT on a flat arena, clipped in its optimizer
 *
 * Two blocks of attention and MLP learn to predict the next byte of a text. All
 * parameters lie in one array and all gradients in another, in the same order (as
 * in llm.c), so the list of gradients is a list of one. And the gradients are never
 * scaled: gradclip_defer_clip_f32 says what to multiply by, and AdamW does so while
 * it reads them anyway. That is the deferred coefficient: one pass less.
 *
 *     cc -std=c11 -O3 -march=native mini_gpt.c -lgradclip -lm -o mini_gpt
 *     ./mini_gpt data/asyoulik.txt 1 300       clip to norm 1
 *     ./mini_gpt data/asyoulik.txt none 300    measure only
 *
 * Validation loss, nats per byte, seeds 1 to 5 (gcc 12, glibc 2.36, x86-64; 23 ms a step):
 *
 *     steps  max_norm  1       2       3       4       5
 *     100    1         2.974   3.060   3.065   3.084   2.996
 *     100    none      3.232   3.109   3.125   3.202   3.061
 *     1000   1         2.174   2.257   2.254
 *     1000   none      2.247   2.177   2.161
 *
 * The gradients of the first ten steps are up to four times as long as later ones, and
 * there is no warm-up: clipping them is worth one. A thousand steps later nothing is
 * left of it, since AdamW itself divides by the size of gradients; clipping is then a
 * net under the rope (examples/char_rnn.c, plain SGD, falls without it).
 */
#include <errno.h>
#include <gradclip.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BYTES = 256,   /* the vocabulary */
    CONTEXT = 64,  /* positions that attention looks back over */
    WIDTH = 64,    /* numbers by position */
    HEADS = 4,
    LAYERS = 2,
    BATCH = 8,     /* sequences by step */
    HEAD = WIDTH / HEADS,
    HIDDEN = 4 * WIDTH
};

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "mini_gpt: %s: %s\n", what, detail);
    exit(1);
}

static float *zeros(size_t count)
{
    float *memory = calloc(count, sizeof(float));
    if (memory == NULL) die("allocation failed", strerror(errno));
    return memory;
}

/* Our own generator (SplitMix64), so that a seed means the same with any libc. */
static uint64_t random_state;

static double random_uniform(void) /* in (0, 1) */
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return ((double)((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53;
}

static double random_normal(void) /* mean 0, variance 1 (Box-Muller) */
{
    double radius = sqrt(-2.0 * log(random_uniform()));
    return radius * cos(6.283185307179586 * random_uniform());
}

/* ------------------------------------------------------------ the arena -- */

/* One tensor after the other; matrices have one row per input. */
typedef struct block {
    float *norm1, *qkv, *qkv_bias, *project, *project_bias;
    float *norm2, *up, *up_bias, *down, *down_bias;
} block;

typedef struct arena {
    float *all;
    size_t length;
    float *bytes, *positions; /* embeddings; bytes is the output layer too */
    block blocks[LAYERS];
    float *norm;
} arena;

/* Cut an arena up; with all = NULL only its length is of use. */
static arena lay_out(float *all)
{
    arena a = {.all = all};
    size_t at = 0;
#define TAKE(tensor, count) ((tensor) = all ? all + at : NULL, at += (size_t)(count))
    TAKE(a.bytes, BYTES * WIDTH);
    TAKE(a.positions, CONTEXT * WIDTH);
    for (int l = 0; l < LAYERS; l++) {
        block *b = &a.blocks[l];
        TAKE(b->norm1, WIDTH);
        TAKE(b->qkv, WIDTH * 3 * WIDTH);
        TAKE(b->qkv_bias, 3 * WIDTH);
        TAKE(b->project, WIDTH * WIDTH);
        TAKE(b->project_bias, WIDTH);
        TAKE(b->norm2, WIDTH);
        TAKE(b->up, WIDTH * HIDDEN);
        TAKE(b->up_bias, HIDDEN);
        TAKE(b->down, HIDDEN * WIDTH);
        TAKE(b->down_bias, WIDTH);
    }
    TAKE(a.norm, WIDTH);
#undef TAKE
    a.length = at;
    return a;
}

static void fill_normal(float *tensor, size_t count, double scale)
{
    for (size_t i = 0; i < count; i++) tensor[i] = (float)(scale * random_normal());
}

static void initialise(arena *a)
{
    double scale = 1.0 / sqrt(WIDTH), last = scale / sqrt(2.0 * LAYERS);
    fill_normal(a->bytes, BYTES * WIDTH, 0.02);
    fill_normal(a->positions, CONTEXT * WIDTH, 0.02);
    for (int l = 0; l < LAYERS; l++) {
        block *b = &a->blocks[l];
        for (int i = 0; i < WIDTH; i++) b->norm1[i] = b->norm2[i] = 1.0f;
        fill_normal(b->qkv, WIDTH * 3 * WIDTH, scale);
        fill_normal(b->project, WIDTH * WIDTH, last);
        fill_normal(b->up, WIDTH * HIDDEN, scale);
        fill_normal(b->down, HIDDEN * WIDTH, last / 2);
    }
    for (int i = 0; i < WIDTH; i++) a->norm[i] = 1.0f;
}

/* --------------------------------------------------- layers and back again -- */

/* out (rows, n) = in (rows, m) times weight (m, n), plus bias */
static void linear(float *restrict out, const float *restrict in, const float *restrict weight,
                   const float *restrict bias, int rows, int m, int n)
{
    for (int t = 0; t < rows; t++, out += n, in += m) {
        memcpy(out, bias, (size_t)n * sizeof(float));
        for (int i = 0; i < m; i += 4) { /* m is a multiple of 4; the time goes into out */
            const float *w0 = weight + i * n, *w1 = w0 + n, *w2 = w1 + n, *w3 = w2 + n;
            float a0 = in[i], a1 = in[i + 1], a2 = in[i + 2], a3 = in[i + 3];
            for (int k = 0; k < n; k++) out[k] += (a0 * w0[k] + a1 * w1[k]) + (a2 * w2[k] + a3 * w3[k]);
        }
    }
}

/* In eight lanes, because C must not reorder a sum and one lane is slow. */
static float dot(const float *restrict a, const float *restrict b, int n)
{
    float lane[8] = {0};
    for (int k = 0; k < n; k += 8)
        for (int j = 0; j < 8; j++) lane[j] += a[k + j] * b[k + j];
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

/* From d_out to d_in (+=), d_weight (+=) and d_bias (+=; NULL if there is none). */
static void linear_back(float *restrict d_in, float *restrict d_weight, float *restrict d_bias,
                        const float *restrict d_out, const float *restrict in, const float *restrict weight,
                        int rows, int m, int n)
{
    for (int t = 0; t < rows; t++)
        for (int i = 0; i < m; i++) d_in[t * m + i] += dot(weight + i * n, d_out + t * n, n);
    for (int t = 0; t < rows; t++)
        for (int k = 0; k < n; k++) d_bias[k] += d_out[t * n + k];
    for (int t = 0; t < rows; t += 4) { /* rows is a multiple of 4 */
        const float *d0 = d_out + t * n, *d1 = d0 + n, *d2 = d1 + n, *d3 = d2 + n;
        for (int i = 0; i < m; i++) {
            float a0 = in[t * m + i], a1 = in[t * m + m + i], a2 = in[t * m + 2 * m + i], a3 = in[t * m + 3 * m + i];
            float *row = d_weight + i * n;
            for (int k = 0; k < n; k++) row[k] += (a0 * d0[k] + a1 * d1[k]) + (a2 * d2[k] + a3 * d3[k]);
        }
    }
}

/* Root mean square norm: out = in * gain / rms(in). */
static void rms_norm(float *out, float *inverse, const float *in, const float *gain)
{
    for (int t = 0; t < CONTEXT; t++, out += WIDTH, in += WIDTH) {
        inverse[t] = 1.0f / sqrtf(dot(in, in, WIDTH) / WIDTH + 1e-5f);
        for (int i = 0; i < WIDTH; i++) out[i] = in[i] * inverse[t] * gain[i];
    }
}

static void rms_norm_back(float *d_in, float *d_gain, const float *d_out, const float *inverse,
                          const float *in, const float *gain)
{
    for (int t = 0; t < CONTEXT; t++, d_in += WIDTH, d_out += WIDTH, in += WIDTH) {
        float s = inverse[t], weighted[WIDTH];
        for (int i = 0; i < WIDTH; i++) {
            weighted[i] = d_out[i] * gain[i];
            d_gain[i] += d_out[i] * in[i] * s;
        }
        float mean = dot(weighted, in, WIDTH) * s * s / WIDTH;
        for (int i = 0; i < WIDTH; i++) d_in[i] += s * (weighted[i] - in[i] * mean);
    }
}

/* Causal attention of all heads. weights[h][t][u]: how much position t takes from u. */
static void attention(float *out, float *weights, const float *qkv)
{
    const float scale = 1.0f / sqrtf(HEAD);
    memset(out, 0, CONTEXT * WIDTH * sizeof(float));
    for (int h = 0; h < HEADS; h++)
        for (int t = 0; t < CONTEXT; t++) {
            float *w = weights + (h * CONTEXT + t) * CONTEXT, largest = -INFINITY, sum = 0;
            const float *q = qkv + t * 3 * WIDTH + h * HEAD, *k = qkv + WIDTH + h * HEAD, *v = k + WIDTH;
            for (int u = 0; u <= t; u++) {
                w[u] = scale * dot(q, k + u * 3 * WIDTH, HEAD);
                if (w[u] > largest) largest = w[u];
            }
            for (int u = 0; u <= t; u++) sum += w[u] = expf(w[u] - largest);
            for (int u = 0; u <= t; u++) {
                w[u] /= sum;
                for (int i = 0; i < HEAD; i++) out[t * WIDTH + h * HEAD + i] += w[u] * v[u * 3 * WIDTH + i];
            }
        }
}

static void attention_back(float *d_qkv, const float *d_out, const float *weights, const float *qkv)
{
    const float scale = 1.0f / sqrtf(HEAD);
    for (int h = 0; h < HEADS; h++)
        for (int t = 0; t < CONTEXT; t++) {
            const float *w = weights + (h * CONTEXT + t) * CONTEXT, *d = d_out + t * WIDTH + h * HEAD;
            const size_t own = (size_t)(t * 3 * WIDTH + h * HEAD);
            float d_w[CONTEXT], mean = 0;
            for (int u = 0; u <= t; u++) {
                size_t v = (size_t)(u * 3 * WIDTH + 2 * WIDTH + h * HEAD);
                d_w[u] = dot(d, qkv + v, HEAD);
                mean += w[u] * d_w[u];
                for (int i = 0; i < HEAD; i++) d_qkv[v + (size_t)i] += w[u] * d[i];
            }
            for (int u = 0; u <= t; u++) {
                size_t k = (size_t)(u * 3 * WIDTH + WIDTH + h * HEAD);
                float d_score = scale * w[u] * (d_w[u] - mean);
                for (int i = 0; i < HEAD; i++) {
                    d_qkv[own + (size_t)i] += d_score * qkv[k + (size_t)i];
                    d_qkv[k + (size_t)i] += d_score * qkv[own + (size_t)i];
                }
            }
        }
}

/* ----------------------------------------------------------- the network -- */

/* What a block keeps of the way there for the way back. */
typedef struct block_memory {
    float in[CONTEXT * WIDTH], normed1[CONTEXT * WIDTH], inverse1[CONTEXT];
    float qkv[CONTEXT * 3 * WIDTH], weights[HEADS * CONTEXT * CONTEXT], mixed[CONTEXT * WIDTH];
    float middle[CONTEXT * WIDTH], normed2[CONTEXT * WIDTH], inverse2[CONTEXT];
    float up[CONTEXT * HIDDEN], active[CONTEXT * HIDDEN];
} block_memory;

static struct {
    block_memory blocks[LAYERS];
    float last[CONTEXT * WIDTH], normed[CONTEXT * WIDTH], inverse[CONTEXT], logits[BYTES];
} memory;

/* The mean loss over one sequence, bytes[CONTEXT] being the last target. If grads is
 * given, the gradients of scale times that loss are added to it. */
static double sequence_loss(const arena *p, const arena *grads, const unsigned char *bytes, float scale)
{
    float *x = memory.last;
    for (int t = 0; t < CONTEXT; t++)
        for (int i = 0; i < WIDTH; i++)
            x[t * WIDTH + i] = p->bytes[bytes[t] * WIDTH + i] + p->positions[t * WIDTH + i];
    for (int l = 0; l < LAYERS; l++) {
        const block *b = &p->blocks[l];
        block_memory *m = &memory.blocks[l];
        memcpy(m->in, x, sizeof m->in);
        rms_norm(m->normed1, m->inverse1, m->in, b->norm1);
        linear(m->qkv, m->normed1, b->qkv, b->qkv_bias, CONTEXT, WIDTH, 3 * WIDTH);
        attention(m->mixed, m->weights, m->qkv);
        linear(m->middle, m->mixed, b->project, b->project_bias, CONTEXT, WIDTH, WIDTH);
        for (int i = 0; i < CONTEXT * WIDTH; i++) m->middle[i] += m->in[i];
        rms_norm(m->normed2, m->inverse2, m->middle, b->norm2);
        linear(m->up, m->normed2, b->up, b->up_bias, CONTEXT, WIDTH, HIDDEN);
        for (int i = 0; i < CONTEXT * HIDDEN; i++) /* x sigmoid(x) */
            m->active[i] = m->up[i] / (1.0f + expf(-m->up[i]));
        linear(x, m->active, b->down, b->down_bias, CONTEXT, HIDDEN, WIDTH);
        for (int i = 0; i < CONTEXT * WIDTH; i++) x[i] += m->middle[i];
    }
    rms_norm(memory.normed, memory.inverse, x, p->norm);

    /* The output layer is the embedding of bytes, transposed. */
    static float d_normed[CONTEXT * WIDTH], d_x[CONTEXT * WIDTH];
    memset(d_normed, 0, sizeof d_normed);
    double loss = 0;
    for (int t = 0; t < CONTEXT; t++) {
        float *logits = memory.logits, largest = -INFINITY, sum = 0;
        const float *h = memory.normed + t * WIDTH;
        for (int v = 0; v < BYTES; v++) {
            logits[v] = dot(h, p->bytes + v * WIDTH, WIDTH);
            if (logits[v] > largest) largest = logits[v];
        }
        loss -= logits[bytes[t + 1]] - largest;
        for (int v = 0; v < BYTES; v++) sum += logits[v] = expf(logits[v] - largest);
        loss += log(sum);
        for (int v = 0; v < BYTES && grads != NULL; v++) {
            float d = scale / CONTEXT * (logits[v] / sum - (v == bytes[t + 1]));
            for (int i = 0; i < WIDTH; i++) {
                d_normed[t * WIDTH + i] += d * p->bytes[v * WIDTH + i];
                grads->bytes[v * WIDTH + i] += d * h[i];
            }
        }
    }
    if (grads == NULL) return loss / CONTEXT;

    memset(d_x, 0, sizeof d_x);
    rms_norm_back(d_x, grads->norm, d_normed, memory.inverse, memory.last, p->norm);
    for (int l = LAYERS - 1; l >= 0; l--) {
        const block *b = &p->blocks[l], *d = &grads->blocks[l];
        const block_memory *m = &memory.blocks[l];
        static float d_active[CONTEXT * HIDDEN], d_qkv[CONTEXT * 3 * WIDTH], d_small[CONTEXT * WIDTH];
        memset(d_active, 0, sizeof d_active);
        linear_back(d_active, d->down, d->down_bias, d_x, m->active, b->down, CONTEXT, HIDDEN, WIDTH);
        for (int i = 0; i < CONTEXT * HIDDEN; i++) {
            float sigmoid = 1.0f / (1.0f + expf(-m->up[i]));
            d_active[i] *= sigmoid * (1.0f + m->up[i] * (1.0f - sigmoid));
        }
        memset(d_small, 0, sizeof d_small);
        linear_back(d_small, d->up, d->up_bias, d_active, m->normed2, b->up, CONTEXT, WIDTH, HIDDEN);
        rms_norm_back(d_x, d->norm2, d_small, m->inverse2, m->middle, b->norm2);
        memset(d_small, 0, sizeof d_small);
        linear_back(d_small, d->project, d->project_bias, d_x, m->mixed, b->project, CONTEXT, WIDTH, WIDTH);
        memset(d_qkv, 0, sizeof d_qkv);
        attention_back(d_qkv, d_small, m->weights, m->qkv);
        memset(d_small, 0, sizeof d_small);
        linear_back(d_small, d->qkv, d->qkv_bias, d_qkv, m->normed1, b->qkv, CONTEXT, WIDTH, 3 * WIDTH);
        rms_norm_back(d_x, d->norm1, d_small, m->inverse1, m->in, b->norm1);
    }
    for (int t = 0; t < CONTEXT; t++)
        for (int i = 0; i < WIDTH; i++) {
            grads->bytes[bytes[t] * WIDTH + i] += d_x[t * WIDTH + i];
            grads->positions[t * WIDTH + i] += d_x[t * WIDTH + i];
        }
    return loss / CONTEXT;
}

/* AdamW (Loshchilov, Hutter 2019). Gradients are read once, and multiplied by factor. */
static void adamw(const arena *p, const arena *grads, float *m, float *v, double factor, double rate, int step)
{
    const float beta1 = 0.9f, beta2 = 0.95f, decay = 0.01f, f = (float)factor, r = (float)rate;
    const float bias1 = (float)(1.0 - pow(0.9, step)), bias2 = (float)(1.0 - pow(0.95, step));
    for (size_t i = 0; i < p->length; i++) {
        float g = f * grads->all[i];
        m[i] = beta1 * m[i] + (1.0f - beta1) * g;
        v[i] = beta2 * v[i] + (1.0f - beta2) * g * g;
        p->all[i] -= r * (m[i] / bias1 / (sqrtf(v[i] / bias2) + 1e-8f) + decay * p->all[i]);
    }
}

/* -------------------------------------------------------------- training -- */

static unsigned char *read_text(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) die(path, strerror(errno));
    unsigned char *text = malloc(1 << 20);
    if (text == NULL) die(path, strerror(errno));
    *length = fread(text, 1, 1 << 20, file);
    if (ferror(file)) die(path, "cannot be read");
    fclose(file);
    return text;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 6) die("usage", "mini_gpt TEXT [MAX_NORM|none [STEPS [LEARNING_RATE [SEED]]]]");
    const char *max_norm_text = argc > 2 ? argv[2] : "1";
    double max_norm = strcmp(max_norm_text, "none") ? atof(max_norm_text) : INFINITY; /* INFINITY: only measure */
    int steps = argc > 3 ? atoi(argv[3]) : 300;
    double rate = argc > 4 ? atof(argv[4]) : 0.005;
    random_state = argc > 5 ? strtoull(argv[5], NULL, 10) : 1;

    if (steps < 1) die("STEPS must be at least 1", argv[3]);

    size_t length;
    unsigned char *text = read_text(argv[1], &length);
    size_t training = length - length / 10; /* the rest is for validation */
    if (length < 20 * CONTEXT) die(argv[1], "the text is too short");

    arena p = lay_out(zeros(lay_out(NULL).length)), grads = lay_out(zeros(p.length));
    float *m = zeros(p.length), *v = zeros(p.length);
    initialise(&p);
    int clipped = 0, skipped = 0;
    for (int step = 1; step <= steps; step++) {
        memset(grads.all, 0, grads.length * sizeof(float));
        double loss = 0;
        for (int b = 0; b < BATCH; b++) {
            size_t at = (size_t)(random_uniform() * (double)(training - CONTEXT - 1));
            loss += sequence_loss(&p, &grads, text + at, 1.0f / BATCH) / BATCH;
        }

        gradclip_result result;
        gradclip_result_init(&result, sizeof result);
        gradclip_status status =
            gradclip_defer_clip_f32(&grads.all, &grads.length, 1, max_norm, 2.0, NULL, &result);
        if (status < 0) die(gradclip_status_string(status), gradclip_last_error());

        if (status == GRADCLIP_NON_FINITE) skipped++;
        else adamw(&p, &grads, m, v, result.factor, rate * (1.0 - (step - 1.0) / steps), step);
        clipped += result.clip_coef < 1.0;
        if (step % 50 == 0 || step == 1)
            printf("step %d: loss %.4f, total_norm %.4f, clip_coef %.4f\n", step, loss, result.total_norm,
                   result.clip_coef);
    }

    double validation = 0;
    int sequences = 0;
    for (size_t at = training; at + CONTEXT + 1 <= length; at += CONTEXT, sequences++)
        validation += sequence_loss(&p, NULL, text + at, 0);
    printf("max_norm %s, rate %g: validation loss %.4f nats per byte, %d of %d steps clipped, %d skipped\n",
           max_norm_text, rate, validation / sequences, clipped, steps, skipped);
    free(text);
    free(p.all);
    free(grads.all);
    free(m);
    free(v);
    return 0;
}
