/* Clipping by tensor, by group, and by the units of the weights. Part of gradclip.hpp, which includes it. */
#ifndef GRADCLIP_PARTS_HPP
#define GRADCLIP_PARTS_HPP

#include "options.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace gradclip {

/* What clipping in parts found: result.clip_coef is the smallest coefficient. */
struct [[nodiscard]] parts {
    result total;                    /* norm and counts over all counted tensors */
    std::vector<double> clip_coefs;  /* of each tensor, group or unit */
    std::vector<double> norms;       /* of each tensor (clip_by_norm, clip_by_block_rms) or group; otherwise empty */
};

/* How a tensor is divided into units: [outer, reduced, inner]; see gradclip_units. */
using units = gradclip_units;

} // namespace gradclip

namespace gradclip {

inline namespace GRADCLIP_ERRORS {

namespace calls {

/* What calls in parts have in common; found.tensor_norms is the caller's. */
inline outcome<parts> parted(gradclip_status code, const gradclip_result &found, bool error_if_nonfinite, parts made) {
    if (code < 0) return fail<parts>(last_error(code));
    if (code == GRADCLIP_NON_FINITE && error_if_nonfinite) return fail<parts>(non_finite_error(found));
    made.total = cpp_result(found, code);
    return outcome<parts>(std::move(made));
}

/* The same, with the room for what concerns each tensor and the call itself. */
template <class Call> outcome<parts> by_tensor(const tensor_list &grads, const options &given, Call call) {
    if (!grads.is_matched()) return fail<parts>(mismatched_list("grads"));
    const gradclip_options passed = c_options(given);
    gradclip_result found = c_result();
    parts made;
    made.clip_coefs.resize(grads.size());
    made.norms.resize(grads.size());
    found.tensor_norms = made.norms.data();
    const gradclip_status code = call(grads.c_tensors(), grads.size(), &passed, &found, made.clip_coefs.data());
    return parted(code, found, given.error_if_nonfinite, std::move(made));
}

} // namespace calls

/* ------------------------------------------------------- clip in parts -- */

/* Each tensor by its own norm: max_norms has one limit for all, or one each
 * (gradclip_clip_by_norm). */
inline outcome<parts> clip_by_norm(const tensor_list &grads, const std::vector<double> &max_norms,
                                   double norm_type = 2.0, const options &given = {}) {
    return calls::by_tensor(grads, given,
                            [&](const gradclip_tensor *tensors, std::size_t count, const gradclip_options *passed,
                                gradclip_result *found, double *clip_coefs) {
                                return gradclip_clip_by_norm(tensors, count, max_norms.data(), max_norms.size(),
                                                             norm_type, passed, found, clip_coefs);
                            });
}
inline outcome<parts> clip_by_norm(const tensor_list &grads, double max_norm, double norm_type = 2.0,
                                   const options &given = {}) {
    return clip_by_norm(grads, std::vector<double>{max_norm}, norm_type, given);
}

/* Groups of tensors, each by the norm of the group: groups[i], below max_norms.size(),
 * is the group of grads[i] (gradclip_clip_by_group). */
inline outcome<parts> clip_by_group(const tensor_list &grads, const std::vector<std::uint32_t> &groups,
                                    const std::vector<double> &max_norms, double norm_type = 2.0,
                                    const options &given = {}) {
    if (!grads.is_matched()) return calls::fail<parts>(calls::mismatched_list("grads"));
    if (groups.size() != grads.size()) return calls::fail<parts>(calls::mismatch("groups", "be as many as grads"));
    const gradclip_options passed = detail::c_options(given);
    gradclip_result found = detail::c_result();
    parts made;
    made.clip_coefs.resize(max_norms.size());
    made.norms.resize(max_norms.size());
    const gradclip_status code =
        gradclip_clip_by_group(grads.c_tensors(), grads.size(), groups.data(), max_norms.data(), max_norms.size(),
                               norm_type, &passed, &found, made.norms.data(), made.clip_coefs.data());
    return calls::parted(code, found, given.error_if_nonfinite, std::move(made));
}

/* Each tensor by its root mean square (gradclip_clip_by_block_rms). */
inline outcome<parts> clip_by_block_rms(const tensor_list &grads, double threshold = 1.0, const options &given = {}) {
    return calls::by_tensor(grads, given,
                            [&](const gradclip_tensor *tensors, std::size_t count, const gradclip_options *passed,
                                gradclip_result *found, double *clip_coefs) {
                                return gradclip_clip_by_block_rms(tensors, count, threshold, passed, found, clip_coefs);
                            });
}

/* ------------------------------------------------- clip by the weights -- */

/* Each unit of a gradient by its norm against that of the same unit of the weights
 * (gradclip_adaptive_clip_grad). units[i] says how grads[i] is divided; clip_coefs are
 * those of the units, tensor by tensor. */
inline outcome<parts> adaptive_clip_grad(const tensor_list &grads, const const_tensor_list &weights,
                                         const std::vector<units> &divided, double clip_factor = 0.01,
                                         double eps = 1e-3, double norm_type = 2.0, const options &given = {}) {
    if (!grads.is_matched()) return calls::fail<parts>(calls::mismatched_list("grads"));
    if (!weights.is_matched()) return calls::fail<parts>(calls::mismatched_list("weights"));
    if (weights.size() != grads.size()) return calls::fail<parts>(calls::mismatch("weights", "be as many as grads"));
    if (divided.size() != grads.size()) return calls::fail<parts>(calls::mismatch("units", "be as many as grads"));
    // Room for as many units as the library will find: it refuses a division that does not come to
    // the length, and then writes none.
    std::size_t count = 0;
    for (std::size_t i = 0; i < divided.size(); i++) {
        const std::uint64_t length = grads.c_tensors()[i].length;
        if (divided[i].reduced == 0) continue;
        count += static_cast<std::size_t>(length / divided[i].reduced);
    }
    const gradclip_options passed = detail::c_options(given);
    gradclip_result found = detail::c_result();
    parts made;
    made.clip_coefs.resize(count);
    const gradclip_status code = gradclip_adaptive_clip_grad(
        grads.c_tensors(), weights.c_tensors(), divided.data(), grads.size(), clip_factor, eps, norm_type, &passed,
        &found, made.clip_coefs.data());
    return calls::parted(code, found, given.error_if_nonfinite, std::move(made));
}

} // inline namespace of the way of reporting errors

} // namespace gradclip

#endif /* GRADCLIP_PARTS_HPP */
