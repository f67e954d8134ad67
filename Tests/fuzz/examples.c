/* Clipping by example, and the adaptive threshold. */
#include "compare.h"

#include <float.h>

enum { MOST_EXAMPLES = 9, MOST_LAYERS = MOST_TENSORS + 1 };

/* The rows of one example, of one tensor or of all. */
static size_t rows_of(const list *grads, uint64_t examples, uint64_t example, size_t layers, size_t layer, gradclip_tensor *rows) {
    size_t count = 0;
    for (size_t i = 0; i < grads->count; i++) {
        if (layers != 1 && i != layer) continue;
        rows[count] = grads->tensors[i];
        rows[count].length /= examples;
        rows[count].data = (char *)rows[count].data + example * rows[count].length * element_size(rows[count].dtype);
        count++;
    }
    return count;
}

static void require_factor(double factor, long double n, double max_norm, uint32_t rule, const gradclip_options *options) {
    const double s = options->grad_scale;
    long double most = rule == GRADCLIP_EXAMPLE_THRESHOLD ? (n <= max_norm) : n + options->eps == 0 ? 1 : max_norm / (n + options->eps), least;
    if (rule == GRADCLIP_EXAMPLE_CLIP) most = max_norm == 0 ? 0 : fminl(1, most);
    if (rule == GRADCLIP_EXAMPLE_THRESHOLD && fabsl(n - max_norm) <= max_norm * 0x1p-50L) return;
    /* The coefficient is a double, which may be subnormal or saturate, to less than half; a subnormal norm is rounded up. */
    least = (most > DBL_MAX / 4 ? DBL_MAX / 4 : most * (1 - 1e-14L)) - 0x1p-1070L;
    if (rule == GRADCLIP_EXAMPLE_AUTOMATIC && n * s < 0x1p-1021L) least = fminl(least, max_norm / (n + 0x1p-1074L / s + options->eps) * (1 - 1e-14L));
    most = fminl(most / s, DBL_MAX), least = fminl(least / s, DBL_MAX * (1 - 1e-14L));
    REQUIRE(factor >= 0 && factor <= most * (1 + 1e-14L) && factor >= least - 0x1p-1070L, "factor %a, expected %La ... %La: norm %La, max_norm %a, rule %u, eps %a, grad_scale %a", factor, least, most, n, max_norm, rule, options->eps, s);
    /* (With the error of the sum of a thousand squares in long double.) */
    REQUIRE(factor * n * s <= max_norm * (1 + 0x1p-52L), "a contribution of %La, max_norm %a, rule %u", factor * n * s, max_norm, rule);
}

/* What an example adds is its elements times its factor cut off, all in order. */
static void require_sum(const gradclip_tensor *sum, const list *grads, size_t i, uint64_t examples, const double *factors, size_t layers) {
    for (uint64_t k = 0; k < sum->length; k++) {
        long double exact = 0, magnitudes = 0;
        for (uint64_t b = 0; b < examples; b++) {
            const double factor = factors[b * layers + (layers == 1 ? 0 : i)];
            if (factor == 0) continue;
            const long double product = (long double)factor * element(&grads->tensors[i], b * sum->length + k);
            exact += product, magnitudes += fabsl(product);
        }
        const double got = element(sum, k);
        if (magnitudes > 1e308L || (sum->dtype == GRADCLIP_F32 && fabsl(exact) > 3.4e38L)) continue;
        const long double narrow = sum->dtype == GRADCLIP_F32 ? fabsl(exact) * 0x1p-24L + 0x1p-150L : 0;
        REQUIRE(fabsl(got - exact) <= magnitudes * (examples + 1) * 0x1p-52L + examples * 0x1p-1073L + narrow, "sum %zu, element %llu: %a, expected %La", i, (unsigned long long)k, got, exact);
        if (examples == 1 && sum->dtype == GRADCLIP_F64 && factors[layers == 1 ? 0 : i] != 0) {
            const double x = element(&grads->tensors[i], k), factor = factors[layers == 1 ? 0 : i];
            REQUIRE(got == 0 || fma(fabs(x), factor, -fabs(got)) >= 0, "%a times %a was rounded up to %a", x, factor, got);
        }
    }
}

static void adapt(input *in) {
    const double max_norm = take_double(in), unclipped = take_double(in), examples = take_double(in), quantile = take_double(in), rate = take_double(in);
    double adapted = -7;
    const gradclip_status status = gradclip_adapt_max_norm(max_norm, unclipped, examples, quantile, rate, &adapted);
    const bool is_valid = max_norm >= 0 && isfinite(max_norm) && isfinite(unclipped) && examples > 0 && isfinite(examples) && quantile >= 0 && quantile <= 1 && rate >= 0 && isfinite(rate);
    REQUIRE(status == (is_valid ? GRADCLIP_OK : GRADCLIP_ERROR_INVALID_ARGUMENT), "status %d", status);
    if (!is_valid) REQUIRE(adapted == -7, "a failing call wrote");
    if (!is_valid || max_norm == 0) return;
    /* In float64, as the header's formula reads; every step of it may round. */
    const double share = unclipped / examples, power = rate * (quantile - share);
    if (fabs(power) > 700 || isinf(share)) return;
    const long double expected = max_norm * expl(power), slack = 0x1p-52L * (4 + 4 * fabsl(power));
    if (expected > 1e308L || expected < 1e-307L) return;
    REQUIRE(fabsl(adapted - expected) <= expected * slack, "%a, expected %La: power %g", adapted, expected, power);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    input in = {bytes, size};
    adapt(&in);
    const uint64_t examples = take_byte(&in) % (MOST_EXAMPLES + 1);
    const uint32_t rule = take_byte(&in) % 16 == 15 ? 3 : take_byte(&in) % 3;
    const gradclip_options options = take_options(&in);
    const bool is_layered = take_byte(&in) & 1;
    double max_norms[MOST_LAYERS], norms[MOST_EXAMPLES * MOST_LAYERS], factors[MOST_EXAMPLES * MOST_LAYERS];
    for (size_t i = 0; i < MOST_LAYERS; i++) max_norms[i] = take_double(&in);
    for (size_t i = 0; i < MOST_EXAMPLES * MOST_LAYERS; i++) norms[i] = factors[i] = -7;
    list grads = take_list(&in, 0), sums = {.count = grads.count};
    const bool has_sums = take_byte(&in) % 4 != 3;
    const uint8_t off = take_byte(&in);
    bool is_valid = rule < 3 && options_are_valid(&options) && off != 255;
    const uint64_t rows = examples ? examples : 1;
    for (size_t i = 0; i < grads.count; i++) {
        gradclip_tensor *grad = &grads.tensors[i], *sum = &sums.tensors[i];
        const uint64_t more = grad->length % rows;
        grad->data = (char *)grad->data + more * element_size(grad->dtype); /* its end stays where its memory ends */
        grad->length -= more;
        grad->flags = 0;
        *sum = (gradclip_tensor){.length = grad->length / rows, .dtype = 1 + take_byte(&in) % 2};
        sum->data = place(sum->length * element_size(sum->dtype), take_byte(&in) % 16, &sums.blocks[i]);
        memset(sum->data, 0x5a, sum->length * element_size(sum->dtype));
        if (examples == 0) grad->length = 0; /* sums of any length */
    }
    const size_t layers = off == 255 ? grads.count + 2 : is_layered ? grads.count : 1;
    for (size_t i = 0; i < layers && i < MOST_LAYERS; i++) is_valid &= max_norms[i] == 0 || (isfinite(max_norms[i]) && max_norms[i] >= DBL_MIN);
    list before = copy_of(&grads), sums_before = copy_of(&sums);
    gradclip_per_example_result result = {.struct_size = sizeof result, .clipped = 7};
    const gradclip_status status = gradclip_clip_per_example(grads.tensors, has_sums ? sums.tensors : NULL, grads.count, examples, max_norms, layers, rule, &options, &result, norms, factors);
    REQUIRE(same_bytes(&grads, &before), "gradients were written");
    if (!is_valid) {
        REQUIRE(status == GRADCLIP_ERROR_INVALID_ARGUMENT && *gradclip_last_error(), "status %d", status);
        REQUIRE(same_bytes(&sums, &sums_before) && result.clipped == 7, "a failing call wrote");
        for (size_t i = 0; i < MOST_EXAMPLES * MOST_LAYERS; i++) REQUIRE(norms[i] == -7 && factors[i] == -7, "a failing call wrote norms");
        goto done;
    }
    REQUIRE(status == GRADCLIP_OK, "%s", gradclip_last_error());
    uint64_t clipped = 0, dropped = 0, first = GRADCLIP_NONE;
    for (uint64_t b = 0; b < examples; b++) {
        bool is_clipped = false, is_dropped = false;
        for (size_t i = 0; i < grads.count; i++) {
            gradclip_tensor row;
            if (rows_of(&grads, examples, b, 2, i, &row)) is_dropped |= reference(&row, 1, 1, 0).nonfinite > 0;
        }
        for (size_t layer = 0; layer < layers; layer++) {
            gradclip_tensor chosen[MOST_TENSORS];
            const size_t place = b * layers + layer;
            const reference_norm own = reference(chosen, rows_of(&grads, examples, b, layers, layer, chosen), 2, 0);
            REQUIRE(is_norm(norms[place], &own, 2, options.grad_scale), "norm %zu: %a, expected %La", place, norms[place], scaled_norm(&own, 2, options.grad_scale));
            is_clipped |= norms[place] > max_norms[layer];
            if (is_dropped) REQUIRE(factors[place] == 0, "factor %a of an example that is dropped", factors[place]);
            else require_factor(factors[place], scaled_norm(&own, 2, options.grad_scale), max_norms[layer], rule, &options);
        }
        if (is_dropped && dropped++ == 0) first = b;
        clipped += is_clipped && !is_dropped;
    }
    REQUIRE(result.clipped == clipped && result.nonfinite == dropped && result.first_nonfinite == first, "%llu clipped, %llu dropped", (unsigned long long)result.clipped, (unsigned long long)result.nonfinite);
    long double squares = 0;
    uint64_t narrow = 0;
    for (size_t i = 0; i < layers; i++) squares += (long double)max_norms[i] * max_norms[i];
    for (size_t i = 0; has_sums && i < sums.count; i++) narrow += sums.tensors[i].dtype == GRADCLIP_F32 ? sums.tensors[i].length : 0;
    const long double c = layers == 1 ? max_norms[0] : sqrtl(squares), total = c * examples;
    const long double bound = total * (examples - 1) * 0x1p-52L + (narrow ? total * 0x1p-24L + sqrtl(narrow) * 0x1p-150L : 0);
    if (c < 1e150L && c > 1e-150L) REQUIRE(result.sensitivity >= c * (1 - 0x1p-60L) && result.sensitivity <= c * 1.0001L, "sensitivity %a, expected %La", result.sensitivity, c);
    if (c < 1e30L && c > 1e-150L) REQUIRE(result.rounding_bound >= bound * (1 - 0x1p-50L) && result.rounding_bound <= bound * 1.0001L, "rounding_bound %a, expected %La", result.rounding_bound, bound);
    for (size_t i = 0; i < grads.count; i++) {
        if (has_sums) require_sum(&sums.tensors[i], &grads, i, examples, factors, layers);
    }
    if (!has_sums) REQUIRE(same_bytes(&sums, &sums_before), "sums were written that were not given");
done:
    release(&grads);
    release(&before);
    release(&sums);
    release(&sums_before);
    return 0;
}
