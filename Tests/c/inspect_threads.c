/*
 * gradclip_inspect: the same reports to the last bit whoever does the work, one thread or several, and whole tensors or
 * stretches of one that is large.
 */
#include "check.h"
#include "random.h"

#include <math.h>
#include <stdlib.h>

/* Large ones (8 MiB and more) that end in the middle of a stretch and of a block, and others between them. */
static const struct {
    size_t length;
    uint32_t dtype, flags;
} shapes[] = {
    {2500003, GRADCLIP_F32, 0}, {100, GRADCLIP_F32, 0}, {5242880, GRADCLIP_F16, 0}, {1100001, GRADCLIP_F64, 0},
    {0, GRADCLIP_F32, 0}, {2097152, GRADCLIP_F32, GRADCLIP_UNCOUNTED}, {393216, GRADCLIP_F32, 0},
    {4300001, GRADCLIP_BF16, 0},
};
enum { COUNT = sizeof shapes / sizeof *shapes };

static gradclip_tensor list[COUNT];

static size_t size_of(uint32_t dtype) { return dtype == GRADCLIP_F64 ? 8 : dtype == GRADCLIP_F32 ? 4 : 2; }

static void store(size_t tensor, size_t at, double x)
{
    if (shapes[tensor].dtype == GRADCLIP_F64) ((double *)list[tensor].data)[at] = x;
    else ((float *)list[tensor].data)[at] = (float)x;
}

static void fill(void)
{
    for (size_t i = 0; i < COUNT; i++) {
        size_t n = shapes[i].length, size = size_of(shapes[i].dtype);
        unsigned char *data = malloc(n * size + 1);
        list[i] = tensor_of(data, n, shapes[i].dtype);
        list[i].flags = shapes[i].flags;
        for (size_t k = 0; k < n; k++) {
            /* Between 2^-5 and 2^10 in every type, of both signs. */
            double x = ldexp((double)(next_random() >> 40) - 0x1p23, -13 - (int)below(6));
            float narrow = (float)x;
            uint32_t bits;
            memcpy(&bits, &narrow, 4);
            if (size == 8) memcpy(data + 8 * k, &x, 8);
            else if (size == 4) memcpy(data + 4 * k, &narrow, 4);
            else if (shapes[i].dtype == GRADCLIP_BF16) data[2 * k] = (unsigned char)(bits >> 16), data[2 * k + 1] = (unsigned char)(bits >> 24);
            else data[2 * k] = (unsigned char)bits, data[2 * k + 1] = (unsigned char)(bits >> 8 & 0xbb); /* finite */
        }
    }
    store(0, 131072 * 3 + 5, -INFINITY), store(0, 2500002, NAN), store(0, 131072 * 9, INFINITY);
    store(0, 77, 0), store(0, 131072 * 4 + 1, 0x1p-140);
    store(3, 1100000, NAN), store(3, 600000, 1e300), store(5, 1, NAN);
}

static void check(double p, const gradclip_options *given)
{
    gradclip_report alone[COUNT], reports[COUNT];
    gradclip_result one = new_result(), r = new_result();
    gradclip_options options = *given;
    options.num_threads = 1;
    memset(alone, 0, sizeof alone);
    CHECK_STATUS(gradclip_inspect(list, COUNT, p, &options, alone, sizeof *alone, &one), GRADCLIP_OK);
    for (uint32_t threads = 2; threads <= 7; threads += threads - 1) { /* 2, 3, 5 */
        options.num_threads = threads;
        memset(reports, 0x55, sizeof reports);
        CHECK_STATUS(gradclip_inspect(list, COUNT, p, &options, reports, sizeof *reports, &r), GRADCLIP_OK);
        for (size_t i = 0; i < COUNT; i++) CHECK(same_bits(&alone[i], &reports[i], sizeof *reports), "p = %g, %u threads, tensor %zu", p, threads, i);
        CHECK(same_bits(&one, &r, sizeof r), "p = %g, %u threads: the result", p, threads);
    }
    CHECK(alone[0].first_nonfinite == 131072 * 3 + 5 && alone[0].nan_count == 1 && alone[0].positive_infinity_count == 1 &&
              alone[0].negative_infinity_count == 1 && alone[0].zero_count >= 1 && alone[0].subnormal_count == 1, "the first tensor's counts");
    CHECK(alone[3].first_nonfinite == 1100000 && alone[3].max_abs == 1e300 / given->grad_scale && alone[5].first_nonfinite == 1, "the fourth and the sixth");
    CHECK(one.first_tensor == 0 && one.first_element == 131072 * 3 + 5 && one.nan_count == 2, "the list's");
    CHECK(alone[7].mean != 0 && fabs(alone[7].mean) < 5, "mean %g", alone[7].mean);
}

int main(void)
{
    gradclip_options options = default_options(), exact = default_options();
    exact.exact_f64 = 1;
    exact.grad_scale = 3;
    fill();
    check(2, &options), check(1, &options), check(3, &options), check(2.7, &options), check(INFINITY, &options);
    check(0, &options), check(2, &exact);
    for (size_t i = 0; i < COUNT; i++) free(list[i].data);
    return checks_summary("inspect_threads");
}
