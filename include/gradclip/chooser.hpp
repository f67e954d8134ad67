/* Choosers of max_norm. Part of gradclip.hpp, which includes it. */
#ifndef GRADCLIP_CHOOSER_HPP
#define GRADCLIP_CHOOSER_HPP

#include "options.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace gradclip {

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
struct [[nodiscard]] decision {
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
struct [[nodiscard]] chosen {
    result found;
    decision decided;
    bool skip = false; /* nothing was written: leave the step out */
};

} // namespace gradclip

namespace gradclip {

inline namespace GRADCLIP_ERRORS {

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
    [[nodiscard]] static outcome<chooser> make(const chooser_options &given) {
        gradclip_chooser *created = nullptr;
        const gradclip_status code = gradclip_chooser_create(&given, &created);
        return calls::done(code, chooser(created, given.kind == GRADCLIP_ADAGC));
    }
    [[nodiscard]] static outcome<chooser> make(chooser_kind kind) { return make(chooser_defaults(kind)); }

    /* Tell the norm of a step, and its loss (only SKIPSTEP looks at it). One that is not finite is an error with
     * status::non_finite, unless error_if_nonfinite is false: then the decision is to skip. An optimizer
     * that defers multiplies by decision.clip_coef * result.factor. */
    outcome<decision> feed(double total_norm, std::optional<double> loss = std::nullopt,
                           bool error_if_nonfinite = true) {
        decision made;
        gradclip_decision decided = room(made, 1);
        const gradclip_status code =
            gradclip_chooser_feed(handle_.get(), total_norm, loss ? &*loss : nullptr, &decided);
        if (code == GRADCLIP_NON_FINITE && error_if_nonfinite) return calls::fail<decision>(told(total_norm));
        return calls::done(code, filled(std::move(made), decided));
    }

    /* The same for ADAGC, with the norm of each tensor; -1 for one without a gradient. */
    outcome<decision> feed_tensors(const std::vector<double> &tensor_norms, bool error_if_nonfinite = true) {
        decision made;
        gradclip_decision decided = room(made, tensor_norms.size());
        const gradclip_status code =
            gradclip_chooser_feed_tensors(handle_.get(), tensor_norms.data(), tensor_norms.size(), &decided);
        if (code == GRADCLIP_NON_FINITE && error_if_nonfinite) {
            double worst = 0;
            for (const double norm : tensor_norms)
                if (!(norm <= worst)) worst = norm;
            return calls::fail<decision>(told(worst));
        }
        return calls::done(code, filled(std::move(made), decided));
    }

    /* ADAGC tensor by tensor, for an optimizer that steps inside the backward pass: it multiplies this
     * gradient by the factor that is returned (gradclip_chooser_feed_tensor). Any number of threads may
     * call it at a time. What is not finite is an error with status::non_finite, a norm of finite elements
     * beyond DBL_MAX one with status::skip_step: leave this tensor's step out. With error_if_nonfinite
     * false the result says non_finite then. */
    outcome<result> feed_tensor(std::size_t index, const const_tensor &grad, double norm_type = 2.0,
                                const options &given = {}) {
        const gradclip_options passed = detail::c_options(given);
        gradclip_result found = detail::c_result();
        const gradclip_status code =
            gradclip_chooser_feed_tensor(handle_.get(), index, &grad.c_tensor(), norm_type, &passed, &found);
        if (code == GRADCLIP_SKIP_STEP && given.error_if_nonfinite) {
            return calls::fail<result>(
                error(status::skip_step, "the norm exceeds DBL_MAX", detail::cpp_result(found, code)));
        }
        return calls::done(code == GRADCLIP_SKIP_STEP ? GRADCLIP_NON_FINITE : code, found, given.error_if_nonfinite);
    }

    /* Measure gradients, tell the chooser, and clip them in place as it decides. */
    outcome<chosen> clip(const tensor_list &grads, double norm_type = 2.0, std::optional<double> loss = std::nullopt,
                         const options &given = {}) {
        if (!grads.is_matched()) {
            return calls::fail<chosen>(calls::mismatched_list("grads"));
        }
        const gradclip_options passed = detail::c_options(given);
        gradclip_result found = detail::c_result();
        chosen made;
        gradclip_decision decided = room(made.decided, grads.size());
        const gradclip_status code = gradclip_chooser_clip(handle_.get(), grads.c_tensors(), grads.size(), norm_type,
                                                           loss ? &*loss : nullptr, &passed, &found, &decided);
        if (code == GRADCLIP_NON_FINITE && given.error_if_nonfinite) {
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
    [[nodiscard]] outcome<std::vector<unsigned char>> export_bytes() const {
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

    /* The error for a norm, or the loss, that is not finite. */
    static error told(double total_norm) noexcept {
        gradclip_result found = detail::c_result();
        found.total_norm = total_norm;
        found.first_tensor = GRADCLIP_NONE;
        found.first_element = GRADCLIP_NONE;
        return detail::non_finite_error(found);
    }

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

} // inline namespace of the way of reporting errors

} // namespace gradclip

#endif /* GRADCLIP_CHOOSER_HPP */
