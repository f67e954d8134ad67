/* A norm that is added up piece by piece. Part of gradclip.hpp, which includes it. */
#ifndef GRADCLIP_ACCUMULATOR_HPP
#define GRADCLIP_ACCUMULATOR_HPP

#include "options.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace gradclip {

inline namespace GRADCLIP_ERRORS {

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
    [[nodiscard]] static outcome<accumulator> make(double norm_type = 2.0, const options &given = {}) {
        const gradclip_options passed = detail::c_options(given);
        gradclip_accumulator *created = nullptr;
        const gradclip_status code = gradclip_accumulator_create(norm_type, &passed, &created);
        return calls::done(code, accumulator(created, given.error_if_nonfinite));
    }

    /* Add tensors, which are numbered in the order in which they are added. */
    outcome<void> add(const const_tensor_list &grads) {
        if (!grads.is_matched()) {
            return calls::fail<void>(calls::mismatched_list("grads"));
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

    /* Add the differences tensors[i] - minus[i], as elements of float64, without a copy of
     * them (gradclip_accumulator_add_difference). */
    outcome<void> add_difference(const const_tensor_list &tensors, const const_tensor_list &minus) {
        if (!tensors.is_matched()) return calls::fail<void>(calls::mismatched_list("tensors"));
        if (!minus.is_matched()) return calls::fail<void>(calls::mismatched_list("minus"));
        if (tensors.size() != minus.size()) {
            return calls::fail<void>(calls::mismatch("minus", "have as many tensors as there are to subtract from"));
        }
        return calls::done(gradclip_accumulator_add_difference(handle_.get(), tensors.c_tensors(), minus.c_tensors(),
                                                               tensors.size()));
    }

    /* Add what another one holds, as if its tensors came after these. */
    outcome<void> merge(const accumulator &other) {
        return calls::done(gradclip_accumulator_merge(handle_.get(), other.handle_.get()));
    }

    /* Forget all that was added. */
    outcome<void> reset() { return calls::done(gradclip_accumulator_reset(handle_.get())); }

    /* The next tensor that is added has this number, those after it the following ones: what
     * first_tensor of a result refers to. A backward pass adds them in the reverse order. */
    outcome<void> set_next_tensor(std::uint64_t index) {
        return calls::done(gradclip_accumulator_set_next_tensor(handle_.get(), index));
    }

    /* The state as bytes for another process, which adds them with import_bytes(). */
    [[nodiscard]] outcome<std::vector<unsigned char>> export_bytes() const {
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
    [[nodiscard]] outcome<words> to_words(double max_norm) const {
        words made{};
        const gradclip_status code = gradclip_accumulator_to_words(handle_.get(), max_norm, made.data());
        return calls::done(code, made);
    }
    [[nodiscard]] static words refusal_words() noexcept {
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
            return calls::fail<result>(calls::mismatched_list("grads"));
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

} // inline namespace of the way of reporting errors

} // namespace gradclip

#endif /* GRADCLIP_ACCUMULATOR_HPP */
