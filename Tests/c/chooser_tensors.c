/* gradclip_chooser_feed_tensor(): AdaGC tensor by tensor, from any number of threads, decides as the rule does
 * that is written down here once more; what is saved is what whole steps save. */
#define _POSIX_C_SOURCE 200809L
#include "choosers.h"

#include <pthread.h>

enum { WARMUP = 4 };

static gradclip_chooser *new_adagc(void)
{
    gradclip_chooser_options options = defaults_of(GRADCLIP_ADAGC);
    options.warmup_steps = WARMUP;
    return new_chooser(&options);
}

/* A gradient of two elements and this norm; what the chooser says of it. */
static gradclip_result fed_tensor(gradclip_chooser *chooser, size_t index, double norm, gradclip_status expected)
{
    double data[] = {-norm, 0};
    gradclip_tensor grad = tensor_of(data, 2, GRADCLIP_F64);
    gradclip_result r = new_result();
    CHECK_STATUS(gradclip_chooser_feed_tensor(chooser, index, &grad, 2, NULL, &r), expected);
    CHECK(data[0] == -norm && data[1] == 0, "the gradient was written");
    return r;
}

/* The rule: gamma of a tensor, and its coefficient in a step. */
struct rule { double gamma; };

static double coefficient(struct rule *r, uint64_t step, double norm)
{
    const double decay = 0.98, eps = 1e-8;
    double coef;
    if (step < WARMUP || r->gamma < 0) {
        coef = 1 / (norm + eps);
        if (!(coef < 1)) coef = 1;
        r->gamma = r->gamma < 0 || coef * norm < r->gamma ? coef * norm : r->gamma;
    } else {
        double threshold = 1.05 * (r->gamma > eps ? r->gamma : eps);
        coef = threshold / (norm <= eps ? eps : norm);
        if (!(coef < 1)) coef = 1;
        r->gamma = r->gamma + (1 - decay) * (coef * norm - r->gamma);
    }
    return coef;
}

static uint64_t steps_of(gradclip_chooser *chooser)
{
    gradclip_decision d = new_decision();
    struct bytes b = exported(chooser);
    gradclip_chooser *copy = new_adagc();
    uint64_t count = 0;
    double norms[64];
    CHECK_STATUS(gradclip_chooser_import(copy, b.data, b.size), GRADCLIP_OK);
    /* A step without gradients counts one. */
    for (int i = 0; i < 64; i++) norms[i] = -1;
    for (size_t tensors = 1; tensors <= 64 && !count; tensors++)
        if (gradclip_chooser_feed_tensors(copy, norms, tensors, &d) == GRADCLIP_OK) count = d.steps - 1;
    gradclip_chooser_free(copy);
    free(b.data);
    return count;
}

static void as_the_rule_says(void)
{
    enum { TENSORS = 5, STEPS = 40 };
    gradclip_chooser *chooser = new_adagc();
    struct rule rules[TENSORS];
    for (int i = 0; i < TENSORS; i++) rules[i].gamma = -1;
    for (uint64_t step = 1; step <= STEPS; step++)
        for (size_t k = 0; k < TENSORS; k++) {
            const size_t i = TENSORS - 1 - (k + step) % TENSORS; /* in any order */
            if (i == 2 && step % 3 == 0) continue;               /* not in every step */
            const double x = random_norm();
            gradclip_result r = fed_tensor(chooser, i, x, GRADCLIP_OK);
            CHECK_NUMBER(r.total_norm, x);
            CHECK_NUMBER(r.clip_coef, coefficient(&rules[i], step, x));
            CHECK_NUMBER(r.factor, r.clip_coef);
            CHECK(r.nonfinite_count == 0 && r.first_tensor == GRADCLIP_NONE, "all is finite");
        }
    CHECK(steps_of(chooser) == STEPS, "%llu steps", (unsigned long long)steps_of(chooser));
    gradclip_chooser_free(chooser);
}

/* Saved between two steps, as many bytes as whole steps save; the other one decides alike. */
static void goes_on_from_bytes(void)
{
    enum { TENSORS = 3 };
    for (uint64_t saved = 0; saved < 8; saved++) {
        gradclip_chooser *one = new_adagc(), *other = new_adagc(), *whole = new_adagc();
        gradclip_decision d = new_decision();
        double norms[TENSORS] = {1, 2, 3};
        for (uint64_t step = 0; step < saved; step++) {
            for (size_t i = TENSORS; i-- > 0;) fed_tensor(one, i, random_norm(), GRADCLIP_OK);
            CHECK_STATUS(gradclip_chooser_feed_tensors(whole, norms, TENSORS, &d), GRADCLIP_OK);
        }
        struct bytes b = exported(one), as_before = exported(whole);
        CHECK(b.size == as_before.size, "%zu bytes, not %zu", b.size, as_before.size);
        CHECK_STATUS(gradclip_chooser_import(other, b.data, b.size), GRADCLIP_OK);
        for (int step = 0; step < 6; step++)
            for (size_t i = TENSORS; i-- > 0;) {
                const double x = random_norm();
                CHECK_NUMBER(fed_tensor(one, i, x, GRADCLIP_OK).clip_coef, fed_tensor(other, i, x, GRADCLIP_OK).clip_coef);
            }
        free(b.data), free(as_before.data);
        gradclip_chooser_free(one), gradclip_chooser_free(other), gradclip_chooser_free(whole);
    }
}

/* After the warm-up both ways to feed are one rule, and can take turns. */
static void takes_turns_with_whole_steps(void)
{
    gradclip_chooser *one = new_adagc(), *other = new_adagc();
    for (int step = 0; step < 30; step++) {
        double norms[2], coefs[2];
        gradclip_decision d = new_decision();
        d.tensor_coefs = coefs;
        for (int i = 0; i < 2; i++) norms[i] = step < WARMUP ? 0.1 : 5 * random_norm(); /* not clipped in the warm-up */
        CHECK_STATUS(gradclip_chooser_feed_tensors(other, norms, 2, &d), GRADCLIP_OK);
        if (step % 3 == 1) {
            double again[2];
            gradclip_decision e = new_decision();
            e.tensor_coefs = again;
            CHECK_STATUS(gradclip_chooser_feed_tensors(one, norms, 2, &e), GRADCLIP_OK);
            CHECK(same_bits(again, coefs, sizeof coefs), "step %d", step);
        } else
            for (size_t i = 2; i-- > 0;) {
                gradclip_tensor grad = tensor_of(&norms[i], 1, GRADCLIP_F64);
                gradclip_result r = new_result();
                CHECK_STATUS(gradclip_chooser_feed_tensor(one, i, &grad, 2, NULL, &r), GRADCLIP_OK);
                CHECK_NUMBER(r.clip_coef, coefs[i]);
            }
        struct bytes a = exported(one), b = exported(other);
        CHECK(a.size == b.size && same_bits(a.data, b.data, a.size), "the states differ after step %d", step);
        free(a.data), free(b.data);
    }
    gradclip_chooser_free(one), gradclip_chooser_free(other);
}

/* What is not finite never enters, whatever the policy. */
static void not_finite(void)
{
    float bad[] = {1, NAN, 2}, worse[] = {-INFINITY, 1, 1};
    double huge[] = {0x1.8p1023, 0x1.8p1023};
    gradclip_tensor grads[] = {tensor_of(bad, 3, GRADCLIP_F32), tensor_of(worse, 3, GRADCLIP_F32), tensor_of(huge, 2, GRADCLIP_F64)};
    gradclip_chooser *chooser = new_adagc();
    for (int step = 0; step < 6; step++)
        for (size_t i = 0; i < 3; i++) fed_tensor(chooser, i, 1, GRADCLIP_OK);
    struct bytes before = exported(chooser);
    for (uint32_t policy = 0; policy < 3; policy++)
        for (size_t i = 0; i < 3; i++) {
            gradclip_options options = default_options();
            gradclip_result r = new_result();
            options.nonfinite = policy;
            CHECK_STATUS(gradclip_chooser_feed_tensor(chooser, i + 7, &grads[i], 2, &options, &r), i < 2 ? GRADCLIP_NON_FINITE : GRADCLIP_SKIP_STEP);
            CHECK(r.clip_coef == 1 && r.factor == 1, "factor %a", r.factor);
            CHECK(!isfinite(r.total_norm), "norm %a", r.total_norm);
            CHECK(r.nonfinite_count == (i < 2), "%llu", (unsigned long long)r.nonfinite_count);
            CHECK(i == 2 || (r.first_tensor == i + 7 && r.first_element == 1 - i), "the first is another");
            struct bytes after = exported(chooser);
            CHECK(after.size == before.size && same_bits(after.data, before.data, after.size), "the state changed");
            free(after.data);
        }
    free(before.data);
    gradclip_chooser_free(chooser);
}

static void scaled_and_empty(void)
{
    gradclip_chooser *chooser = new_adagc(), *plain = new_adagc();
    gradclip_options options = default_options();
    options.grad_scale = 1024;
    for (int step = 0; step < 10; step++) {
        const double x = random_norm();
        double data[] = {x * 1024, 0};
        gradclip_tensor grad = tensor_of(data, 2, GRADCLIP_F64), empty = tensor_of(NULL, 0, GRADCLIP_F32);
        gradclip_result r = new_result(), of_plain = fed_tensor(plain, 0, x, GRADCLIP_OK);
        CHECK_STATUS(gradclip_chooser_feed_tensor(chooser, 0, &grad, 2, &options, &r), GRADCLIP_OK);
        CHECK_NUMBER(r.clip_coef, of_plain.clip_coef);
        CHECK_NUMBER(r.factor, of_plain.factor / 1024);
        struct bytes a = exported(chooser);
        CHECK_STATUS(gradclip_chooser_feed_tensor(chooser, 5, &empty, 2, &options, &r), GRADCLIP_OK);
        CHECK_NUMBER(r.factor, 0x1p-10);
        struct bytes b = exported(chooser);
        CHECK(a.size == b.size && same_bits(a.data, b.data, a.size), "an empty tensor has no part in it");
        free(a.data), free(b.data);
    }
    gradclip_chooser_free(chooser), gradclip_chooser_free(plain);
}

static void what_is_refused(void)
{
    float x[] = {1, 2};
    double norm = 0;
    gradclip_tensor t = tensor_of(x, 2, GRADCLIP_F32), uncounted = t;
    gradclip_result r = new_result(), asks = new_result();
    gradclip_chooser *adagc = new_adagc(), *zclip = new_kind(GRADCLIP_ZCLIP);
    struct bytes before = exported(adagc);
    uncounted.flags = GRADCLIP_UNCOUNTED, asks.tensor_norms = &norm;
#define REFUSED(call, message)                                                                              \
    do {                                                                                                    \
        CHECK_STATUS(call, GRADCLIP_ERROR_INVALID_ARGUMENT);                                                \
        CHECK(strcmp(gradclip_last_error(), message) == 0, "the message is \"%s\"", gradclip_last_error()); \
    } while (0)
    REFUSED(gradclip_chooser_feed_tensor(NULL, 0, &t, 2, NULL, &r), "chooser must not be NULL (got NULL)");
    REFUSED(gradclip_chooser_feed_tensor(zclip, 0, &t, 2, NULL, &r), "chooser must be of the kind ADAGC");
    REFUSED(gradclip_chooser_feed_tensor(adagc, 1000000, &t, 2, NULL, &r), "index must be below 10^6 (got 1000000)");
    REFUSED(gradclip_chooser_feed_tensor(adagc, SIZE_MAX, &t, 2, NULL, &r), "index must be below 10^6 (got 18446744073709551615)");
    REFUSED(gradclip_chooser_feed_tensor(adagc, 0, NULL, 2, NULL, &r), "grad must not be NULL (got NULL)");
    REFUSED(gradclip_chooser_feed_tensor(adagc, 0, &uncounted, 2, NULL, &r), "grad.flags must be 0: ADAGC measures all (got 1)");
    REFUSED(gradclip_chooser_feed_tensor(adagc, 0, &t, NAN, NULL, &r), "norm_type must be a number (got nan)");
    REFUSED(gradclip_chooser_feed_tensor(adagc, 0, &t, 2, NULL, NULL), "result must not be NULL (got NULL)");
    REFUSED(gradclip_chooser_feed_tensor(adagc, 0, &t, 2, NULL, &asks), "result.tensor_norms must be NULL: there is one tensor (got a pointer)");
    struct bytes after = exported(adagc);
    CHECK(after.size == before.size && same_bits(after.data, before.data, after.size), "the state changed");
    free(before.data), free(after.data);
    gradclip_chooser_free(adagc), gradclip_chooser_free(zclip);
}

/* ---------------------------------------------------------------- threads -- */

enum { THREADS = 4, EACH = 9, ROUNDS = 60 };
struct job { gradclip_chooser *chooser; size_t number; uint64_t step; double *coefs; };

static double norm_at(size_t tensor, uint64_t step) { return 1 + (double)((tensor * 31 + step * 17) % 23) / 7; }

static void *work(void *argument)
{
    struct job *job = argument;
    for (size_t k = 0; k < EACH; k++) {
        const size_t tensor = k * THREADS + job->number;
        double x = norm_at(tensor, job->step);
        gradclip_tensor grad = tensor_of(&x, 1, GRADCLIP_F64);
        gradclip_result r = new_result();
        if (gradclip_chooser_feed_tensor(job->chooser, tensor, &grad, 2, NULL, &r) != GRADCLIP_OK) r.clip_coef = -1;
        job->coefs[tensor] = r.clip_coef;
    }
    return NULL;
}

/* Threads that feed the tensors of a step, in whatever order: the bits of one thread. */
static void on_many_threads(void)
{
    gradclip_chooser *chooser = new_adagc(), *alone = new_adagc();
    for (uint64_t step = 1; step <= ROUNDS; step++) {
        double coefs[THREADS * EACH], expected[THREADS * EACH];
        pthread_t threads[THREADS];
        struct job jobs[THREADS];
        for (size_t i = 0; i < THREADS; i++) {
            jobs[i] = (struct job){chooser, i, step, coefs};
            if (pthread_create(&threads[i], NULL, work, &jobs[i])) exit(2);
        }
        for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
        for (size_t i = 0; i < THREADS; i++) {
            struct job job = {alone, i, step, expected};
            work(&job);
        }
        CHECK(same_bits(coefs, expected, sizeof coefs), "other coefficients in step %llu", (unsigned long long)step);
    }
    struct bytes a = exported(chooser), b = exported(alone);
    CHECK(a.size == b.size && same_bits(a.data, b.data, a.size), "another state");
    free(a.data), free(b.data);
    gradclip_chooser_free(chooser), gradclip_chooser_free(alone);
}

int main(void)
{
    printf("chooser_tensors: random numbers from %llu\n", (unsigned long long)RANDOM_SEED);
    as_the_rule_says();
    goes_on_from_bytes();
    takes_turns_with_whole_steps();
    not_finite();
    scaled_and_empty();
    what_is_refused();
    on_many_threads();
    return checks_summary("chooser_tensors");
}
