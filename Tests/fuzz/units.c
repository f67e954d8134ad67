/* Adaptive clipping: units of gradients against the same units of weights. */
#include "compare.h"

enum { MOST_ELEMENTS = 700 };

/* outer * reduced * inner = length, by three bytes. */
static gradclip_units divide(input *in, uint64_t length) {
    gradclip_units units = {1, length, 1};
    for (int axis = 0; axis < 2; axis++) {
        const uint64_t wanted = 1 + take_byte(in) % 40;
        uint64_t divisor = 1;
        for (uint64_t d = 1; d <= wanted; d++)
            if (units.reduced % d == 0) divisor = d;
        if (length == 0) divisor = wanted % 3;
        units.reduced = length == 0 ? take_byte(in) % 2 : units.reduced / divisor;
        *(axis ? &units.outer : &units.inner) = divisor;
    }
    if (units.outer * units.reduced * units.inner != length) units.outer = 0;
    return units;
}

/* A unit's elements, one behind the other. */
static gradclip_tensor gather(const gradclip_tensor *from, gradclip_units shape, uint64_t o, uint64_t i, uint8_t *memory) {
    gradclip_tensor unit = *from;
    const size_t size = element_size(from->dtype);
    unit.data = memory;
    unit.length = shape.reduced;
    for (uint64_t r = 0; r < shape.reduced; r++)
        memcpy(memory + r * size, (const char *)from->data + ((o * shape.reduced + r) * shape.inner + i) * size, size);
    return unit;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    input in = {bytes, size};
    const double clip_factor = take_double(&in), eps = take_double(&in), p = take_double(&in);
    const gradclip_options options = take_options(&in);
    list grads = take_list(&in, 0);
    gradclip_units shapes[MOST_TENSORS];
    list weights = {.count = grads.count};
    uint64_t unit_count = 0;
    for (size_t i = 0; i < grads.count; i++) {
        gradclip_tensor *grad = &grads.tensors[i], *weight = &weights.tensors[i];
        if (grad->length > MOST_ELEMENTS) { /* its end stays where its memory ends */
            grad->data = (char *)grad->data + (grad->length - MOST_ELEMENTS) * element_size(grad->dtype);
            grad->length = MOST_ELEMENTS;
        }
        *weight = (gradclip_tensor){.length = grad->length, .dtype = 1 + take_byte(&in) % 4};
        const size_t width = element_size(weight->dtype), period = 1 + take_byte(&in) % 5;
        uint8_t pattern[40];
        take(&in, pattern, period * width);
        weight->data = place(weight->length * width, take_byte(&in) % 16, &weights.blocks[i]);
        for (uint64_t k = 0; k < weight->length; k++) memcpy((char *)weight->data + k * width, pattern + k % period * width, width);
        shapes[i] = divide(&in, grad->length);
        unit_count += shapes[i].outer * shapes[i].inner;
    }
    list before = copy_of(&grads), weights_before = copy_of(&weights);
    const uint8_t off = take_byte(&in);
    if (off == 255 && grads.count && grads.tensors[0].length) shapes[0].reduced++;
    double *coefs = malloc((unit_count + 2) * sizeof *coefs);
    REQUIRE(coefs, "out of memory");
    for (uint64_t u = 0; u < unit_count + 2; u++) coefs[u] = -7;

    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    const gradclip_result untouched = result;
    const gradclip_status status = gradclip_adaptive_clip_grad(grads.tensors, weights.tensors, shapes, grads.count, clip_factor, eps, p, &options, &result, coefs);
    REQUIRE(same_bytes(&weights, &weights_before), "weights were written");

    const bool zero = options.nonfinite == GRADCLIP_NONFINITE_ZERO, propagates = options.nonfinite == GRADCLIP_NONFINITE_PROPAGATE;
    bool is_valid = options_are_valid(&options) && p > 0 && clip_factor >= 0 && isfinite(clip_factor) && eps >= 0 && isfinite(eps) &&
                    !(off == 255 && grads.count && grads.tensors[0].length && shapes[0].outer * shapes[0].inner);
    for (size_t i = 0; i < grads.count && !propagates; i++)
        if (!grads.tensors[i].flags && reference(&weights.tensors[i], 1, 1, 0).nonfinite) is_valid = false;
    if (!is_valid) {
        REQUIRE(status == GRADCLIP_ERROR_INVALID_ARGUMENT && *gradclip_last_error(), "status %d", status);
        REQUIRE(same_bytes(&grads, &before) && memcmp(&result, &untouched, sizeof result) == 0, "a failing call wrote");
        for (uint64_t u = 0; u < unit_count; u++) REQUIRE(coefs[u] == -7, "a failing call wrote coefficient %llu", (unsigned long long)u);
        goto done;
    }
    REQUIRE(status >= 0, "%s", gradclip_last_error());
    REQUIRE(coefs[unit_count] == -7 && coefs[unit_count + 1] == -7, "one coefficient too many");
    const double s = options.grad_scale;
    const reference_norm all = reference(before.tensors, before.count, p, zero);
    REQUIRE(result.nonfinite_count == all.nonfinite && result.nan_count == all.nan && result.first_tensor == all.first_tensor &&
                result.first_element == all.first_element, "found %llu non-finite", (unsigned long long)result.nonfinite_count);
    REQUIRE(is_norm(result.total_norm, &all, p, s), "total_norm %a, expected %La, p %g", result.total_norm, scaled_norm(&all, p, s), p);
    const bool is_left = all.nonfinite > 0 && options.nonfinite == GRADCLIP_NONFINITE_LEAVE;
    REQUIRE(status == (is_left ? GRADCLIP_NON_FINITE : GRADCLIP_OK), "status %d", status);
    if (is_left) REQUIRE(same_bytes(&grads, &before), "NON_FINITE and written");

    static uint8_t memory[4][MOST_ELEMENTS * 8];
    const double *coef = coefs;
    for (size_t i = 0; i < grads.count; i++)
        for (uint64_t o = 0; o < shapes[i].outer; o++)
            for (uint64_t k = 0; k < shapes[i].inner; k++, coef++) {
                const gradclip_tensor was = gather(&before.tensors[i], shapes[i], o, k, memory[0]);
                const gradclip_tensor now = gather(&grads.tensors[i], shapes[i], o, k, memory[1]);
                const gradclip_tensor weight = gather(&weights.tensors[i], shapes[i], o, k, memory[2]);
                if (is_left || was.flags) {
                    REQUIRE(*coef == 1, "coefficient %a of what is left alone", *coef);
                } else {
                    const reference_norm g = reference(&was, 1, p, zero), w = reference(&weight, 1, p, 0);
                    const long double n = scaled_norm(&g, p, s), w_norm = scaled_norm(&w, p, 1);
                    const long double limit = clip_factor * (w_norm < eps ? eps : w_norm);
                    const bool is_close = fabsl(n - limit) <= limit * 0x1p-50L * norm_ulps(p) + 1e-323L;
                    const long double clipped = limit / (n < 1e-6L ? 1e-6L : n);
                    /* NaN and infinities, and what leaves float64 on the way, are told apart by hand elsewhere. */
                    if (is_known(&g, p) && is_known(&w, p) && isfinite((double)n) && isfinite((double)w_norm) && (w_norm < eps || w_norm == 0 || w_norm > 0x1p-1000L) &&
                        isfinite((double)limit) && limit > 0x1p-1000L && !(is_close && *coef == 1))
                        REQUIRE(is_coefficient(*coef, n < limit ? 1 : clipped, p) || (is_close && is_coefficient(*coef, clipped, p)),
                                "coefficient %a, expected %La: norm %La, limit %La, p %a, clip_factor %a, eps %a, grad_scale %a", *coef,
                                n < limit ? 1 : clipped, n, limit, p, clip_factor, eps, s);
                    /* (An infinite limit gives 1, as an infinite max_norm does, also for a NaN.) */
                    if (w_norm != w_norm || (n != n && isfinite((double)limit))) REQUIRE(*coef != *coef, "coefficient %a of NaN", *coef);
                }
                if (!is_left) require_scaled(&now, &was, *coef / s, zero);
            }
done:
    free(coefs);
    release(&grads);
    release(&before);
    release(&weights);
    release(&weights_before);
    return 0;
}
