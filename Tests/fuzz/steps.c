/* The job in separate steps, values, scaling and reports. */
#include "input.h"
#include "reference.h"

static void check_value(const list *grads, const list *before, double limit) {
    for (size_t i = 0; i < grads->count; i++)
        for (uint64_t k = 0; k < grads->tensors[i].length; k++) {
            const double x = element(&before->tensors[i], k), y = element(&grads->tensors[i], k);
            /* The limit in the element's own type is within a part in 128 of it, or as infinite. */
            if (x != x) REQUIRE(y != y, "a NaN became %a", y);
            else REQUIRE(y == x ? fabs(x) <= limit * 1.01 + 0x1p-24 || limit > 60000
                                : fabs(x) >= limit * 0.99 - 0x1p-24 && signbit(x) == signbit(y) && fabs(y) <= fabs(x) &&
                                      fabs(y) >= limit * 0.99 - 0x1p-24 && fabs(y) <= limit * 1.01 + 0x1p-24,
                         "%a became %a, limit %a", x, y, limit);
        }
}

static void check_inspect(const list *grads, double p, const gradclip_options *options, bool valid) {
    gradclip_report reports[MOST_TENSORS];
    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    const gradclip_status status = gradclip_inspect(grads->tensors, grads->count, p, options, reports, sizeof *reports, &result);
    if (!valid) {
        REQUIRE(status == GRADCLIP_ERROR_INVALID_ARGUMENT, "status %d", status);
        return;
    }
    REQUIRE(status == GRADCLIP_OK, "%s", gradclip_last_error());
    for (size_t i = 0; i < grads->count; i++) {
        uint64_t nan = 0, up = 0, down = 0, zero = 0, first = GRADCLIP_NONE;
        double largest = 0;
        for (uint64_t k = 0; k < grads->tensors[i].length; k++) {
            const double x = element(&grads->tensors[i], k);
            if (!isfinite(x) && first == GRADCLIP_NONE) first = k;
            nan += isnan(x), up += x == INFINITY, down += x == -INFINITY, zero += x == 0;
            if (isfinite(x) && fabs(x) > largest) largest = fabs(x);
        }
        REQUIRE(reports[i].nan_count == nan && reports[i].positive_infinity_count == up &&
                    reports[i].negative_infinity_count == down && reports[i].zero_count == zero &&
                    reports[i].first_nonfinite == first && reports[i].length == grads->tensors[i].length,
                "report of tensor %zu", i);
        const double scaled = largest / options->grad_scale;
        REQUIRE(fabs(reports[i].max_abs - scaled) <= scaled * 1e-15 + 5e-324 || isinf(scaled), "max_abs %a, expected %a", reports[i].max_abs, scaled);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    input in = {bytes, size};
    const uint8_t what = take_byte(&in) % 6;
    const double number = take_double(&in), other = take_double(&in);
    const gradclip_options options = take_options(&in);
    const bool valid = options_are_valid(&options);
    list grads = take_list(&in, 0), before = copy_of(&grads);
    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    gradclip_status status;
    switch (what) {
    case 0: /* by value */
        status = gradclip_clip_grad_value(grads.tensors, grads.count, number, &options);
        if (!valid || !(number >= 0)) goto refused;
        REQUIRE(status == GRADCLIP_OK, "%s", gradclip_last_error());
        if (number > 0x1p-14 && number < 60000) check_value(&grads, &before, number);
        break;
    case 1: /* scaling */
        status = gradclip_scale(grads.tensors, grads.count, number, &options);
        if (!valid || !isfinite(number)) goto refused;
        REQUIRE(status == GRADCLIP_OK, "%s", gradclip_last_error());
        if (number == 1) REQUIRE(same_bytes(&grads, &before), "scaled by 1 and written");
        break;
    case 2: /* by a known norm */
        status = gradclip_clip_grads_with_norm(grads.tensors, grads.count, number, other, &options, &result);
        if (!valid || !(number >= 0) || !(other >= 0)) goto refused;
        REQUIRE(status >= 0, "%s", gradclip_last_error());
        if (status == GRADCLIP_NON_FINITE) REQUIRE(same_bytes(&grads, &before), "NON_FINITE and written");
        break;
    case 3: /* two ways to the same coefficient */
        status = gradclip_defer_clip(grads.tensors, grads.count, number, other, &options, &result);
        if (!valid || !(number >= 0) || other != other) goto refused;
        REQUIRE(status >= 0, "%s", gradclip_last_error());
        REQUIRE(same_bytes(&grads, &before), "deferred and written");
        gradclip_result clipped;
        gradclip_result_init(&clipped, sizeof clipped);
        REQUIRE(gradclip_clip_grad_norm(grads.tensors, grads.count, number, other, &options, &clipped) == status, "another status");
        REQUIRE(same(clipped.total_norm, result.total_norm) && same(clipped.clip_coef, result.clip_coef), "another coefficient");
        break;
    case 4: /* the coefficient alone */
    {
        double coef = -7;
        status = gradclip_clip_coef(number, other, &options, &coef);
        if (!valid || !(number >= 0) || !(other >= 0)) {
            REQUIRE(coef == -7, "a failing call wrote");
            goto refused;
        }
        REQUIRE(status == GRADCLIP_OK && coef >= 0 && coef <= 1, "clip_coef %a", coef);
        break;
    }
    default:
        check_inspect(&grads, other, &options, valid && other == other);
        REQUIRE(same_bytes(&grads, &before), "inspected and written");
    }
    goto done;
refused:
    REQUIRE(status == GRADCLIP_ERROR_INVALID_ARGUMENT, "status %d", status);
    REQUIRE(*gradclip_last_error() != '\0', "no message");
    REQUIRE(same_bytes(&grads, &before), "a failing call wrote");
done:
    release(&grads);
    release(&before);
    return 0;
}
