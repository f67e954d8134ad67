/*
 * char_mlp.h - the network that both MPI examples train
 *
 * From a few characters of a text, the next one: one-hot characters, a layer of tanh
 * units, softmax. The hidden units come in blocks of BLOCK, and wherever blocks are
 * summed it is block by block, in their order: so a rank that holds some of the blocks and
 * a rank that holds all of them compute the same bits.
 */
#ifndef CHAR_MLP_H
#define CHAR_MLP_H

#include <errno.h>
#include <gradclip_mpi.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONTEXT = 6, BLOCK = 8, BLOCKS = 12, HIDDEN = BLOCKS * BLOCK, MOST_SYMBOLS = 256 };

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "%s: %s\n", what, detail);
    MPI_Abort(MPI_COMM_WORLD, 1);
    exit(1);
}

static void *zeros(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (memory == NULL) die("allocation failed", strerror(errno));
    return memory;
}

/* ----------------------------------------------------------------- text -- */

typedef struct text {
    unsigned char *symbols; /* 0 ... vocabulary - 1 */
    size_t length;
    size_t vocabulary;
} text;

static text read_text(const char *path)
{
    text t = {0};
    size_t symbol_of[256] = {0}, seen[256] = {0};
    FILE *file = fopen(path, "rb");
    if (file == NULL) die(path, strerror(errno));
    t.symbols = zeros(1 << 20, 1);
    t.length = fread(t.symbols, 1, 1 << 20, file);
    fclose(file);
    if (t.length < 1000) die(path, "too short a text");
    for (size_t i = 0; i < t.length; i++) seen[t.symbols[i]] = 1;
    for (int byte = 0; byte < 256; byte++)
        if (seen[byte]) symbol_of[byte] = t.vocabulary++;
    for (size_t i = 0; i < t.length; i++) t.symbols[i] = (unsigned char)symbol_of[t.symbols[i]];
    return t;
}

/* SplitMix64: the n-th number of a seed, so that no rank depends on what another drew. */
static uint64_t random_number(uint64_t seed, uint64_t n)
{
    uint64_t z = seed * UINT64_C(0xd1342543de82ef95) + (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The n-th example of all: CONTEXT characters, and the one that follows them. */
static const unsigned char *example(const text *t, uint64_t n)
{
    return t->symbols + random_number(7, n) % (t->length - CONTEXT);
}

/* ---------------------------------------------------------------- model -- */

/*
 * Some blocks of hidden units, from first on, and the output bias. Parameters lie in
 * one arena, gradients in another of the same layout:
 *
 *     input (units, CONTEXT, vocabulary), hidden bias (units), output (units, vocabulary),
 *     output bias (vocabulary)
 */
typedef struct mlp {
    size_t vocabulary, first, units;
    size_t at_bias, at_output, at_output_bias, size;
    float *params, *grads;
} mlp;

static mlp mlp_new(size_t vocabulary, size_t first_block, size_t blocks, double scale)
{
    mlp m = {.vocabulary = vocabulary, .first = first_block * BLOCK, .units = blocks * BLOCK};
    size_t inputs = CONTEXT * vocabulary;
    m.at_bias = m.units * inputs;
    m.at_output = m.at_bias + m.units;
    m.at_output_bias = m.at_output + m.units * vocabulary;
    m.size = m.at_output_bias + vocabulary;
    m.params = zeros(m.size, sizeof(float));
    m.grads = zeros(m.size, sizeof(float));
    /* A parameter's first value depends on its place in the whole network; biases are 0. */
    for (size_t u = 0; u < m.units; u++) {
        for (size_t j = 0; j < inputs; j++)
            m.params[u * inputs + j] = (float)(scale * ((double)(random_number(1, (m.first + u) * inputs + j) >> 11) * 0x1p-52 - 1));
        for (size_t j = 0; j < vocabulary; j++)
            m.params[m.at_output + u * vocabulary + j] =
                (float)(scale * ((double)(random_number(2, (m.first + u) * vocabulary + j) >> 11) * 0x1p-52 - 1));
    }
    return m;
}

static void mlp_free(mlp *m)
{
    free(m->params);
    free(m->grads);
}

/* hidden[u] of each unit, and what each block of them adds to the logits: (blocks, vocabulary). */
static void forward(const mlp *m, const unsigned char *x, float *hidden, float *block_logits)
{
    size_t V = m->vocabulary;
    memset(block_logits, 0, m->units / BLOCK * V * sizeof(float));
    for (size_t u = 0; u < m->units; u++) {
        float a = m->params[m->at_bias + u], *logits = block_logits + u / BLOCK * V;
        for (size_t j = 0; j < CONTEXT; j++) a += m->params[(u * CONTEXT + j) * V + x[j]];
        hidden[u] = tanhf(a);
        const float *output = m->params + m->at_output + u * V;
        for (size_t v = 0; v < V; v++) logits[v] += hidden[u] * output[v];
    }
}

/* From what all BLOCKS blocks added: the loss, and in dlogits its gradient. */
static double loss(const mlp *m, const float *block_logits, unsigned char target, float *dlogits)
{
    size_t V = m->vocabulary;
    double largest = -INFINITY, sum = 0, result;
    memcpy(dlogits, m->params + m->at_output_bias, V * sizeof(float));
    for (size_t b = 0; b < BLOCKS; b++)
        for (size_t v = 0; v < V; v++) dlogits[v] += block_logits[b * V + v];
    for (size_t v = 0; v < V; v++)
        if (dlogits[v] > largest) largest = dlogits[v];
    for (size_t v = 0; v < V; v++) sum += exp(dlogits[v] - largest);
    result = log(sum) + largest - dlogits[target];
    for (size_t v = 0; v < V; v++) dlogits[v] = (float)(exp(dlogits[v] - largest) / sum);
    dlogits[target] -= 1;
    return result;
}

/* Adds the gradients of one example. */
static void backward(mlp *m, const unsigned char *x, const float *hidden, const float *dlogits)
{
    size_t V = m->vocabulary;
    for (size_t u = 0; u < m->units; u++) {
        float dh = 0;
        const float *output = m->params + m->at_output + u * V;
        float *doutput = m->grads + m->at_output + u * V;
        for (size_t v = 0; v < V; v++) {
            dh += output[v] * dlogits[v];
            doutput[v] += hidden[u] * dlogits[v];
        }
        dh *= 1 - hidden[u] * hidden[u];
        m->grads[m->at_bias + u] += dh;
        for (size_t j = 0; j < CONTEXT; j++) m->grads[(u * CONTEXT + j) * V + x[j]] += dh;
    }
    for (size_t v = 0; v < V; v++) m->grads[m->at_output_bias + v] += dlogits[v];
}

/* ------------------------------------------------------------- trainers -- */

typedef struct settings {
    text text;
    FILE *log; /* rank 0's */
    int steps, rank, ranks;
    double max_norm, learning_rate;
} settings;

/* PROGRAM TEXT [LOG [STEPS]] */
static settings begin(int argc, char **argv, double max_norm)
{
    settings s = {.steps = 150, .max_norm = max_norm, .learning_rate = 1};
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &s.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &s.ranks);
    if (argc < 2 || argc > 4) die(argv[0], "arguments: TEXT [LOG [STEPS]]");
    s.text = read_text(argv[1]);
    s.log = stdout;
    if (argc > 2 && s.rank == 0 && (s.log = fopen(argv[2], "w")) == NULL) die(argv[2], strerror(errno));
    if (argc > 3 && (s.steps = atoi(argv[3])) < 1) die("STEPS must be at least 1, and is", argv[3]);
    if (s.rank == 0) fprintf(s.log, "step,loss,total_norm,clip_coef\n");
    return s;
}

/* Whether to take the step; logs it. */
static int clipped(const settings *s, int step, double mean_loss, gradclip_status status, const gradclip_mpi_result *found)
{
    if (status < 0) die("clipping failed", gradclip_mpi_last_error(found));
    if (s->rank == 0) fprintf(s->log, "%d,%.17g,%.17g,%.17g\n", step, mean_loss, found->all.total_norm, found->all.clip_coef);
    if (status != GRADCLIP_NON_FINITE) return 1;
    if (s->rank == 0)
        fprintf(stderr, "step %d left out: tensor %llu of rank %d is not finite at element %llu\n", step,
                (unsigned long long)found->all.first_tensor, found->rank, (unsigned long long)found->all.first_element);
    return 0;
}

static void end(settings *s)
{
    free(s->text.symbols);
    if (s->rank == 0 && s->log != stdout && fclose(s->log) != 0) die("the log", strerror(errno));
    MPI_Finalize();
}

#endif
