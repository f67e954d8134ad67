/* Clipping each tensor by its norm, by that of its group, by its root mean square. */
#include "compare.h"

enum { BY_NORM, BY_GROUP, BY_BLOCK_RMS, MOST_GROUPS = 4 };

/* The tensors of part `part`, counted or not. */
static size_t choose(const list *all, const uint32_t *groups, uint32_t part, gradclip_tensor *chosen) {
    size_t count = 0;
    for (size_t i = 0; i < all->count; i++)
        if ((groups ? groups[i] : i) == part) chosen[count++] = all->tensors[i];
    return count;
}

/* A tensor's own norm: of order 0 its elements that are not zero. */
static reference_norm alone(const gradclip_tensor *tensor, double p, bool skip) {
    reference_norm own = reference(tensor, 1, p, skip);
    if (p != 0 || tensor->flags) return own;
    own.norm = 0;
    for (uint64_t k = 0; k < tensor->length; k++) own.norm += element(tensor, k) != 0 && !(skip && !isfinite(element(tensor, k)));
    return own;
}

/* min(1, max_norm / (n + eps)), by the words of the header. */
static long double coefficient(long double norm, double max_norm, double eps) {
    if (max_norm == INFINITY) return 1;
    if (norm != norm) return norm; /* (fminl would lose it) */
    if (max_norm == 0) return 0;
    return norm + eps == 0 ? 1 : fminl(1, max_norm / (norm + eps));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    input in = {bytes, size};
    const uint32_t kind = take_byte(&in) % 3;
    const double p = kind == BY_BLOCK_RMS ? 2 : take_double(&in);
    const gradclip_options options = take_options(&in);
    double max_norms[MOST_TENSORS + 2], part_norms[MOST_TENSORS], coefs[MOST_TENSORS], norms[MOST_TENSORS];
    uint32_t groups[MOST_TENSORS];
    const bool is_single = take_byte(&in) & 1;
    const uint8_t off = take_byte(&in); /* now and then one max_norm too many, or a group that is none */
    for (int i = 0; i < MOST_TENSORS + 2; i++) max_norms[i] = take_double(&in);
    for (int i = 0; i < MOST_TENSORS; i++) {
        groups[i] = take_byte(&in) % (MOST_GROUPS + (off == 255));
        part_norms[i] = coefs[i] = norms[i] = -7;
    }
    list grads = take_list(&in, 0), before = copy_of(&grads);
    const size_t parts = kind == BY_GROUP ? MOST_GROUPS : grads.count;
    const size_t limits = kind == BY_GROUP ? MOST_GROUPS : kind == BY_NORM && !is_single ? grads.count + (off == 254) : 1;

    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    result.tensor_norms = take_byte(&in) & 1 ? norms : NULL;
    const gradclip_result untouched = result;
    const bool wants_coefs = take_byte(&in) & 1;
    gradclip_status status;
    if (kind == BY_NORM)
        status = gradclip_clip_by_norm(grads.tensors, grads.count, max_norms, limits, p, &options, &result, wants_coefs ? coefs : NULL);
    else if (kind == BY_GROUP)
        status = gradclip_clip_by_group(grads.tensors, grads.count, groups, max_norms, limits, p, &options, &result, part_norms, wants_coefs ? coefs : NULL);
    else
        status = gradclip_clip_by_block_rms(grads.tensors, grads.count, max_norms[0], &options, &result, wants_coefs ? coefs : NULL);

    bool is_valid = options_are_valid(&options) && p == p && (limits == 1 || limits == parts);
    for (size_t i = 0; i < limits; i++) is_valid &= max_norms[i] >= 0;
    for (size_t i = 0; i < grads.count; i++) is_valid &= kind != BY_GROUP || groups[i] < MOST_GROUPS;
    if (!is_valid) {
        REQUIRE(status == GRADCLIP_ERROR_INVALID_ARGUMENT && *gradclip_last_error(), "status %d", status);
        REQUIRE(same_bytes(&grads, &before) && memcmp(&result, &untouched, sizeof result) == 0, "a failing call wrote");
        for (int i = 0; i < MOST_TENSORS; i++) REQUIRE(part_norms[i] == -7 && coefs[i] == -7 && norms[i] == -7, "a failing call wrote norms");
        goto done;
    }
    REQUIRE(status >= 0, "%s", gradclip_last_error());
    const bool zero = options.nonfinite == GRADCLIP_NONFINITE_ZERO;
    const double s = options.grad_scale;
    const reference_norm all = reference(before.tensors, before.count, p, zero);
    REQUIRE(result.nonfinite_count == all.nonfinite && result.nan_count == all.nan && result.first_tensor == all.first_tensor &&
                result.first_element == all.first_element, "found %llu non-finite", (unsigned long long)result.nonfinite_count);
    REQUIRE(is_norm(result.total_norm, &all, p, s), "total_norm %a, expected %La, p %g", result.total_norm, scaled_norm(&all, p, s), p);
    for (size_t i = 0; result.tensor_norms && i < grads.count; i++) {
        const reference_norm own = alone(&before.tensors[i], p, zero);
        REQUIRE(is_norm(norms[i], &own, p, s), "norm %zu: %a, expected %La", i, norms[i], scaled_norm(&own, p, s));
    }
    const bool is_left = all.nonfinite > 0 && options.nonfinite == GRADCLIP_NONFINITE_LEAVE;
    REQUIRE(status == (is_left ? GRADCLIP_NON_FINITE : GRADCLIP_OK), "status %d", status);
    if (is_left) REQUIRE(same_bytes(&grads, &before), "NON_FINITE and written");

    double smallest = 1;
    for (uint32_t part = 0; part < parts; part++) {
        gradclip_tensor chosen[MOST_TENSORS], now[MOST_TENSORS];
        const size_t count = choose(&before, kind == BY_GROUP ? groups : NULL, part, chosen);
        choose(&grads, kind == BY_GROUP ? groups : NULL, part, now);
        const reference_norm own = kind == BY_GROUP ? reference(chosen, count, p, zero) : alone(chosen, p, zero);
        if (kind == BY_GROUP) REQUIRE(is_norm(part_norms[part], &own, p, s), "group %u: %a, expected %La", part, part_norms[part], scaled_norm(&own, p, s));
        uint64_t elements = 0;
        for (size_t i = 0; i < count; i++) elements += chosen[i].flags ? 0 : chosen[i].length;
        const long double n = kind == BY_BLOCK_RMS && elements ? scaled_norm(&own, p, s) / sqrtl(elements) : scaled_norm(&own, p, s);
        /* (A tensor without a counted element is not measured; its coefficient is 1.) */
        const long double expected = is_left || (elements == 0 && kind != BY_GROUP) ? 1 : coefficient(n, max_norms[limits == 1 ? 0 : part], kind == BY_BLOCK_RMS ? 0 : options.eps);
        if (!wants_coefs) continue;
        if (is_known(&own, p) || expected == 1)
            REQUIRE(is_coefficient(coefs[part], expected, p), "coefficient %u: %a, expected %La of norm %La", part, coefs[part], expected, n);
        if (smallest == smallest && !(coefs[part] >= smallest)) smallest = coefs[part];
        for (size_t i = 0; !is_left && i < count; i++)
            require_scaled(&now[i], &chosen[i], (kind == BY_GROUP || !chosen[i].flags ? coefs[part] : 1) / s, zero);
    }
    if (wants_coefs) REQUIRE(same(result.clip_coef, smallest), "clip_coef %a, smallest %a", result.clip_coef, smallest);
done:
    release(&grads);
    release(&before);
    return 0;
}
