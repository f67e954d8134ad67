/* Clipping by example, for differentially private training. Part of gradclip.hpp, which includes it. */
#ifndef GRADCLIP_EXAMPLE_HPP
#define GRADCLIP_EXAMPLE_HPP

#include "options.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace gradclip {

/* How an example's coefficient follows from its norm: GRADCLIP_EXAMPLE_... */
enum class example_rule : std::uint32_t {
    clip = GRADCLIP_EXAMPLE_CLIP,
    automatic = GRADCLIP_EXAMPLE_AUTOMATIC,
    threshold = GRADCLIP_EXAMPLE_THRESHOLD
};

/* What clip_per_example() found; see gradclip_per_example_result. */
struct [[nodiscard]] per_example {
    std::uint64_t clipped = 0;   /* examples with a norm above its max_norm */
    std::uint64_t nonfinite = 0; /* examples that were dropped for a NaN or an infinity */
    std::uint64_t first_nonfinite = GRADCLIP_NONE;
    double sensitivity = 0;    /* what the norm of no contribution exceeds */
    double rounding_bound = 0; /* of the norm of the sums' error */
    std::vector<double> norms, factors; /* of the examples, max_norms.size() together */
};

} // namespace gradclip

namespace gradclip {

inline namespace GRADCLIP_ERRORS {

/* Clip the gradient of every example by its own norm and add up (gradclip_clip_per_example).
 * grads are tensors of shape [examples, ...]; sums receive the sums, or are empty to measure
 * only. Examples that are not finite are dropped and counted: that is no error. */
inline outcome<per_example> clip_per_example(const const_tensor_list &grads, const tensor_list &sums,
                                             std::size_t examples, const std::vector<double> &max_norms,
                                             example_rule rule = example_rule::clip, const options &given = {}) {
    if (!grads.is_matched()) return calls::fail<per_example>(calls::mismatched_list("grads"));
    if (!sums.is_matched()) return calls::fail<per_example>(calls::mismatched_list("sums"));
    if (sums.size() != 0 && sums.size() != grads.size()) {
        return calls::fail<per_example>(calls::mismatch("sums", "be as many as grads, or none"));
    }
    for (std::size_t i = 0; i < grads.size(); i++) {
        if (examples != 0 && grads.c_tensors()[i].length % examples != 0) {
            return calls::fail<per_example>(calls::mismatch("grads", "have lengths that are multiples of examples"));
        }
    }
    const gradclip_options passed = detail::c_options(given);
    gradclip_per_example_result found{};
    found.struct_size = sizeof found;
    per_example made;
    // Without a tensor nothing bounds examples, and its norms are what max_norms has room for.
    if (grads.size() != 0) {
        made.norms.resize(examples * max_norms.size());
        made.factors.resize(examples * max_norms.size());
    }
    const bool told = grads.size() != 0;
    const gradclip_status code = gradclip_clip_per_example(
        grads.c_tensors(), sums.size() == 0 ? nullptr : sums.c_tensors(), grads.size(), examples, max_norms.data(),
        max_norms.size(), static_cast<std::uint32_t>(rule), &passed, &found, told ? made.norms.data() : nullptr,
        told ? made.factors.data() : nullptr);
    made.clipped = found.clipped;
    made.nonfinite = found.nonfinite;
    made.first_nonfinite = found.first_nonfinite;
    made.sensitivity = found.sensitivity;
    made.rounding_bound = found.rounding_bound;
    return calls::done(code, std::move(made));
}

/* The max_norm for the next step, if a share `quantile` of the examples is to stay
 * unclipped (gradclip_adapt_max_norm). */
[[nodiscard]] inline outcome<double> adapt_max_norm(double max_norm, double unclipped, double examples,
                                                    double quantile = 0.5, double rate = 0.2) {
    double adapted = max_norm;
    const gradclip_status code = gradclip_adapt_max_norm(max_norm, unclipped, examples, quantile, rate, &adapted);
    return calls::done(code, adapted);
}

} // inline namespace of the way of reporting errors

} // namespace gradclip

#endif /* GRADCLIP_EXAMPLE_HPP */
