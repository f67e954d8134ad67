/*
 * Choosers at the edges of their lives: arguments, defaults, more norms than are kept exactly,
 * no memory. What they decide is in golden_choosers.c, what they write in chooser_clips.c, and
 * how they are saved in chooser_states.c.
 */
#include "choosers.h"

#include <float.h>
#include <malloc.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

enum { INVALID = GRADCLIP_ERROR_INVALID_ARGUMENT };

/* The library's memory comes from here (it asks for it by this name): none after `memory_left`
 * requests. */
static long memory_left = -1;

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    if (memory_left == 0) return 12;
    if (memory_left > 0) memory_left--;
    *memory = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment + (size == 0) * alignment);
    return *memory ? 0 : 12;
}

/* ------------------------------------------------------------- arguments -- */

static void layouts_and_defaults(void)
{
    CHECK(sizeof(gradclip_chooser_options) == 96 && offsetof(gradclip_chooser_options, percentile) == 32, "%zu", sizeof(gradclip_chooser_options));
    CHECK(sizeof(gradclip_decision) == 72 && offsetof(gradclip_decision, tensor_coefs) == 64, "%zu", sizeof(gradclip_decision));
    gradclip_chooser_options o = defaults_of(GRADCLIP_AUTOCLIP);
    CHECK(o.struct_size == sizeof o && o.kind == 1 && o.mode == 0 && o.window == 0 && o.percentile == 10, "AutoClip");
    o = defaults_of(GRADCLIP_ZCLIP);
    CHECK(o.warmup_steps == 25 && o.decay == 0.97 && o.z_threshold == 2.5 && o.max_norm == INFINITY && o.clip_factor == 1 && o.eps == 1e-6 &&
              o.skip_update_on_spike == 0, "ZClip");
    o = defaults_of(GRADCLIP_ADAGC);
    CHECK(o.warmup_steps == 100 && o.decay == 0.98 && o.max_norm == 1 && o.lambda_rel == 1.05 && o.eps == 1e-8, "AdaGC");
    o = defaults_of(GRADCLIP_SKIPSTEP);
    CHECK(o.window == 128 && o.z_threshold == 6, "SkipStep");
    /* Shorter and longer structs of other versions. */
    struct { gradclip_chooser_options options; unsigned char tail[32]; } longer;
    gradclip_chooser *chooser;
    memset(&longer, 0xff, sizeof longer);
    CHECK_STATUS(gradclip_chooser_options_init(&longer.options, sizeof longer, GRADCLIP_ZCLIP), GRADCLIP_OK);
    CHECK(longer.tail[0] == 0 && longer.tail[31] == 0 && longer.options.struct_size == sizeof longer, "tail");
    CHECK_STATUS(gradclip_chooser_create(&longer.options, &chooser), GRADCLIP_OK);
    gradclip_chooser_free(chooser);
    longer.tail[3] = 1;
    CHECK_STATUS(gradclip_chooser_create(&longer.options, &chooser), INVALID);
    CHECK(!chooser, "made all the same");
    memset(&o, 0xff, sizeof o);
    o.struct_size = 24, o.kind = GRADCLIP_SKIPSTEP, o.mode = 0, o.window = 8;
    CHECK_STATUS(gradclip_chooser_create(&o, &chooser), GRADCLIP_OK);
    gradclip_chooser_free(chooser);
    gradclip_decision d;
    memset(&d, 0xee, sizeof d);
    CHECK_STATUS(gradclip_decision_init(&d, 16), GRADCLIP_OK);
    chooser = new_kind(GRADCLIP_AUTOCLIP);
    CHECK_STATUS(gradclip_chooser_feed(chooser, 3, NULL, &d), GRADCLIP_OK);
    CHECK(d.threshold == 3 && ((unsigned char *)&d)[16] == 0xee && d.struct_size == 16, "a short decision");
    gradclip_chooser_free(chooser);
}

/* The message names the field and its value, and there is no chooser. */
static void refused(uint32_t kind, size_t offset, double value, const char *name, const char *shown)
{
    gradclip_chooser_options o = defaults_of(kind);
    gradclip_chooser *chooser = (void *)&o;
    memcpy((char *)&o + offset, &value, 8);
    CHECK_STATUS(gradclip_chooser_create(&o, &chooser), INVALID);
    CHECK(!chooser, "%s", name);
    CHECK(strstr(gradclip_last_error(), name) == gradclip_last_error() && strstr(gradclip_last_error(), shown), "%s", gradclip_last_error());
}

static void bad_options(void)
{
    static const struct { size_t offset; const char *name; double most; } fields[] = {
        {offsetof(gradclip_chooser_options, percentile), "percentile", 100}, {offsetof(gradclip_chooser_options, decay), "decay", 1},
        {offsetof(gradclip_chooser_options, z_threshold), "z_threshold", 0}, {offsetof(gradclip_chooser_options, max_norm), "max_norm", INFINITY},
        {offsetof(gradclip_chooser_options, lambda_rel), "lambda_rel", 0}, {offsetof(gradclip_chooser_options, clip_factor), "clip_factor", 0},
        {offsetof(gradclip_chooser_options, eps), "eps", 0}};
    for (uint32_t kind = 1; kind <= 4; kind++)
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
            refused(kind, fields[i].offset, -0.5, fields[i].name, "(got -0.5)");
            refused(kind, fields[i].offset, NAN, fields[i].name, "nan)");
            if (fields[i].most < INFINITY) refused(kind, fields[i].offset, INFINITY, fields[i].name, "(got inf)");
            if (fields[i].most == 1) refused(kind, fields[i].offset, 1.5, fields[i].name, "(got 1.5)");
        }
    gradclip_chooser_options o = defaults_of(GRADCLIP_AUTOCLIP);
    gradclip_chooser *chooser;
    CHECK_STATUS(gradclip_chooser_options_init(&o, sizeof o, 5), INVALID);
    CHECK(strstr(gradclip_last_error(), "kind") && strstr(gradclip_last_error(), "(got 5)"), "%s", gradclip_last_error());
    CHECK_STATUS(gradclip_chooser_options_init(&o, 7, 1), INVALID);
    CHECK_STATUS(gradclip_chooser_options_init(NULL, sizeof o, 1), INVALID);
    CHECK_STATUS(gradclip_decision_init(NULL, 72), INVALID);
    o.kind = 0;
    CHECK_STATUS(gradclip_chooser_create(&o, &chooser), INVALID);
    o.kind = 1, o.mode = 2;
    CHECK_STATUS(gradclip_chooser_create(&o, &chooser), INVALID);
    CHECK(strstr(gradclip_last_error(), "mode") && strstr(gradclip_last_error(), "(got 2)"), "%s", gradclip_last_error());
    o.mode = 0, o.window = 1000001;
    CHECK_STATUS(gradclip_chooser_create(&o, &chooser), INVALID);
    CHECK(strstr(gradclip_last_error(), "window") && strstr(gradclip_last_error(), "1000001"), "%s", gradclip_last_error());
    o.window = UINT64_MAX;
    CHECK_STATUS(gradclip_chooser_create(&o, &chooser), INVALID);
    o.window = 0, o.reserved = 1;
    CHECK_STATUS(gradclip_chooser_create(&o, &chooser), INVALID);
    o.reserved = 0, o.skip_update_on_spike = 2;
    CHECK_STATUS(gradclip_chooser_create(&o, &chooser), INVALID);
    o = defaults_of(GRADCLIP_SKIPSTEP);
    o.window = 1;
    CHECK_STATUS(gradclip_chooser_create(&o, &chooser), INVALID);
    CHECK_STATUS(gradclip_chooser_create(NULL, &chooser), INVALID);
    CHECK_STATUS(gradclip_chooser_create(&o, NULL), INVALID);
    o = defaults_of(GRADCLIP_AUTOCLIP), o.struct_size = 3;
    CHECK_STATUS(gradclip_chooser_create(&o, &chooser), INVALID);
}

static void bad_calls(void)
{
    gradclip_chooser *chooser = new_kind(GRADCLIP_AUTOCLIP), *adagc = new_kind(GRADCLIP_ADAGC);
    gradclip_decision d = new_decision(), short_one = new_decision();
    double norms[] = {1, 2, -3}, one = 1;
    gradclip_tensor tensor = tensor_of(&one, 1, GRADCLIP_F64);
    unsigned char byte = 0;
    size_t size = 1;
    short_one.struct_size = 4;
    gradclip_chooser_free(NULL);
    struct bytes before = exported(chooser);
    static const char *const null = "must not be NULL";
#define REFUSED(call, name, text)                                                                          \
    CHECK_STATUS(call, INVALID);                                                                           \
    CHECK(strstr(gradclip_last_error(), name) == gradclip_last_error() && strstr(gradclip_last_error(), text), "%s", gradclip_last_error())
    REFUSED(gradclip_chooser_reset(NULL), "chooser", null);
    REFUSED(gradclip_chooser_feed(NULL, 1, NULL, &d), "chooser", null);
    REFUSED(gradclip_chooser_feed(chooser, 1, NULL, NULL), "decision", null);
    REFUSED(gradclip_chooser_feed(chooser, 1, NULL, &short_one), "decision", "struct_size");
    REFUSED(gradclip_chooser_feed(chooser, -1, NULL, &d), "total_norm", "(got -1)");
    REFUSED(gradclip_chooser_feed(chooser, -INFINITY, NULL, &d), "total_norm", "(got -inf)");
    REFUSED(gradclip_chooser_feed_tensors(chooser, norms, 2, &d), "count", "(got 2)");
    REFUSED(gradclip_chooser_feed_tensors(adagc, NULL, 2, &d), "tensor_norms", null);
    REFUSED(gradclip_chooser_feed_tensors(adagc, norms, 3, &d), "tensor_norms[2]", "(got -3)");
    REFUSED(gradclip_chooser_feed_tensors(adagc, norms, 0, &d), "count", "(got 0)");
    CHECK_STATUS(gradclip_chooser_feed_tensors(adagc, norms, 2, &d), GRADCLIP_OK);
    REFUSED(gradclip_chooser_feed_tensors(adagc, norms, 1, &d), "count", "(got 1)");
    REFUSED(gradclip_chooser_clip(NULL, &tensor, 1, 2, NULL, NULL, NULL, NULL), "chooser", null);
    REFUSED(gradclip_chooser_clip(chooser, NULL, 1, 2, NULL, NULL, NULL, NULL), "grads", null);
    REFUSED(gradclip_chooser_clip(chooser, &tensor, 1, NAN, NULL, NULL, NULL, NULL), "norm_type", "nan");
    REFUSED(gradclip_chooser_clip(chooser, &tensor, 1, 2, NULL, NULL, NULL, &short_one), "decision", "struct_size");
    REFUSED(gradclip_chooser_clip(adagc, &tensor, 1, 2, NULL, NULL, NULL, NULL), "count", "(got 1)");
    gradclip_tensor two[] = {tensor, tensor};
    two[1].data = &norms[0], two[1].flags = GRADCLIP_UNCOUNTED;
    REFUSED(gradclip_chooser_clip(adagc, two, 2, 2, NULL, NULL, NULL, NULL), "grads[1].flags", "(got 1)");
    REFUSED(gradclip_chooser_export(NULL, NULL, &size), "chooser", null);
    REFUSED(gradclip_chooser_export(chooser, NULL, NULL), "size", null);
    REFUSED(gradclip_chooser_export(chooser, &byte, &size), "size", "(got 1)");
    REFUSED(gradclip_chooser_import(NULL, &byte, 1), "chooser", null);
    REFUSED(gradclip_chooser_import(chooser, NULL, 1), "bytes", null);
    struct bytes after = exported(chooser);
    CHECK(after.size == before.size && same_bits(after.data, before.data, after.size), "refused calls changed the chooser");
    CHECK(one == 1 && norms[0] == 1, "refused calls wrote");
    free(before.data), free(after.data);
    gradclip_chooser_free(chooser), gradclip_chooser_free(adagc);
}

/* --------------------------------------------------------------- history -- */

/* After any number of NaNs and infinities the bytes are those of before. */
static void non_finite_never_enters(void)
{
    static const double bad[] = {NAN, INFINITY};
    for (uint32_t kind = 1; kind <= 4; kind++)
        for (int steps = 0; steps < 40; steps += 13) {
            gradclip_chooser *chooser = seasoned(kind, steps);
            struct bytes before = exported(chooser);
            for (int i = 0; i < 2; i++) {
                gradclip_decision d = new_decision();
                double norms[] = {1, bad[i], 2}, fine = 1;
                if (kind == GRADCLIP_ADAGC) CHECK_STATUS(gradclip_chooser_feed_tensors(chooser, norms, 3, &d), GRADCLIP_NON_FINITE);
                else CHECK_STATUS(gradclip_chooser_feed(chooser, bad[i], &fine, &d), GRADCLIP_NON_FINITE);
                CHECK(d.action == GRADCLIP_ACTION_SKIP && !d.recorded && d.clip_coef == 1, "kind %u", kind);
                if (kind == GRADCLIP_SKIPSTEP) {
                    CHECK_STATUS(gradclip_chooser_feed(chooser, 1, &bad[i], &d), GRADCLIP_NON_FINITE);
                    CHECK(d.action == GRADCLIP_ACTION_SKIP && !d.recorded, "a loss of %g", bad[i]);
                }
            }
            struct bytes after = exported(chooser);
            /* (AdaGC learns how many tensors there are, and that none of them has a norm.) */
            if (kind != GRADCLIP_ADAGC || steps)
                CHECK(after.size == before.size && same_bits(after.data, before.data, after.size), "kind %u after %d steps", kind, steps);
            free(before.data), free(after.data);
            gradclip_chooser_free(chooser);
        }
    /* A finite norm whose square is infinite would make ZClip's variance infinite for good. */
    gradclip_chooser *zclip = seasoned(GRADCLIP_ZCLIP, 9);
    gradclip_decision before = fed(zclip, 1, GRADCLIP_OK), huge;
    gradclip_chooser_options o = defaults_of(GRADCLIP_ZCLIP);
    o.mode = 2, o.z_threshold = 1e300;
    gradclip_chooser *wide = new_chooser(&o);
    for (int i = 0; i < 25; i++) fed(wide, i, GRADCLIP_OK);
    huge = fed(wide, 1e200, GRADCLIP_OK);
    CHECK(!huge.recorded && isfinite(huge.deviation), "recorded %u, deviation %g", huge.recorded, huge.deviation);
    huge = fed(zclip, DBL_MAX, GRADCLIP_OK);
    CHECK(huge.action == GRADCLIP_ACTION_CLIP && isfinite(huge.deviation) && huge.clip_coef < 1e-300 && before.recorded, "%a", huge.clip_coef);
    gradclip_chooser_free(zclip), gradclip_chooser_free(wide);
}

static int by_value(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }

static double exact_quantile(double *sorted, size_t n, double q)
{
    double position = q * (double)(n - 1), low = floor(position), t = position - low;
    double a = sorted[(size_t)low], b = sorted[(size_t)low + (low + 1 < (double)n)];
    return t < 0.5 ? a + (b - a) * t : b - (b - a) * (1 - t);
}

/* 10^6 norms exactly, the same bits as a sort; of more the threshold is off by a part in
 * 1024 at most, in bounded memory; and it saves and restores. */
static void more_norms_than_are_kept(void)
{
    enum { EXACT = 1000000, MORE = 1200000 };
    static const double percentiles[] = {10, 99.9};
    double *norms = malloc(MORE * sizeof *norms), *sorted = malloc(MORE * sizeof *norms);
    for (size_t i = 0; i < MORE; i++) norms[i] = i % 1000 == 7 ? 0 : i % 1000 == 9 ? 0x1p-1060 : random_norm();
    for (int k = 0; k < 2; k++) {
        gradclip_chooser_options o = defaults_of(GRADCLIP_AUTOCLIP);
        o.percentile = percentiles[k];
        gradclip_chooser *chooser = new_chooser(&o), *twin = new_chooser(&o);
        gradclip_decision d = new_decision();
        for (size_t i = 0; i < MORE; i++) {
            CHECK_STATUS(gradclip_chooser_feed(chooser, norms[i], NULL, &d), GRADCLIP_OK);
            size_t n = i + 1;
            if (n != EXACT && n != EXACT + 1 && n != MORE) continue;
            memcpy(sorted, norms, n * sizeof *norms);
            qsort(sorted, n, sizeof *norms, by_value);
            double expected = exact_quantile(sorted, n, percentiles[k] / 100);
            if (n == EXACT) CHECK_NUMBER(d.threshold, expected);
            else CHECK(fabs(d.threshold / expected - 1) <= 1.0 / 1024, "%zu norms: %a, exactly %a", n, d.threshold, expected);
            struct bytes b = exported(chooser);
            CHECK(n > EXACT ? b.size < 200000 : b.size < 8000200, "%zu bytes of %zu norms", b.size, n);
            if (n > EXACT) {
                CHECK_STATUS(gradclip_chooser_import(twin, b.data, b.size), GRADCLIP_OK);
                gradclip_chooser *swap = chooser;
                chooser = twin, twin = swap;
                struct bytes again = exported(chooser);
                CHECK(again.size == b.size && same_bits(again.data, b.data, b.size), "other bytes");
                free(again.data);
                gradclip_decision e = fed(twin, 1, GRADCLIP_OK), f = fed(chooser, 1, GRADCLIP_OK);
                CHECK_NUMBER(e.threshold, f.threshold);
                CHECK(e.steps == f.steps && e.steps == n + 1 + (n == MORE), "%llu steps", (unsigned long long)e.steps);
            }
            free(b.data);
        }
        gradclip_chooser_free(chooser), gradclip_chooser_free(twin);
    }
    free(norms), free(sorted);
}

/* The largest window: exact, a ring, after more norms than it holds. */
static void the_largest_window(void)
{
    enum { WINDOW = 1000000, MORE = 1050000 };
    gradclip_chooser_options o = defaults_of(GRADCLIP_AUTOCLIP);
    o.window = WINDOW, o.percentile = 37.5;
    gradclip_chooser *chooser = new_chooser(&o);
    gradclip_decision d = new_decision();
    double *norms = malloc(MORE * sizeof *norms);
    for (size_t i = 0; i < MORE; i++) {
        norms[i] = random_norm();
        CHECK_STATUS(gradclip_chooser_feed(chooser, norms[i], NULL, &d), GRADCLIP_OK);
    }
    qsort(norms + MORE - WINDOW, WINDOW, sizeof *norms, by_value);
    CHECK_NUMBER(d.threshold, exact_quantile(norms + MORE - WINDOW, WINDOW, 0.375));
    free(norms);
    gradclip_chooser_free(chooser);
}

static void reset_is_a_fresh_start(void)
{
    for (uint32_t kind = 1; kind <= 4; kind++) {
        gradclip_chooser *chooser = seasoned(kind, 30), *fresh = seasoned(kind, 0);
        CHECK_STATUS(gradclip_chooser_reset(chooser), GRADCLIP_OK);
        struct bytes a = exported(chooser), b = exported(fresh);
        CHECK(a.size == b.size && same_bits(a.data, b.data, a.size), "kind %u", kind);
        free(a.data), free(b.data);
        fed(chooser, 3, GRADCLIP_OK);
        gradclip_chooser_free(chooser), gradclip_chooser_free(fresh);
    }
}

/* ---------------------------------------------------------------- memory -- */

/* What malloc has given away, in bytes. */
static size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* A chooser's memory after so many norms is at most what the header says. */
static void memory_is_bounded(void)
{
    enum { MILLION = 1000000 };
    static const struct { uint32_t kind; uint64_t window; size_t norms, most; } rows[] = {
        {GRADCLIP_AUTOCLIP, 0, MILLION, 16000000}, {GRADCLIP_AUTOCLIP, MILLION, MILLION + 1, 16000000}, {GRADCLIP_AUTOCLIP, 0, MILLION + 1, 8400000},
        {GRADCLIP_AUTOCLIP, 100, 1000, 1600}, {GRADCLIP_SKIPSTEP, 100, 1000, 3200}, {GRADCLIP_SKIPSTEP, 1000, 2000, 32000}, {GRADCLIP_ZCLIP, 0, 1000, 0}};
    enum { ITSELF = 2048 }; /* its options, its last decision, what malloc adds */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        gradclip_chooser_options o = defaults_of(rows[i].kind);
        gradclip_decision d = new_decision();
        double loss = 1; /* (SkipStep keeps those too.) */
        if (rows[i].window) o.window = rows[i].window;
        size_t before = in_use();
        gradclip_chooser *chooser = new_chooser(&o);
        for (size_t n = 0; n < rows[i].norms; n++) gradclip_chooser_feed(chooser, 1 + (double)n, &loss, &d);
        size_t used = in_use() - before;
        CHECK(used <= rows[i].most + ITSELF, "row %zu: %zu bytes, at most %zu are promised", i, used, rows[i].most);
        gradclip_chooser_free(chooser);
        CHECK(in_use() <= before + ITSELF, "row %zu: %zu bytes are left", i, in_use() - before);
    }
    enum { TENSORS = 1000 };
    static double norms[TENSORS];
    for (int i = 0; i < TENSORS; i++) norms[i] = 1 + i;
    size_t before = in_use();
    gradclip_chooser *chooser = new_kind(GRADCLIP_ADAGC);
    gradclip_decision d = new_decision();
    for (int i = 0; i < 200; i++) CHECK_STATUS(gradclip_chooser_feed_tensors(chooser, norms, TENSORS, &d), GRADCLIP_OK);
    CHECK(in_use() - before <= 16 * TENSORS + ITSELF, "AdaGC: %zu bytes", in_use() - before);
    gradclip_chooser_free(chooser);
}

static void no_memory(void)
{
    gradclip_chooser_options o = defaults_of(GRADCLIP_SKIPSTEP);
    gradclip_chooser *chooser;
    memory_left = 0;
    CHECK_STATUS(gradclip_chooser_create(&o, &chooser), GRADCLIP_ERROR_OUT_OF_MEMORY);
    CHECK(!chooser && strstr(gradclip_last_error(), "memory"), "%s", gradclip_last_error());
    memory_left = -1;
    for (uint32_t kind = 1; kind <= 4; kind++)
        for (long left = 0; left < 2; left++) {
            chooser = new_kind(kind);
            struct bytes before = exported(chooser);
            gradclip_decision d = new_decision();
            double loss = 1, grad[] = {3, 4}, norms[] = {3, 4};
            gradclip_tensor tensors[] = {tensor_of(grad, 1, GRADCLIP_F64), tensor_of(grad + 1, 1, GRADCLIP_F64)};
            gradclip_status expected = kind == GRADCLIP_ZCLIP || (left == 1 && kind != GRADCLIP_SKIPSTEP) ? GRADCLIP_OK : GRADCLIP_ERROR_OUT_OF_MEMORY;
            memory_left = left;
            if (kind == GRADCLIP_ADAGC) CHECK_STATUS(gradclip_chooser_feed_tensors(chooser, norms, 2, &d), expected);
            else CHECK_STATUS(gradclip_chooser_feed(chooser, 5, &loss, &d), expected);
            if (expected) {
                CHECK(d.threshold == 0 && d.steps == 0, "kind %u: a decision was written", kind);
                memory_left = 0;
                CHECK_STATUS(gradclip_chooser_clip(chooser, tensors, 2, 2, &loss, NULL, NULL, NULL), expected);
                CHECK(grad[0] == 3 && grad[1] == 4, "kind %u wrote", kind);
                struct bytes after = exported(chooser);
                CHECK(after.size == before.size && same_bits(after.data, before.data, after.size), "kind %u", kind);
                free(after.data);
            }
            memory_left = -1;
            free(before.data);
            gradclip_chooser_free(chooser);
        }
    /* A history that cannot grow stays as it was, and goes on when there is memory again. */
    gradclip_chooser *autoclip = new_kind(GRADCLIP_AUTOCLIP), *calm = new_kind(GRADCLIP_AUTOCLIP);
    gradclip_decision d = new_decision();
    unsigned failures = 0;
    for (int i = 0; i < 300; i++) {
        double norm = random_norm();
        memory_left = 0;
        gradclip_status status = gradclip_chooser_feed(autoclip, norm, NULL, &d);
        memory_left = -1;
        if (status) {
            failures++;
            CHECK(status == GRADCLIP_ERROR_OUT_OF_MEMORY, "status %d", (int)status);
            CHECK_STATUS(gradclip_chooser_feed(autoclip, norm, NULL, &d), GRADCLIP_OK);
        }
        CHECK_NUMBER(d.threshold, fed(calm, norm, GRADCLIP_OK).threshold);
    }
    CHECK(failures == 4, "grew %u times", failures);
    struct bytes b = exported(autoclip), before = exported(calm);
    for (memory_left = 0; memory_left < 3;) {
        long left = memory_left;
        CHECK_STATUS(gradclip_chooser_import(calm, b.data, b.size), GRADCLIP_ERROR_OUT_OF_MEMORY);
        memory_left = left + 1;
    }
    memory_left = -1;
    struct bytes after = exported(calm);
    CHECK(after.size == before.size && same_bits(after.data, before.data, after.size), "changed");
    free(b.data), free(before.data), free(after.data);
    gradclip_chooser_free(autoclip), gradclip_chooser_free(calm);
}

/* "short", for valgrind, which has a posix_memalign of its own, leaves the lack of memory
 * and the million norms out. */
int main(int argc, char **argv)
{
    printf("seed %llu; ", (unsigned long long)RANDOM_SEED);
    layouts_and_defaults();
    bad_options();
    bad_calls();
    non_finite_never_enters();
    if (argc < 2 || strcmp(argv[1], "short")) {
        more_norms_than_are_kept();
        the_largest_window();
        memory_is_bounded();
        no_memory();
    }
    reset_is_a_fresh_start();
    return checks_summary("choosers");
}
