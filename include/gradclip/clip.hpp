/* Clipping by the global norm, in one call and in separate steps, and by value. Part of gradclip.hpp, which includes it. */
#ifndef GRADCLIP_CLIP_HPP
#define GRADCLIP_CLIP_HPP

#include "options.hpp"

#include <vector>

namespace gradclip {

inline namespace GRADCLIP_ERRORS {

/* --------------------------------------------------- clip by global norm -- */

/* Clip gradients in place so that their norm is at most max_norm
 * (gradclip_clip_grad_norm). tensor_norms, if given, is resized to receive the norm
 * of each tensor. */
inline outcome<result> clip_grad_norm(const tensor_list &grads, double max_norm, double norm_type = 2.0,
                                      const options &given = {}, std::vector<double> *tensor_norms = nullptr) {
    return calls::measured(grads, given, tensor_norms,
                            [&](const gradclip_tensor *tensors, std::size_t count, const gradclip_options *passed,
                                gradclip_result *found) {
                                return gradclip_clip_grad_norm(tensors, count, max_norm, norm_type, passed, found);
                            });
}

/* The same out of place (gradclip_clip_grad_norm_to): outputs[i] has the type and the
 * length of grads[i], and is the same memory or overlaps nothing. */
inline outcome<result> clip_grad_norm_to(const const_tensor_list &grads, const tensor_list &outputs, double max_norm,
                                         double norm_type = 2.0, const options &given = {},
                                         std::vector<double> *tensor_norms = nullptr) {
    if (!outputs.is_matched()) {
        return calls::fail<result>(calls::mismatched_list("outputs"));
    }
    if (outputs.size() != grads.size()) {
        return calls::fail<result>(calls::mismatch("outputs", "be as many as grads"));
    }
    return calls::measured(grads, given, tensor_norms,
                            [&](const gradclip_tensor *tensors, std::size_t count, const gradclip_options *passed,
                                gradclip_result *found) {
                                return gradclip_clip_grad_norm_to(tensors, outputs.c_tensors(), count, max_norm,
                                                                  norm_type, passed, found);
                            });
}

/* ------------------------------------- the same job in separate steps -- */

/* Only the norm (gradclip_get_total_norm). */
inline outcome<result> get_total_norm(const const_tensor_list &grads, double norm_type = 2.0,
                                      const options &given = {}, std::vector<double> *tensor_norms = nullptr) {
    return calls::measured(grads, given, tensor_norms,
                            [&](const gradclip_tensor *tensors, std::size_t count, const gradclip_options *passed,
                                gradclip_result *found) {
                                return gradclip_get_total_norm(tensors, count, norm_type, passed, found);
                            });
}

/* Everything but the write (gradclip_defer_clip): the optimizer multiplies by factor. */
inline outcome<result> defer_clip(const const_tensor_list &grads, double max_norm, double norm_type = 2.0,
                                  const options &given = {}, std::vector<double> *tensor_norms = nullptr) {
    return calls::measured(grads, given, tensor_norms,
                            [&](const gradclip_tensor *tensors, std::size_t count, const gradclip_options *passed,
                                gradclip_result *found) {
                                return gradclip_defer_clip(tensors, count, max_norm, norm_type, passed, found);
                            });
}

/* min(1, max_norm / (total_norm + eps)) (gradclip_clip_coef). */
[[nodiscard]] inline outcome<double> clip_coef(double max_norm, double total_norm, const options &given = {}) {
    const gradclip_options passed = detail::c_options(given);
    double coefficient = 1;
    const gradclip_status code = gradclip_clip_coef(max_norm, total_norm, &passed, &coefficient);
    return calls::done(code, coefficient);
}

/* Clip in place by a norm that is known already (gradclip_clip_grads_with_norm). */
inline outcome<result> clip_grads_with_norm(const tensor_list &grads, double max_norm, double total_norm,
                                            const options &given = {}) {
    return calls::measured(grads, given, nullptr,
                            [&](const gradclip_tensor *tensors, std::size_t count, const gradclip_options *passed,
                                gradclip_result *found) {
                                return gradclip_clip_grads_with_norm(tensors, count, max_norm, total_norm, passed,
                                                                     found);
                            });
}

/* Multiply by a finite factor, in place (gradclip_scale). */
inline outcome<void> scale(const tensor_list &grads, double factor, const options &given = {}) {
    if (!grads.is_matched()) {
        return calls::fail<void>(calls::mismatched_list("grads"));
    }
    const gradclip_options passed = detail::c_options(given);
    return calls::done(gradclip_scale(grads.c_tensors(), grads.size(), factor, &passed));
}

/* -------------------------------------------------------- clip by value -- */

/* Clamp every element to [-clip_value, clip_value], in place (gradclip_clip_grad_value). */
inline outcome<void> clip_grad_value(const tensor_list &grads, double clip_value, const options &given = {}) {
    if (!grads.is_matched()) {
        return calls::fail<void>(calls::mismatched_list("grads"));
    }
    const gradclip_options passed = detail::c_options(given);
    return calls::done(gradclip_clip_grad_value(grads.c_tensors(), grads.size(), clip_value, &passed));
}

} // inline namespace of the way of reporting errors

} // namespace gradclip

#endif /* GRADCLIP_CLIP_HPP */
