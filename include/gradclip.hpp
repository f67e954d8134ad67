/*
 * gradclip.hpp - gradclip.h for C++17 and newer
 *
 * Everything here is in this header, on top of the C functions: link with
 * -lgradclip. What is computed, and when something is written, gradclip.h says;
 * this file says how C++ values become its arguments.
 *
 *     std::vector<float> weight_grad(4096), bias_grad(64);
 *     auto found = gradclip::clip_grad_norm({weight_grad, bias_grad}, 1.0);
 *     if (found.non_finite)  skip_this_step();
 *
 * ERRORS
 *
 * A call that is refused throws gradclip::error, and has written nothing. Without
 * exceptions (compiled with -fno-exceptions, or GRADCLIP_NO_EXCEPTIONS defined
 * before this header) every function that is declared below to return
 * outcome<T> returns an expected<T>, which holds the value or the error:
 *
 *     auto found = gradclip::clip_grad_norm({weight_grad, bias_grad}, 1.0);
 *     if (!found)  return report(found.error().what());
 *     if (found->non_finite)  skip_this_step();
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

#include "gradclip.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#if !defined(GRADCLIP_NO_EXCEPTIONS) && !defined(__cpp_exceptions)
#define GRADCLIP_NO_EXCEPTIONS 1
#endif

namespace gradclip {

/* --------------------------------------------------------------- errors -- */

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

/* A call that was refused: its status, and a message that names the argument and
 * its value, "max_norm must be a number >= 0 (got -1)". */
class error : public std::exception {
public:
    error(status code, const char *message) noexcept : code_(code) {
        std::snprintf(message_, sizeof message_, "%s", message);
    }
    status code() const noexcept { return code_; }
    const char *what() const noexcept override { return message_; }

private:
    status code_;
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

/* -------------------------------------------------------------- tensors -- */

namespace detail {

template <class C> using element = std::remove_pointer_t<decltype(std::data(std::declval<C &>()))>;

/* Memory of float or double that says where it lies and how long it is. */
template <class C, class = void> struct memory : std::false_type {
    static constexpr bool writable = false;
};
template <class C>
struct memory<C, std::void_t<element<C>, decltype(std::size(std::declval<C &>()))>>
    : std::bool_constant<std::is_same_v<std::remove_cv_t<element<C>>, float> ||
                         std::is_same_v<std::remove_cv_t<element<C>>, double>> {
    static constexpr bool writable = memory::value && !std::is_const_v<element<C>>;
};

/* A container whose elements become tensors of type T. */
template <class R, class T, class = void> struct list_of : std::false_type {};
template <class R, class T>
struct list_of<R, T, std::void_t<decltype(*std::begin(std::declval<R &>()))>>
    : std::is_convertible<decltype(*std::begin(std::declval<R &>())), T> {};

/* A container of pointers to Element. */
template <class R, class Element, class = void> struct pointers_to : std::false_type {};
template <class R, class Element>
struct pointers_to<R, Element, std::void_t<decltype(*std::begin(std::declval<R &>()))>>
    : std::is_convertible<decltype(*std::begin(std::declval<R &>())), Element *> {};

inline gradclip_tensor make(const void *data, std::size_t length, std::uint32_t dtype) noexcept {
    gradclip_tensor made{};
    made.data = const_cast<void *>(data);
    made.length = length;
    made.dtype = dtype;
    return made;
}

template <class T> constexpr void check_half() {
    static_assert(sizeof(T) == 2 && std::is_trivially_copyable_v<T>, "a half has two bytes and nothing else");
}

} // namespace detail

/* One gradient that is only read. Of a temporary container it lasts as long as
 * that does. */
class const_tensor {
public:
    const_tensor(const float *data, std::size_t length) noexcept : tensor_(detail::make(data, length, GRADCLIP_F32)) {}
    const_tensor(const double *data, std::size_t length) noexcept : tensor_(detail::make(data, length, GRADCLIP_F64)) {}

    /* A vector, an array, a span ... of float or double. */
    template <class C, std::enable_if_t<detail::memory<C>::value, int> = 0>
    const_tensor(C &&memory) noexcept : const_tensor(std::data(memory), std::size(memory)) {}

    /* IEEE binary16, or bfloat16: any type of two bytes that holds its bits. */
    template <class T> static const_tensor f16(const T *data, std::size_t length) noexcept {
        detail::check_half<T>();
        return const_tensor(detail::make(data, length, GRADCLIP_F16));
    }
    template <class T> static const_tensor bf16(const T *data, std::size_t length) noexcept {
        detail::check_half<T>();
        return const_tensor(detail::make(data, length, GRADCLIP_BF16));
    }

    /* The same, left out of the norm (GRADCLIP_UNCOUNTED). */
    const_tensor uncounted() const noexcept {
        const_tensor copy = *this;
        copy.tensor_.flags |= GRADCLIP_UNCOUNTED;
        return copy;
    }

    std::size_t length() const noexcept { return static_cast<std::size_t>(tensor_.length); }
    const gradclip_tensor &c_tensor() const noexcept { return tensor_; }

protected:
    explicit const_tensor(const gradclip_tensor &given) noexcept : tensor_(given) {}
    gradclip_tensor tensor_;
};

/* One gradient that may be written. */
class tensor : public const_tensor {
public:
    tensor(float *data, std::size_t length) noexcept : const_tensor(data, length) {}
    tensor(double *data, std::size_t length) noexcept : const_tensor(data, length) {}

    template <class C, std::enable_if_t<detail::memory<C>::writable, int> = 0>
    tensor(C &&memory) noexcept : const_tensor(std::data(memory), std::size(memory)) {}

    template <class T> static tensor f16(T *data, std::size_t length) noexcept {
        detail::check_half<T>();
        return tensor(detail::make(data, length, GRADCLIP_F16));
    }
    template <class T> static tensor bf16(T *data, std::size_t length) noexcept {
        detail::check_half<T>();
        return tensor(detail::make(data, length, GRADCLIP_BF16));
    }

    tensor uncounted() const noexcept {
        tensor copy = *this;
        copy.tensor_.flags |= GRADCLIP_UNCOUNTED;
        return copy;
    }

private:
    explicit tensor(const gradclip_tensor &given) noexcept : const_tensor(given) {}
};

/* Gradients that are only read, in the order in which results number them. */
class const_tensor_list {
public:
    const_tensor_list() = default;
    const_tensor_list(std::initializer_list<const_tensor> tensors) { append_all(tensors); }

    /* One tensor: a flat arena. */
    const_tensor_list(const float *data, std::size_t length) { append(const_tensor(data, length)); }
    const_tensor_list(const double *data, std::size_t length) { append(const_tensor(data, length)); }
    const_tensor_list(const const_tensor &one) { append(one); }
    template <class C, std::enable_if_t<detail::memory<C>::value, int> = 0> const_tensor_list(C &&memory) {
        append(const_tensor(memory));
    }

    /* A container of tensors, vectors, spans ... */
    template <class R, std::enable_if_t<detail::list_of<R, const_tensor>::value, int> = 0>
    const_tensor_list(R &&tensors) {
        append_all(tensors);
    }

    /* Pointers beside lengths. Containers of different sizes are an invalid
     * argument of the call that the list is passed to. */
    template <class P, class L,
              std::enable_if_t<detail::pointers_to<P, const float>::value || detail::pointers_to<P, const double>::value,
                               int> = 0>
    const_tensor_list(P &&pointers, L &&lengths) {
        append_pairs<const_tensor>(pointers, lengths);
    }

    std::size_t size() const noexcept { return tensors_.size(); }
    const gradclip_tensor *c_tensors() const noexcept { return tensors_.data(); }
    /* Whether it was made of as many pointers as lengths. */
    bool is_matched() const noexcept { return matched_; }

protected:
    void append(const const_tensor &one) { tensors_.push_back(one.c_tensor()); }

    template <class R> void append_all(R &&tensors) {
        tensors_.reserve(static_cast<std::size_t>(std::distance(std::begin(tensors), std::end(tensors))));
        for (auto &&one : tensors) append(const_tensor(one));
    }

    template <class T, class P, class L> void append_pairs(P &&pointers, L &&lengths) {
        auto length = std::begin(lengths);
        for (auto pointer : pointers) {
            if (length == std::end(lengths)) {
                matched_ = false;
                return;
            }
            append(T(pointer, static_cast<std::size_t>(*length)));
            ++length;
        }
        matched_ = length == std::end(lengths);
    }

    std::vector<gradclip_tensor> tensors_;
    bool matched_ = true;
};

/* Gradients that may be written. Wherever gradients are only read, a tensor_list
 * will do too. */
class tensor_list : public const_tensor_list {
public:
    tensor_list() = default;
    tensor_list(std::initializer_list<tensor> tensors) { append_all(tensors); }

    tensor_list(float *data, std::size_t length) { append(tensor(data, length)); }
    tensor_list(double *data, std::size_t length) { append(tensor(data, length)); }
    tensor_list(const tensor &one) { append(one); }
    template <class C, std::enable_if_t<detail::memory<C>::writable, int> = 0> tensor_list(C &&memory) {
        append(tensor(memory));
    }

    template <class R, std::enable_if_t<detail::list_of<R, tensor>::value, int> = 0> tensor_list(R &&tensors) {
        append_all(tensors);
    }

    template <class P, class L,
              std::enable_if_t<detail::pointers_to<P, float>::value || detail::pointers_to<P, double>::value, int> = 0>
    tensor_list(P &&pointers, L &&lengths) {
        append_pairs<tensor>(pointers, lengths);
    }
};

/* -------------------------------------------------- options and results -- */

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
    /* What the policy leaves alone becomes an error with status::non_finite, which
     * names the first such element; nothing is written. */
    bool error_if_nonfinite = false;
};

/* What a call found; see gradclip_result. */
struct result {
    double total_norm = 0;     /* before clipping, of gradient / grad_scale */
    double clip_coef = 1;      /* between 0 and 1 */
    double factor = 1;         /* clip_coef / grad_scale: what elements are multiplied by */
    std::uint64_t nonfinite_count = 0; /* how many elements are NaN or infinite */
    std::uint64_t nan_count = 0;       /* how many of those are NaN */
    std::uint64_t first_tensor = GRADCLIP_NONE;  /* where the first of them is */
    std::uint64_t first_element = GRADCLIP_NONE;
    bool non_finite = false;   /* they were left alone and nothing was written: skip the step */

    bool clipped() const noexcept { return clip_coef < 1; }
};

/* What inspect() tells of one tensor; see gradclip_report. */
using report = gradclip_report;

/* What inspect() found. */
struct inspection {
    result total;                /* norm and counts over all counted tensors */
    std::vector<report> tensors; /* a report on each */
};

/* Kinds of choosers of max_norm: GRADCLIP_AUTOCLIP, ... */
enum class chooser_kind : std::uint32_t {
    autoclip = GRADCLIP_AUTOCLIP,
    zclip = GRADCLIP_ZCLIP,
    adagc = GRADCLIP_ADAGC,
    skipstep = GRADCLIP_SKIPSTEP
};

/* What a chooser is made of; see gradclip_chooser_options. */
using chooser_options = gradclip_chooser_options;

/* The defaults of a kind. */
inline chooser_options chooser_defaults(chooser_kind kind) noexcept {
    chooser_options made{};
    gradclip_chooser_options_init(&made, sizeof made, static_cast<std::uint32_t>(kind));
    return made;
}

/* What is to be done with a step: GRADCLIP_ACTION_... */
enum class action : std::uint32_t {
    pass = GRADCLIP_ACTION_PASS,
    clip = GRADCLIP_ACTION_CLIP,
    skip = GRADCLIP_ACTION_SKIP
};

/* A chooser's decision about a step; see gradclip_decision. */
struct decision {
    double threshold = std::numeric_limits<double>::infinity(); /* max_norm for this step */
    double clip_coef = 1; /* between 0 and 1; of ADAGC's the smallest */
    double mean = 0;      /* ZCLIP's and SKIPSTEP's */
    double deviation = 0;
    std::uint64_t steps = 0; /* norms that entered the history so far */
    action to_do = action::pass;
    bool recorded = false; /* this norm entered the history */
    std::vector<double> tensor_thresholds, tensor_coefs; /* of ADAGC; otherwise empty */
};

/* What chooser::clip() came to. */
struct chosen {
    result found;
    decision decided;
    bool skip = false; /* nothing was written: leave the step out */
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
    if (found.first_tensor == GRADCLIP_NONE) {
        std::snprintf(text, sizeof text, "total_norm is not finite (got %g)", found.total_norm);
    } else {
        std::snprintf(text, sizeof text, "grads[%llu] is not finite at element %llu (not finite in all: %llu, NaN: %llu)",
                      static_cast<unsigned long long>(found.first_tensor),
                      static_cast<unsigned long long>(found.first_element),
                      static_cast<unsigned long long>(found.nonfinite_count),
                      static_cast<unsigned long long>(found.nan_count));
    }
    return error(status::non_finite, text);
}

} // namespace detail

/* A namespace for each way of reporting errors, so that files of both kinds can be
 * linked into one program. */
#ifdef GRADCLIP_NO_EXCEPTIONS
inline namespace no_exceptions {

template <class T> using outcome = expected<T>;

namespace calls {
using namespace gradclip::detail;
template <class T> outcome<T> fail(const error &what) { return what; }
} // namespace calls

#else
inline namespace exceptions {

template <class T> using outcome = T;

namespace calls {
using namespace gradclip::detail;
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

/* Runs a call on a list with everything that most calls need. */
template <class Call>
outcome<result> measured(const const_tensor_list &grads, const options &given, std::vector<double> *tensor_norms,
                         Call call) {
    if (!grads.is_matched()) return fail<result>(mismatch("grads", "have as many pointers as lengths"));
    const gradclip_options passed = c_options(given);
    gradclip_result found = c_result();
    if (tensor_norms) {
        tensor_norms->resize(grads.size());
        found.tensor_norms = tensor_norms->data();
    }
    return done(call(grads.c_tensors(), grads.size(), &passed, &found), found, given.error_if_nonfinite);
}

} // namespace calls

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
        return calls::fail<result>(calls::mismatch("outputs", "have as many pointers as lengths"));
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
inline outcome<double> clip_coef(double max_norm, double total_norm, const options &given = {}) {
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
        return calls::fail<void>(calls::mismatch("grads", "have as many pointers as lengths"));
    }
    const gradclip_options passed = detail::c_options(given);
    return calls::done(gradclip_scale(grads.c_tensors(), grads.size(), factor, &passed));
}

/* -------------------------------------------------------- clip by value -- */

/* Clamp every element to [-clip_value, clip_value], in place (gradclip_clip_grad_value). */
inline outcome<void> clip_grad_value(const tensor_list &grads, double clip_value, const options &given = {}) {
    if (!grads.is_matched()) {
        return calls::fail<void>(calls::mismatch("grads", "have as many pointers as lengths"));
    }
    const gradclip_options passed = detail::c_options(given);
    return calls::done(gradclip_clip_grad_value(grads.c_tensors(), grads.size(), clip_value, &passed));
}

/* ----------------------------------------------------------------- list -- */

/* Two tensors of a list that share memory, by their places in it; none if no two do (gradclip_find_overlap). */
inline outcome<std::optional<std::pair<std::size_t, std::size_t>>> find_overlap(const const_tensor_list &grads) {
    using found = std::optional<std::pair<std::size_t, std::size_t>>;
    if (!grads.is_matched()) {
        return calls::fail<found>(calls::mismatch("grads", "have as many pointers as lengths"));
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
        return calls::fail<inspection>(calls::mismatch("grads", "have as many pointers as lengths"));
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

/* ---------------------------------------------------------- accumulator -- */

/* A norm that is added up piece by piece (gradclip_accumulator). It owns its state:
 * it can be moved, not copied, and is released with the object. One that was moved
 * from may only be assigned to or destroyed. */
class accumulator {
public:
#ifndef GRADCLIP_NO_EXCEPTIONS
    /* The options hold for all that is done with it. */
    explicit accumulator(double norm_type = 2.0, const options &given = {}) : accumulator(make(norm_type, given)) {}
#endif

    /* The same, for code that compiles with and without exceptions. */
    static outcome<accumulator> make(double norm_type = 2.0, const options &given = {}) {
        const gradclip_options passed = detail::c_options(given);
        gradclip_accumulator *created = nullptr;
        const gradclip_status code = gradclip_accumulator_create(norm_type, &passed, &created);
        return calls::done(code, accumulator(created, given.error_if_nonfinite));
    }

    /* Add tensors, which are numbered in the order in which they are added. */
    outcome<void> add(const const_tensor_list &grads) {
        if (!grads.is_matched()) {
            return calls::fail<void>(calls::mismatch("grads", "have as many pointers as lengths"));
        }
        return calls::done(gradclip_accumulator_add(handle_.get(), grads.c_tensors(), grads.size()));
    }

    /* Add one tensor. (Of these none allocates.) */
    outcome<void> add(const const_tensor &grad) {
        return calls::done(gradclip_accumulator_add(handle_.get(), &grad.c_tensor(), 1));
    }
    outcome<void> add(const float *grad, std::size_t length) { return add(const_tensor(grad, length)); }
    outcome<void> add(const double *grad, std::size_t length) { return add(const_tensor(grad, length)); }
    template <class C, std::enable_if_t<detail::memory<C>::value, int> = 0> outcome<void> add(C &&grad) {
        return add(const_tensor(grad));
    }

    /* Add what another one holds, as if its tensors came after these. */
    outcome<void> merge(const accumulator &other) {
        return calls::done(gradclip_accumulator_merge(handle_.get(), other.handle_.get()));
    }

    /* Forget all that was added. */
    outcome<void> reset() { return calls::done(gradclip_accumulator_reset(handle_.get())); }

    /* The state as bytes for another process, which adds them with import_bytes(). */
    outcome<std::vector<unsigned char>> export_bytes() const {
        std::size_t size = 0;
        gradclip_status code = gradclip_accumulator_export(handle_.get(), nullptr, &size);
        std::vector<unsigned char> bytes(size);
        if (code >= 0) code = gradclip_accumulator_export(handle_.get(), bytes.data(), &size);
        return calls::done(code, std::move(bytes));
    }
    outcome<void> import_bytes(const void *bytes, std::size_t size) {
        return calls::done(gradclip_accumulator_import(handle_.get(), bytes, size));
    }
    /* A vector, a span, a string ... of bytes. */
    template <class C, std::enable_if_t<sizeof(detail::element<const C>) == 1, int> = 0>
    outcome<void> import_bytes(const C &bytes) {
        return import_bytes(std::data(bytes), std::size(bytes));
    }

    /* The state as integers that an all-reduce adds up, and what their sum says
     * (gradclip_accumulator_to_words, gradclip_accumulator_from_words). A rank that
     * cannot go on sends refusal_words(). */
    using words = std::array<std::int64_t, GRADCLIP_WORDS>;
    outcome<words> to_words(double max_norm) const {
        words made{};
        const gradclip_status code = gradclip_accumulator_to_words(handle_.get(), max_norm, made.data());
        return calls::done(code, made);
    }
    static words refusal_words() noexcept {
        words made{};
        gradclip_accumulator_to_words(nullptr, 0, made.data());
        return made;
    }
    outcome<void> from_words(double max_norm, const words &sums) {
        return calls::done(gradclip_accumulator_from_words(handle_.get(), max_norm, sums.data()));
    }

    /* The norm of all that was added, with clip_coef and factor for max_norm. */
    outcome<result> finish(double max_norm = std::numeric_limits<double>::infinity()) {
        gradclip_result found = detail::c_result();
        const gradclip_status code = gradclip_accumulator_finish(handle_.get(), max_norm, &found);
        return calls::done(code, found, error_if_nonfinite_);
    }

    /* The same, and clip grads in place by that norm (gradclip_accumulator_clip). */
    outcome<result> clip(const tensor_list &grads, double max_norm) {
        if (!grads.is_matched()) {
            return calls::fail<result>(calls::mismatch("grads", "have as many pointers as lengths"));
        }
        gradclip_result found = detail::c_result();
        const gradclip_status code =
            gradclip_accumulator_clip(handle_.get(), grads.c_tensors(), grads.size(), max_norm, &found);
        return calls::done(code, found, error_if_nonfinite_);
    }

    gradclip_accumulator *c_accumulator() const noexcept { return handle_.get(); }

private:
    struct release {
        void operator()(gradclip_accumulator *handle) const noexcept { gradclip_accumulator_free(handle); }
    };
    accumulator(gradclip_accumulator *handle, bool error_if_nonfinite) noexcept
        : handle_(handle), error_if_nonfinite_(error_if_nonfinite) {}

    std::unique_ptr<gradclip_accumulator, release> handle_;
    bool error_if_nonfinite_;
};

/* ------------------------------------------------------------- choosers -- */

/* A chooser of max_norm (gradclip_chooser): it is told the norm of every step, and
 * decides what to do about it. It owns its history, and can be moved, not copied. One
 * that was moved from may only be assigned to or destroyed. */
class chooser {
public:
#ifndef GRADCLIP_NO_EXCEPTIONS
    explicit chooser(const chooser_options &given) : chooser(make(given)) {}
    explicit chooser(chooser_kind kind) : chooser(make(chooser_defaults(kind))) {}
#endif

    /* The same, for code that compiles with and without exceptions. */
    static outcome<chooser> make(const chooser_options &given) {
        gradclip_chooser *created = nullptr;
        const gradclip_status code = gradclip_chooser_create(&given, &created);
        return calls::done(code, chooser(created, given.kind == GRADCLIP_ADAGC));
    }
    static outcome<chooser> make(chooser_kind kind) { return make(chooser_defaults(kind)); }

    /* Tell the norm of a step, and its loss (only SKIPSTEP looks at it). */
    outcome<decision> feed(double total_norm, std::optional<double> loss = std::nullopt) {
        decision made;
        gradclip_decision decided = room(made, 1);
        const gradclip_status code =
            gradclip_chooser_feed(handle_.get(), total_norm, loss ? &*loss : nullptr, &decided);
        return calls::done(code, filled(std::move(made), decided));
    }

    /* The same for ADAGC, with the norm of each tensor; -1 for one without a gradient. */
    outcome<decision> feed_tensors(const std::vector<double> &tensor_norms) {
        decision made;
        gradclip_decision decided = room(made, tensor_norms.size());
        const gradclip_status code =
            gradclip_chooser_feed_tensors(handle_.get(), tensor_norms.data(), tensor_norms.size(), &decided);
        return calls::done(code, filled(std::move(made), decided));
    }

    /* Measure gradients, tell the chooser, and clip them in place as it decides. */
    outcome<chosen> clip(const tensor_list &grads, double norm_type = 2.0, std::optional<double> loss = std::nullopt,
                         const options &given = {}) {
        if (!grads.is_matched()) {
            return calls::fail<chosen>(calls::mismatch("grads", "have as many pointers as lengths"));
        }
        const gradclip_options passed = detail::c_options(given);
        gradclip_result found = detail::c_result();
        chosen made;
        gradclip_decision decided = room(made.decided, grads.size());
        const gradclip_status code = gradclip_chooser_clip(handle_.get(), grads.c_tensors(), grads.size(), norm_type,
                                                           loss ? &*loss : nullptr, &passed, &found, &decided);
        if (code == GRADCLIP_NON_FINITE && given.error_if_nonfinite && found.nonfinite_count > 0) {
            return calls::fail<chosen>(detail::non_finite_error(found));
        }
        made.found = detail::cpp_result(found, code);
        made.decided = filled(std::move(made.decided), decided);
        made.skip = code != GRADCLIP_OK;
        return calls::done(code, std::move(made));
    }

    /* Forget all norms. */
    outcome<void> reset() { return calls::done(gradclip_chooser_reset(handle_.get())); }

    /* Options and history as bytes; from the same bytes another one decides alike. */
    outcome<std::vector<unsigned char>> export_bytes() const {
        std::size_t size = 0;
        gradclip_status code = gradclip_chooser_export(handle_.get(), nullptr, &size);
        std::vector<unsigned char> bytes(size);
        if (code >= 0) code = gradclip_chooser_export(handle_.get(), bytes.data(), &size);
        return calls::done(code, std::move(bytes));
    }
    outcome<void> import_bytes(const void *bytes, std::size_t size) {
        return calls::done(gradclip_chooser_import(handle_.get(), bytes, size));
    }
    template <class C, std::enable_if_t<sizeof(detail::element<const C>) == 1, int> = 0>
    outcome<void> import_bytes(const C &bytes) {
        return import_bytes(std::data(bytes), std::size(bytes));
    }

    gradclip_chooser *c_chooser() const noexcept { return handle_.get(); }

private:
    struct release {
        void operator()(gradclip_chooser *handle) const noexcept { gradclip_chooser_free(handle); }
    };
    chooser(gradclip_chooser *handle, bool is_per_tensor) noexcept : handle_(handle), is_per_tensor_(is_per_tensor) {}

    /* A C decision with room in `made` for what concerns each tensor. */
    gradclip_decision room(decision &made, std::size_t count) const {
        gradclip_decision decided;
        gradclip_decision_init(&decided, sizeof decided);
        if (is_per_tensor_) {
            made.tensor_thresholds.resize(count);
            made.tensor_coefs.resize(count);
            decided.tensor_thresholds = made.tensor_thresholds.data();
            decided.tensor_coefs = made.tensor_coefs.data();
        }
        return decided;
    }
    static decision filled(decision made, const gradclip_decision &decided) {
        made.threshold = decided.threshold;
        made.clip_coef = decided.clip_coef;
        made.mean = decided.mean;
        made.deviation = decided.deviation;
        made.steps = decided.steps;
        made.to_do = static_cast<action>(decided.action);
        made.recorded = decided.recorded != 0;
        return made;
    }

    std::unique_ptr<gradclip_chooser, release> handle_;
    bool is_per_tensor_;
};

/* ------------------------------------------------- threads and versions -- */

/* gradclip_set_num_threads(), gradclip_get_num_threads(). */
inline void set_num_threads(std::uint32_t num_threads) noexcept { gradclip_set_num_threads(num_threads); }
inline std::uint32_t get_num_threads() noexcept { return gradclip_get_num_threads(); }

/* Of the library at run time; this header's is GRADCLIP_VERSION_STRING. */
inline const char *version() noexcept { return gradclip_version_string(); }

/* The instruction set in use, gradclip_isa(). */
inline const char *isa() noexcept { return gradclip_isa(); }

} // inline namespace of the way of reporting errors

} // namespace gradclip

#endif /* GRADCLIP_HPP */
