/*
 * The conformance program: prints, as bits, what every function that computes comes to, over all dtypes,
 * policies and orders, and a hash of what it writes. The same text is expected at every instruction set level,
 * of every processor and operating system; Tests/conformance.sha256 has its hash.
 * `conformance --isa` prints the level in use instead.
 */
#include "conformance.h"

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

enum { POLICIES = 3 };
static const double few_orders[] = {2, 1, INFINITY, 2.7, 0, -INFINITY};
enum { FEW_ORDERS = sizeof few_orders / sizeof *few_orders };

/* Emulators run this: of long samples the order 2 is enough. */
static int orders_for(struct sample s) { return s.n > 5000 ? 1 : FEW_ORDERS; }

static gradclip_options with_policy(uint32_t policy)
{
    gradclip_options options = default_options();
    options.nonfinite = policy;
    return options;
}

/* Every order, in place and out of place. */
static void clip_by_all_orders(struct sample s)
{
    static const double orders[] = {2, 1, 0, INFINITY, -INFINITY, 3, 4, 0.5, 1.5, 2.7, 100, 0.01, -1, -2.5, 1.1};
    const size_t third = s.n / 3;
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
        for (uint32_t policy = 0; policy < POLICIES; policy += s.spoiled ? 1 : POLICIES) {
            gradclip_options options = with_policy(policy);
            gradclip_result r = new_result();
            double norms[2] = {0, 0}, limit = i % 2 ? 1 : 1e-3;
            gradclip_tensor grads[2] = {part(s, data, 0, third), part(s, data, third, s.n - third)};
            gradclip_tensor outputs[2] = {part(s, out, 0, third), part(s, out, third, s.n - third)};
            r.tensor_norms = norms;
            fresh(s);
            memset(out + s.offset, 0, s.n * types[s.type].size);
            gradclip_status status_to = gradclip_clip_grad_norm_to(grads, outputs, 2, limit, orders[i], &options, &r);
            gradclip_status status = gradclip_clip_grad_norm(grads, 2, limit, orders[i], &options, &r);
            print_sample(s, "clip");
            printf(" p %g policy %u: %d", orders[i], policy, (int)status_to);
            print_result(status, &r), print_numbers(norms, 2), print_written(s);
            print_hash(hash_elements(s.type, out + s.offset, s.n)), print_end();
        }
}

/* The functions that do a part of it, on lists and, of float and double, on pointers and lengths. */
#define TYPED(suffix, element)                                                                                              \
    static void on_pointers_##suffix(struct sample s, double p, const gradclip_options *options)                            \
    {                                                                                                                       \
        element *grads[2] = {(element *)(void *)(data + s.offset), (element *)(void *)(data + s.offset) + s.n / 3};         \
        element *outputs[2] = {(element *)(void *)(out + s.offset), (element *)(void *)(out + s.offset) + s.n / 3};         \
        const size_t lengths[2] = {s.n / 3, s.n - s.n / 3};                                                                 \
        gradclip_result r = new_result();                                                                                   \
        fresh(s), memset(out + s.offset, 0, s.n * sizeof(element));                                                         \
        print_sample(s, "pointers");                                                                                        \
        printf(" p %g policy %u:", p, options->nonfinite);                                                                  \
        print_result(gradclip_get_total_norm_##suffix(grads, lengths, 2, p, options, &r), &r);                              \
        print_result(gradclip_defer_clip_##suffix(grads, lengths, 2, 0.1, p, options, &r), &r);                             \
        print_result(gradclip_clip_grad_norm_to_##suffix(grads, outputs, lengths, 2, 0.1, p, options, &r), &r);             \
        print_hash(hash_elements(s.type, out + s.offset, s.n));                                                             \
        print_result(gradclip_clip_grad_norm_##suffix(grads, lengths, 2, 0.1, p, options, &r), &r), print_written(s);       \
        fresh(s);                                                                                                           \
        printf(" %d", (int)gradclip_clip_grads_with_norm_##suffix(grads, lengths, 2, 0.1, 3, options, &r)), print_written(s); \
        printf(" %d", (int)gradclip_clip_grad_value_##suffix(grads, lengths, 2, 0.01, options)), print_written(s);          \
        print_end();                                                                                                        \
    }
TYPED(f32, float)
TYPED(f64, double)

static void on_lists(struct sample s, double p, const gradclip_options *options)
{
    gradclip_tensor grads[3] = {part(s, data, 0, s.n / 3), part(s, data, s.n / 3, s.n / 2 - s.n / 3), part(s, data, s.n / 2, s.n - s.n / 2)};
    gradclip_result r = new_result();
    double norms[3] = {-1, -1, -1};
    grads[1].flags = GRADCLIP_UNCOUNTED;
    print_sample(s, "lists");
    printf(" p %g policy %u scale %g eps %g exact %u:", p, options->nonfinite, options->grad_scale, options->eps, options->exact_f64);
    fresh(s);
    r.tensor_norms = norms;
    print_result(gradclip_get_total_norm(grads, 3, p, options, &r), &r), print_numbers(norms, 3);
    print_result(gradclip_defer_clip(grads, 3, 0.1, p, options, &r), &r);
    print_result(gradclip_clip_grad_norm(grads, 3, 0.1, p, options, &r), &r), print_written(s);
    fresh(s);
    r.tensor_norms = NULL;
    print_result(gradclip_clip_grads_with_norm(grads, 3, 0.1, 3, options, &r), &r), print_written(s);
    print_result(gradclip_clip_grads_with_norm(grads, 3, 0.1, INFINITY, options, &r), &r), print_written(s);
    print_end();
}

static void in_steps(struct sample s)
{
    for (int i = 0; i < orders_for(s); i++)
        for (uint32_t policy = 0; policy < POLICIES; policy += s.spoiled ? 1 : POLICIES) {
            gradclip_options options = with_policy(policy);
            if (types[s.type].dtype == GRADCLIP_F32 && s.offset % 4 == 0) on_pointers_f32(s, few_orders[i], &options);
            if (types[s.type].dtype == GRADCLIP_F64 && s.offset % 8 == 0) on_pointers_f64(s, few_orders[i], &options);
            options.exact_f64 = i % 2;
            on_lists(s, few_orders[i], &options);
            options.grad_scale = 1024.0 / 3, options.eps = 0, options.num_threads = 3;
            on_lists(s, few_orders[i], &options);
        }
}

/* By value, by a factor. */
static void clamp_and_scale(struct sample s)
{
    gradclip_tensor list = part(s, data, 0, s.n);
    fresh(s);
    print_sample(s, "value and scale");
    printf(" %d", (int)gradclip_clip_grad_value(&list, 1, 0.1, NULL)), print_written(s);
    printf(" %d", (int)gradclip_scale(&list, 1, 1.0 / 3, NULL)), print_written(s);
    printf(" %d", (int)gradclip_scale(&list, 1, 1e-42, NULL)), print_written(s);
    print_end();
}

static void inspect(struct sample s)
{
    gradclip_tensor grads[2] = {part(s, data, 0, s.n / 3), part(s, data, s.n / 3, s.n - s.n / 3)};
    fresh(s);
    for (int i = 0; i < orders_for(s); i++) {
        gradclip_report reports[2];
        gradclip_result r = new_result();
        print_sample(s, "inspect");
        printf(" p %g:", few_orders[i]);
        print_result(gradclip_inspect(grads, 2, few_orders[i], NULL, reports, sizeof *reports, &r), &r);
        for (int k = 0; k < 2; k++) {
            const gradclip_report *t = reports + k;
            const uint64_t counts[] = {t->length, t->nan_count, t->positive_infinity_count, t->negative_infinity_count,
                                       t->zero_count, t->subnormal_count, t->first_nonfinite};
            print_number(t->norm), print_number(t->max_abs), print_number(t->mean);
            for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) print_count(counts[c]);
        }
        print_end();
    }
}

/* Cut in pieces, merged, as bytes and as words. */
static void accumulate(struct sample s)
{
    gradclip_tensor pieces[2] = {part(s, data, 0, s.n / 4), part(s, data, s.n / 4, s.n / 2 - s.n / 4)}, all = part(s, data, 0, s.n);
    for (int i = 0; i < orders_for(s); i++)
        for (uint32_t policy = 0; policy < POLICIES; policy += s.spoiled ? 1 : POLICIES) {
            gradclip_options options = with_policy(policy);
            gradclip_accumulator *one = NULL, *other = NULL;
            gradclip_result r = new_result();
            unsigned char bytes[1024];
            size_t size = sizeof bytes;
            int64_t words[GRADCLIP_WORDS] = {0};
            gradclip_tensor rest = part(s, data, s.n / 2, s.n - s.n / 2);
            options.exact_f64 = policy == 0;
            fresh(s);
            if (gradclip_accumulator_create(few_orders[i], &options, &one) != GRADCLIP_OK) exit(2);
            if (gradclip_accumulator_create(few_orders[i], &options, &other) != GRADCLIP_OK) exit(2);
            print_sample(s, "accumulator");
            printf(" p %g policy %u: %d", few_orders[i], policy, (int)gradclip_accumulator_add(one, pieces, 2));
            printf(" %d", (int)gradclip_accumulator_set_next_tensor(other, 7));
            if (rest.dtype == GRADCLIP_F32 && s.offset % 4 == 0) printf(" %d", (int)gradclip_accumulator_add_f32(other, rest.data, rest.length));
            else if (rest.dtype == GRADCLIP_F64 && s.offset % 8 == 0) printf(" %d", (int)gradclip_accumulator_add_f64(other, rest.data, rest.length));
            else printf(" %d", (int)gradclip_accumulator_add(other, &rest, 1));
            printf(" %d", (int)gradclip_accumulator_merge(one, other));
            print_result(gradclip_accumulator_finish(one, 0.1, &r), &r);
            printf(" %d", (int)gradclip_accumulator_export(one, bytes, &size));
            print_count(size), print_hash(hash_bytes(bytes, size));
            printf(" %d", (int)gradclip_accumulator_reset(other));
            printf(" %d", (int)gradclip_accumulator_import(other, bytes, size));
            printf(" %d", (int)gradclip_accumulator_to_words(other, 0.1, words));
            for (int k = 0; k < GRADCLIP_WORDS; k++) printf(" %" PRIx64, (uint64_t)words[k]);
            if (words[GRADCLIP_WORD_KIND] == 0) {
                printf(" %d", (int)gradclip_accumulator_from_words(one, 0.1, words));
                print_result(gradclip_accumulator_finish(one, 0.1, &r), &r);
            }
            print_result(gradclip_accumulator_clip(other, &all, 1, 0.1, &r), &r), print_written(s), print_end();
            gradclip_accumulator_free(one);
            gradclip_accumulator_free(other);
        }
}

/* One half minus the other, and both minus numbers of float. */
static void differences(struct sample s)
{
    static float others[LONGEST];
    const size_t half = s.n / 2;
    for (size_t i = 0; i < half; i++) others[i] = (float)((int)(i * 7919 % 2001) - 1000) * 0x1p-9f;
    const gradclip_tensor tensors[3] = {part(s, data, 0, half), part(s, data, half, half), tensor_of(others, half, GRADCLIP_F32)};
    const gradclip_tensor minus[3] = {tensors[1], tensors[2], tensors[0]};
    fresh(s);
    for (int i = 0; i < orders_for(s); i++)
        for (uint32_t exact = 0; exact <= 1; exact++) {
            gradclip_options options = default_options();
            gradclip_accumulator *sum = NULL;
            gradclip_result r = new_result();
            options.exact_f64 = exact;
            if (gradclip_accumulator_create(few_orders[i], &options, &sum) != GRADCLIP_OK) exit(2);
            print_sample(s, "difference");
            printf(" p %g exact %u: %d", few_orders[i], exact, (int)gradclip_accumulator_add_difference(sum, tensors, minus, 1));
            print_result(gradclip_accumulator_finish(sum, 0.1, &r), &r);
            printf(" %d", (int)gradclip_accumulator_add_difference(sum, tensors + 1, minus + 1, 2));
            print_result(gradclip_accumulator_finish(sum, 0.1, &r), &r), print_end();
            gradclip_accumulator_free(sum);
        }
}

/* Each tensor, group or unit by itself, and examples. */
enum { ROWS = 3 };
static void clip_in_parts(struct sample s)
{
    const size_t third = s.n / ROWS;
    const double limits[ROWS] = {1e-3, 2e-3, INFINITY};
    const uint32_t groups[ROWS] = {1, 0, 1};
    gradclip_tensor parts[ROWS];
    for (size_t i = 0; i < ROWS; i++) parts[i] = part(s, data, i * third, third);
    for (uint32_t policy = 0; policy < POLICIES; policy += s.spoiled ? 1 : POLICIES)
        for (int i = 0; i < orders_for(s); i++) {
            gradclip_options options = with_policy(policy);
            gradclip_result r = new_result();
            double coefs[ROWS] = {0}, norms[ROWS] = {0};
            print_sample(s, "parts");
            printf(" p %g policy %u:", few_orders[i], policy);
            fresh(s);
            print_result(gradclip_clip_by_norm(parts, ROWS, limits, i % 2 ? 1 : ROWS, few_orders[i], &options, &r, coefs), &r);
            print_numbers(coefs, ROWS), print_written(s);
            fresh(s);
            print_result(gradclip_clip_by_group(parts, ROWS, groups, limits, 2, few_orders[i], &options, &r, norms, coefs), &r);
            print_numbers(norms, 2), print_numbers(coefs, 2), print_written(s);
            if (i == 0) {
                fresh(s);
                print_result(gradclip_clip_by_block_rms(parts, ROWS, 1e-9, &options, &r, coefs), &r);
                print_numbers(coefs, ROWS), print_written(s);
            }
            print_end();
        }
}

/* Units in rows and in columns, against weights of the same type and of float. */
static void clip_by_weights(struct sample s)
{
    static const double orders[] = {2, 1, INFINITY, 2.7};
    static float weights_f32[LONGEST];
    static double coefs[ROWS * 19];
    const size_t third = s.n / ROWS;
    for (size_t i = 0; i < s.n; i++) weights_f32[i] = (float)((int)(i * 7919 % 2001) - 1000) * 0x1p-9f;
    for (int o = 0; o < (s.n > 5000 ? 1 : 4); o++)
        for (uint64_t inner = 1; inner <= 19; inner += 18)
            for (uint32_t policy = 0; policy < POLICIES; policy += s.spoiled ? 1 : POLICIES) {
                gradclip_options options = with_policy(policy);
                gradclip_result r = new_result();
                gradclip_units units = {ROWS, third / inner, inner};
                gradclip_tensor all = part(s, data, 0, ROWS * (third / inner) * inner), weights = part(s, out, 0, all.length);
                memcpy(out + s.offset, copy + s.offset, s.n * types[s.type].size);
                if (o % 2 || s.spoiled) weights = tensor_of(weights_f32, all.length, GRADCLIP_F32);
                fresh(s);
                print_sample(s, "units");
                printf(" p %g policy %u inner %u:", orders[o], policy, (unsigned)inner);
                options.exact_f64 = (uint32_t)(o / 2);
                print_result(gradclip_adaptive_clip_grad(&all, &weights, &units, 1, 0.3, 1e-3, orders[o], &options, &r, coefs), &r);
                if (inner == 1) print_numbers(coefs, ROWS);
                else print_hash(hash_elements(1, coefs, ROWS * inner));
                print_written(s), print_end();
            }
}

static void clip_examples(struct sample s)
{
    static double sums[LONGEST];
    static float narrow[LONGEST];
    const double limits[2] = {1e-3, 0.5};
    const size_t third = s.n / ROWS, first = third / 2;
    double norms[2 * ROWS] = {0}, factors[2 * ROWS] = {0};
    gradclip_tensor tensors[2] = {part(s, data, 0, first * ROWS), part(s, data, first * ROWS, (third - first) * ROWS)};
    fresh(s);
    for (uint32_t rule = 0; rule <= 2; rule++)
        for (size_t limit_count = 1; limit_count <= 2; limit_count++)
            for (int wide = 0; wide <= 1; wide++) {
                gradclip_per_example_result r = {.struct_size = sizeof r};
                gradclip_tensor to[2];
                for (int i = 0; i < 2; i++) {
                    size_t start = i ? first : 0, length = i ? third - first : first;
                    to[i] = tensor_of(wide ? (void *)(sums + start) : narrow + start, length, wide ? GRADCLIP_F64 : GRADCLIP_F32);
                }
                print_sample(s, "examples");
                printf(" rule %u limits %u %s:", rule, (unsigned)limit_count, wide ? "f64" : "f32");
                printf(" %d", (int)gradclip_clip_per_example(tensors, to, 2, ROWS, limits, limit_count, rule, NULL, &r, norms, factors));
                print_numbers(norms, ROWS * limit_count), print_numbers(factors, ROWS * limit_count);
                print_count(r.clipped), print_count(r.nonfinite), print_count(r.first_nonfinite);
                print_number(r.sensitivity), print_number(r.rounding_bound);
                print_hash(wide ? hash_elements(1, sums, third) : hash_elements(0, narrow, third)), print_end();
            }
}

/* Everything that a sample can go through; what divides it needs some length. */
static void all_calls(struct sample s)
{
    make_sample(s);
    clip_by_all_orders(s);
    clamp_and_scale(s);
    if ((s.n < 57 && s.n != 9 && s.n != 33) || s.n == 4096 || s.n == 8194) return; /* enough are left */
    in_steps(s);
    inspect(s);
    accumulate(s);
    differences(s);
    if (s.n < 57) return;
    clip_in_parts(s);
    clip_by_weights(s);
    clip_examples(s);
}

/* -------------------------------------------------- calls without gradients -- */

static void print_decision(gradclip_status status, const gradclip_decision *d)
{
    printf(" %d", (int)status);
    print_number(d->threshold), print_number(d->clip_coef), print_number(d->mean), print_number(d->deviation);
    print_count(d->steps), print_count(d->action), print_count(d->recorded);
}

/* Norms of a training run: they fall, jump now and then, and are not finite twice. */
static double norm_of_step(int step)
{
    double norm = (double)(1000 + next() % 1000) / (double)(step + 100);
    if (step % 37 == 36) norm *= 50;
    return step == 50 ? NAN : step == 90 ? INFINITY : norm;
}

static void choose_max_norm(uint32_t kind, uint32_t mode, uint64_t window)
{
    enum { TENSORS = 3, RUN = 160 };
    static unsigned char bytes[1 << 16];
    size_t size = sizeof bytes;
    gradclip_chooser_options options;
    gradclip_chooser *chooser = NULL, *other = NULL;
    if (gradclip_chooser_options_init(&options, sizeof options, kind) != GRADCLIP_OK) exit(2);
    options.mode = mode, options.warmup_steps = 20;
    if (window) options.window = window;
    if (gradclip_chooser_create(&options, &chooser) != GRADCLIP_OK) exit(2);
    if (gradclip_chooser_create(&options, &other) != GRADCLIP_OK) exit(2);
    for (int step = 0; step < RUN; step++) {
        gradclip_decision d;
        double thresholds[TENSORS] = {0}, coefs[TENSORS] = {0}, norms[TENSORS], loss = step == 70 ? NAN : 3 - step * 0x1p-7; /* exact: a compiler may fuse it */
        gradclip_decision_init(&d, sizeof d);
        d.tensor_thresholds = thresholds, d.tensor_coefs = coefs;
        for (int i = 0; i < TENSORS; i++) norms[i] = norm_of_step(step);
        if (step % 10 == 3) norms[1] = -1;
        printf("chooser %u mode %u window %u step %d:", kind, mode, (unsigned)window, step);
        if (kind == GRADCLIP_ADAGC) {
            print_decision(gradclip_chooser_feed_tensors(chooser, norms, TENSORS, &d), &d);
            print_numbers(thresholds, TENSORS), print_numbers(coefs, TENSORS);
        } else print_decision(gradclip_chooser_feed(chooser, norms[0], kind == GRADCLIP_SKIPSTEP ? &loss : NULL, &d), &d);
        if (step % 40 == 39) { /* saved, and gone on with */
            size = sizeof bytes;
            printf(" %d", (int)gradclip_chooser_export(chooser, bytes, &size));
            print_count(size), print_hash(hash_bytes(bytes, size));
            printf(" %d %d", (int)gradclip_chooser_reset(chooser), (int)gradclip_chooser_import(other, bytes, size));
            gradclip_chooser *swapped = chooser;
            chooser = other, other = swapped;
        }
        print_end();
    }
    for (int type = 0; type < TYPES; type++)
        for (uint32_t policy = 0; policy < POLICIES; policy++) {
            const unsigned bias = (1u << types[type].exponent) / 2 - 1;
            struct sample s = {type, 3000, 0, 4, bias, policy != 0};
            gradclip_tensor grads[TENSORS] = {part(s, data, 0, 1000), part(s, data, 1000, 1000), part(s, data, 2000, 1000)};
            gradclip_options call = with_policy(policy);
            gradclip_result r = new_result();
            gradclip_decision d;
            double loss = 1;
            gradclip_decision_init(&d, sizeof d);
            make_sample(s), fresh(s);
            print_sample(s, "chooser");
            printf(" kind %u mode %u policy %u:", kind, mode, policy);
            gradclip_status status = gradclip_chooser_clip(chooser, grads, TENSORS, 2, &loss, &call, &r, &d);
            print_result(status, &r), print_decision(status, &d), print_written(s), print_end();
        }
    gradclip_chooser_free(chooser);
    gradclip_chooser_free(other);
}

/* AdaGC tensor by tensor: norms of a run, then samples of every type, some of them not finite. */
static void choose_by_tensor(void)
{
    enum { TENSORS = 3, RUN = 160 };
    unsigned char bytes[1024];
    size_t size = sizeof bytes;
    gradclip_chooser_options options;
    gradclip_chooser *chooser = NULL;
    gradclip_result r = new_result();
    if (gradclip_chooser_options_init(&options, sizeof options, GRADCLIP_ADAGC) != GRADCLIP_OK) exit(2);
    options.warmup_steps = 20;
    if (gradclip_chooser_create(&options, &chooser) != GRADCLIP_OK) exit(2);
    for (int step = 0; step < RUN; step++)
        for (size_t i = TENSORS; i-- > 0;) {
            double norm = norm_of_step(step);
            gradclip_tensor grad = tensor_of(&norm, step % 10 == 3 && i == 1 ? 0 : 1, GRADCLIP_F64);
            printf("by tensor step %d tensor %u:", step, (unsigned)i);
            print_result(gradclip_chooser_feed_tensor(chooser, i, &grad, 2, NULL, &r), &r), print_end();
        }
    for (int type = 0; type < TYPES; type++)
        for (int spoiled = 0; spoiled <= 1; spoiled++)
            for (size_t i = 0; i < FEW_ORDERS; i++) {
                struct sample s = {type, 3000, 0, 4, (1u << types[type].exponent) / 2 - 1, spoiled};
                gradclip_options call = default_options();
                make_sample(s), fresh(s);
                gradclip_tensor grad = part(s, data, 0, s.n);
                call.grad_scale = 1024.0 / 3, call.exact_f64 = i % 2;
                print_sample(s, "by tensor");
                print_result(gradclip_chooser_feed_tensor(chooser, i, &grad, few_orders[i], &call, &r), &r), print_end();
            }
    printf("by tensor: %d", (int)gradclip_chooser_export(chooser, bytes, &size));
    print_count(size), print_hash(hash_bytes(bytes, size)), print_end();
    gradclip_chooser_free(chooser);
}

static void print_line(void *nothing, uint32_t kind, const char *line)
{
    (void)nothing;
    printf("log %u: %s\n", kind, line);
}

/* The log's text: every spelling of a number in it. */
static void log_steps(void)
{
    gradclip_monitor monitor;
    gradclip_monitor_init(&monitor, sizeof monitor);
    monitor.callback = print_line;
    for (int step = 0; step < 100; step++) {
        gradclip_result r = new_result();
        gradclip_decision d;
        float values[2] = {(float)norm_of_step(step), step == 20 ? NAN : 1e-3f}, *grads[1] = {values};
        size_t length = 2;
        double rate = 0.1 / (step + 1), loss = step == 30 ? INFINITY : norm_of_step(step) * 1e-4;
        gradclip_decision_init(&d, sizeof d);
        d.threshold = norm_of_step(step), d.action = (uint32_t)step % 3;
        gradclip_clip_grad_norm_f32(grads, &length, 1, 0.5, 2, NULL, &r);
        if (gradclip_monitor_log(&monitor, step % 7 ? &rate : NULL, step % 5 ? &loss : NULL, &r, step % 2 ? &d : NULL) != GRADCLIP_OK)
            printf("log: %s\n", gradclip_last_error());
    }
}

/* Numbers from numbers. */
static void coefficients(void)
{
    static const double norms[] = {0, 5e-324, 1e-300, 1e-6, 0.3, 1, 3.7, 1e30, 1.7e308, INFINITY, NAN}, shares[] = {0, 0.1, 0.5, 0.97, 1};
    enum { NORMS = sizeof norms / sizeof *norms, SHARES = sizeof shares / sizeof *shares };
    for (int i = 0; i < NORMS - 1; i++)
        for (int k = 0; k < NORMS; k++) {
            double coef = -1;
            printf("coef %d %d: %d", i, k, (int)gradclip_clip_coef(norms[i], norms[k], NULL, &coef));
            print_number(coef), print_end();
        }
    for (int i = 1; i < NORMS - 2; i++)
        for (int k = 0; k < SHARES; k++)
            for (int q = 0; q < SHARES; q++) {
                double adapted = -1;
                printf("adapt %d %d %d: %d", i, k, q, (int)gradclip_adapt_max_norm(norms[i], shares[k] * 64, 64, shares[q], 0.2, &adapted));
                print_number(adapted), print_end();
            }
}

/* A call of every kind on a short list, and on one that threads share. */
static void every_kind(void)
{
    static const size_t elements[] = {192, 3008, ENOUGH_FOR_THREADS};
    for (size_t k = 0; k < sizeof elements / sizeof *elements; k++) {
        struct world w;
        if (!make_world(&w, elements[k], 4)) exit(2);
        for (int i = 0; i < STEPS; i++) printf("%s %u: %016" PRIx64 "\n", steps[i].name, (unsigned)elements[k], digest_of_step(&w, i));
        free(w.bytes);
    }
}

int main(int argc, char **argv)
{
    static const size_t lengths[] = {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 1000, 4096, 4097, 8194, LONGEST};
    if (argc > 1 && strcmp(argv[1], "--isa") == 0) {
        puts(gradclip_isa());
        return 0;
    }
#ifdef _WIN32
    _setmode(1, _O_BINARY); /* lines end as everywhere */
#endif
    for (int type = 0; type < TYPES; type++) {
        const unsigned all = (1u << types[type].exponent) - 1, bias = all / 2;
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            all_calls((struct sample){type, lengths[i], i % 16, 5, bias + 2, 0});
            all_calls((struct sample){type, lengths[i], 0, all, all - 1, 0});
            all_calls((struct sample){type, lengths[i], i % 7, bias < 39 ? bias + 1 : 40, bias, lengths[i] > 60});
        }
        for (unsigned span = 1; span < (all < 280 ? all : 280); span += 1 + span / 2) {
            struct sample s = {type, 8200, 4, span, all - 1 - (unsigned)(next() % (all - span)), 0};
            make_sample(s);
            clip_by_all_orders(s);
        }
    }
    coefficients();
    for (uint32_t mode = 0; mode <= 1; mode++) choose_max_norm(GRADCLIP_AUTOCLIP, mode, mode * 30);
    for (uint32_t mode = 0; mode <= 2; mode++) choose_max_norm(GRADCLIP_ZCLIP, mode, 0);
    choose_max_norm(GRADCLIP_ADAGC, 0, 0);
    choose_max_norm(GRADCLIP_SKIPSTEP, 0, 32);
    choose_by_tensor();
    log_steps();
    every_kind();
    return 0;
}
