/* The few lines every C test shares: count, print what failed, sum up. */
#ifndef CHECK_H
#define CHECK_H

#include <gradclip.h>
#include <stdio.h>
#include <string.h>

static int checks_passed, checks_failed;

/* CHECK(condition, "format", ...): the text says what is wrong if it fails. */
#define CHECK(condition, ...)                                      \
    do {                                                           \
        if (condition) checks_passed++;                            \
        else if (++checks_failed <= 50) {                          \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                          \
            fputc('\n', stderr);                                   \
        }                                                          \
    } while (0)

/* Bits, not values: they tell -0 from 0, NaN equals itself, and no setting of
 * the compiler or the processor changes the answer. */
static inline int same_bits(const void *a, const void *b, size_t size) { return memcmp(a, b, size) == 0; }

#define CHECK_NUMBER(got, expected)                                                   \
    do {                                                                              \
        double got_ = (got), expected_ = (expected);                                  \
        CHECK(same_bits(&got_, &expected_, 8), "got %a, expected %a", got_, expected_); \
    } while (0)

#define CHECK_STATUS(call, expected)                                                  \
    do {                                                                              \
        gradclip_status status_ = (call);                                             \
        CHECK(status_ == (expected), "status %d, expected %s; last error \"%s\"",     \
              (int)status_, #expected, gradclip_last_error());                        \
    } while (0)

static inline int checks_summary(const char *name)
{
    printf("%s: %d passed, %d failed\n", name, checks_passed, checks_failed);
    return checks_failed != 0 || checks_passed == 0;
}

static inline gradclip_options default_options(void)
{
    gradclip_options options;
    gradclip_options_init(&options, sizeof options);
    return options;
}

static inline gradclip_result new_result(void)
{
    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    return result;
}

static inline gradclip_tensor tensor_of(void *data, size_t length, uint32_t dtype)
{
    gradclip_tensor t = {0};
    t.data = data;
    t.length = length;
    t.dtype = dtype;
    t.device_type = 1;
    return t;
}

#endif
