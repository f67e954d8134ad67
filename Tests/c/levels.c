/*
 * The conformance program: prints, as hex, what many calls come to, over all dtypes, policies and
 * orders, and what a call of every kind writes. The same text is expected at every instruction set level,
 * of every processor and operating system; Tests/conformance.sha256 has its hash.
 * `levels --isa` prints the level in use instead.
 */
#include "calls.h"

#include <inttypes.h>
#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

enum { LONGEST = 20011 };

static uint64_t state = 88172645463325252u;

static uint64_t next(void)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state * UINT64_C(0x2545f4914f6cdd1d);
}

static const struct { uint32_t dtype; const char *name; unsigned size, exponent, mantissa; } types[] = {
    {GRADCLIP_F32, "f32", 4, 8, 23}, {GRADCLIP_F64, "f64", 8, 11, 52},
    {GRADCLIP_F16, "f16", 2, 5, 10}, {GRADCLIP_BF16, "bf16", 2, 8, 7}};

/* Random elements whose exponents lie in a range of this many binades. */
static void fill(unsigned char *to, size_t n, int type, unsigned span, unsigned top, int spoil)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = next(), exponent = top - (span ? next() % span : 0);
        uint64_t mantissa = bits & ((UINT64_C(1) << types[type].mantissa) - 1), sign = bits >> 63;
        uint64_t all = (UINT64_C(1) << types[type].exponent) - 1;
        if (spoil && next() % 997 == 0) exponent = all;
        bits = ((sign << types[type].exponent) + exponent) << types[type].mantissa | mantissa;
        memcpy(to + i * types[type].size, &bits, types[type].size);
    }
}

static uint64_t hash(const unsigned char *bytes, size_t n)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < n; i++) h = (h ^ bytes[i]) * UINT64_C(1099511628211);
    return h;
}

static unsigned char data[LONGEST * 8 + 64], copy[LONGEST * 8 + 64], out[LONGEST * 8 + 64];

/* A NaN's sign and payload are nobody's promise: print all alike. (%a has a spelling of its own in
 * every libc.) */
static void print_number(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (isnan(x)) printf(" nan");
    else printf(" %016" PRIx64, bits);
}

static void one(int type, size_t n, size_t offset, unsigned span, unsigned top, int spoil)
{
    static const double orders[] = {2, 1, 0, INFINITY, -INFINITY, 3, 4, 0.5, 1.5, 2.7, 100, 0.01, -1, -2.5, 1.1};
    size_t bytes = n * types[type].size, half = n / 3;
    fill(data + offset, n, type, span, top, spoil);
    memcpy(copy, data, sizeof data);
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
        for (uint32_t policy = 0; policy <= 2; policy += spoil ? 1 : 3) {
            gradclip_options options;
            gradclip_result r;
            double norms[2] = {0, 0};
            gradclip_tensor grads[2] = {{data + offset, half, types[type].dtype, 0, 1, 0},
                                        {data + offset + half * types[type].size, n - half, types[type].dtype, 0, 1, 0}};
            gradclip_tensor outputs[2] = {grads[0], grads[1]};
            gradclip_status status, status_to;
            outputs[0].data = out + offset;
            outputs[1].data = out + offset + half * types[type].size;
            gradclip_options_init(&options, sizeof options);
            gradclip_result_init(&r, sizeof r);
            options.nonfinite = policy;
            r.tensor_norms = norms;
            memcpy(data, copy, sizeof data);
            memset(out, 0, sizeof out);
            status_to = gradclip_clip_grad_norm_to(grads, outputs, 2, i % 2 ? 1 : 1e-3, orders[i], &options, &r);
            status = gradclip_clip_grad_norm(grads, 2, i % 2 ? 1 : 1e-3, orders[i], &options, &r);
            printf("%s %zu+%zu span %u top %u p %g policy %u: %d %d", types[type].name, n, offset, span, top, orders[i], policy, status_to, status);
            print_number(r.total_norm), print_number(r.clip_coef), print_number(norms[0]), print_number(norms[1]);
            printf(" %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, r.nonfinite_count, r.nan_count, r.first_tensor, r.first_element);
            if (policy == 1 && spoil) printf(" -\n"); /* payloads of NaN */
            else printf(" %016" PRIx64 " %016" PRIx64 "\n", hash(data + offset, bytes), hash(out + offset, bytes));
        }
    gradclip_tensor list = {data + offset, n, types[type].dtype, 0, 1, 0};
    memcpy(data, copy, sizeof data);
    printf("  value %d", gradclip_clip_grad_value(&list, 1, 0.1, NULL));
    printf(" %016" PRIx64 "\n", hash(data + offset, bytes));
    if (spoil) return;
    printf("  scale %d", gradclip_scale(&list, 1, 1.0 / 3, NULL));
    printf(" %016" PRIx64, hash(data + offset, bytes));
    printf(" %d", gradclip_scale(&list, 1, 1e-42, NULL));
    printf(" %016" PRIx64 "\n", hash(data + offset, bytes));
}

/* Clipping in parts, by the weights and by example. */
static void family(int type, size_t n, size_t offset)
{
    enum { ROWS = 3 };
    static double sums[LONGEST];
    static float narrow[LONGEST];
    size_t size = types[type].size, third = n / ROWS, bytes = third * ROWS * size;
    double limit = 1e-3, coefs[ROWS * 20] = {0}, norms[ROWS] = {0}, factors[ROWS] = {0};
    uint32_t groups[ROWS] = {1, 0, 1};
    gradclip_tensor parts[ROWS], all = {data + offset, third * ROWS, types[type].dtype, 0, 1, 0}, weights = all, sum = all;
    memcpy(data, copy, sizeof data);
    memcpy(out, copy, sizeof data);
    for (size_t i = 0; i < ROWS; i++) parts[i] = (gradclip_tensor){data + offset + i * third * size, third, types[type].dtype, 0, 1, 0};
    printf("  parts %d", gradclip_clip_by_norm(parts, ROWS, &limit, 1, 2, NULL, NULL, coefs));
    printf(" %d", gradclip_clip_by_group(parts, ROWS, groups, (double[]){1e-4, 2e-4}, 2, 1.5, NULL, NULL, norms, coefs + ROWS));
    printf(" %d", gradclip_clip_by_block_rms(parts, ROWS, 1e-9, NULL, NULL, coefs + 2 * ROWS));
    for (int i = 0; i < 3 * ROWS; i++) print_number(coefs[i]);
    print_number(norms[0]), print_number(norms[1]);
    printf(" %016" PRIx64 "\n", hash(data + offset, bytes));
    weights.data = out + offset;
    for (uint64_t inner = 1; inner <= 19; inner += 18) {
        gradclip_units units = {ROWS, third / inner, inner};
        all.length = weights.length = ROWS * (third / inner) * inner;
        memcpy(data, copy, sizeof data);
        printf("  units %d", gradclip_adaptive_clip_grad(&all, &weights, &units, 1, 0.3, 1e-3, 2, NULL, NULL, coefs));
        for (uint64_t i = 0; i < ROWS * inner; i++) print_number(coefs[i]);
        printf(" %016" PRIx64 "\n", hash(data + offset, bytes));
    }
    memcpy(data, copy, sizeof data);
    all.length = third * ROWS, sum.length = third;
    for (uint32_t rule = 0; rule <= 2; rule++) {
        gradclip_per_example_result r = {.struct_size = sizeof r};
        sum.data = rule == 1 ? (void *)narrow : sums, sum.dtype = rule == 1 ? GRADCLIP_F32 : GRADCLIP_F64;
        printf("  examples %d", gradclip_clip_per_example(&all, &sum, 1, ROWS, &limit, 1, rule, NULL, &r, norms, factors));
        for (int i = 0; i < ROWS; i++) print_number(norms[i]), print_number(factors[i]);
        printf(" %" PRIu64 " %" PRIu64, r.clipped, r.nonfinite);
        print_number(r.rounding_bound);
        printf(" %016" PRIx64 "\n", hash(sum.data, third * (rule == 1 ? 4 : 8)));
    }
}

/* Every function that computes, on a short list and on one that threads share. */
static void every_kind(void)
{
    static const size_t elements[] = {192, 3008, ENOUGH_FOR_THREADS};
    for (size_t k = 0; k < sizeof elements / sizeof *elements; k++) {
        struct world w;
        if (!make_world(&w, elements[k], 4)) exit(2);
        for (int i = 0; i < STEPS; i++) printf("%s %zu: %016" PRIx64 "\n", steps[i].name, elements[k], digest_of_step(&w, i));
        free(w.bytes);
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
            printf("coef %d %d: %d", i, k, gradclip_clip_coef(norms[i], norms[k], NULL, &coef));
            print_number(coef);
            puts("");
        }
    for (int i = 1; i < NORMS - 2; i++)
        for (int k = 0; k < SHARES; k++)
            for (int q = 0; q < SHARES; q++) {
                double adapted = -1;
                printf("adapt %d %d %d: %d", i, k, q, gradclip_adapt_max_norm(norms[i], shares[k] * 64, 64, shares[q], 0.2, &adapted));
                print_number(adapted);
                puts("");
            }
}

int main(int argc, char **argv)
{
    static const size_t lengths[] = {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 1000, 4095, 4096, 4097, 8193, LONGEST};
    if (argc > 1 && strcmp(argv[1], "--isa") == 0) {
        puts(gradclip_isa());
        return 0;
    }
#ifdef _WIN32
    _setmode(1, _O_BINARY); /* lines end as everywhere */
#endif
    for (int type = 0; type < 4; type++) {
        unsigned all = (1u << types[type].exponent) - 1, bias = all / 2;
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            one(type, lengths[i], i % 16, 5, bias + 2, 0);
            if (lengths[i] >= 57) family(type, lengths[i], i % 16);
            one(type, lengths[i], 0, all, all - 1, 0);
            if (lengths[i] >= 57) family(type, lengths[i], 0);
            one(type, lengths[i], i % 7, bias < 39 ? bias + 1 : 40, bias, lengths[i] > 60);
        }
        for (unsigned span = 1; span < (all < 280 ? all : 280); span += 1 + span / 4)
            one(type, 9000, 4, span, all - 1 - (unsigned)(next() % (all - span)), 0);
    }
    coefficients();
    every_kind();
    return 0;
}
