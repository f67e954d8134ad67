// Count, print what failed, sum up; and take the value of a call, which must succeed,
// in both ways of reporting errors.
#pragma once

#include <gradclip.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>

inline int checks_passed, checks_failed;

#define CHECK(condition)                                                           \
    do {                                                                           \
        if (condition) ++checks_passed;                                            \
        else {                                                                     \
            ++checks_failed;                                                       \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);   \
        }                                                                          \
    } while (0)

inline int summary(const char *name) {
    std::printf("%s: %d passed, %d failed\n", name, checks_passed, checks_failed);
    return checks_failed != 0 || checks_passed == 0;
}

#ifdef GRADCLIP_NO_EXCEPTIONS
template <class T> T value(gradclip::expected<T> given) {
    if (given) return std::move(*given);
    std::fprintf(stderr, "an error where there must be none: %s\n", given.error().what());
    std::abort();
}
inline void value(const gradclip::expected<void> &given) {
    if (given) return;
    std::fprintf(stderr, "an error where there must be none: %s\n", given.error().what());
    std::abort();
}
// The error of a call that must be refused.
#define REFUSED(call)                                            \
    [&]() -> gradclip::error {                                   \
        auto refused_ = (call);                                  \
        if (!refused_) return refused_.error();                  \
        return gradclip::error(gradclip::status::ok, "no error"); \
    }()
#else
template <class T> T value(T given) { return given; }
#define REFUSED(call)                                            \
    [&]() -> gradclip::error {                                   \
        try {                                                    \
            static_cast<void>(call);                             \
        } catch (const gradclip::error &caught) {                \
            return caught;                                       \
        }                                                        \
        return gradclip::error(gradclip::status::ok, "no error"); \
    }()
#endif

// A call that returns nothing, or success.
#ifdef GRADCLIP_NO_EXCEPTIONS
#define DONE(call) value(call)
#else
#define DONE(call) (call)
#endif

inline bool is(const gradclip::error &what, gradclip::status code, const char *text) {
    if (what.code() == code && std::string(what.what()).find(text) != std::string::npos) return true;
    std::fprintf(stderr, "status %d, \"%s\"\n", static_cast<int>(what.code()), what.what());
    return false;
}

// The plain formula, so that expected values are exact.
inline gradclip::options plain() {
    gradclip::options made;
    made.eps = 0;
    return made;
}
