/*
 * char_rnn.c - a character-level recurrent network, with gradient clipping
 *
 * The whole of a trainer in one file: a tanh RNN learns to predict the next
 * character of a text by truncated backpropagation through time and plain
 * stochastic gradient descent. Recurrent networks are where clipping by global
 * norm comes from (Pascanu, Mikolov, Bengio 2013, arXiv 1211.5063): once in a
 * while the gradient of a step is many times longer than usual, and a few such
 * steps are enough to throw away what was learnt before. The one line that
 * prevents this is the call of gradclip_clip_grad_norm_f32 in main.
 *
 *     cc -std=c11 -O3 char_rnn.c -lgradclip -lm -o char_rnn
 *     ./char_rnn --max-norm none data/asyoulik.txt
 *     ./char_rnn --max-norm 120 data/asyoulik.txt
 */
#include <errno.h>
#include <float.h>
#include <getopt.h>
#include <gradclip.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "char_rnn: %s: %s\n", what, detail);
    exit(1);
}

static float *zeros(size_t count)
{
    float *memory = calloc(count, sizeof(float));
    if (memory == NULL) die("allocation failed", strerror(errno));
    return memory;
}

/* --------------------------------------------------------------- random -- */

/* Our own generator (SplitMix64), so that a seed means the same with any libc. */
typedef struct random_state { uint64_t state; } random_state;

static double random_uniform(random_state *random) /* in (0, 1) */
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return ((double)((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53;
}

static double random_normal(random_state *random) /* mean 0, variance 1 (Box-Muller) */
{
    double radius = sqrt(-2.0 * log(random_uniform(random)));
    return radius * cos(6.283185307179586 * random_uniform(random));
}

/* ----------------------------------------------------------------- text -- */

/* A text as symbols 0 ... vocabulary - 1, one per distinct character. */
typedef struct text {
    unsigned char *symbols;
    size_t length;
    int vocabulary;
    unsigned char character[256]; /* symbol -> byte */
} text;

static text read_text(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) die(path, strerror(errno));
    text out = {0};
    int symbol_of[256], seen[256] = {0}, byte;
    size_t capacity = 0;
    while ((byte = getc(file)) != EOF) {
        /* Carriage returns and other control characters say nothing. */
        if (byte < ' ' && byte != '\n' && byte != '\t') continue;
        if (out.length == capacity) {
            capacity = capacity ? 2 * capacity : 1 << 16;
            out.symbols = realloc(out.symbols, capacity);
            if (out.symbols == NULL) die(path, strerror(errno));
        }
        out.symbols[out.length++] = (unsigned char)byte;
        seen[byte] = 1;
    }
    if (ferror(file)) die(path, "cannot be read");
    fclose(file);
    for (int i = 0; i < 256; i++) {
        if (!seen[i]) continue;
        out.character[out.vocabulary] = (unsigned char)i;
        symbol_of[i] = out.vocabulary++;
    }
    for (size_t i = 0; i < out.length; i++)
        out.symbols[i] = (unsigned char)symbol_of[out.symbols[i]];
    return out;
}

/* ---------------------------------------------------------------- model -- */

/*
 *     h[t] = tanh(input[x[t]] + recurrent^T h[t-1] + hidden_bias)
 *     y[t] = output^T h[t] + output_bias
 *     loss = sum over t of -log softmax(y[t])[x[t+1]]
 *
 * Matrices are stored one row per source, so that every inner loop runs along
 * contiguous memory. Parameters and gradients are lists of five tensors: the
 * list of gradients is what the library takes.
 */
enum { INPUT, RECURRENT, OUTPUT, HIDDEN_BIAS, OUTPUT_BIAS, TENSORS };

typedef struct model {
    int hidden, vocabulary, unroll;
    float *params[TENSORS];
    float *grads[TENSORS];
    size_t lengths[TENSORS];
    float *h;    /* (unroll + 1, hidden): the state before step 0, then after each */
    float *logp; /* (unroll, vocabulary): log softmax(y[t]) */
    /* What comes back, the gradients of the loss with respect to */
    float *dh; /* (hidden): h[t] */
    float *dy; /* (unroll, vocabulary): y[t] */
    float *da; /* (unroll, hidden): the argument of tanh */
    float *recurrent_t, *output_t; /* transposes, for the way back */
} model;

static void model_init(model *m, int hidden, int vocabulary, int unroll, random_state *random)
{
    size_t H = (size_t)hidden, V = (size_t)vocabulary, T = (size_t)unroll;
    size_t lengths[TENSORS] = {V * H, H * H, H * V, H, V};
    /* The recurrent matrix begins with a spectral radius near 1: it neither
     * forgets at once nor explodes at once. Biases begin at 0. */
    double scale[TENSORS] = {0.1, 1.0 / sqrt(hidden), 0.1, 0.0, 0.0};
    m->hidden = hidden;
    m->vocabulary = vocabulary;
    m->unroll = unroll;
    for (int i = 0; i < TENSORS; i++) {
        m->lengths[i] = lengths[i];
        m->params[i] = zeros(lengths[i]);
        m->grads[i] = zeros(lengths[i]);
        for (size_t j = 0; scale[i] > 0.0 && j < lengths[i]; j++)
            m->params[i][j] = (float)(scale[i] * random_normal(random));
    }
    m->h = zeros((T + 1) * H);
    m->logp = zeros(T * V);
    m->dh = zeros(H);
    m->dy = zeros(T * V);
    m->da = zeros(T * H);
    m->recurrent_t = zeros(H * H);
    m->output_t = zeros(V * H);
}

static void model_free(model *m)
{
    for (int i = 0; i < TENSORS; i++) {
        free(m->params[i]);
        free(m->grads[i]);
    }
    float *rest[] = {m->h, m->logp, m->dh, m->dy, m->da, m->recurrent_t, m->output_t};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) free(rest[i]);
}

/* y += a x */
static void add_scaled(float *restrict y, float a, const float *restrict x, int n)
{
    for (int i = 0; i < n; i++) y[i] += a * x[i];
}

/*
 * y += sum over i of a[i * stride] * row i of a matrix: all that training an RNN
 * comes to, forwards (a: what a layer is given) and for the gradients of the
 * weights (a: what one unit gave at each point in time). Four rows at a time,
 * because the time goes into reading and writing y.
 */
static void add_rows(float *restrict y, const float *restrict a, int stride, const float *restrict matrix,
                     int rows, int n)
{
    int i = 0;
    for (; i + 4 <= rows; i += 4) {
        float a0 = a[i * stride], a1 = a[(i + 1) * stride], a2 = a[(i + 2) * stride], a3 = a[(i + 3) * stride];
        const float *x0 = matrix + i * n, *x1 = x0 + n, *x2 = x1 + n, *x3 = x2 + n;
        for (int k = 0; k < n; k++) y[k] += (a0 * x0[k] + a1 * x1[k]) + (a2 * x2[k] + a3 * x3[k]);
    }
    for (; i < rows; i++) add_scaled(y, a[i * stride], matrix + i * n, n);
}

/* to (columns, rows) = transpose of from (rows, columns) */
static void transpose(float *restrict to, const float *restrict from, int rows, int columns)
{
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) to[j * rows + i] = from[i * columns + j];
}

/* One step in time: from the state before and a symbol to the state after and
 * the log-probability of every symbol that may come next. */
static void step_forward(const model *m, int symbol, const float *h_before, float *h, float *logp)
{
    int H = m->hidden, V = m->vocabulary;
    memcpy(h, m->params[HIDDEN_BIAS], (size_t)H * sizeof(float));
    add_scaled(h, 1.0f, m->params[INPUT] + symbol * H, H);
    add_rows(h, h_before, 1, m->params[RECURRENT], H, H);
    for (int i = 0; i < H; i++) h[i] = 1.0f - 2.0f / (1.0f + expf(2.0f * h[i])); /* tanh */

    memcpy(logp, m->params[OUTPUT_BIAS], (size_t)V * sizeof(float));
    add_rows(logp, h, 1, m->params[OUTPUT], H, V);
    float largest = logp[0], sum = 0.0f;
    for (int v = 1; v < V; v++)
        if (logp[v] > largest) largest = logp[v];
    for (int v = 0; v < V; v++) sum += expf(logp[v] - largest);
    float log_sum = largest + logf(sum);
    for (int v = 0; v < V; v++) logp[v] -= log_sum;
}

/*
 * The loss over `unroll` symbols x[0 ...] (x[unroll] is the last target) and its
 * gradients, by backpropagation through time. m->h must begin with the state to
 * start from; it is left holding every state up to the last.
 */
static double loss_and_gradients(model *m, const unsigned char *x)
{
    int H = m->hidden, V = m->vocabulary, T = m->unroll;
    float *h = m->h + H; /* h + t H: the state after step t; h - H: the one to start from */
    double loss = 0.0;
    for (int t = 0; t < T; t++) {
        step_forward(m, x[t], h + (t - 1) * H, h + t * H, m->logp + t * V);
        loss -= m->logp[t * V + x[t + 1]];
    }

    /* Backwards in time, with respect to y[t], h[t] and the argument of tanh: each
     * goes through the transpose of the matrix that it came by. */
    transpose(m->output_t, m->params[OUTPUT], H, V);
    transpose(m->recurrent_t, m->params[RECURRENT], H, H);
    memset(m->dh, 0, (size_t)H * sizeof(float)); /* truncated: nothing comes back from later */
    for (int t = T - 1; t >= 0; t--) {
        float *dy = m->dy + t * V, *da = m->da + t * H;
        for (int v = 0; v < V; v++) dy[v] = expf(m->logp[t * V + v]);
        dy[x[t + 1]] -= 1.0f; /* softmax(y) - one_hot(target) */
        add_rows(m->dh, dy, 1, m->output_t, V, H);
        for (int i = 0; i < H; i++) /* tanh' = 1 - tanh^2 */
            da[i] = (1.0f - h[t * H + i] * h[t * H + i]) * m->dh[i];
        /* Once per step in time the gradient is multiplied by the recurrent
         * matrix: this is where it explodes, or vanishes. */
        memset(m->dh, 0, (size_t)H * sizeof(float));
        add_rows(m->dh, da, 1, m->recurrent_t, H, H);
    }

    /* With respect to the parameters: what each was given, times what came back. */
    for (int i = 0; i < TENSORS; i++) memset(m->grads[i], 0, m->lengths[i] * sizeof(float));
    for (int t = 0; t < T; t++) {
        add_scaled(m->grads[INPUT] + x[t] * H, 1.0f, m->da + t * H, H);
        add_scaled(m->grads[HIDDEN_BIAS], 1.0f, m->da + t * H, H);
        add_scaled(m->grads[OUTPUT_BIAS], 1.0f, m->dy + t * V, V);
    }
    for (int j = 0; j < H; j++) {
        add_rows(m->grads[RECURRENT] + j * H, h - H + j, H, m->da, T, H);
        add_rows(m->grads[OUTPUT] + j * V, h + j, H, m->dy, T, V);
    }
    return loss;
}

/* Print text that the model makes up, one character drawn at a time. */
static void print_sample(const model *m, const text *t, int length, random_state *random)
{
    size_t H = (size_t)m->hidden, V = (size_t)m->vocabulary;
    float *h = zeros(H), *h_after = zeros(H), *logp = zeros(V);
    int symbol = t->symbols[0];
    for (int i = 0; i < length; i++) {
        step_forward(m, symbol, h, h_after, logp);
        memcpy(h, h_after, H * sizeof(float));
        double left = random_uniform(random);
        for (symbol = 0; symbol < m->vocabulary - 1; symbol++)
            if ((left -= exp(logp[symbol])) < 0.0) break;
        putchar(t->character[symbol]);
    }
    putchar('\n');
    free(h);
    free(h_after);
    free(logp);
}

/* -------------------------------------------------------------- options -- */

typedef struct settings {
    const char *text, *log, *max_norm_text;
    double max_norm, learning_rate;
    int steps, hidden, unroll, sample, seed;
} settings;

static const char usage[] =
    "usage: char_rnn [options] TEXT\n"
    "Train a character-level RNN on TEXT and print a sample of what it writes.\n"
    "  --max-norm X|none    clip the gradients to this norm (default 120)\n"
    "  --learning-rate X    (default 0.008)\n"
    "  --steps N            parameter updates (default 10000)\n"
    "  --hidden N           hidden units (default 100)\n"
    "  --unroll N           characters per step (default 50)\n"
    "  --seed N             of the initial parameters and the sample (default 1)\n"
    "  --log FILE           write step,loss,smooth_loss,total_norm,clip_coef as CSV\n"
    "  --sample N           characters of text to print at the end (default 500)\n";

/* The value of an option: a number from least to most, or the program ends. */
static double number(const char *name, const char *value, double least, double most)
{
    char *end;
    double result = strtod(value, &end);
    if (end != value && *end == '\0' && result >= least && result <= most) return result;
    fprintf(stderr, "char_rnn: %s must be a number from %g to %g (got %s)\n", name, least, most, value);
    exit(2);
}

static settings parse_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"max-norm", required_argument, NULL, 'm'}, {"learning-rate", required_argument, NULL, 'r'},
        {"steps", required_argument, NULL, 'n'},    {"hidden", required_argument, NULL, 'H'},
        {"unroll", required_argument, NULL, 'T'},   {"seed", required_argument, NULL, 's'},
        {"log", required_argument, NULL, 'l'},      {"sample", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0}};
    settings s = {.seed = 1, .max_norm = 120.0, .max_norm_text = "120", .learning_rate = 0.008,
                  .steps = 10000, .hidden = 100, .unroll = 50, .sample = 500};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        /* INFINITY clips nothing, but the norm is measured all the same. */
        case 'm':
            s.max_norm_text = optarg;
            s.max_norm = strcmp(optarg, "none") ? number("--max-norm", optarg, 0, INFINITY) : INFINITY;
            break;
        case 'r': s.learning_rate = number("--learning-rate", optarg, 0, FLT_MAX); break;
        case 'n': s.steps = (int)number("--steps", optarg, 1, 1e8); break;
        case 'H': s.hidden = (int)number("--hidden", optarg, 1, 1e4); break;
        case 'T': s.unroll = (int)number("--unroll", optarg, 1, 1e5); break;
        case 's': s.seed = (int)number("--seed", optarg, 0, 1e9); break;
        case 'p': s.sample = (int)number("--sample", optarg, 0, 1e9); break;
        case 'l': s.log = optarg; break;
        case 'h': fputs(usage, stdout); exit(0);
        default: fputs(usage, stderr); exit(2);
        }
    }
    if (optind != argc - 1) {
        fputs(usage, stderr);
        exit(2);
    }
    s.text = argv[optind];
    return s;
}

/* ------------------------------------------------------------- training -- */

int main(int argc, char **argv)
{
    settings s = parse_options(argc, argv);
    text t = read_text(s.text);
    if (t.length <= (size_t)s.unroll) die(s.text, "the text is shorter than --unroll");
    random_state random = {(uint64_t)s.seed};
    model m;
    model_init(&m, s.hidden, t.vocabulary, s.unroll, &random);

    FILE *log_file = NULL;
    if (s.log != NULL) {
        if ((log_file = fopen(s.log, "w")) == NULL) die(s.log, strerror(errno));
        fprintf(log_file, "# char_rnn %s seed=%d max_norm=%g learning_rate=%g steps=%d hidden=%d unroll=%d\n",
                gradclip_version_string(), s.seed, s.max_norm, s.learning_rate, s.steps, s.hidden, s.unroll);
        fprintf(log_file, "step,loss,smooth_loss,total_norm,clip_coef\n");
    }

    double smooth_loss = log(t.vocabulary); /* of one who guesses; nats per character */
    double tail_loss = 0.0;                 /* summed over the last tenth of the steps */
    int tail = s.steps < 10 ? 1 : s.steps / 10, clipped = 0, skipped = 0;
    size_t at = 0;
    for (int step = 1; step <= s.steps; step++) {
        if (at + (size_t)s.unroll >= t.length) { /* the text is over: begin again, in a fresh state */
            at = 0;
            memset(m.h, 0, (size_t)s.hidden * sizeof(float));
        }
        double loss = loss_and_gradients(&m, t.symbols + at) / s.unroll;

        gradclip_result result;
        gradclip_result_init(&result, sizeof result);
        gradclip_status status =
            gradclip_clip_grad_norm_f32(m.grads, m.lengths, TENSORS, s.max_norm, 2.0, NULL, &result);
        if (status < 0) die(gradclip_status_string(status), gradclip_last_error());

        if (status == GRADCLIP_NON_FINITE) {
            /* A NaN here would soon be everywhere: leave the parameters as they
             * are and forget the state that led here. */
            skipped++;
            memset(m.h, 0, (size_t)s.hidden * sizeof(float));
        } else {
            for (int i = 0; i < TENSORS; i++)
                add_scaled(m.params[i], (float)-s.learning_rate, m.grads[i], (int)m.lengths[i]);
            /* The state carries over to the next stretch of text; gradients do not. */
            memcpy(m.h, m.h + (size_t)s.unroll * (size_t)s.hidden, (size_t)s.hidden * sizeof(float));
            smooth_loss += 0.01 * (loss - smooth_loss);
            clipped += result.clip_coef < 1.0;
        }
        if (step > s.steps - tail) tail_loss += loss;
        at += (size_t)s.unroll;

        if (log_file != NULL)
            fprintf(log_file, "%d,%.9g,%.9g,%.17g,%.17g\n", step, loss, smooth_loss, result.total_norm,
                    result.clip_coef);
        if (step % tail == 0)
            fprintf(stderr, "seed %d, max_norm %s: step %d/%d, loss %.3f, total_norm %.4g, clipped %d\n",
                    s.seed, s.max_norm_text, step, s.steps, smooth_loss, result.total_norm, clipped);
    }
    if (log_file != NULL && fclose(log_file) != 0) die(s.log, strerror(errno));

    printf("final loss %.3f nats per character (mean of the last %d steps), %d of %d steps clipped, "
           "%d skipped\n", tail_loss / tail, tail, clipped, s.steps, skipped);
    print_sample(&m, &t, s.sample, &random);
    model_free(&m);
    free(t.symbols);
    return 0;
}
