/* What calls come to: results, errors, and how they are reported. Part of gradclip.hpp, which includes it. */
#ifndef GRADCLIP_ERROR_HPP
#define GRADCLIP_ERROR_HPP

#include "../gradclip.h"

#include <cstdint>
#include <cstdio>
#include <exception>
#include <utility>
#include <variant>

#if !defined(GRADCLIP_NO_EXCEPTIONS) && !defined(__cpp_exceptions)
#define GRADCLIP_NO_EXCEPTIONS 1
#endif

namespace gradclip {

/* What a call came to, as gradclip_status. */
enum class status : gradclip_status {
    ok = GRADCLIP_OK,
    non_finite = GRADCLIP_NON_FINITE,
    skip_step = GRADCLIP_SKIP_STEP,
    invalid_argument = GRADCLIP_ERROR_INVALID_ARGUMENT,
    unsupported = GRADCLIP_ERROR_UNSUPPORTED,
    out_of_memory = GRADCLIP_ERROR_OUT_OF_MEMORY,
    bad_data = GRADCLIP_ERROR_BAD_DATA
};

/* What a call found; see gradclip_result. */
struct [[nodiscard]] result {
    double total_norm = 0;     /* before clipping, of gradient / grad_scale */
    double clip_coef = 1;      /* between 0 and 1 */
    double factor = 1;         /* clip_coef / grad_scale: what elements are multiplied by */
    std::uint64_t nonfinite_count = 0; /* how many elements are NaN or infinite */
    std::uint64_t nan_count = 0;       /* how many of those are NaN */
    std::uint64_t first_tensor = GRADCLIP_NONE;  /* where the first of them is */
    std::uint64_t first_element = GRADCLIP_NONE;
    bool non_finite = false;   /* they were left alone (with error_if_nonfinite false) and nothing was written: skip the step */

    bool clipped() const noexcept { return clip_coef < 1; }
};

/* A call that was refused: its status, and a message that names the argument and
 * its value, "max_norm must be a number >= 0 (got -1)". Of gradients that are not
 * finite (status::non_finite) it holds what was found, too. */
class error : public std::exception {
public:
    error(status code, const char *message) noexcept : error(code, message, result()) {}
    error(status code, const char *message, const result &found) noexcept : code_(code), found_(found) {
        std::snprintf(message_, sizeof message_, "%s", message);
    }
    status code() const noexcept { return code_; }
    const char *what() const noexcept override { return message_; }
    /* The norm, the counts, the first tensor and element; of status::non_finite. */
    const result &found() const noexcept { return found_; }

private:
    status code_;
    result found_;
    char message_[256];
};

/* A value, or the error that there is instead of it: what a call returns where
 * there are no exceptions. * and -> need a value, error() needs that there is none. */
template <class T> class [[nodiscard]] expected {
public:
    expected(T value) : held_(std::in_place_index<0>, std::move(value)) {}
    expected(const gradclip::error &failure) : held_(std::in_place_index<1>, failure) {}

    bool has_value() const noexcept { return held_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }
    T &operator*() & noexcept { return *std::get_if<0>(&held_); }
    const T &operator*() const & noexcept { return *std::get_if<0>(&held_); }
    T &&operator*() && noexcept { return std::move(*std::get_if<0>(&held_)); }
    T *operator->() noexcept { return std::get_if<0>(&held_); }
    const T *operator->() const noexcept { return std::get_if<0>(&held_); }
    const gradclip::error &error() const noexcept { return *std::get_if<1>(&held_); }

private:
    std::variant<T, gradclip::error> held_;
};

/* Success, or an error. */
template <> class [[nodiscard]] expected<void> {
public:
    expected() noexcept : failure_(status::ok, ""), succeeded_(true) {}
    expected(const gradclip::error &failure) noexcept : failure_(failure), succeeded_(false) {}

    bool has_value() const noexcept { return succeeded_; }
    explicit operator bool() const noexcept { return succeeded_; }
    const gradclip::error &error() const noexcept { return failure_; }

private:
    gradclip::error failure_;
    bool succeeded_;
};

namespace detail {

inline gradclip_result c_result() noexcept {
    gradclip_result made;
    gradclip_result_init(&made, sizeof made);
    return made;
}

inline result cpp_result(const gradclip_result &found, gradclip_status code) noexcept {
    result made;
    made.total_norm = found.total_norm;
    made.clip_coef = found.clip_coef;
    made.factor = found.factor;
    made.nonfinite_count = found.nonfinite_count;
    made.nan_count = found.nan_count;
    made.first_tensor = found.first_tensor;
    made.first_element = found.first_element;
    made.non_finite = code == GRADCLIP_NON_FINITE;
    return made;
}

inline error last_error(gradclip_status code) noexcept {
    return error(static_cast<status>(code), gradclip_last_error());
}

inline error non_finite_error(const gradclip_result &found) noexcept {
    char text[200];
    if (found.first_tensor == GRADCLIP_NONE && found.total_norm - found.total_norm == 0) {
        std::snprintf(text, sizeof text, "loss is not finite"); // a chooser was told it
    } else if (found.first_tensor == GRADCLIP_NONE) {
        std::snprintf(text, sizeof text, "total_norm is not finite (got %g)", found.total_norm);
    } else {
        std::snprintf(text, sizeof text, "grads[%llu] is not finite at element %llu (not finite in all: %llu, NaN: %llu)",
                      static_cast<unsigned long long>(found.first_tensor),
                      static_cast<unsigned long long>(found.first_element),
                      static_cast<unsigned long long>(found.nonfinite_count),
                      static_cast<unsigned long long>(found.nan_count));
    }
    return error(status::non_finite, text, cpp_result(found, GRADCLIP_NON_FINITE));
}

} // namespace detail

/* A namespace for each way of reporting errors, so that files of both kinds can be
 * linked into one program. */
#ifdef GRADCLIP_NO_EXCEPTIONS
#define GRADCLIP_ERRORS no_exceptions
#else
#define GRADCLIP_ERRORS exceptions
#endif
inline namespace GRADCLIP_ERRORS {

namespace calls {
using namespace gradclip::detail;
} // namespace calls

#ifdef GRADCLIP_NO_EXCEPTIONS
template <class T> using outcome = expected<T>;
namespace calls {
template <class T> outcome<T> fail(const error &what) { return what; }
} // namespace calls
#else
template <class T> using outcome = T;
namespace calls {
template <class T> [[noreturn]] outcome<T> fail(const error &what) { throw what; }
} // namespace calls
#endif

namespace calls {

/* A C function's status as an outcome. */
inline outcome<void> done(gradclip_status code) {
    if (code < 0) return fail<void>(last_error(code));
    return outcome<void>();
}

/* The same with the value that there is after success. */
template <class T> outcome<T> done(gradclip_status code, T value) {
    if (code < 0) return fail<T>(last_error(code));
    return value;
}

inline outcome<result> done(gradclip_status code, const gradclip_result &found, bool error_if_nonfinite) {
    if (code < 0) return fail<result>(last_error(code));
    if (code == GRADCLIP_NON_FINITE && error_if_nonfinite) return fail<result>(non_finite_error(found));
    return cpp_result(found, code);
}

inline error mismatch(const char *name, const char *rule) {
    char text[200];
    std::snprintf(text, sizeof text, "%s must %s", name, rule);
    return error(status::invalid_argument, text);
}

} // namespace calls

} // inline namespace of the way of reporting errors

} // namespace gradclip

#endif /* GRADCLIP_ERROR_HPP */
