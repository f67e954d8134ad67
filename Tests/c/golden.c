/*
 * golden FILE
 *
 * Make every call of the golden file and hold what comes back against it: the
 * typed calls where the case allows, and the tensor list always, in place and
 * out of place.
 */
#include "golden_file.h"

#include <gradclip.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long passed, failed;

static const struct golden *current;
static const char *form; /* which of the calls */
static int ok;

#define MISMATCH(...)                                                             \
    do {                                                                          \
        if (ok && failed < 40) {                                                  \
            fprintf(stderr, "line %d, %s: ", current->line, form);                \
            fprintf(stderr, __VA_ARGS__);                                         \
            fputc('\n', stderr);                                                  \
        }                                                                         \
        ok = 0;                                                                   \
    } while (0)

static void begin(const char *name)
{
    form = name;
    ok = 1;
}

static void end(void)
{
    if (ok) passed++;
    else failed++;
}

/* ---------------------------------------------------------- comparisons -- */

/* Bit patterns in the order of the numbers they stand for. */
static int64_t ordered(uint64_t bits, uint64_t sign)
{
    return bits & sign ? -(int64_t)(bits & ~sign) : (int64_t)bits;
}

static void check_number(const char *what, double got, double expected, long ulps)
{
    uint64_t a, b;
    int64_t apart;
    if (isnan(got) && isnan(expected)) return;
    memcpy(&a, &got, 8);
    memcpy(&b, &expected, 8);
    if (a == b) return;
    if (isfinite(got) && isfinite(expected)) {
        apart = ordered(a, UINT64_C(1) << 63) - ordered(b, UINT64_C(1) << 63);
        if (apart && apart >= -ulps && apart <= ulps) return;
    }
    MISMATCH("%s is %a, expected %a (within %ld)", what, got, expected, ulps);
}

static void check_elements(const char *what, size_t i, const struct tensor *t, const unsigned char *bytes,
                           const uint64_t *expected, long ulps)
{
    const struct element_type *type = t->type;
    for (size_t j = 0; j < t->length; j++) {
        uint64_t got = 0, want = expected[j];
        memcpy(&got, bytes + j * type->size, type->size); /* little endian */
        if (got == want) continue;
        if (want == ANY_NAN || (want & ~type->sign) > type->infinity) {
            if ((got & ~type->sign) > type->infinity) continue;
        } else if ((got & ~type->sign) <= type->infinity) {
            int64_t apart = ordered(got, type->sign) - ordered(want, type->sign);
            if (apart && apart >= -ulps && apart <= ulps) continue;
        }
        MISMATCH("%s %zu, element %zu of %zu: %llx became %llx, expected %llx", what, i, j, t->length,
                 (unsigned long long)t->input[j], (unsigned long long)got, (unsigned long long)want);
        return;
    }
}

/* -------------------------------------------------------------- buffers -- */

enum { MARGIN = 32, CANARY = 0xa5, UNTOUCHED = 0x5a };

struct buffers {
    unsigned char *whole[MAX_TENSORS], *data[MAX_TENSORS];
};

static size_t bytes_of(const struct tensor *t) { return t->length * t->type->size; }

/* Memory at the asked misalignment with canaries about it; NULL data for every
 * other empty tensor. */
static void make_buffers(struct buffers *b, int with_input)
{
    for (size_t i = 0; i < current->count; i++) {
        const struct tensor *t = &current->tensors[i];
        size_t bytes = bytes_of(t);
        b->whole[i] = malloc(t->offset + bytes + 2 * MARGIN);
        if (!b->whole[i]) exit(2);
        memset(b->whole[i], CANARY, t->offset + bytes + 2 * MARGIN);
        b->data[i] = b->whole[i] + MARGIN + t->offset;
        if (with_input)
            for (size_t j = 0; j < t->length; j++) memcpy(b->data[i] + j * t->type->size, &t->input[j], t->type->size);
        else memset(b->data[i], UNTOUCHED, bytes);
        if (bytes == 0 && i % 2) b->data[i] = NULL;
    }
}

static void drop_buffers(struct buffers *b)
{
    for (size_t i = 0; i < current->count; i++) {
        const struct tensor *t = &current->tensors[i];
        size_t bytes = bytes_of(t), before = MARGIN + t->offset;
        for (size_t k = 0; k < before; k++)
            if (b->whole[i][k] != CANARY) MISMATCH("tensor %zu: written before its start", i);
        for (size_t k = before + bytes; k < before + bytes + MARGIN; k++)
            if (b->whole[i][k] != CANARY) MISMATCH("tensor %zu: written past its end", i);
        free(b->whole[i]);
    }
}

static void make_list(gradclip_tensor *list, const struct buffers *b, int outputs)
{
    for (size_t i = 0; i < current->count; i++) {
        const struct tensor *t = &current->tensors[i];
        list[i].data = b->data[i];
        list[i].length = t->length;
        list[i].dtype = t->type->dtype;
        list[i].flags = t->counted || outputs ? 0 : GRADCLIP_UNCOUNTED;
        list[i].device_type = i % 2;
        list[i].device_id = 0;
    }
}

/* ------------------------------------------------------------ the calls -- */

enum kind { IN_PLACE, OUT_OF_PLACE, MEASURE, DEFER };

static int all_are(uint32_t dtype)
{
    for (size_t i = 0; i < current->count; i++)
        if (current->tensors[i].type->dtype != dtype || !current->tensors[i].counted) return 0;
    return 1;
}

static gradclip_status make_call(uint32_t dtype, enum kind kind, const struct buffers *in, const struct buffers *out,
                                 const gradclip_options *options, gradclip_result *result)
{
    const struct golden *g = current;
    size_t lengths[MAX_TENSORS], n = g->count;
    gradclip_tensor list[MAX_TENSORS], outputs[MAX_TENSORS];
    float *const *f = (float *const *)in->data, *const *fo = (float *const *)out->data;
    double *const *d = (double *const *)in->data, *const *dout = (double *const *)out->data;
    for (size_t i = 0; i < n; i++) lengths[i] = g->tensors[i].length;
    make_list(list, in, 0);
    make_list(outputs, out, 1);
    switch (g->call) {
    case CALL_CLIP:
        if (kind == MEASURE)
            return dtype == GRADCLIP_F32   ? gradclip_get_total_norm_f32(f, lengths, n, g->p, options, result)
                   : dtype == GRADCLIP_F64 ? gradclip_get_total_norm_f64(d, lengths, n, g->p, options, result)
                                           : gradclip_get_total_norm(list, n, g->p, options, result);
        if (kind == DEFER)
            return dtype == GRADCLIP_F32   ? gradclip_defer_clip_f32(f, lengths, n, g->max_norm, g->p, options, result)
                   : dtype == GRADCLIP_F64 ? gradclip_defer_clip_f64(d, lengths, n, g->max_norm, g->p, options, result)
                                           : gradclip_defer_clip(list, n, g->max_norm, g->p, options, result);
        if (kind == OUT_OF_PLACE)
            return dtype == GRADCLIP_F32
                       ? gradclip_clip_grad_norm_to_f32(f, fo, lengths, n, g->max_norm, g->p, options, result)
                   : dtype == GRADCLIP_F64
                       ? gradclip_clip_grad_norm_to_f64(d, dout, lengths, n, g->max_norm, g->p, options, result)
                       : gradclip_clip_grad_norm_to(list, outputs, n, g->max_norm, g->p, options, result);
        return dtype == GRADCLIP_F32 ? gradclip_clip_grad_norm_f32(f, lengths, n, g->max_norm, g->p, options, result)
               : dtype == GRADCLIP_F64 ? gradclip_clip_grad_norm_f64(d, lengths, n, g->max_norm, g->p, options, result)
                                       : gradclip_clip_grad_norm(list, n, g->max_norm, g->p, options, result);
    case CALL_WITH:
        return dtype == GRADCLIP_F32
                   ? gradclip_clip_grads_with_norm_f32(f, lengths, n, g->max_norm, g->total, options, result)
               : dtype == GRADCLIP_F64
                   ? gradclip_clip_grads_with_norm_f64(d, lengths, n, g->max_norm, g->total, options, result)
                   : gradclip_clip_grads_with_norm(list, n, g->max_norm, g->total, options, result);
    case CALL_SCALE: return gradclip_scale(list, n, g->factor_in, options);
    case CALL_VALUE:
        return dtype == GRADCLIP_F32   ? gradclip_clip_grad_value_f32(f, lengths, n, g->factor_in, options)
               : dtype == GRADCLIP_F64 ? gradclip_clip_grad_value_f64(d, lengths, n, g->factor_in, options)
                                       : gradclip_clip_grad_value(list, n, g->factor_in, options);
    default: abort();
    }
}

static void check_result(enum kind kind, const gradclip_result *r)
{
    const struct golden *g = current;
    if (g->call == CALL_WITH) check_number("total_norm", r->total_norm, g->total, 0);
    if (g->call == CALL_CLIP) {
        check_number("total_norm", r->total_norm, g->total_norm, g->total_ulps);
        if (r->nonfinite_count != g->nonfinite || r->nan_count != g->nans)
            MISMATCH("%llu not finite, %llu of them NaN; expected %llu and %llu",
                     (unsigned long long)r->nonfinite_count, (unsigned long long)r->nan_count,
                     (unsigned long long)g->nonfinite, (unsigned long long)g->nans);
        if (r->first_tensor != g->first_tensor || r->first_element != g->first_element)
            MISMATCH("first non-finite is %lld, %lld; expected %lld, %lld", (long long)r->first_tensor,
                     (long long)r->first_element, (long long)g->first_tensor, (long long)g->first_element);
        for (size_t i = 0; i < g->count; i++)
            check_number("a tensor's norm", r->tensor_norms[i], g->tensors[i].norm, g->tensors[i].norm_ulps);
    }
    if (kind == MEASURE) {
        check_number("clip_coef", r->clip_coef, 1, 0);
        check_number("factor", r->factor, 1 / g->grad_scale, 0);
        return;
    }
    check_number("clip_coef", r->clip_coef, g->coef, g->coef_ulps);
    check_number("factor", r->factor, g->factor, g->coef_ulps);
}

static void check_memory(enum kind kind, const struct buffers *in, const struct buffers *out)
{
    long ulps = current->element_ulps;
    for (size_t i = 0; i < current->count; i++) {
        const struct tensor *t = &current->tensors[i];
        int in_place = kind == IN_PLACE;
        if (t->length == 0) continue;
        check_elements("tensor", i, t, in->data[i], in_place ? t->expected : t->input, in_place ? ulps : 0);
        if (kind == OUT_OF_PLACE && !t->unwritten)
            check_elements("output", i, t, out->data[i], t->expected, ulps);
        else
            for (size_t k = 0; k < bytes_of(t); k++)
                if (out->data[i][k] != UNTOUCHED) {
                    MISMATCH("output %zu was written", i);
                    break;
                }
    }
}

static void run(uint32_t dtype, enum kind kind, const char *name)
{
    const struct golden *g = current;
    struct buffers in, out;
    gradclip_options options;
    gradclip_result result;
    double norms[MAX_TENSORS] = {0};
    gradclip_status status, expected = g->call == CALL_CLIP || g->call == CALL_WITH ? g->status : GRADCLIP_OK;
    begin(name);
    make_buffers(&in, 1);
    make_buffers(&out, 0);
    gradclip_options_init(&options, sizeof options);
    gradclip_result_init(&result, sizeof result);
    if (g->call == CALL_CLIP || g->call == CALL_WITH) {
        options.eps = g->eps;
        options.grad_scale = g->grad_scale;
        options.nonfinite = (uint32_t)g->policy;
    }
    if (g->call == CALL_CLIP) result.tensor_norms = norms;
    /* Where nothing is written, what ZERO would replace is still there. */
    if (kind == DEFER && g->policy == GRADCLIP_NONFINITE_ZERO && g->nonfinite > 0) expected = GRADCLIP_NON_FINITE;
    status = make_call(dtype, kind, &in, &out, &options, &result);
    if (status != expected)
        MISMATCH("status %d (%s), expected %d", status, status < 0 ? gradclip_last_error() : "", expected);
    else if (g->call == CALL_CLIP || g->call == CALL_WITH) check_result(kind, &result);
    if (ok) check_memory(kind, &in, &out);
    drop_buffers(&in);
    drop_buffers(&out);
    end();
}

static void run_coef(void)
{
    gradclip_options options;
    double coef = -1;
    begin("clip_coef");
    gradclip_options_init(&options, sizeof options);
    options.eps = current->eps;
    if (gradclip_clip_coef(current->max_norm, current->total, &options, &coef) != GRADCLIP_OK)
        MISMATCH("%s", gradclip_last_error());
    else check_number("clip_coef", coef, current->coef, 0);
    end();
}

int main(int argc, char **argv)
{
    static struct golden g;
    long cases = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: golden FILE\n");
        return 2;
    }
    golden_open(argv[1]);
    current = &g;
    for (; golden_next(&g); cases++) {
        if (g.call == CALL_COEF) {
            run_coef();
            continue;
        }
        run(0, IN_PLACE, "list, in place");
        if (g.call == CALL_CLIP) {
            run(0, OUT_OF_PLACE, "list, out of place");
            run(0, MEASURE, "list, norm only");
            run(0, DEFER, "list, deferred");
        }
        if (g.call == CALL_SCALE) continue; /* has no typed form */
        for (uint32_t dtype = GRADCLIP_F32; dtype <= GRADCLIP_F64; dtype++) {
            if (!all_are(dtype)) continue;
            run(dtype, IN_PLACE, "typed, in place");
            if (g.call != CALL_CLIP) continue;
            run(dtype, OUT_OF_PLACE, "typed, out of place");
            run(dtype, MEASURE, "typed, norm only");
            run(dtype, DEFER, "typed, deferred");
        }
    }
    printf("golden: %ld passed, %ld failed (calls; %ld cases, %s)\n", passed, failed, cases, gradclip_isa());
    return failed || !cases;
}
