/* Options of a call, and what most calls have in common. Part of gradclip.hpp, which includes it. */
#ifndef GRADCLIP_OPTIONS_HPP
#define GRADCLIP_OPTIONS_HPP

#include "error.hpp"
#include "tensor.hpp"

#include <cstdint>
#include <vector>

namespace gradclip {

/* What to do about NaN and infinities: GRADCLIP_NONFINITE_... */
enum class nonfinite_policy : std::uint32_t {
    leave = GRADCLIP_NONFINITE_LEAVE,
    propagate = GRADCLIP_NONFINITE_PROPAGATE,
    zero = GRADCLIP_NONFINITE_ZERO
};

/* Options of a call; see gradclip_options. */
struct options {
    double eps = 1e-6;         /* finite, >= 0; 0 for the formula of the textbooks */
    double grad_scale = 1.0;   /* what the gradients are still multiplied by; finite, > 2^-1024 */
    nonfinite_policy nonfinite = nonfinite_policy::leave;
    bool exact_f64 = false;    /* sum float64 gradients exactly too, for norm_type 1 and 2 */
    std::uint32_t num_threads = 0; /* threads to use at most; 0: get_num_threads() */
    /* What the policy leaves alone is an error with status::non_finite, which names
     * the first such element; nothing is written. With false result.non_finite tells. */
    bool error_if_nonfinite = true;
};

namespace detail {

inline gradclip_options c_options(const options &given) noexcept {
    gradclip_options made;
    gradclip_options_init(&made, sizeof made);
    made.eps = given.eps;
    made.grad_scale = given.grad_scale;
    made.nonfinite = static_cast<std::uint32_t>(given.nonfinite);
    made.exact_f64 = given.exact_f64 ? 1 : 0;
    made.num_threads = given.num_threads;
    return made;
}

} // namespace detail

inline namespace GRADCLIP_ERRORS {

namespace calls {

/* Whether a list was made of as many pointers as lengths. */
inline error mismatched_list(const char *name) { return mismatch(name, "have as many pointers as lengths"); }

/* Runs a call on a list with everything that most calls need. */
template <class Call>
outcome<result> measured(const const_tensor_list &grads, const options &given, std::vector<double> *tensor_norms,
                         Call call) {
    if (!grads.is_matched()) return fail<result>(mismatched_list("grads"));
    const gradclip_options passed = c_options(given);
    gradclip_result found = c_result();
    if (tensor_norms) {
        tensor_norms->resize(grads.size());
        found.tensor_norms = tensor_norms->data();
    }
    return done(call(grads.c_tensors(), grads.size(), &passed, &found), found, given.error_if_nonfinite);
}

} // namespace calls

} // inline namespace of the way of reporting errors

} // namespace gradclip

#endif /* GRADCLIP_OPTIONS_HPP */
