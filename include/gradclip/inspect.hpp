/* Looking at gradients: a report on each, and tensors that share memory. Part of gradclip.hpp, which includes it. */
#ifndef GRADCLIP_INSPECT_HPP
#define GRADCLIP_INSPECT_HPP

#include "options.hpp"

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

namespace gradclip {

/* What inspect() tells of one tensor; see gradclip_report. */
using report = gradclip_report;

/* What inspect() found. */
struct [[nodiscard]] inspection {
    result total;                /* norm and counts over all counted tensors */
    std::vector<report> tensors; /* a report on each */
};

} // namespace gradclip

namespace gradclip {

inline namespace GRADCLIP_ERRORS {

/* ----------------------------------------------------------------- list -- */

/* Two tensors of a list that share memory, by their places in it; none if no two do (gradclip_find_overlap). */
[[nodiscard]] inline outcome<std::optional<std::pair<std::size_t, std::size_t>>> find_overlap(const const_tensor_list &grads) {
    using found = std::optional<std::pair<std::size_t, std::size_t>>;
    if (!grads.is_matched()) {
        return calls::fail<found>(calls::mismatched_list("grads"));
    }
    std::size_t first = 0, second = 0;
    const gradclip_status code = gradclip_find_overlap(grads.c_tensors(), grads.size(), &first, &second);
    return calls::done(code, first == second ? found() : found(std::in_place, first, second));
}

/* --------------------------------------------------------------- report -- */

/* Look at every tensor: who is large, who is NaN (gradclip_inspect). */
inline outcome<inspection> inspect(const const_tensor_list &grads, double norm_type = 2.0,
                                   const options &given = {}) {
    if (!grads.is_matched()) {
        return calls::fail<inspection>(calls::mismatched_list("grads"));
    }
    const gradclip_options passed = detail::c_options(given);
    gradclip_result found = detail::c_result();
    inspection made;
    made.tensors.resize(grads.size());
    const gradclip_status code = gradclip_inspect(grads.c_tensors(), grads.size(), norm_type, &passed,
                                                  made.tensors.data(), sizeof(report), &found);
    made.total = detail::cpp_result(found, code);
    return calls::done(code, std::move(made));
}

} // inline namespace of the way of reporting errors

} // namespace gradclip

#endif /* GRADCLIP_INSPECT_HPP */
