/* What counts as the right result: how far from the reference a norm, a coefficient or
 * an element may be. */
#ifndef GRADCLIP_FUZZ_COMPARE_H
#define GRADCLIP_FUZZ_COMPARE_H

#include "input.h"
#include "reference.h"

/* Steps between two doubles that are both >= 0. */
static inline double steps_apart(double a, double b) {
    int64_t x, y;
    memcpy(&x, &a, 8);
    memcpy(&y, &b, 8);
    return fabs((double)(x - y));
}

static inline bool close_to(double got, double expected, double ulps) {
    return same(got, expected) || (got >= 0 && expected >= 0 && steps_apart(got, expected) <= ulps);
}

/* An element after multiplication: to the last place or two of its type. */
static inline bool is_product(const gradclip_tensor *tensor, double got, double before, double factor) {
    const double exact = before * factor;
    if (exact != exact) return got != got;
    const double relative = tensor->dtype == GRADCLIP_F64   ? 0x1p-52
                            : tensor->dtype == GRADCLIP_F32 ? 0x1p-22
                            : tensor->dtype == GRADCLIP_F16 ? 0x1p-9
                                                            : 0x1p-6;
    const double least = tensor->dtype == GRADCLIP_F64 ? 5e-324 : tensor->dtype == GRADCLIP_F32 ? 0x1p-148 : tensor->dtype == GRADCLIP_F16 ? 0x1p-23 : 0x1p-132;
    if (isinf(got) || isinf(exact)) return isinf(exact) ? got == exact : fabs(exact) >= 60000;
    return fabs(got - exact) <= fabs(exact) * relative + least;
}

/* How far a norm of order p may be from the reference, which is rounded as well. */
static inline double norm_ulps(double p) { return (isinf(p) || p == 0 || fabs(p) >= 0x1p50 ? 0 : 4 * fmax(1, 1 / fabs(p))) + 2; }

/* A norm after division by grad_scale; one of order 0 is a number of tensors. */
static inline long double scaled_norm(const reference_norm *found, double p, double scale) {
    return p == 0 ? found->norm : found->fine / scale;
}

/* Whether the reference has it: norms of tiny orders leave even its range. */
static inline bool is_known(const reference_norm *found, double p) {
    return p == 0 || fabs(p) > 0.05 || found->nonfinite > 0 || (isfinite(found->fine) && found->fine != 0);
}

static inline bool is_norm(double got, const reference_norm *found, double p, double scale) {
    return !is_known(found, p) || close_to(got, (double)scaled_norm(found, p, scale), norm_ulps(p));
}

/* A coefficient: of a norm of order p, so with that norm's error. */
static inline bool is_coefficient(double got, long double expected, double p) {
    if (expected != expected) return got != got;
    /* (In steps too: an error of the logarithm, which for a tiny order is one of many powers of two.) */
    return fabsl(got - expected) <= expected * 0x1p-52L * (norm_ulps(p) + 4) + 5e-324L || close_to(got, (double)expected, norm_ulps(p) + 4);
}

static inline bool tensor_is_untouched(const gradclip_tensor *now, const gradclip_tensor *before) {
    const size_t bytes = before->length * element_size(before->dtype);
    return bytes == 0 || memcmp(now->data, before->data, bytes) == 0;
}

/* A tensor that was multiplied by factor, `zero`: after its non-finite elements became 0. */
static inline void require_scaled(const gradclip_tensor *now, const gradclip_tensor *before, double factor, bool zero) {
    bool has_nonfinite = false;
    for (uint64_t k = 0; k < before->length; k++) {
        const double x = element(before, k), y = element(now, k);
        has_nonfinite |= !isfinite(x);
        if (zero && !isfinite(x) && !before->flags) REQUIRE(same(y, 0 * factor), "factor %a: element %llu was %a and is %a", factor, (unsigned long long)k, x, y);
        else REQUIRE(is_product(before, y, x, factor), "element %llu: %a times %a became %a", (unsigned long long)k, x, factor, y);
    }
    if (factor == 1 && !(zero && has_nonfinite)) REQUIRE(tensor_is_untouched(now, before), "written although nothing had to be");
}

#endif
