/*
 * gradclip.hpp - gradclip.h for C++17 and newer
 *
 * Everything is in headers (the folder gradclip/ beside this one), on top of the C
 * functions: link with -lgradclip. What is computed, and when something is written,
 * gradclip.h says; these headers say how C++ values become its arguments.
 *
 *     std::vector<float> weight_grad(4096), bias_grad(64);
 *     auto found = gradclip::clip_grad_norm({weight_grad, bias_grad}, 1.0);
 *
 * ERRORS
 *
 * A call that is refused throws gradclip::error, and has written nothing. So does one
 * that finds a NaN or an infinity, unless options name what is to be done about them
 * (nonfinite_policy::zero, propagate), or error_if_nonfinite is false and the result's
 * non_finite is looked at. Results must not be dropped: the compiler warns. Without
 * exceptions (compiled with -fno-exceptions, or GRADCLIP_NO_EXCEPTIONS defined
 * before this header) every function that is declared below to return
 * outcome<T> returns an expected<T>, which holds the value or the error:
 *
 *     auto found = gradclip::clip_grad_norm({weight_grad, bias_grad}, 1.0);
 *     if (!found && found.error().code() == gradclip::status::non_finite)  skip_this_step();
 *
 * With exceptions outcome<T> is T itself. Both kinds may be linked into one
 * program. Memory for lists and reports comes from std::vector: when there is none
 * left, that throws std::bad_alloc, or ends a program built without exceptions.
 *
 * GRADIENTS
 *
 * A tensor is a view of memory that something else owns. It is made from anything
 * with std::data() and std::size() over float or double (a vector, an array, a
 * span), or from a pointer and a length. A list of tensors is made from a
 * container of such things, from a container of pointers beside one of lengths,
 * from braces, or from one such thing alone (a flat arena: a list of one). Making a
 * list costs one allocation: a training loop makes it once, before the first
 * step, and passes it to every call.
 */
#ifndef GRADCLIP_HPP
#define GRADCLIP_HPP

#include "gradclip/accumulator.hpp"
#include "gradclip/chooser.hpp"
#include "gradclip/clip.hpp"
#include "gradclip/example.hpp"
#include "gradclip/inspect.hpp"
#include "gradclip/monitor.hpp"
#include "gradclip/parts.hpp"

namespace gradclip {

inline namespace GRADCLIP_ERRORS {

/* ------------------------------------------------- threads and versions -- */

/* gradclip_set_num_threads(), gradclip_get_num_threads(). */
inline void set_num_threads(std::uint32_t num_threads) noexcept { gradclip_set_num_threads(num_threads); }
[[nodiscard]] inline std::uint32_t get_num_threads() noexcept { return gradclip_get_num_threads(); }

/* A short text for a status, gradclip_status_string(). */
inline const char *status_string(status code) noexcept {
    return gradclip_status_string(static_cast<gradclip_status>(code));
}

/* Of the library at run time; this header's is GRADCLIP_VERSION_STRING. */
inline std::uint32_t version_number() noexcept { return gradclip_version(); }
inline const char *version() noexcept { return gradclip_version_string(); }

/* The instruction set in use, gradclip_isa(). */
inline const char *isa() noexcept { return gradclip_isa(); }

} // inline namespace of the way of reporting errors

} // namespace gradclip

#endif /* GRADCLIP_HPP */
