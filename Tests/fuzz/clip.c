/* Clipping by global norm, in every form, against the reference. */
#include "compare.h"
#include "input.h"
#include "reference.h"

static gradclip_status clip(const list *grads, const list *outputs, uint32_t form, double max_norm, double p,
                            const gradclip_options *options, gradclip_result *result) {
    float *singles[MOST_TENSORS], *single_outputs[MOST_TENSORS];
    double *doubles[MOST_TENSORS], *double_outputs[MOST_TENSORS];
    size_t lengths[MOST_TENSORS];
    for (size_t i = 0; i < grads->count; i++) {
        singles[i] = grads->tensors[i].data, doubles[i] = grads->tensors[i].data;
        single_outputs[i] = outputs->tensors[i].data, double_outputs[i] = outputs->tensors[i].data;
        lengths[i] = grads->tensors[i].length;
    }
    switch (form) {
    case 0: return gradclip_clip_grad_norm(grads->tensors, grads->count, max_norm, p, options, result);
    case 1: return gradclip_clip_grad_norm_to(grads->tensors, outputs->tensors, grads->count, max_norm, p, options, result);
    case 2: return gradclip_clip_grad_norm_f32(singles, lengths, grads->count, max_norm, p, options, result);
    case 3: return gradclip_clip_grad_norm_to_f32(singles, single_outputs, lengths, grads->count, max_norm, p, options, result);
    case 4: return gradclip_clip_grad_norm_f64(doubles, lengths, grads->count, max_norm, p, options, result);
    default: return gradclip_clip_grad_norm_to_f64(doubles, double_outputs, lengths, grads->count, max_norm, p, options, result);
    }
}

/* The norm in steps of its own must agree with the norm in one call. */
static void check_accumulator(input *in, const list *grads, double p, const gradclip_options *options,
                              const gradclip_result *whole, bool is_exact, double ulps) {
    gradclip_accumulator *parts[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++)
        REQUIRE(gradclip_accumulator_create(p, options, &parts[i]) == GRADCLIP_OK, "%s", gradclip_last_error());
    for (size_t i = 0; i < grads->count; i++) {
        /* Cut in two, the second piece in the other accumulator now and then. */
        gradclip_tensor piece = grads->tensors[i];
        const uint64_t cut = is_exact && piece.length ? take_byte(in) % piece.length : piece.length;
        piece.length = cut;
        /* The caller's numbers, which merging keeps. */
        REQUIRE(gradclip_accumulator_set_next_tensor(parts[0], i) == GRADCLIP_OK && gradclip_accumulator_set_next_tensor(parts[1], i) == GRADCLIP_OK,
                "%s", gradclip_last_error());
        REQUIRE(gradclip_accumulator_add(parts[0], &piece, 1) == GRADCLIP_OK, "%s", gradclip_last_error());
        piece.data = (char *)piece.data + cut * element_size(piece.dtype);
        piece.length = grads->tensors[i].length - cut;
        const unsigned other = piece.length ? take_byte(in) & 1 : 0;
        if (piece.length) {
            REQUIRE(gradclip_accumulator_set_next_tensor(parts[other], i) == GRADCLIP_OK, "%s", gradclip_last_error());
            REQUIRE(gradclip_accumulator_add(parts[other], &piece, 1) == GRADCLIP_OK, "%s", gradclip_last_error());
        }
    }
    uint8_t bytes[1024];
    size_t size = sizeof bytes;
    REQUIRE(gradclip_accumulator_export(parts[1], bytes, &size) == GRADCLIP_OK, "%s", gradclip_last_error());
    REQUIRE(gradclip_accumulator_import(parts[0], bytes, size) == GRADCLIP_OK, "%s", gradclip_last_error());
    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    const gradclip_status status = gradclip_accumulator_finish(parts[0], INFINITY, &result);
    REQUIRE(status == GRADCLIP_OK || status == GRADCLIP_NON_FINITE, "%s", gradclip_last_error());
    REQUIRE(is_exact ? same(result.total_norm, whole->total_norm) : close_to(result.total_norm, whole->total_norm, 2 * ulps),
            "%a in pieces, %a in one call, p %g", result.total_norm, whole->total_norm, p);
    REQUIRE(result.nonfinite_count == whole->nonfinite_count && result.nan_count == whole->nan_count, "counts");
    REQUIRE(result.first_tensor == whole->first_tensor, "tensor %llu, not %llu", (unsigned long long)result.first_tensor,
            (unsigned long long)whole->first_tensor);
    for (int i = 0; i < 2; i++) gradclip_accumulator_free(parts[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    input in = {bytes, size};
    const uint32_t form = take_byte(&in) % 6;
    const bool to_outputs = form & 1;
    const double max_norm = take_double(&in), p = take_double(&in);
    const gradclip_options options = take_options(&in);
    list grads = take_list(&in, form < 2 ? 0 : form < 4 ? GRADCLIP_F32 : GRADCLIP_F64);
    if (form >= 2) /* the typed calls have no flags */
        for (size_t i = 0; i < grads.count; i++) grads.tensors[i].flags = 0;
    list before = copy_of(&grads), outputs = copy_of(&grads);
    for (size_t i = 0; i < outputs.count; i++) outputs.tensors[i].flags = 0;

    double norms[MOST_TENSORS] = {0};
    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    result.tensor_norms = take_byte(&in) & 1 ? norms : NULL;
    const gradclip_result untouched = result;
    const gradclip_status status = clip(&grads, &outputs, form, max_norm, p, &options, &result);

    if (!options_are_valid(&options) || !(max_norm >= 0) || p != p) {
        REQUIRE(status == GRADCLIP_ERROR_INVALID_ARGUMENT, "status %d", status);
        REQUIRE(*gradclip_last_error() != '\0', "no message");
        REQUIRE(same_bytes(&grads, &before) && same_bytes(&outputs, &before), "a failing call wrote");
        REQUIRE(memcmp(&result, &untouched, sizeof result) == 0, "a failing call wrote its result");
        goto done;
    }
    REQUIRE(status >= 0, "%s", gradclip_last_error());
    const bool zero = options.nonfinite == GRADCLIP_NONFINITE_ZERO;
    const reference_norm expected = reference(before.tensors, before.count, p, zero);
    REQUIRE(result.nonfinite_count == expected.nonfinite && result.nan_count == expected.nan &&
                result.first_tensor == expected.first_tensor && result.first_element == expected.first_element,
            "found %llu non-finite, %llu NaN", (unsigned long long)result.nonfinite_count, (unsigned long long)result.nan_count);

    const double s = options.grad_scale;
    const bool counts = p == 0;
    double norm = counts || s == 1 ? expected.norm : (double)(expected.fine / s);
    if (!counts && s != 1 && (expected.fine == 0 || isinf((double)expected.fine))) norm = result.total_norm; /* beyond long double or double */
    const double ulps = (isinf(p) || p == 0 || fabs(p) >= 0x1p50 ? 0 : 4 * fmax(1, 1 / fabs(p))) + 2;
    REQUIRE(close_to(result.total_norm, norm, ulps), "total_norm %a, expected %a, p %g, grad_scale %g", result.total_norm, norm, p, s);

    if (expected.nonfinite > 0 && options.nonfinite == GRADCLIP_NONFINITE_LEAVE) {
        REQUIRE(status == GRADCLIP_NON_FINITE, "status %d", status);
        REQUIRE(result.clip_coef == 1, "clip_coef %a", result.clip_coef);
        REQUIRE(same_bytes(&grads, &before) && same_bytes(&outputs, &before), "NON_FINITE and written");
    } else {
        REQUIRE(status == GRADCLIP_OK, "status %d", status);
        if (isfinite(result.total_norm) && isfinite(max_norm)) {
            const double plain = max_norm == 0 ? 0 : result.total_norm + options.eps == 0 ? 1 : fmin(1, (double)(max_norm / ((long double)result.total_norm + options.eps)));
            REQUIRE(fabs(result.clip_coef - plain) <= plain * 1e-14 + 5e-324, "clip_coef %a, expected %a: max_norm %a, total_norm %a, eps %a, p %g, grad_scale %a", result.clip_coef, plain, max_norm, result.total_norm, options.eps, p, s);
        }
        const bool writes = to_outputs || result.factor != 1 || (zero && expected.nonfinite > 0);
        const list *written = to_outputs ? &outputs : &grads;
        if (to_outputs) REQUIRE(same_bytes(&grads, &before), "the source was written");
        if (!writes) REQUIRE(same_bytes(&grads, &before), "written although nothing had to be");
        for (size_t i = 0; writes && i < grads.count; i++) {
            const gradclip_tensor *was = &before.tensors[i];
            for (uint64_t k = 0; k < was->length; k++) {
                const double x = element(was, k), y = element(&written->tensors[i], k);
                if (zero && !isfinite(x)) {
                    REQUIRE(y == 0 || was->flags, "a non-finite element became %a", y);
                } else {
                    REQUIRE(is_product(was, y, x, result.factor), "tensor %zu, element %llu: %a times %a became %a", i,
                            (unsigned long long)k, x, result.factor, y);
                }
            }
        }
    }
    const bool has_wide = (form >= 4);
    bool is_exact = (p == 1 || p == 2 || isinf(p)) && (options.exact_f64 || !has_wide || isinf(p));
    for (size_t i = 0; i < before.count; i++)
        if (before.tensors[i].dtype == GRADCLIP_F64 && !options.exact_f64 && !isinf(p)) is_exact = false;
    if (p != 0) check_accumulator(&in, &before, p, &options, &result, is_exact, ulps);
done:
    release(&grads);
    release(&before);
    release(&outputs);
    return 0;
}
