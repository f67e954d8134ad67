// What a list of gradients may be made of: 3 and 4 in every form have the norm 5.
#include "check.hpp"

#include <array>
#include <deque>
#include <list>
#include <memory>
#if __cplusplus >= 202002L
#include <span>
#endif

namespace {

double norm(const gradclip::const_tensor_list &grads) { return value(gradclip::get_total_norm(grads)).total_norm; }

// Clips to half the norm of 5; the list's memory must have changed.
double half(const gradclip::tensor_list &grads) {
    return value(gradclip::clip_grad_norm(grads, 2.5, 2.0, plain())).clip_coef;
}

void containers() {
    std::vector<float> three{3, 0}, four{4};
    CHECK(norm({three, four}) == 5);
    CHECK(half({three, four}) == 0.5 && three[0] == 1.5f && four[0] == 2);

    std::vector<std::vector<float>> vectors{{3}, {}, {0, 4}};
    CHECK(norm(vectors) == 5);
    CHECK(half(vectors) == 0.5 && vectors[0][0] == 1.5f && vectors[2][1] == 2);
    const std::vector<std::vector<double>> readable{{3}, {4}};
    CHECK(norm(readable) == 5);

    std::array<std::array<double, 1>, 2> arrays{{{3}, {4}}};
    CHECK(half(arrays) == 0.5 && arrays[1][0] == 2);
    std::list<std::vector<float>> linked{{3}, {4}};
    CHECK(half(linked) == 0.5 && linked.back()[0] == 2);
    std::deque<gradclip::tensor> tensors{three, four};
    CHECK(norm(tensors) == 2.5);
    float plain_array[] = {3, 4};
    CHECK(half(plain_array) == 0.5 && plain_array[0] == 1.5f);
    float rows[2][2] = {{3, 0}, {0, 4}};
    CHECK(half(rows) == 0.5 && rows[1][1] == 2);
    CHECK(norm({}) == 0);
    CHECK(norm(std::vector<std::vector<float>>{}) == 0);
}

void one_tensor() {
    std::vector<float> arena{3, 0, 4};
    CHECK(norm(arena) == 5);
    CHECK(norm({arena.data(), 1}) == 3);
    CHECK(norm({{arena.data(), 1}, {arena.data() + 2, 1}}) == 5);
    CHECK(half(arena) == 0.5 && arena[2] == 2);
    const std::vector<double> readable{3, 4};
    CHECK(norm(readable) == 5);
    CHECK(norm(gradclip::const_tensor(readable)) == 5);
    auto owned = std::make_unique<double[]>(2);
    owned[1] = 5;
    CHECK(half({owned.get(), 2}) == 0.5 && owned[1] == 2.5);
}

void pointers_and_lengths() {
    std::vector<float> three{3, 100}, four{4};
    std::vector<float *> pointers{three.data(), four.data()};
    std::vector<std::size_t> lengths{1, 1};
    CHECK(norm({pointers, lengths}) == 5);
    CHECK(half({pointers, lengths}) == 0.5 && three[0] == 1.5f && three[1] == 100);
    // Pointers to const need no cast where nothing is written.
    const std::vector<const float *> constant(pointers.begin(), pointers.end());
    CHECK(norm({constant, lengths}) == 2.5 && norm({constant[0], 1}) == 1.5);
    CHECK(value(gradclip::defer_clip({constant, lengths}, 1)).total_norm == 2.5);
    gradclip::accumulator sum = value(gradclip::accumulator::make());
    DONE(sum.add(constant[0], 1));
    const double five = 5;
    std::array<const double *, 1> readable{&five};
    CHECK(norm({readable, std::array<int, 1>{{1}}}) == 5);
    lengths.push_back(1);
    CHECK(is(REFUSED(gradclip::get_total_norm({pointers, lengths})), gradclip::status::invalid_argument,
             "grads must have as many pointers as lengths"));
    lengths.resize(1);
    CHECK(is(REFUSED(gradclip::clip_grad_norm({pointers, lengths}, 1)), gradclip::status::invalid_argument,
             "grads must have as many pointers as lengths"));
    CHECK(three[0] == 1.5f);
}

void other_types() {
    std::vector<float> f32{2};
    std::vector<double> f64{4};
    // 5 and -2 as halves: 5 is 1.25 * 2^2.
    std::vector<std::uint16_t> f16{0x4500}, bf16{0xc000};
    // 2^2 + 4^2 + 5^2 + 2^2 = 7^2
    const gradclip::tensor_list mixed{f32, f64, gradclip::tensor::f16(f16.data(), 1), gradclip::tensor::bf16(bf16.data(), 1)};
    CHECK(mixed.size() == 4);
    CHECK(norm(mixed) == 7);
    CHECK(half(mixed) == 2.5 / 7);
    std::vector<float> again{2};
    struct half_type { std::uint16_t bits; } of_mine[] = {{0x4500}};
    CHECK(norm({again, gradclip::const_tensor::f16(of_mine, 1).uncounted(), gradclip::const_tensor(f32).uncounted()}) == 2);
    std::vector<float> duplicate{8};
    CHECK(half({again, gradclip::tensor(duplicate).uncounted()}) == 1);
    DONE(gradclip::scale({again, gradclip::tensor(duplicate).uncounted()}, 0.5));
    CHECK(again[0] == 1 && duplicate[0] == 4);
}

#if __cplusplus >= 202002L
void spans() {
    std::vector<float> arena{3, 0, 4};
    const std::span<float> whole(arena);
    CHECK(norm(whole) == 5);
    CHECK(norm(std::span<const float>(arena)) == 5);
    CHECK(norm({whole.first(1), whole.last(1)}) == 5);
    const std::vector<std::span<float>> parts{whole.first(1), whole.subspan(1)};
    CHECK(half(parts) == 0.5 && arena[2] == 2);
    CHECK(norm(std::vector<std::span<const float>>{whole.first<1>()}) == 1.5);
    std::array<std::span<float, 1>, 2> fixed{whole.first<1>(), whole.last<1>()};
    CHECK(norm(fixed) == 2.5);
}
#endif

// What must not compile.
template <class From> constexpr bool may_be_written = std::is_convertible_v<From, gradclip::tensor_list>;
template <class From> constexpr bool may_be_read = std::is_convertible_v<From, gradclip::const_tensor_list>;
static_assert(may_be_written<std::vector<float> &> && may_be_read<std::vector<float> &>);
static_assert(!may_be_written<const std::vector<float> &> && may_be_read<const std::vector<float> &>);
static_assert(!may_be_written<const std::vector<std::vector<double>> &>);
static_assert(!may_be_written<const std::array<float, 2> &> && may_be_read<const std::array<float, 2> &>);
static_assert(!may_be_read<std::vector<int> &> && !may_be_read<std::vector<long double> &>);
static_assert(!may_be_read<std::vector<std::vector<int>> &> && !may_be_read<std::vector<float *> &>);
static_assert(!may_be_read<float *> && !may_be_read<int> && !may_be_read<std::string &>);
static_assert(!std::is_convertible_v<const gradclip::const_tensor_list &, gradclip::tensor_list>);
static_assert(!std::is_convertible_v<const gradclip::const_tensor &, gradclip::tensor>);
static_assert(sizeof(gradclip::tensor) == sizeof(gradclip_tensor));

} // namespace

int main() {
    containers();
    one_tensor();
    pointers_and_lengths();
    other_types();
#if __cplusplus >= 202002L
    spans();
#endif
    return summary("lists");
}
