/* Gradients as C++ has them: views of memory, and lists of them. Part of gradclip.hpp, which includes it. */
#ifndef GRADCLIP_TENSOR_HPP
#define GRADCLIP_TENSOR_HPP

#include "../gradclip.h"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <type_traits>
#include <vector>

namespace gradclip {

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

} // namespace gradclip

#endif /* GRADCLIP_TENSOR_HPP */
