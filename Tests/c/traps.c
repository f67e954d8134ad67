/*
 * Every function of the header with every floating point exception unmasked (unmasked.h): none traps, none
 * leaves a flag, and all that comes out has the bits that it has in an ordinary environment. Numbers are bit patterns,
 * and what is compared is bytes: nothing here computes with floats.
 *
 * run.sh looks whether this program calls all that the library exports.
 */
#define _GNU_SOURCE
#include "calls.h"
#include "dl_tensor.h"
#include "unmasked.h"

/* What came out of all calls so far, as a number; what it was after each call in the ordinary environment. */
enum { MOST_CALLS = 1 << 18 };
static uint64_t hash, expected[MOST_CALLS];
static size_t calls;
static int is_unmasked, has_differed;

static void note(const void *bytes, size_t size)
{
    const unsigned char *b = bytes;
    for (size_t i = 0; i < size; i++) hash = (hash ^ b[i]) * UINT64_C(0x100000001b3);
}

static gradclip_status noted(gradclip_status status)
{
    unsigned seen = is_unmasked ? exceptions_seen() : 0;
    if (seen) {
        CHECK(seen == 0, "flags and masks %x after %s", seen, unmasked_call);
        unmask_exceptions();
    }
    note(&status, sizeof status);
    if (status < 0) note(gradclip_last_error(), strlen(gradclip_last_error()));
    if (calls == MOST_CALLS) exit(2);
    if (!is_unmasked) expected[calls] = hash;
    else if (hash != expected[calls] && !has_differed) {
        has_differed = 1;
        CHECK(0, "other bits before or in call %zu, %s", calls, unmasked_call);
    }
    calls++;
    return status;
}

#define DO_CALL(call) (unmasked_call = #call, noted(call))
#define DO_PLAIN(call) (unmasked_call = #call, (call), noted(0)) /* returns no status */

/* ------------------------------------------------------- odd numbers -- */

static const uint64_t patterns[] = {
    0x3ff0000000000000, 0x4008000000000000, 0x3fb999999999999a, /* 1, 3, 0.1 */
    0x0000000000000000, 0x8000000000000000, 0x0000000000000001, 0x8000000000000001, 0x000abcdef0123456, /* zeros, denormals */
    0x0010000000000000, 0x36a0000000000000, 0x3690000000000000, 0x47efffffe0000000, 0x47f0000000000000, /* the ends of float's range */
    0x7fefffffffffffff, 0xffefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000, /* the ends of double's */
    0x7ff8000000000000, 0x7ff0000000000001, 0xfff4000000000000, /* NaNs, two of them signalling */
    0xbff0000000000000, 0xc004000000000000, 0x4005999999999998};
enum { NUMBERS = sizeof patterns / sizeof *patterns, N = 640 };
static double numbers[NUMBERS];

/* Gradients of each dtype: ordinary ones, of every magnitude, denormals, with NaNs (signalling ones too) and infinities. */
enum { SCENES = 4, LIST = 4 };
static uint32_t seed32[SCENES][N], work32[N], weights[N], out32[N];
static uint64_t seed64[SCENES][N], work64[N], out64[N];
static uint16_t seed16[SCENES][2][N], work16[2][N], out16[2][N];
static gradclip_tensor list[LIST], outputs[LIST];
static float *f = (float *)work32, *f_out = (float *)out32;
static double *d = (double *)work64, *d_out = (double *)out64;
static size_t n = N;
static int scene;

static void make_seeds(void)
{
    uint64_t state = 88172645463325252u;
    for (int s = 0; s < SCENES; s++)
        for (int i = 0; i < N; i++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            uint64_t x = state;
            uint32_t y = (uint32_t)(state >> 20);
            uint16_t h = (uint16_t)(state >> 40);
            if (s == 0) { /* 1 to 2 in magnitude */
                x = (x & 0x800fffffffffffff) | 0x3ff0000000000000;
                y = (y & 0x807fffff) | 0x3f800000;
                h = (uint16_t)((h & 0x83ff) | 0x3c00);
            } else if (s < 3 || i % 7) { /* finite */
                if ((x >> 52 & 0x7ff) == 0x7ff) x ^= UINT64_C(1) << 60;
                if ((y >> 23 & 0xff) == 0xff) y ^= 1u << 28;
                if ((h & 0x7c00) == 0x7c00) h ^= 0x2000;
            } else { /* NaNs and infinities */
                x |= UINT64_C(0x7ff) << 52, y |= 0xffu << 23, h |= 0x7c00;
                if (i % 2) x &= UINT64_C(0xfff) << 52, y &= 0x1ffu << 23, h &= 0xfc00;
            }
            if (s == 2) x &= ~(UINT64_C(0x7ff) << 52), y &= ~0x7f800000u, h &= 0x83ff;
            seed64[s][i] = x, seed32[s][i] = y, seed16[s][0][i] = h, seed16[s][1][i] = (uint16_t)(y >> 16);
        }
    memcpy(numbers, patterns, sizeof patterns);
    memcpy(weights, seed32[1], sizeof weights);
    list[0] = tensor_of(work32, N, GRADCLIP_F32), list[1] = tensor_of(work64, N, GRADCLIP_F64);
    list[2] = tensor_of(work16[0], N, GRADCLIP_F16), list[3] = tensor_of(work16[1], N, GRADCLIP_BF16);
    outputs[0] = tensor_of(out32, N, GRADCLIP_F32), outputs[1] = tensor_of(out64, N, GRADCLIP_F64);
    outputs[2] = tensor_of(out16[0], N, GRADCLIP_F16), outputs[3] = tensor_of(out16[1], N, GRADCLIP_BF16);
}

static void refill(void)
{
    memcpy(work32, seed32[scene], sizeof work32), memcpy(work64, seed64[scene], sizeof work64);
    memcpy(work16, seed16[scene], sizeof work16);
    memset(out32, 0, sizeof out32), memset(out64, 0, sizeof out64), memset(out16, 0, sizeof out16);
}

static void note_gradients(void)
{
    note(work32, sizeof work32), note(work64, sizeof work64), note(work16, sizeof work16);
    note(out32, sizeof out32), note(out64, sizeof out64), note(out16, sizeof out16);
}

static gradclip_result r;
static double each[LIST * N]; /* norms, coefficients */

/* A call on fresh gradients; all that it may have written is noted. */
#define FRESH(call)                           \
    do {                                      \
        refill();                             \
        gradclip_result_init(&r, sizeof r);   \
        memset(each, 0, sizeof each);         \
        DO_CALL(call);                        \
        note(&r, sizeof r);                   \
        note(each, sizeof each);              \
        note_gradients();                     \
    } while (0)

/* --------------------------------------------------------------- calls -- */

static void clipping(double max_norm, double p, const gradclip_options *o)
{
    const double limits[] = {max_norm, numbers[0], numbers[7], numbers[15]};
    const uint32_t groups[] = {1, 0, 1, 2};
    const gradclip_tensor as_weights[] = {tensor_of(weights, N, GRADCLIP_F32)};
    const gradclip_units units[] = {{N / 8, 8, 1}, {1, N / 8, 8}, {1, N, 1}};
    FRESH(gradclip_clip_grad_norm_f32(&f, &n, 1, max_norm, p, o, &r));
    FRESH(gradclip_clip_grad_norm_f64(&d, &n, 1, max_norm, p, o, &r));
    FRESH(gradclip_clip_grad_norm(list, LIST, max_norm, p, o, &r));
    FRESH(gradclip_clip_grad_norm_to_f32(&f, &f_out, &n, 1, max_norm, p, o, &r));
    FRESH(gradclip_clip_grad_norm_to_f64(&d, &d_out, &n, 1, max_norm, p, o, &r));
    FRESH(gradclip_clip_grad_norm_to(list, outputs, LIST, max_norm, p, o, &r));
    FRESH(gradclip_get_total_norm_f32(&f, &n, 1, p, o, &r));
    FRESH(gradclip_get_total_norm_f64(&d, &n, 1, p, o, &r));
    FRESH(gradclip_get_total_norm(list, LIST, p, o, &r));
    FRESH(gradclip_defer_clip_f32(&f, &n, 1, max_norm, p, o, &r));
    FRESH(gradclip_defer_clip_f64(&d, &n, 1, max_norm, p, o, &r));
    FRESH(gradclip_defer_clip(list, LIST, max_norm, p, o, &r));
    /* (p stands for a norm, too.) */
    FRESH(gradclip_clip_grads_with_norm_f32(&f, &n, 1, max_norm, p, o, &r));
    FRESH(gradclip_clip_grads_with_norm_f64(&d, &n, 1, max_norm, p, o, &r));
    FRESH(gradclip_clip_grads_with_norm(list, LIST, max_norm, p, o, &r));
    FRESH(gradclip_clip_coef(max_norm, p, o, each));
    FRESH(gradclip_scale(list, LIST, p, o));
    FRESH(gradclip_clip_grad_value_f32(&f, &n, 1, max_norm, o));
    FRESH(gradclip_clip_grad_value_f64(&d, &n, 1, max_norm, o));
    FRESH(gradclip_clip_grad_value(list, LIST, max_norm, o));
    FRESH(gradclip_clip_by_norm(list, LIST, limits, LIST, p, o, &r, each));
    FRESH(gradclip_clip_by_group(list, LIST, groups, limits, 3, p, o, &r, each, each + LIST));
    FRESH(gradclip_clip_by_block_rms(list, LIST, max_norm, o, &r, each));
    for (int u = 0; u < 3; u++) FRESH(gradclip_adaptive_clip_grad(list, as_weights, units + u, 1, max_norm, numbers[7], p, o, &r, each));
    FRESH(gradclip_adaptive_clip_grad(list, as_weights, units, 1, numbers[2], max_norm, p, o, &r, each));
    gradclip_report reports[LIST];
    memset(reports, 0, sizeof reports);
    FRESH(gradclip_inspect(list, LIST, p, o, reports, sizeof *reports, &r));
    note(reports, sizeof reports);
    for (uint32_t rule = 0; rule < 3; rule++)
        for (size_t limit_count = 1; limit_count <= LIST; limit_count += LIST - 1) {
            gradclip_per_example_result found;
            gradclip_tensor sums[LIST];
            memset(&found, 0, sizeof found), found.struct_size = sizeof found;
            for (int i = 0; i < LIST; i++) sums[i] = tensor_of(out64 + i * N / 8, N / 8, i % 2 ? GRADCLIP_F64 : GRADCLIP_F32);
            FRESH(gradclip_clip_per_example(list, sums, LIST, 8, limits, limit_count, rule, o, &found, each, each + 32));
            note(&found, sizeof found);
        }
}

static void accumulators(double max_norm, double p, const gradclip_options *o)
{
    gradclip_accumulator *a = NULL, *b = NULL;
    unsigned char bytes[1024];
    size_t size = sizeof bytes;
    int64_t words[GRADCLIP_WORDS] = {0};
    DO_CALL(gradclip_accumulator_create(p, o, &a));
    DO_CALL(gradclip_accumulator_create(p, o, &b));
    if (a && b) {
        DO_CALL(gradclip_accumulator_set_next_tensor(a, 3));
        FRESH(gradclip_accumulator_add(a, list, LIST));
        FRESH(gradclip_accumulator_add_f32(a, f, n));
        FRESH(gradclip_accumulator_add_f64(b, d, n));
        const gradclip_tensor minus[LIST] = {list[1], list[0], list[3], list[2]};
        FRESH(gradclip_accumulator_add_difference(b, list, minus, LIST));
        DO_CALL(gradclip_accumulator_merge(a, b));
        DO_CALL(gradclip_accumulator_export(a, bytes, &size));
        note(bytes, size);
        FRESH(gradclip_accumulator_finish(a, max_norm, &r));
        FRESH(gradclip_accumulator_clip(a, list, LIST, max_norm, &r));
        DO_CALL(gradclip_accumulator_to_words(a, max_norm, words));
        note(words, sizeof words);
        DO_CALL(gradclip_accumulator_from_words(b, max_norm, words));
        FRESH(gradclip_accumulator_finish(b, max_norm, &r));
        DO_CALL(gradclip_accumulator_reset(a));
        DO_CALL(gradclip_accumulator_import(a, bytes, size));
        bytes[9] ^= 1;
        DO_CALL(gradclip_accumulator_import(a, bytes, size));
        FRESH(gradclip_accumulator_finish(a, max_norm, &r));
    }
    DO_PLAIN(gradclip_accumulator_free(a));
    DO_PLAIN(gradclip_accumulator_free(b));
}

static void note_decision(gradclip_decision decision)
{
    decision.tensor_thresholds = decision.tensor_coefs = NULL; /* addresses */
    note(&decision, sizeof decision);
}

/* What a chooser decides of odd norms and losses, and what is made of its bytes when an odd number stands in them. */
static void one_chooser(const gradclip_chooser_options *o)
{
    gradclip_chooser *chooser = NULL, *copy = NULL;
    gradclip_decision decision;
    double thresholds[LIST] = {0}, coefs[LIST] = {0};
    static unsigned char bytes[SAVED];
    size_t size;
    DO_CALL(gradclip_chooser_create(o, &chooser));
    DO_CALL(gradclip_chooser_create(o, &copy));
    DO_CALL(gradclip_decision_init(&decision, sizeof decision));
    decision.tensor_thresholds = thresholds, decision.tensor_coefs = coefs;
    for (int i = 0; chooser && copy && i < 3 * NUMBERS; i++) {
        const double norm = numbers[i % 5 ? (i * 7) % NUMBERS : 0], loss = numbers[(i * 11) % NUMBERS];
        const double norms[LIST] = {norm, numbers[i % 4], numbers[(i / 2) % 9], numbers[20]};
        if (o->kind == GRADCLIP_ADAGC) DO_CALL(gradclip_chooser_feed_tensors(chooser, norms, LIST, &decision));
        else DO_CALL(gradclip_chooser_feed(chooser, norm, i % 3 ? &loss : NULL, &decision));
        note_decision(decision);
        if (i % 9 == 0) {
            scene = i / 9 % SCENES;
            FRESH(gradclip_chooser_clip(chooser, list, LIST, numbers[1], &loss, NULL, &r, &decision));
            note_decision(decision);
            for (size_t k = 0; k < LIST; k++) FRESH(gradclip_chooser_feed_tensor(chooser, k, list + k, numbers[1], NULL, &r));
        }
        note(thresholds, sizeof thresholds), note(coefs, sizeof coefs);
        if (i % 21) continue;
        size = sizeof bytes;
        DO_CALL(gradclip_chooser_export(chooser, bytes, &size));
        note(bytes, size);
        DO_CALL(gradclip_chooser_import(copy, bytes, size));
        for (size_t word = 1; word + 1 < size / 8; word++) {
            uint64_t was, sum = UINT64_C(0xcbf29ce484222325);
            memcpy(&was, bytes + 8 * word, 8);
            memcpy(bytes + 8 * word, &patterns[(word + (size_t)i) % NUMBERS], 8);
            for (size_t k = 0; k + 8 < size; k++) sum = (sum ^ bytes[k]) * UINT64_C(0x100000001b3);
            memcpy(bytes + size - 8, &sum, 8);
            if (DO_CALL(gradclip_chooser_import(copy, bytes, size)) == GRADCLIP_OK) {
                DO_CALL(gradclip_chooser_feed(copy, numbers[2], NULL, &decision));
                note_decision(decision);
            }
            memcpy(bytes + 8 * word, &was, 8);
        }
    }
    if (chooser) DO_CALL(gradclip_chooser_reset(chooser));
    DO_PLAIN(gradclip_chooser_free(chooser));
    DO_PLAIN(gradclip_chooser_free(copy));
}

static void choosers(void)
{
    for (uint32_t kind = 0; kind <= GRADCLIP_SKIPSTEP; kind++) {
        gradclip_chooser_options o;
        memset(&o, 0, sizeof o);
        if (DO_CALL(gradclip_chooser_options_init(&o, sizeof o, kind)) != GRADCLIP_OK) continue;
        note(&o, sizeof o);
        o.warmup_steps = 3;
        if (kind == GRADCLIP_SKIPSTEP) o.window = 4;
        const gradclip_chooser_options usual = o;
        for (o.mode = 0; o.mode < 4; o.mode++) one_chooser(&o);
        for (int i = 0; i < NUMBERS; i++) {
            double *fields[] = {&o.percentile, &o.decay, &o.z_threshold, &o.max_norm, &o.lambda_rel, &o.clip_factor, &o.eps};
            for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) {
                o = usual;
                o.skip_update_on_spike = i % 2;
                *fields[k] = numbers[i];
                one_chooser(&o);
            }
        }
    }
}

static void take_text(void *ignored, uint32_t kind, const char *text)
{
    (void)ignored;
    note(&kind, sizeof kind);
    note(text, strlen(text));
    CHECK(!is_unmasked || exceptions_seen() == 0, "flags and masks %x in the callback", exceptions_seen());
}

static void logs(void)
{
    gradclip_monitor monitor;
    gradclip_decision decision;
    gradclip_decision_init(&decision, sizeof decision);
    DO_CALL(gradclip_monitor_init(&monitor, sizeof monitor));
    monitor.callback = take_text;
    for (int i = 0; i < NUMBERS; i++)
        for (int k = 0; k < NUMBERS; k++) {
            gradclip_result_init(&r, sizeof r);
            r.total_norm = numbers[i], r.clip_coef = numbers[k], r.nonfinite_count = (uint64_t)(i % 2);
            r.first_tensor = r.first_element = i % 2 ? 7 : GRADCLIP_NONE;
            decision.threshold = numbers[k], decision.action = (uint32_t)k % 4;
            if (k % 5 == 0) monitor.said = 0;
            DO_CALL(gradclip_monitor_log(&monitor, &numbers[k], &numbers[i], &r, k % 2 ? &decision : NULL));
        }
}

static int read_out(void *object, void *out)
{
    memcpy(out, object, sizeof(struct dl_tensor));
    return 0;
}

/* No floating point in any of these; they are called all the same. */
static void the_rest(void)
{
    int64_t shape[] = {N}, strides[] = {2};
    struct dl_tensor good = {work32, 1, 0, 1, 2, 32, 1, shape, NULL, 0}, bad = good;
    bad.strides = strides;
    void *objects[] = {&good, &bad};
    gradclip_tensor rows[2];
    gradclip_options o;
    size_t first, second;
    DO_CALL(gradclip_tensors_from_dlpack(objects, 1, read_out, rows));
    DO_CALL(gradclip_tensors_from_dlpack(objects, 2, read_out, rows));
    DO_CALL(gradclip_find_overlap(list, LIST, &first, &second));
    DO_CALL(gradclip_options_init(&o, sizeof o));
    DO_CALL(gradclip_options_init(&o, 7));
    DO_CALL(gradclip_result_init(&r, sizeof r));
    DO_PLAIN(gradclip_set_num_threads(gradclip_get_num_threads()));
    DO_PLAIN(gradclip_set_num_threads(0));
    DO_PLAIN(gradclip_version());
    const char *texts[] = {gradclip_version_string(), gradclip_isa(), gradclip_status_string(-3), gradclip_last_error()};
    for (int i = 0; i < 4; i++) note(texts[i], strlen(texts[i]));
    noted(0);
    for (int i = 0; i < NUMBERS; i++)
        for (int k = 0; k < 5; k++) {
            double given[] = {numbers[0], numbers[0], numbers[1], numbers[2], numbers[2]}, adapted = numbers[3];
            given[k] = numbers[i];
            DO_CALL(gradclip_adapt_max_norm(given[0], given[1], given[2], given[3], given[4], &adapted));
            note(&adapted, sizeof adapted);
        }
}

/* All of the above, every argument odd in turn. */
static void everything(void)
{
    static struct world small, large;
    hash = UINT64_C(0xcbf29ce484222325), calls = 0;
    for (scene = 0; scene < SCENES; scene++) {
        gradclip_options o = default_options();
        for (int i = 0; i < NUMBERS; i++) {
            clipping(numbers[i], numbers[1], NULL), clipping(numbers[2], numbers[i], NULL);
            accumulators(numbers[i], numbers[1], NULL), accumulators(numbers[2], numbers[i], NULL);
            for (o.nonfinite = 0; o.nonfinite < 3; o.nonfinite++) {
                o.exact_f64 = (uint32_t)i % 2;
                o.eps = numbers[i], clipping(numbers[1], numbers[0], &o), accumulators(numbers[1], numbers[0], &o);
                o.eps = numbers[5], o.grad_scale = numbers[i], clipping(numbers[5], numbers[22], &o), accumulators(numbers[5], numbers[22], &o);
                o = (gradclip_options){o.struct_size, numbers[2], numbers[0], o.nonfinite, 0, 0, 0};
            }
        }
    }
    scene = 0;
    choosers();
    logs();
    the_rest();
    /* Of ordinary gradients, and with threads, whose environment is not the caller's. (To fill them in takes arithmetic.) */
    if (is_unmasked) mask_exceptions();
    for (int threads = 1; threads <= 2; threads++) {
        struct world *w = threads == 1 ? &small : &large;
        if (!w->bytes && !make_world(w, threads == 1 ? 6400 : ENOUGH_FOR_THREADS, (uint32_t)threads)) exit(2);
        for (int i = 0; i < STEPS; i++) {
            fill_world(w);
            if (is_unmasked) unmask_exceptions();
            unmasked_call = steps[i].name;
            gradclip_status status = steps[i].run(w);
            uint64_t found = digest(w);
            note(&found, sizeof found);
            noted(status);
            if (is_unmasked) mask_exceptions();
        }
    }
}

int main(void)
{
    make_seeds();
    everything();
    const size_t made = calls;
    is_unmasked = 1;
    unmask_exceptions();
    everything();
    mask_exceptions();
    CHECK(calls == made && made > 100000, "%zu calls, %zu with exceptions unmasked", made, calls);
    printf("%zu calls; ", calls);
    return checks_summary("traps");
}
