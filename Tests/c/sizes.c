/*
 * More than 2^31 elements, and 100 000 tensors. The large tensor is one file of
 * 2 MiB mapped many times over, so that it takes little memory.
 */
#define _GNU_SOURCE
#include "check.h"
#include "random.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* --------------------------------------------------------- one large tensor -- */

enum { PIECE = 2 << 20, PIECES = 2100, PAGE = 4096 };
#define ELEMENTS ((size_t)PIECES * (PIECE / 2) - 77) /* 2 202 009 523; the end fills no vector */

static const uint16_t one = 0x3f80, minus_two = 0xc000, bf16_nan = 0x7fc0, bf16_three = 0x4040;

/* 1, -2, 1, -2, ... in memory that cannot be written; NULL if there is no room. */
static uint16_t *large_tensor(void)
{
    static uint16_t pattern[PIECE / 2];
    for (size_t i = 0; i < PIECE / 2; i++) pattern[i] = i % 2 ? minus_two : one;
    int file = memfd_create("gradients", 0);
    if (file < 0 || write(file, pattern, PIECE) != PIECE) return NULL;
    unsigned char *start = mmap(NULL, (size_t)PIECES * PIECE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) return NULL;
    for (size_t i = 0; i < PIECES; i++)
        if (mmap(start + i * PIECE, PIECE, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED) return NULL;
    close(file);
    return (uint16_t *)(void *)start;
}

/* The page about an element becomes memory of its own, with its contents. */
static void make_writable(uint16_t *data, size_t i)
{
    unsigned char copy[PAGE], *page = (unsigned char *)data + i * 2 / PAGE * PAGE;
    memcpy(copy, page, PAGE);
    if (mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) exit(2);
    memcpy(page, copy, PAGE);
}

static void norms(gradclip_tensor list)
{
    static const struct { double p, sum; } rows[] = {{1, 1.5}, {2, 2.5}, {0, 1}, {INFINITY, 0}, {-INFINITY, 0}, {3, 4.5}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double p = rows[i].p, norm = -1;
        gradclip_result r = new_result();
        r.tensor_norms = &norm;
        CHECK_STATUS(gradclip_get_total_norm(&list, 1, p, NULL, &r), GRADCLIP_OK);
        /* The length is odd: one 1 more than there are -2. */
        double sum = rows[i].sum * (ELEMENTS - 1) + 1;
        double expected = p == 1 ? sum : p == 2 ? sqrt(sum) : p == 0 ? ELEMENTS : p == INFINITY ? 2 : p == -INFINITY ? 1 : cbrt(sum);
        if (p == 3) CHECK(fabs(norm / expected - 1) < 1e-15, "p 3: %a, expected %a", norm, expected);
        else CHECK_NUMBER(norm, expected);
        CHECK_NUMBER(r.total_norm, p == 0 ? 1 : norm);
        CHECK(r.nonfinite_count == 0 && r.first_element == GRADCLIP_NONE, "p %g: found something", p);
    }
}

/* Cut about the 2^31st element, the second part first. */
static void pieces(gradclip_tensor list)
{
    gradclip_accumulator *a = NULL;
    gradclip_result r = new_result();
    size_t cut = ((size_t)1 << 31) + 12345;
    gradclip_tensor parts[2] = {tensor_of((uint16_t *)list.data + cut, ELEMENTS - cut, GRADCLIP_BF16), tensor_of(list.data, cut, GRADCLIP_BF16)};
    CHECK_STATUS(gradclip_accumulator_create(2, NULL, &a), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_add(a, parts, 2), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_finish(a, 1, &r), GRADCLIP_OK);
    CHECK_NUMBER(r.total_norm, sqrt(2.5 * (ELEMENTS - 1) + 1));
    gradclip_accumulator_free(a);
}

/* What lies beyond the 2^31st element is found, named and written like all else. */
static void far_elements(gradclip_tensor list)
{
    uint16_t *data = list.data;
    size_t far = ELEMENTS - 3;
    gradclip_result r = new_result();
    gradclip_report report;
    CHECK_STATUS(gradclip_clip_grad_value(&list, 1, 2, NULL), GRADCLIP_OK); /* nothing is beyond: nothing is written */
    make_writable(data, far);
    data[far] = bf16_three;
    CHECK_STATUS(gradclip_clip_grad_value(&list, 1, 2, NULL), GRADCLIP_OK);
    CHECK(data[far] == 0x4000 && data[far - 1] == minus_two && data[far + 1] == minus_two, "3 became %x", data[far]);
    data[far] = bf16_nan;
    CHECK_STATUS(gradclip_clip_grad_norm(&list, 1, 1, 2, NULL, &r), GRADCLIP_NON_FINITE);
    CHECK(r.first_element == far && r.nan_count == 1 && r.nonfinite_count == 1, "element %llu", (unsigned long long)r.first_element);
    CHECK_STATUS(gradclip_inspect(&list, 1, 1, NULL, &report, sizeof report, &r), GRADCLIP_OK);
    CHECK(report.length == ELEMENTS && report.first_nonfinite == far && report.nan_count == 1 && report.zero_count == 0 && report.subnormal_count == 0, "counts");
    /* far is even: a 1 is missing. */
    CHECK_NUMBER(report.norm, 1.5 * (ELEMENTS - 1));
    CHECK(fabs(report.mean - (-0.5 * (ELEMENTS - 1)) / (ELEMENTS - 1)) < 1e-15, "mean %a", report.mean);
}

static void more_elements_than_31_bits_count(void)
{
    uint16_t *data = large_tensor();
    if (!data) {
        printf("sizes: the tensor of %zu elements is left out: %s\n", ELEMENTS, strerror(errno));
        return;
    }
    gradclip_tensor list = tensor_of(data, ELEMENTS, GRADCLIP_BF16);
    norms(list);
    pieces(list);
    far_elements(list);
    munmap(data, (size_t)PIECES * PIECE);
}

/* ---------------------------------------------------------- many tensors -- */

enum { TENSORS = 100000, LONGEST_OF_MANY = 40 };

static float arena[TENSORS * LONGEST_OF_MANY], *grads[TENSORS];
static size_t lengths[TENSORS];
static gradclip_tensor list[TENSORS];
static double tensor_norms[TENSORS];
static gradclip_report reports[TENSORS];

/* Small even integers, so that sums and halves are exact; every seventh tensor is empty. */
static uint64_t fill_many(void)
{
    uint64_t squares = 0;
    float *next = arena;
    for (size_t i = 0; i < TENSORS; i++) {
        lengths[i] = i % 7 == 3 ? 0 : 1 + below(LONGEST_OF_MANY);
        grads[i] = lengths[i] ? next : NULL;
        list[i] = tensor_of(grads[i], lengths[i], GRADCLIP_F32);
        for (size_t k = 0; k < lengths[i]; k++) {
            int x = 2 * ((int)below(2001) - 1000);
            *next++ = (float)x;
            squares += (uint64_t)((int64_t)x * x);
        }
    }
    return squares;
}

static uint64_t squares_of(size_t i)
{
    uint64_t sum = 0;
    for (size_t k = 0; k < lengths[i]; k++) sum += (uint64_t)((double)grads[i][k] * grads[i][k]);
    return sum;
}

static void many_tensors(void)
{
    double norm = sqrt((double)fill_many()); /* below 2^53: correctly rounded */
    gradclip_options options = default_options();
    gradclip_result r = new_result();
    static float before[TENSORS * LONGEST_OF_MANY];
    memcpy(before, arena, sizeof arena);
    options.eps = 0;
    r.tensor_norms = tensor_norms;
    CHECK_STATUS(gradclip_get_total_norm_f32(grads, lengths, TENSORS, 2, NULL, &r), GRADCLIP_OK);
    CHECK_NUMBER(r.total_norm, norm);
    for (size_t i = 0; i < TENSORS; i++) CHECK_NUMBER(tensor_norms[i], sqrt((double)squares_of(i)));
    r.tensor_norms = NULL;
    CHECK_STATUS(gradclip_inspect(list, TENSORS, 2, NULL, reports, sizeof *reports, &r), GRADCLIP_OK);
    CHECK_NUMBER(r.total_norm, norm);
    for (size_t i = 0; i < TENSORS; i++) CHECK(reports[i].norm == tensor_norms[i] && reports[i].length == lengths[i], "tensor %zu: %a", i, reports[i].norm);
    for (int typed = 0; typed < 2; typed++) {
        memcpy(arena, before, sizeof arena);
        if (typed) CHECK_STATUS(gradclip_clip_grad_norm_f32(grads, lengths, TENSORS, norm / 2, 2, &options, &r), GRADCLIP_OK);
        else CHECK_STATUS(gradclip_clip_grad_norm(list, TENSORS, norm / 2, 2, &options, &r), GRADCLIP_OK);
        CHECK_NUMBER(r.clip_coef, 0.5);
        size_t wrong = 0;
        for (size_t i = 0; i < TENSORS * LONGEST_OF_MANY; i++) wrong += arena[i] != before[i] / 2;
        CHECK(wrong == 0, "%zu elements are not halved", wrong);
    }
    size_t last = TENSORS - 1 - (lengths[TENSORS - 1] == 0);
    grads[last][lengths[last] - 1] = INFINITY;
    CHECK_STATUS(gradclip_clip_grad_norm_f32(grads, lengths, TENSORS, 1, 2, NULL, &r), GRADCLIP_NON_FINITE);
    CHECK(r.first_tensor == last && r.first_element == lengths[last] - 1, "tensor %llu", (unsigned long long)r.first_tensor);
}

int main(void)
{
    many_tensors();
    more_elements_than_31_bits_count();
    printf("seed %llu; ", (unsigned long long)RANDOM_SEED);
    return checks_summary("sizes");
}
