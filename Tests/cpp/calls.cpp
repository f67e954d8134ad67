// Every call of gradclip.hpp, what it returns and how it is refused; compiled with
// exceptions and without.
#include "check.hpp"

#include <cmath>
#include <limits>

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

void clipping() {
    std::vector<float> three{3, 0}, four{4};
    std::vector<double> norms{99};
    const gradclip::tensor_list grads{three, four};
    gradclip::result found = value(gradclip::clip_grad_norm(grads, 10, 2.0, plain(), &norms));
    CHECK(found.total_norm == 5 && found.clip_coef == 1 && !found.clipped() && three[0] == 3);
    CHECK(norms.size() == 2 && norms[0] == 3 && norms[1] == 4);
    CHECK(found.first_tensor == GRADCLIP_NONE && found.nonfinite_count == 0 && !found.non_finite);
    CHECK(value(gradclip::clip_grad_norm(grads, 10, 1.0)).total_norm == 7);
    CHECK(value(gradclip::clip_grad_norm(grads, 10, infinity)).total_norm == 4);
    // eps is torch's unless it is set.
    CHECK(value(gradclip::defer_clip(grads, 2.5)).clip_coef == 2.5 / (5 + 1e-6));

    std::vector<float> first(2), second(1);
    found = value(gradclip::clip_grad_norm_to(grads, {first, second}, 2.5, 2.0, plain()));
    CHECK(found.clipped() && first[0] == 1.5f && second[0] == 2 && three[0] == 3 && four[0] == 4);
    CHECK(is(REFUSED(gradclip::clip_grad_norm_to(grads, {first}, 2.5)), gradclip::status::invalid_argument,
             "outputs must be as many as grads"));
    CHECK(is(REFUSED(gradclip::clip_grad_norm_to(grads, {second, first}, 2.5)), gradclip::status::invalid_argument,
             "outputs[0].length must be that of the gradient"));
    CHECK(first[0] == 1.5f);

    gradclip::options scaled = plain();
    scaled.grad_scale = 2;
    found = value(gradclip::clip_grad_norm(grads, 1.25, 2.0, scaled));
    CHECK(found.total_norm == 2.5 && found.clip_coef == 0.5 && found.factor == 0.25 && three[0] == 0.75f && four[0] == 1);
    scaled.grad_scale = 0;
    CHECK(is(REFUSED(gradclip::clip_grad_norm(grads, 1, 2.0, scaled)), gradclip::status::invalid_argument,
             "grad_scale must be finite and > 0 (got 0)"));
    CHECK(is(REFUSED(gradclip::clip_grad_norm(grads, -1)), gradclip::status::invalid_argument,
             "max_norm must be a number >= 0 (got -1)"));
    CHECK(is(REFUSED(gradclip::clip_grad_norm({{static_cast<float *>(nullptr), 1}}, 1)),
             gradclip::status::invalid_argument, "grads[0].data must not be NULL"));
    CHECK(three[0] == 0.75f);

    // 2^-600 squared is no float64, its sum in exact_f64 is.
    std::vector<double> tiny{1, std::ldexp(1, -600)};
    gradclip::options exact = plain();
    exact.exact_f64 = true;
    exact.num_threads = 1;
    CHECK(value(gradclip::get_total_norm(tiny, 1.0, exact)).total_norm == 1);
}

void steps() {
    std::vector<double> grad{3, 4};
    CHECK(value(gradclip::get_total_norm(grad)).total_norm == 5);
    const gradclip::result deferred = value(gradclip::defer_clip(grad, 2.5, 2.0, plain()));
    CHECK(deferred.factor == 0.5 && grad[0] == 3);
    CHECK(value(gradclip::clip_coef(2.5, 5, plain())) == 0.5);
    CHECK(is(REFUSED(gradclip::clip_coef(2.5, -5)), gradclip::status::invalid_argument, "total_norm"));
    CHECK(value(gradclip::clip_grads_with_norm(grad, 2.5, 5, plain())).clip_coef == 0.5);
    CHECK(grad[0] == 1.5 && grad[1] == 2);
    DONE(gradclip::scale(grad, 2));
    CHECK(grad[0] == 3 && grad[1] == 4);
    CHECK(is(REFUSED(gradclip::scale(grad, infinity)), gradclip::status::invalid_argument, "factor must be finite"));
    DONE(gradclip::clip_grad_value(grad, 3.5));
    CHECK(grad[0] == 3 && grad[1] == 3.5);
    CHECK(is(REFUSED(gradclip::clip_grad_value(grad, -1)), gradclip::status::invalid_argument, "clip_value"));
}

void non_finite() {
    std::vector<float> good{3}, bad{4, nan, static_cast<float>(infinity)};
    const gradclip::tensor_list grads{good, bad};
    gradclip::options strict, looks;
    looks.error_if_nonfinite = false;
    gradclip::result found = value(gradclip::clip_grad_norm(grads, 1, 2.0, looks));
    CHECK(found.non_finite && found.nonfinite_count == 2 && found.nan_count == 1);
    CHECK(found.first_tensor == 1 && found.first_element == 1 && good[0] == 3);
    // Unless the options say otherwise it is an error, which holds what was found.
    const gradclip::error nonfinite = REFUSED(gradclip::clip_grad_norm(grads, 1));
    CHECK(nonfinite.found().nonfinite_count == 2 && nonfinite.found().first_tensor == 1 && nonfinite.found().non_finite);
    CHECK(is(REFUSED(gradclip::defer_clip(grads, 1)), gradclip::status::non_finite, "grads[1]"));
    CHECK(is(REFUSED(gradclip::clip_grad_norm(grads, 1, 2.0, strict)), gradclip::status::non_finite,
             "grads[1] is not finite at element 1 (not finite in all: 2, NaN: 1)"));
    CHECK(is(REFUSED(gradclip::get_total_norm(grads, 2.0, strict)), gradclip::status::non_finite, "grads[1]"));
    CHECK(is(REFUSED(gradclip::clip_grads_with_norm(grads, 1, infinity, strict)), gradclip::status::non_finite,
             "total_norm is not finite (got inf)"));
    CHECK(good[0] == 3);
    strict.nonfinite = gradclip::nonfinite_policy::zero;
    // Deferred, nothing replaces what the optimizer reads: zero is an error, too.
    CHECK(is(REFUSED(gradclip::defer_clip(grads, 1, 2.0, strict)), gradclip::status::non_finite, "grads[1]"));
    gradclip::accumulator sum = value(gradclip::accumulator::make(2.0, strict));
    DONE(sum.set_next_tensor(6)); // which they are: the second is 7
    DONE(sum.add(grads));
    const gradclip::error unfinished = REFUSED(sum.finish(1));
    CHECK(is(unfinished, gradclip::status::non_finite, "grads[7]") && unfinished.found().total_norm == 5);
    looks.nonfinite = gradclip::nonfinite_policy::zero;
    found = value(gradclip::defer_clip(grads, 1, 2.0, looks));
    CHECK(found.non_finite && found.total_norm == 5 && std::isnan(bad[1]));
    found = value(gradclip::clip_grad_norm(grads, 10, 2.0, strict));
    CHECK(!found.non_finite && found.total_norm == 5 && bad[1] == 0 && bad[2] == 0 && bad[0] == 4);
    bad[1] = nan;
    gradclip::options propagate;
    propagate.nonfinite = gradclip::nonfinite_policy::propagate;
    found = value(gradclip::clip_grad_norm(grads, 10, 2.0, propagate));
    CHECK(!found.non_finite && std::isnan(good[0]));
}

void report() {
    std::vector<float> good{3, 0, -4}, bad{nan, 1};
    const gradclip::inspection seen = value(gradclip::inspect({good, bad}));
    CHECK(seen.tensors.size() == 2 && seen.tensors[0].norm == 5 && seen.tensors[0].max_abs == 4);
    CHECK(seen.tensors[0].zero_count == 1 && seen.tensors[0].first_nonfinite == GRADCLIP_NONE);
    CHECK(seen.tensors[1].nan_count == 1 && seen.tensors[1].first_nonfinite == 0 && seen.tensors[1].length == 2);
    CHECK(seen.total.nonfinite_count == 1 && seen.total.first_tensor == 1);
    CHECK(value(gradclip::inspect({})).tensors.empty());
    CHECK(is(REFUSED(gradclip::inspect(good, std::nan(""))), gradclip::status::invalid_argument, "norm_type"));
}

void overlaps() {
    std::vector<float> arena(10);
    const std::vector<double> other(3);
    CHECK(!value(gradclip::find_overlap({})));
    CHECK(!value(gradclip::find_overlap({{arena.data(), 5}, {arena.data() + 5, 5}, other})));
    const auto found = value(gradclip::find_overlap({{arena.data() + 4, 6}, other, {arena.data(), 5}}));
    CHECK(found && found->first == 0 && found->second == 2);
    CHECK(is(REFUSED(gradclip::find_overlap({{static_cast<float *>(nullptr), 1}})), gradclip::status::invalid_argument, "data"));
}

void accumulators() {
    std::vector<float> three{3}, four{4};
    const std::vector<double> twelve{12};
    gradclip::accumulator sum = value(gradclip::accumulator::make(2.0, plain()));
    DONE(sum.add(three));
    DONE(sum.add(four.data(), 1));
    CHECK(value(sum.finish()).total_norm == 5);
    gradclip::accumulator other = value(gradclip::accumulator::make(2.0, plain()));
    DONE(other.add(twelve));
    DONE(other.merge(sum));
    CHECK(value(other.finish(6.5)).total_norm == 13);
    CHECK(value(other.finish(6.5)).factor == 0.5);

    const std::vector<unsigned char> bytes = value(sum.export_bytes());
    DONE(other.reset());
    DONE(other.import_bytes(bytes));
    DONE(other.import_bytes(bytes.data(), bytes.size()));
    CHECK(value(other.finish()).total_norm == std::sqrt(50.0));
    std::vector<unsigned char> damaged = bytes;
    damaged[20] ^= 1;
    CHECK(is(REFUSED(other.import_bytes(damaged)), gradclip::status::bad_data, "bytes"));
    CHECK(is(REFUSED(other.merge(value(gradclip::accumulator::make(1.0)))), gradclip::status::invalid_argument, "other"));

    CHECK(value(sum.clip({three, four}, 2.5)).clip_coef == 0.5);
    CHECK(three[0] == 1.5f && four[0] == 2);

    // Two ranks, whose words are added up.
    gradclip::accumulator rank = value(gradclip::accumulator::make(2.0, plain()));
    DONE(rank.add(std::vector<float>{4}));
    DONE(rank.add(std::vector<float>{8}));
    DONE(rank.add(std::vector<float>{8}));
    gradclip::accumulator::words words = value(rank.to_words(1)), sums = value(sum.to_words(1));
    for (std::size_t i = 0; i < sums.size(); i++) sums[i] += words[i];
    DONE(rank.from_words(1, sums));
    CHECK(value(rank.finish()).total_norm == 13); // 3^2 + 4^2 + 4^2 + 8^2 + 8^2
    const gradclip::accumulator::words refusal = gradclip::accumulator::refusal_words();
    for (std::size_t i = 0; i < sums.size(); i++) sums[i] = words[i] + refusal[i];
    CHECK(is(REFUSED(rank.from_words(1, sums)), gradclip::status::invalid_argument, ""));

    gradclip::accumulator far = value(gradclip::accumulator::make(2.0, plain()));
    const std::vector<float> weights = {4, 6};
    const std::vector<double> older = {1, 2};
    DONE(far.add_difference({weights, weights}, {older, weights}));
    CHECK(value(far.finish()).total_norm == 5);
    CHECK(is(REFUSED(far.add_difference({weights}, {})), gradclip::status::invalid_argument, "minus must have as many"));
    CHECK(is(REFUSED(far.add_difference(weights, gradclip::const_tensor(older.data(), 1))), gradclip::status::invalid_argument,
             "minus[0].length must be that of the tensor (got 1)"));
    gradclip::accumulator moved = std::move(sum);
    CHECK(value(moved.finish()).total_norm == 5);
    CHECK(is(REFUSED(sum.reset()), gradclip::status::invalid_argument, "accumulator must not be NULL"));
    sum = std::move(moved);
    CHECK(value(sum.finish()).total_norm == 5);
    CHECK(is(REFUSED(gradclip::accumulator::make(std::nan(""))), gradclip::status::invalid_argument, "norm_type"));

    gradclip::options strict;
    gradclip::accumulator careful = value(gradclip::accumulator::make(2.0, strict));
    DONE(careful.add({three, four}));
    DONE(careful.add(std::vector<float>{0, nan}));
    CHECK(is(REFUSED(careful.finish(1)), gradclip::status::non_finite, "grads[2] is not finite at element 1"));
    static_assert(!std::is_copy_constructible_v<gradclip::accumulator>);
    static_assert(std::is_nothrow_move_constructible_v<gradclip::accumulator>);
#ifndef GRADCLIP_NO_EXCEPTIONS
    gradclip::accumulator constructed(1.0);
    constructed.add(std::vector<float>{3, -4});
    CHECK(constructed.finish().total_norm == 7);
#endif
}

void choosers() {
    // AutoClip: the 10th percentile of 5 is 5, that of 5 and 10 is 5.5.
    std::vector<float> three{3}, four{4};
    const gradclip::tensor_list grads{three, four};
    gradclip::chooser autoclip = value(gradclip::chooser::make(gradclip::chooser_kind::autoclip));
    gradclip::chosen step = value(autoclip.clip(grads, 2.0, std::nullopt, plain()));
    CHECK(step.found.total_norm == 5 && step.decided.threshold == 5 && step.decided.to_do == gradclip::action::pass);
    CHECK(step.decided.steps == 1 && step.decided.recorded && !step.skip && three[0] == 3);
    const std::vector<unsigned char> bytes = value(autoclip.export_bytes());
    three[0] = 6, four[0] = 8;
    step = value(autoclip.clip(grads, 2.0, std::nullopt, plain()));
    CHECK(step.decided.threshold == 5.5 && step.found.clip_coef == 0.55 && step.decided.clip_coef == 0.55);
    CHECK(step.decided.to_do == gradclip::action::clip && four[0] == 8 * 0.55f);
    // As it was after the first step.
    DONE(autoclip.import_bytes(bytes));
    CHECK(value(autoclip.feed(10)).threshold == 5.5);
    DONE(autoclip.reset());
    CHECK(value(autoclip.feed(10)).steps == 1);
    three[0] = nan;
    gradclip::options looks;
    looks.error_if_nonfinite = false;
    step = value(autoclip.clip(grads, 2.0, std::nullopt, looks));
    CHECK(step.skip && step.found.non_finite && step.decided.to_do == gradclip::action::skip && !step.decided.recorded);
    gradclip::options strict;
    CHECK(is(REFUSED(autoclip.clip(grads, 2.0, std::nullopt, strict)), gradclip::status::non_finite, "grads[0]"));
    CHECK(is(REFUSED(autoclip.feed(-1)), gradclip::status::invalid_argument, "-1"));
    // A norm or a loss that is not finite is an error, unless the caller looks at the decision.
    CHECK(is(REFUSED(autoclip.feed(nan)), gradclip::status::non_finite, "total_norm is not finite (got nan)"));
    const gradclip::decision looked = value(autoclip.feed(infinity, std::nullopt, false));
    CHECK(looked.to_do == gradclip::action::skip && !looked.recorded && looked.steps == 1);
    std::vector<unsigned char> damaged = bytes;
    damaged.back() ^= 1;
    CHECK(is(REFUSED(autoclip.import_bytes(damaged)), gradclip::status::bad_data, ""));

    // SkipStep: 100 is more than 6 deviations (sqrt(0.5) each) above the mean of 1 and 2.
    gradclip::chooser_options few = gradclip::chooser_defaults(gradclip::chooser_kind::skipstep);
    few.window = 4;
    gradclip::chooser skipstep = value(gradclip::chooser::make(few));
    CHECK(value(skipstep.feed(1, 1.0)).to_do == gradclip::action::pass);
    CHECK(value(skipstep.feed(2, 1.0)).to_do == gradclip::action::pass);
    gradclip::decision decided = value(skipstep.feed(100, 1.0));
    CHECK(decided.to_do == gradclip::action::skip && decided.mean == 1.5 && decided.deviation == std::sqrt(0.5));
    CHECK(value(skipstep.feed(1.5, 1.0)).to_do == gradclip::action::pass);
    CHECK(is(REFUSED(skipstep.feed(1.5, infinity)), gradclip::status::non_finite, "loss is not finite"));
    three[0] = 1.5f, four[0] = 0;
    CHECK(is(REFUSED(skipstep.clip(grads, 2.0, nan)), gradclip::status::non_finite, "loss is not finite"));
    CHECK(three[0] == 1.5f && value(skipstep.clip(grads, 2.0, nan, looks)).skip);
    few.window = 1;
    CHECK(is(REFUSED(gradclip::chooser::make(few)), gradclip::status::invalid_argument, "window"));

    // AdaGC clips all together to max_norm 1 while it warms up.
    gradclip::chooser adagc = value(gradclip::chooser::make(gradclip::chooser_kind::adagc));
    decided = value(adagc.feed_tensors({3, 4}));
    CHECK(decided.tensor_coefs.size() == 2 && decided.tensor_coefs[1] == 1 / (5 + 1e-8));
    CHECK(is(REFUSED(adagc.feed_tensors({3})), gradclip::status::invalid_argument, ""));
    CHECK(is(REFUSED(adagc.feed_tensors({3, nan})), gradclip::status::non_finite, "total_norm is not finite (got nan)"));
    CHECK(value(adagc.feed_tensors({infinity, 4}, false)).to_do == gradclip::action::skip);
    // Tensor by tensor, from its own norm; nothing that is not finite is given a factor.
    gradclip::chooser by_tensor = value(gradclip::chooser::make(gradclip::chooser_kind::adagc));
    const std::vector<float> first = {3, 4}, spoiled = {1, std::nanf("")};
    const std::vector<double> huge = {1.7e308, 1.7e308};
    const gradclip::result alone = value(by_tensor.feed_tensor(1, first));
    CHECK(alone.total_norm == 5 && alone.factor == 1 / (5 + 1e-8));
    CHECK(is(REFUSED(by_tensor.feed_tensor(2, spoiled)), gradclip::status::non_finite, "grads[2] is not finite at element 1"));
    CHECK(is(REFUSED(by_tensor.feed_tensor(2, huge)), gradclip::status::skip_step, "the norm exceeds DBL_MAX"));
    CHECK(value(by_tensor.feed_tensor(2, spoiled, 2.0, looks)).non_finite && value(by_tensor.feed_tensor(2, huge, 2.0, looks)).non_finite);
    CHECK(is(REFUSED(by_tensor.feed_tensor(1000000, first)), gradclip::status::invalid_argument, "index must be below 10^6 (got 1000000)"));
    CHECK(is(REFUSED(skipstep.feed_tensor(0, first)), gradclip::status::invalid_argument, "chooser must be of the kind ADAGC"));
    gradclip::chooser moved = std::move(adagc);
    CHECK(value(moved.feed_tensors({3, 4})).steps == 2);
#ifndef GRADCLIP_NO_EXCEPTIONS
    gradclip::chooser zclip(gradclip::chooser_kind::zclip);
    CHECK(zclip.feed(3).to_do == gradclip::action::pass);
#endif
}

void in_parts() {
    std::vector<float> three{3, 0}, four{4};
    const gradclip::tensor_list grads{three, four};
    gradclip::parts found = value(gradclip::clip_by_norm(grads, {6, 2}, 2.0, plain()));
    CHECK(found.total.total_norm == 5 && found.total.clip_coef == 0.5 && three[0] == 3 && four[0] == 2);
    CHECK(found.clip_coefs == (std::vector<double>{1, 0.5}) && found.norms == (std::vector<double>{3, 4}));
    found = value(gradclip::clip_by_norm(grads, 1.5, 2.0, plain()));
    CHECK(three[0] == 1.5f && four[0] == 1.5f && found.clip_coefs[0] == 0.5);
    CHECK(is(REFUSED(gradclip::clip_by_norm(grads, std::vector<double>(3, 1.0))), gradclip::status::invalid_argument, "max_norm_count"));

    three = {3, 0}, four = {4};
    found = value(gradclip::clip_by_group(grads, {1, 1}, {1, 2.5, 3}, 2.0, plain()));
    CHECK(found.norms == (std::vector<double>{0, 5, 0}) && found.clip_coefs == (std::vector<double>{1, 0.5, 1}) && three[0] == 1.5f);
    CHECK(is(REFUSED(gradclip::clip_by_group(grads, {1}, {1, 1})), gradclip::status::invalid_argument, "groups"));
    CHECK(is(REFUSED(gradclip::clip_by_group(grads, {0, 2}, {1, 1})), gradclip::status::invalid_argument, "groups[1]"));

    std::vector<double> rms{3, 3, 3, 3};
    found = value(gradclip::clip_by_block_rms(rms, 1.5));
    CHECK(rms[3] == 1.5 && found.norms[0] == 6 && found.clip_coefs[0] == 0.5);

    // Two units of two: the first is at 5 of 0.5, the second below its limit.
    std::vector<float> grad{3, 4, 0.25, 0};
    const std::vector<double> weights{30, 40, 3, 4};
    found = value(gradclip::adaptive_clip_grad(grad, weights, {{2, 2, 1}}));
    CHECK(found.clip_coefs == (std::vector<double>{0.01 * 50 / 5, 0.05 / 0.25}) && grad[0] == 0.3f);
    CHECK(is(REFUSED(gradclip::adaptive_clip_grad(grad, weights, {{2, 3, 1}})), gradclip::status::invalid_argument, "units[0]"));
    CHECK(is(REFUSED(gradclip::adaptive_clip_grad(grad, {}, {{2, 2, 1}})), gradclip::status::invalid_argument, "weights"));
    four[0] = nan;
    CHECK(is(REFUSED(gradclip::clip_by_norm(grads, 1.0)), gradclip::status::non_finite, "grads[1]"));
    CHECK(is(REFUSED(gradclip::clip_by_group(grads, {0, 0}, {1})), gradclip::status::non_finite, "grads[1]"));
    CHECK(is(REFUSED(gradclip::clip_by_block_rms(grads)), gradclip::status::non_finite, "grads[1]"));
}

void by_example() {
    // Three examples of two elements each: norms 5, 10, and one with a NaN.
    const std::vector<float> grad{3, 4, 6, 8, nan, 1};
    std::vector<double> sum(2);
    gradclip::per_example found = value(gradclip::clip_per_example(grad, sum, 3, {5}, gradclip::example_rule::threshold));
    CHECK(sum == (std::vector<double>{3, 4}) && found.norms[0] == 5 && found.norms[1] == 10 && std::isnan(found.norms[2]));
    CHECK(found.factors == (std::vector<double>{1, 0, 0}) && found.clipped == 1 && found.nonfinite == 1);
    CHECK(found.first_nonfinite == 2 && found.sensitivity == 5 && found.rounding_bound > 0);
    found = value(gradclip::clip_per_example(grad, {}, 3, {5}, gradclip::example_rule::clip, plain()));
    CHECK(found.factors[1] <= 0.5 && found.factors[1] > 0.4999);
    CHECK(is(REFUSED(gradclip::clip_per_example(grad, sum, 4, {5})), gradclip::status::invalid_argument, "grads"));
    // Of no examples, as Poisson sampling draws them, the sums are 0.
    CHECK(value(gradclip::clip_per_example(std::vector<float>{}, sum, 0, {5})).norms.empty() && sum == (std::vector<double>{0, 0}));
    CHECK(is(REFUSED(gradclip::clip_per_example(grad, {sum, sum}, 3, {5})), gradclip::status::invalid_argument, "sums"));
    CHECK(value(gradclip::adapt_max_norm(2, 5, 10)) == 2);
    CHECK(is(REFUSED(gradclip::adapt_max_norm(-1, 5, 10)), gradclip::status::invalid_argument, "max_norm"));
}

void logging() {
    std::vector<std::string> lines, warnings;
    gradclip::monitor log([&](gradclip::log_kind kind, const char *line) {
        (kind == gradclip::log_kind::csv ? lines : warnings).push_back(line);
    });
    std::vector<float> grad{3, 4};
    const gradclip::result found = value(gradclip::clip_grad_norm(grad, 2.5, 2.0, plain()));
    DONE(log.log(found, 0.25, 1.5));
    DONE(log.log(found));
    CHECK(lines.size() == 3 && lines[0].rfind("step,grad_norm,clip_coef,learning_rate,loss", 0) == 0);
    CHECK(lines[1].rfind("1,5,0.5,0.25,1.5,0", 0) == 0 && lines[2].rfind("2,5,0.5,,,0", 0) == 0 && warnings.empty());
    CHECK(log.step() == 3 && (log.said() & 1));
    DONE(log.log(found, 0.25, std::nan("")));
    CHECK(warnings.size() == 1);
    gradclip::monitor resumed([&](gradclip::log_kind, const char *line) { lines.push_back(line); });
    resumed.resume(log.step(), log.said());
    gradclip::monitor moved = std::move(resumed);
    DONE(moved.log(found));
    CHECK(lines.back().rfind("4,5,0.5,,", 0) == 0);
#ifndef GRADCLIP_NO_EXCEPTIONS
    // What the writer throws does not pass through C.
    gradclip::monitor broken([](gradclip::log_kind, const char *) { throw std::string("disk full"); });
    std::string thrown;
    try {
        broken.log(found);
    } catch (const std::string &what) {
        thrown = what;
    }
    CHECK(thrown == "disk full");
#endif
}

void process() {
    gradclip::set_num_threads(3);
    CHECK(gradclip::get_num_threads() == 3 && gradclip_get_num_threads() == 3);
    gradclip::set_num_threads(0);
    CHECK(gradclip::version_number() == GRADCLIP_VERSION && gradclip::status_string(gradclip::status::ok) == std::string("ok"));
    CHECK(gradclip::version() == std::string(GRADCLIP_VERSION_STRING));
    CHECK(gradclip::isa() == std::string(gradclip_isa()));
}

} // namespace

int main() {
    clipping();
    steps();
    non_finite();
    report();
    overlaps();
    accumulators();
    choosers();
    in_parts();
    by_example();
    logging();
    process();
    return summary("calls");
}
