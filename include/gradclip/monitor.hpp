/* The log of a training run. Part of gradclip.hpp, which includes it. */
#ifndef GRADCLIP_MONITOR_HPP
#define GRADCLIP_MONITOR_HPP

#include "chooser.hpp"
#include "options.hpp"

#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <utility>

namespace gradclip {

/* What a line of a monitor is: GRADCLIP_LOG_... */
enum class log_kind : std::uint32_t {
    csv = GRADCLIP_LOG_CSV,        /* the header or a line of the CSV */
    warning = GRADCLIP_LOG_WARNING /* a sentence */
};

} // namespace gradclip

namespace gradclip {

inline namespace GRADCLIP_ERRORS {

/* The log of a training run (gradclip_monitor): a line of CSV a step, and a warning the first time
 * that something is wrong, handed to write(kind, line), a line without newline. One monitor must
 * not be used by two threads at a time. With exceptions, one that write throws leaves log(). */
class monitor {
public:
    explicit monitor(std::function<void(log_kind, const char *)> write) : write_(std::move(write)) {
        gradclip_monitor_init(&state_, sizeof state_);
    }

    /* The number of the next step, and what was said already (1: the header ...; see
     * gradclip_monitor). Set both to resume. */
    std::uint64_t step() const noexcept { return state_.step; }
    std::uint32_t said() const noexcept { return state_.said; }
    void resume(std::uint64_t step, std::uint32_t said) noexcept {
        state_.step = step;
        state_.said = said;
    }

    /* Log a step: what clipping found, the learning rate and the loss if there are any, and what a
     * chooser decided. */
    outcome<void> log(const result &found, std::optional<double> learning_rate = std::nullopt,
                      std::optional<double> loss = std::nullopt, const decision *decided = nullptr) {
        gradclip_result passed = detail::c_result();
        passed.total_norm = found.total_norm;
        passed.clip_coef = found.clip_coef;
        passed.factor = found.factor;
        passed.nonfinite_count = found.nonfinite_count;
        passed.nan_count = found.nan_count;
        passed.first_tensor = found.first_tensor;
        passed.first_element = found.first_element;
        gradclip_decision given;
        gradclip_decision_init(&given, sizeof given);
        if (decided) {
            given.threshold = decided->threshold;
            given.action = static_cast<std::uint32_t>(decided->to_do);
        }
        call hand{&write_};
        state_.callback = call::line;
        state_.user_data = &hand;
        const gradclip_status code = gradclip_monitor_log(&state_, learning_rate ? &*learning_rate : nullptr,
                                                          loss ? &*loss : nullptr, &passed,
                                                          decided ? &given : nullptr);
#ifndef GRADCLIP_NO_EXCEPTIONS
        if (hand.thrown) std::rethrow_exception(hand.thrown);
#endif
        return calls::done(code);
    }

private:
    /* A call's writer; what it throws must not pass through C. */
    struct call {
        std::function<void(log_kind, const char *)> *write;
#ifndef GRADCLIP_NO_EXCEPTIONS
        std::exception_ptr thrown = nullptr;
#endif
        static void line(void *data, std::uint32_t kind, const char *text) {
            call &hand = *static_cast<call *>(data);
#ifdef GRADCLIP_NO_EXCEPTIONS
            (*hand.write)(static_cast<log_kind>(kind), text);
#else
            if (hand.thrown) return;
            try {
                (*hand.write)(static_cast<log_kind>(kind), text);
            } catch (...) {
                hand.thrown = std::current_exception();
            }
#endif
        }
    };

    std::function<void(log_kind, const char *)> write_;
    gradclip_monitor state_;
};

} // inline namespace of the way of reporting errors

} // namespace gradclip

#endif /* GRADCLIP_MONITOR_HPP */
