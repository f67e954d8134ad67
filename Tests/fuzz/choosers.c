/* Choosers: every decision against the formulas of the header, written here a second time
 * from plain loops over all values so far, in long double. */
#include "input.h"
#include "reference.h"

enum { MOST_STEPS = 96 };

typedef struct model {
    gradclip_chooser_options options;
    double norms[MOST_STEPS], losses[MOST_STEPS];
    unsigned count, loss_count;
    long double mean, variance;
    bool is_warm;
    long double gammas[MOST_TENSORS];
    bool has_gamma[MOST_TENSORS];
    uint64_t steps;
    /* A rounding of the library's could decide otherwise: what follows is not compared. */
    bool is_lost;
} model;

typedef struct verdict {
    gradclip_status status;
    double threshold, clip_coef;
    bool recorded;
} verdict;

static double coefficient(double threshold, double norm) {
    return isinf(threshold) ? 1 : threshold == 0 ? 0 : fmin(1, threshold / (norm + 1e-6));
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile_of(const model *m) {
    double sorted[MOST_STEPS];
    const uint64_t window = m->options.window && m->options.window < m->count ? m->options.window : m->count;
    if (window == 0) return INFINITY;
    memcpy(sorted, m->norms + m->count - window, window * sizeof *sorted);
    qsort(sorted, window, sizeof *sorted, by_value);
    const double position = m->options.percentile / 100 * (double)(window - 1), down = floor(position), t = position - down;
    const size_t low = (size_t)down;
    const double a = sorted[low], b = sorted[low + 1 < window ? low + 1 : low];
    return t < 0.5 ? a + (b - a) * t : b - (b - a) * (1 - t);
}

static verdict autoclip(model *m, double norm) {
    const double factor = m->options.clip_factor, held = percentile_of(m), before = held < INFINITY ? held * factor : held;
    if (!isfinite(norm)) return (verdict){GRADCLIP_NON_FINITE, before, 1, false};
    m->norms[m->count++] = norm;
    const double threshold = m->options.mode ? before : percentile_of(m) * factor;
    return (verdict){GRADCLIP_OK, threshold, coefficient(threshold, norm), true};
}

static verdict zclip(model *m, double norm) {
    const gradclip_chooser_options *o = &m->options;
    double threshold = INFINITY;
    bool recorded = isfinite(norm);
    if (recorded && m->is_warm) {
        const long double s = sqrtl(m->variance), limit = m->mean + o->z_threshold * s, z = (norm - m->mean) / (s + o->eps);
        const bool is_spike = o->mode == 2 ? norm > limit : z > o->z_threshold;
        const long double distance = o->mode == 2 ? norm - limit : norm - m->mean - o->z_threshold * (s + o->eps);
        if (!(fabsl(distance) > 1e-7L * (m->mean + norm))) m->is_lost = true;
        long double x = norm;
        if (is_spike) {
            x = o->mode == 0 ? o->clip_factor * (m->mean + o->z_threshold * o->z_threshold * s / z) : o->mode == 1 ? m->mean : limit;
            threshold = (double)x;
        }
        if (is_spike && o->skip_update_on_spike) {
            recorded = false;
        } else {
            m->mean = o->decay * m->mean + (1 - (long double)o->decay) * x;
            m->variance = o->decay * m->variance + (1 - (long double)o->decay) * (x - m->mean) * (x - m->mean);
        }
    } else if (recorded) {
        m->norms[m->count++] = norm;
        if (m->count == (o->warmup_steps ? o->warmup_steps : 1)) {
            m->mean = m->variance = 0;
            for (unsigned i = 0; i < m->count; i++) m->mean += m->norms[i];
            m->mean /= m->count;
            for (unsigned i = 0; i < m->count; i++) m->variance += (m->norms[i] - m->mean) * (m->norms[i] - m->mean);
            m->variance /= m->count;
            m->is_warm = true;
        }
    } else {
        return (verdict){GRADCLIP_NON_FINITE, NAN, 1, false};
    }
    threshold = fmin(threshold, o->max_norm);
    return (verdict){GRADCLIP_OK, threshold, coefficient(threshold, norm), recorded};
}

static bool is_outlier(model *m, double value, const double *values, unsigned count) {
    const uint64_t window = m->options.window < count ? m->options.window : count;
    if (window < 2 || window + 1 < m->options.window / 2) return false;
    long double mean = 0, squares = 0;
    for (unsigned i = count - (unsigned)window; i < count; i++) mean += values[i];
    mean /= window;
    for (unsigned i = count - (unsigned)window; i < count; i++) squares += (values[i] - mean) * (values[i] - mean);
    const long double deviation = sqrtl(squares / (window - 1)), distance = value - mean - m->options.z_threshold * deviation;
    if (!(fabsl(distance) > 1e-7L * (fabsl(mean) + fabs(value)))) m->is_lost = true;
    return distance > 0;
}

static verdict skipstep(model *m, double norm, const double *loss) {
    if (!isfinite(norm) || (loss && !isfinite(*loss))) return (verdict){GRADCLIP_NON_FINITE, NAN, 1, false};
    bool skip = is_outlier(m, norm, m->norms, m->count);
    if (loss) skip = is_outlier(m, *loss, m->losses, m->loss_count) || skip;
    m->norms[m->count++] = norm;
    if (loss) m->losses[m->loss_count++] = *loss;
    return (verdict){skip ? GRADCLIP_SKIP_STEP : GRADCLIP_OK, NAN, 1, true};
}

/* Of one step of ADAGC: the coefficient of each tensor; -1 norms are no gradients. */
static gradclip_status adagc(model *m, const double *norms, size_t count, double *coefs) {
    const gradclip_chooser_options *o = &m->options;
    long double total = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(norms[i])) return GRADCLIP_NON_FINITE;
        if (norms[i] >= 0) total += (long double)norms[i] * norms[i];
    }
    m->steps++;
    const long double divisor = sqrtl(total) + o->eps;
    const long double common = isinf(o->max_norm) ? 1 : o->max_norm == 0 ? 0 : divisor == 0 ? 1 : fminl(1, o->max_norm / divisor);
    for (size_t i = 0; i < count; i++) {
        long double *gamma = &m->gammas[i], coef = 1;
        if (norms[i] >= 0 && (m->steps < o->warmup_steps || !m->has_gamma[i])) {
            coef = common;
            *gamma = m->has_gamma[i] ? fminl(*gamma, coef * norms[i]) : coef * norms[i];
            m->has_gamma[i] = true;
        } else if (norms[i] >= 0) {
            coef = fminl(1, o->lambda_rel * fmaxl(*gamma, o->eps) / fmaxl(norms[i], o->eps));
            *gamma += (1 - (long double)o->decay) * (coef * norms[i] - *gamma);
        }
        coefs[i] = (double)coef;
    }
    return GRADCLIP_OK;
}

/* ADAGC tensor by tensor: each by its own norm in the warm-up, and a step begins with one that was fed in the last. */
typedef struct by_tensor {
    long double gammas[MOST_TENSORS];
    bool has_gamma[MOST_TENSORS];
    uint64_t fed_in[MOST_TENSORS], steps;
} by_tensor;

static double coefficient_of(by_tensor *b, const gradclip_chooser_options *o, size_t i, double norm) {
    long double *gamma = &b->gammas[i], coef;
    if (b->fed_in[i] == b->steps) b->steps++;
    b->fed_in[i] = b->steps;
    if (b->steps < o->warmup_steps || !b->has_gamma[i]) {
        const long double divisor = norm + (long double)o->eps;
        coef = isinf(o->max_norm) ? 1 : o->max_norm == 0 ? 0 : divisor == 0 ? 1 : fminl(1, o->max_norm / divisor);
        *gamma = b->has_gamma[i] ? fminl(*gamma, coef * norm) : coef * norm;
        b->has_gamma[i] = true;
    } else {
        coef = fminl(1, o->lambda_rel * fmaxl(*gamma, o->eps) / fmaxl(norm, o->eps));
        *gamma += (1 - (long double)o->decay) * (coef * norm - *gamma);
    }
    return (double)coef;
}

static bool near(double a, double b, double scale) { return same(a, b) || fabs(a - b) <= 1e-9 * (fabs(b) + scale); }

/* Norms as training has them, and the odd one out. */
static double take_norm(input *in) {
    static const double odd[] = {0, NAN, INFINITY, 1, 1e-30, 1e30, 2, 100};
    const uint8_t kind = take_byte(in);
    return kind < sizeof odd / sizeof *odd ? odd[kind] : ldexp(1 + take_byte(in) / 256.0, kind % 12 - 5);
}

static double pick(input *in, double a, double b, double c, double d) {
    const double of[] = {a, b, c, d};
    return of[take_byte(in) & 3];
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    input in = {bytes, size};
    const uint32_t kind = 1 + take_byte(&in) % 4;
    model m = {.count = 0};
    REQUIRE(gradclip_chooser_options_init(&m.options, sizeof m.options, kind) == GRADCLIP_OK, "%s", gradclip_last_error());
    gradclip_chooser_options *o = &m.options;
    o->mode = kind == GRADCLIP_AUTOCLIP ? take_byte(&in) % 2 : kind == GRADCLIP_ZCLIP ? take_byte(&in) % 3 : 0;
    o->window = kind == GRADCLIP_SKIPSTEP ? 2 + take_byte(&in) % 30 : kind == GRADCLIP_AUTOCLIP ? take_byte(&in) % 30 : 0;
    o->warmup_steps = take_byte(&in) % 12;
    o->percentile = take_byte(&in) / 255.0 * 100;
    o->decay = pick(&in, 0.97, 0, 1, 0.5);
    o->z_threshold = pick(&in, 2.5, 0, 1, 6);
    o->max_norm = pick(&in, INFINITY, 0, 1, 20);
    o->lambda_rel = pick(&in, 1.05, 0, 1, 2);
    o->clip_factor = pick(&in, 1, 0, 0.5, 2);
    o->eps = pick(&in, 1e-6, 0, 1, 1e-8);
    o->skip_update_on_spike = take_byte(&in) & 1;
    gradclip_chooser *chooser = NULL, *clipping = NULL, *alone = NULL;
    by_tensor own = {.steps = 0};
    REQUIRE(gradclip_chooser_create(o, &chooser) == GRADCLIP_OK && gradclip_chooser_create(o, &clipping) == GRADCLIP_OK &&
                gradclip_chooser_create(o, &alone) == GRADCLIP_OK, "%s", gradclip_last_error());
    const size_t tensors = 1 + take_byte(&in) % MOST_TENSORS;
    if (take_byte(&in) & 1) { /* a history, forgotten */
        gradclip_decision ignored;
        gradclip_decision_init(&ignored, sizeof ignored);
        for (int i = 0; i < 5; i++) gradclip_chooser_feed(chooser, take_norm(&in), NULL, &ignored);
        REQUIRE(gradclip_chooser_reset(chooser) == GRADCLIP_OK, "%s", gradclip_last_error());
    }
    for (unsigned step = 0; step < MOST_STEPS && in.size > 0 && !m.is_lost; step++) {
        double norms[MOST_TENSORS], coefs[MOST_TENSORS] = {0}, thresholds[MOST_TENSORS] = {0}, expected_coefs[MOST_TENSORS];
        /* The step's gradients have these norms exactly: one element each. */
        gradclip_tensor grads[MOST_TENSORS];
        double values[MOST_TENSORS];
        const size_t count = kind == GRADCLIP_ADAGC ? tensors : 1;
        for (size_t i = 0; i < count; i++) {
            norms[i] = take_norm(&in);
            if (kind == GRADCLIP_ADAGC && take_byte(&in) % 8 == 7) norms[i] = -1;
            values[i] = take_byte(&in) & 1 ? -norms[i] : norms[i];
            grads[i] = (gradclip_tensor){&values[i], norms[i] == -1 ? 0 : 1, GRADCLIP_F64, 0, 1, 0};
        }
        for (size_t i = 0; i < count; i++) {
            gradclip_result told_of;
            gradclip_result_init(&told_of, sizeof told_of);
            const gradclip_status each = gradclip_chooser_feed_tensor(alone, i, &grads[i], 2, NULL, &told_of);
            const bool is_there = kind == GRADCLIP_ADAGC && norms[i] >= 0 && isfinite(norms[i]);
            REQUIRE(each == (kind != GRADCLIP_ADAGC ? GRADCLIP_ERROR_INVALID_ARGUMENT : norms[i] == -1 || is_there ? GRADCLIP_OK : GRADCLIP_NON_FINITE),
                    "step %u, tensor %zu of norm %a: status %d", step, i, norms[i], each);
            const double wanted = is_there ? coefficient_of(&own, o, i, norms[i]) : 1;
            if (each >= 0 && (norms[i] != 0 || o->eps > 0))
                REQUIRE(near(told_of.factor, wanted, 0), "step %u, tensor %zu of norm %a: factor %a, expected %a", step, i, norms[i], told_of.factor, wanted);
        }
        double loss = take_norm(&in);
        const double *told = take_byte(&in) & 1 ? &loss : NULL;
        gradclip_decision decision, clipped;
        gradclip_decision_init(&decision, sizeof decision);
        decision.tensor_coefs = coefs, decision.tensor_thresholds = thresholds;
        gradclip_status status;
        if (kind == GRADCLIP_ADAGC) {
            status = gradclip_chooser_feed_tensors(chooser, norms, count, &decision);
            const gradclip_status expected = adagc(&m, norms, count, expected_coefs);
            REQUIRE(status == expected, "step %u: status %d, expected %d: %s", step, status, expected, gradclip_last_error());
            for (size_t i = 0; status == GRADCLIP_OK && i < count; i++) {
                if (norms[i] != 0 || o->eps > 0) /* 0 / 0 may be anything */
                    REQUIRE(near(coefs[i], expected_coefs[i], 0), "step %u, tensor %zu of norm %a: coefficient %a, expected %a, eps %a, gamma %Lg",
                            step, i, norms[i], coefs[i], expected_coefs[i], o->eps, m.gammas[i]);
            }
        } else {
            const verdict expected = kind == GRADCLIP_AUTOCLIP ? autoclip(&m, norms[0]) : kind == GRADCLIP_ZCLIP ? zclip(&m, norms[0]) : skipstep(&m, norms[0], told);
            status = gradclip_chooser_feed(chooser, norms[0], told, &decision);
            if (m.is_lost) break;
            REQUIRE(status == expected.status, "step %u: status %d, expected %d: %s", step, status, expected.status, gradclip_last_error());
            REQUIRE(decision.recorded == expected.recorded, "step %u: recorded %u", step, decision.recorded);
            if (expected.threshold == expected.threshold)
                REQUIRE(near(decision.threshold, expected.threshold, kind == GRADCLIP_ZCLIP ? (double)m.mean * 100 : 0), "step %u: threshold %a, expected %a", step, decision.threshold, expected.threshold);
            if (status == GRADCLIP_OK)
                REQUIRE(fabs(decision.clip_coef - (kind == GRADCLIP_SKIPSTEP ? 1 : coefficient(decision.threshold, norms[0]))) <= 1e-14, "step %u: clip_coef %a", step, decision.clip_coef);
        }
        if (status != GRADCLIP_OK) REQUIRE(decision.clip_coef == 1, "step %u: status %d and clip_coef %a", step, status, decision.clip_coef);
        /* Measuring and clipping at once decides the same, but for the last place: it knows the
         * norm with more digits. And it multiplies by what it says. */
        gradclip_decision_init(&clipped, sizeof clipped);
        double coefs_again[MOST_TENSORS];
        clipped.tensor_coefs = coefs_again;
        double before[MOST_TENSORS];
        memcpy(before, values, sizeof values);
        const gradclip_status again = gradclip_chooser_clip(clipping, grads, count, 2.0, told, NULL, NULL, &clipped);
        REQUIRE(again == status, "step %u: status %d, clipping %d: %s", step, status, again, gradclip_last_error());
        REQUIRE(fabs(clipped.clip_coef - decision.clip_coef) <= decision.clip_coef * (kind == GRADCLIP_ADAGC ? 1e-12 : 1e-15) && same(clipped.threshold, decision.threshold) && clipped.action == decision.action, "step %u: clip_coef %a, clipping %a; threshold %a, clipping %a; action %u, clipping %u",
                step, decision.clip_coef, clipped.clip_coef, decision.threshold, clipped.threshold, decision.action, clipped.action);
        for (size_t i = 0; i < count; i++) {
            const double coef = kind == GRADCLIP_ADAGC ? coefs_again[i] : clipped.clip_coef;
            if (kind == GRADCLIP_ADAGC && status == GRADCLIP_OK) REQUIRE(fabs(coefs_again[i] - coefs[i]) <= coefs[i] * 1e-12, "step %u: another coefficient", step);
            if (status != GRADCLIP_OK) REQUIRE(memcmp(&values[i], &before[i], 8) == 0, "step %u: status %d and written", step, status);
            else if (norms[i] >= 0) REQUIRE(same(values[i], before[i] * coef), "step %u: %a times %a became %a", step, before[i], coef, values[i]);
        }
    }
    gradclip_chooser_free(chooser);
    gradclip_chooser_free(clipping);
    gradclip_chooser_free(alone);
    return 0;
}
