/*
 * What is read and written: data between pages that may not be touched, at
 * every length up to 70 and every misalignment, and data in pages that may not
 * be written, wherever a call has no reason to write. A wrong access ends the
 * process with a message.
 */
#define _GNU_SOURCE
#include "check.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LONGEST = 70, ROOM = 1 << 16 };

static const char *volatile doing = "";
static volatile size_t doing_length, doing_shift;

static void on_fault(int signal)
{
    char text[200];
    int size = snprintf(text, sizeof text, "memory: signal %d in %s, length %zu, shift %zu\n", signal, doing, (size_t)doing_length, (size_t)doing_shift);
    if (size > 0 && write(2, text, (size_t)size) < 0) _exit(3);
    _exit(2);
}

/* ROOM bytes with an untouchable page before and behind. */
static unsigned char *guarded(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *all = mmap(NULL, ROOM + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + page, ROOM, PROT_READ | PROT_WRITE)) {
        perror("mmap");
        exit(2);
    }
    return all + page;
}

static void protect(unsigned char *room, int writable)
{
    if (mprotect(room, ROOM, PROT_READ | (writable ? PROT_WRITE : 0))) {
        perror("mprotect");
        exit(2);
    }
}

static size_t size_of(uint32_t dtype) { return dtype == GRADCLIP_F64 ? 8 : dtype == GRADCLIP_F32 ? 4 : 2; }

/* Small numbers and NaN, which every type holds. */
static void put(unsigned char *at, uint32_t dtype, double value)
{
    float f = (float)value;
    uint32_t bits;
    uint16_t half;
    memcpy(&bits, &f, 4);
    half = (uint16_t)(bits >> 16); /* bfloat16 */
    if (dtype == GRADCLIP_F16)
        half = (uint16_t)(isnan(value) ? 0x7e00 : (bits >> 16 & 0x8000) | ((bits >> 13 & 0x3ffff) - (112u << 10)));
    if (dtype == GRADCLIP_F64) memcpy(at, &value, 8);
    else if (dtype == GRADCLIP_F32) memcpy(at, &f, 4);
    else memcpy(at, &half, 2);
}

static void fill(unsigned char *at, size_t n, uint32_t dtype, double value)
{
    for (size_t i = 0; i < n; i++) put(at + i * size_of(dtype), dtype, i % 2 ? -value : value);
}

static int holds(const unsigned char *at, uint32_t dtype, double value)
{
    unsigned char expected[8];
    put(expected, dtype, value);
    return memcmp(at, expected, size_of(dtype)) == 0;
}

/* Every call on n elements at the very start or end of what may be touched,
 * shifted inwards by 0 to 17 bytes. */
static void at_the_edges(uint32_t dtype, unsigned char *in, unsigned char *out)
{
    static const double orders[] = {2, 1, INFINITY, 0, 3, 2.7, -1};
    size_t size = size_of(dtype);
    gradclip_options options = default_options();
    options.eps = 0;
    for (size_t n = 0; n <= LONGEST; n++)
        for (size_t shift = 0; shift < 18; shift++)
            for (int end = 0; end < 2; end++) {
                size_t at = end ? ROOM - n * size - shift : shift;
                gradclip_tensor grads = tensor_of(in + at, n, dtype), outputs = tensor_of(out + at, n, dtype);
                double p = orders[(n + shift) % (sizeof orders / sizeof *orders)];
                doing_length = n, doing_shift = shift;
                memset(in, 0xc5, ROOM);
                memset(out, 0x5c, ROOM);
                fill(in + at, n, dtype, 2);
                doing = "clip_grad_norm";
                options.nonfinite = n % 3;
                CHECK_STATUS(gradclip_clip_grad_norm_to(&grads, &outputs, 1, 1, INFINITY, &options, NULL), GRADCLIP_OK);
                CHECK_STATUS(gradclip_clip_grad_norm(&grads, 1, INFINITY, p, &options, NULL), GRADCLIP_OK);
                CHECK_STATUS(gradclip_clip_grad_norm(&grads, 1, 1, INFINITY, &options, NULL), GRADCLIP_OK);
                doing = "clip_grads_with_norm";
                CHECK_STATUS(gradclip_clip_grads_with_norm(&grads, 1, 1, 0.5, &options, NULL), GRADCLIP_OK);
                doing = "scale";
                CHECK_STATUS(gradclip_scale(&grads, 1, 4, NULL), GRADCLIP_OK);
                doing = "clip_grad_value";
                CHECK_STATUS(gradclip_clip_grad_value(&grads, 1, 3, NULL), GRADCLIP_OK);
                for (size_t i = 0; i < n; i++) {
                    double sign = i % 2 ? -1 : 1;
                    if (!holds(in + at + i * size, dtype, 3 * sign) || !holds(out + at + i * size, dtype, sign))
                        CHECK(0, "element %zu of %zu, type %u", i, n, dtype);
                }
                /* The neighbours within the pages kept their bytes. */
                size_t stop = at + n * size;
                for (size_t i = at > 64 ? at - 64 : 0; i < stop + 64 && i < ROOM; i++)
                    if ((i < at || i >= stop) && (in[i] != 0xc5 || out[i] != 0x5c)) CHECK(0, "byte %zu was written", i);
            }
}

/* Calls that need not write do not: their gradients lie in read-only pages. */
static void read_only(uint32_t dtype, unsigned char *in, unsigned char *out)
{
    static const double orders[] = {0, 1, 2, 3, 0.5, 2.7, -1, INFINITY, -INFINITY};
    static const size_t lengths[] = {1, 7, 70, 4096, 5000};
    size_t size = size_of(dtype);
    gradclip_options options = default_options(), bad = default_options();
    bad.reserved = 1;
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
        for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
            size_t n = lengths[k];
            unsigned char *at = in + ROOM - n * size;
            gradclip_tensor grads[] = {tensor_of(at, n, dtype), tensor_of(NULL, 0, dtype)}, outputs[] = {tensor_of(out, n, dtype), tensor_of(NULL, 0, dtype)};
            gradclip_result r = new_result();
            doing_length = n, doing_shift = 0;
            protect(in, 1);
            fill(at, n, dtype, 0.75);
            protect(in, 0);
            doing = "a clip that clips nothing";
            for (uint32_t policy = 0; policy < 3; policy++) {
                options.nonfinite = policy;
                CHECK_STATUS(gradclip_clip_grad_norm(grads, 2, INFINITY, orders[i], &options, &r), GRADCLIP_OK);
                CHECK(r.factor == 1, "%a", r.factor);
            }
            CHECK_STATUS(gradclip_get_total_norm(grads, 2, orders[i], NULL, &r), GRADCLIP_OK);
            doing = "an out-of-place clip";
            CHECK_STATUS(gradclip_clip_grad_norm_to(grads, outputs, 2, 0.25, orders[i], NULL, NULL), GRADCLIP_OK);
            CHECK_STATUS(gradclip_clip_grad_norm_to(grads, outputs, 2, INFINITY, orders[i], NULL, NULL), GRADCLIP_OK);
            CHECK(memcmp(at, out, n * size) == 0, "copied");
            doing = "a known norm below max_norm";
            options.nonfinite = GRADCLIP_NONFINITE_LEAVE;
            CHECK_STATUS(gradclip_clip_grads_with_norm(grads, 2, 2, 1, &options, NULL), GRADCLIP_OK);
            CHECK_STATUS(gradclip_clip_grads_with_norm(grads, 2, 2, INFINITY, &options, NULL), GRADCLIP_NON_FINITE);
            options.nonfinite = GRADCLIP_NONFINITE_ZERO;
            CHECK_STATUS(gradclip_clip_grads_with_norm(grads, 2, 2, 1, &options, NULL), GRADCLIP_OK);
            doing = "a factor of 1";
            CHECK_STATUS(gradclip_scale(grads, 2, 1, NULL), GRADCLIP_OK);
            doing = "a value nothing is beyond";
            CHECK_STATUS(gradclip_clip_grad_value(grads, 2, 0.75, NULL), GRADCLIP_OK);
            doing = "a call that fails";
            CHECK_STATUS(gradclip_clip_grad_norm(grads, 2, -1, orders[i], NULL, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT);
            CHECK_STATUS(gradclip_clip_grad_norm(grads, 2, 0.1, orders[i], &bad, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT);
            CHECK_STATUS(gradclip_scale(grads, 2, NAN, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT);
            grads[1] = tensor_of(NULL, 3, dtype);
            CHECK_STATUS(gradclip_clip_grad_norm(grads, 2, 0.1, orders[i], NULL, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT);
            CHECK_STATUS(gradclip_clip_grad_value(grads, 2, 0.1, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT);
            doing = "non-finite gradients left alone";
            grads[1] = tensor_of(NULL, 0, dtype);
            protect(in, 1);
            fill(at + (n - 1) * size, 1, dtype, NAN);
            protect(in, 0);
            options.nonfinite = GRADCLIP_NONFINITE_LEAVE;
            memset(out, 0x5c, n * size);
            CHECK_STATUS(gradclip_clip_grad_norm(grads, 2, 0.1, orders[i], &options, &r), GRADCLIP_NON_FINITE);
            CHECK(r.first_tensor == 0 && r.first_element == n - 1, "%llu", (unsigned long long)r.first_element);
            CHECK_STATUS(gradclip_clip_grad_norm_to(grads, outputs, 2, 0.1, orders[i], &options, NULL), GRADCLIP_NON_FINITE);
            for (size_t b = 0; b < n * size; b++)
                if (out[b] != 0x5c) CHECK(0, "output byte %zu was written", b);
            doing = "a NaN no value is beyond";
            CHECK_STATUS(gradclip_clip_grad_value(grads, 2, 0.75, NULL), GRADCLIP_OK);
            protect(in, 1);
        }
}

/* Clipping by value writes only where something is beyond: here the tensor
 * between two read-only ones. */
static void value_between(unsigned char *in, unsigned char *out)
{
    float *still = (float *)in, moves[] = {1, 9, -9};
    float *grads[] = {still, moves, still + 300};
    size_t lengths[] = {300, 3, 5000};
    (void)out;
    doing = "clip_grad_value of the tensor between";
    protect(in, 1);
    fill(in, 6000, GRADCLIP_F32, 1);
    protect(in, 0);
    CHECK_STATUS(gradclip_clip_grad_value_f32(grads, lengths, 3, 2, NULL), GRADCLIP_OK);
    CHECK(moves[0] == 1 && moves[1] == 2 && moves[2] == -2, "%g %g", moves[1], moves[2]);
    protect(in, 1);
}

int main(void)
{
    unsigned char *in = guarded(), *out = guarded();
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    for (uint32_t dtype = GRADCLIP_F32; dtype <= GRADCLIP_BF16; dtype++) {
        at_the_edges(dtype, in, out);
        read_only(dtype, in, out);
    }
    value_between(in, out);
    return checks_summary("memory");
}
