/* gradclip_find_overlap: whether a list names memory twice. Nothing lies at most of these addresses. */
#include "check.h"
#include "random.h"

#include <stdlib.h>

enum { MOST = 300, MANY = 100000 };

static gradclip_tensor at(uintptr_t address, size_t length, uint32_t dtype)
{
    return tensor_of((void *)address, length, dtype);
}

static size_t bytes_of(const gradclip_tensor *t)
{
    return (size_t)t->length * (t->dtype == GRADCLIP_F64 ? 8 : t->dtype == GRADCLIP_F32 ? 4 : 2);
}

/* Of two tensors with elements. */
static int share(const gradclip_tensor *a, const gradclip_tensor *b)
{
    uintptr_t x = (uintptr_t)a->data, y = (uintptr_t)b->data;
    return x <= y ? y - x < bytes_of(a) : x - y < bytes_of(b);
}

static int found_is(const gradclip_tensor *list, size_t count, size_t first, size_t second)
{
    size_t i = 77, j = 88;
    CHECK_STATUS(gradclip_find_overlap(list, count, &i, &j), GRADCLIP_OK);
    CHECK(i == first && j == second, "found %zu and %zu of %zu, not %zu and %zu", i, j, count, first, second);
    return i == first && j == second;
}

static void few_tensors(void)
{
    gradclip_tensor apart[] = {at(1000, 4, GRADCLIP_F32), at(1016, 1, GRADCLIP_F64), at(992, 4, GRADCLIP_BF16)};
    gradclip_tensor tied[] = {at(5000, 3, GRADCLIP_F32), at(1000, 3, GRADCLIP_F32), at(1000, 3, GRADCLIP_F32)};
    gradclip_tensor end[] = {at(1016, 1, GRADCLIP_F16), at(1000, 9, GRADCLIP_BF16)};
    gradclip_tensor empty[] = {at(1000, 4, GRADCLIP_F32), at(1004, 0, GRADCLIP_F32), at(0, 0, GRADCLIP_F64), at(1004, 0, GRADCLIP_F32)};
    gradclip_tensor inner[] = {at(1000, 100, GRADCLIP_F64), at(1100, 1, GRADCLIP_F32), at(1200, 1, GRADCLIP_F32)};
    found_is(NULL, 0, 0, 0);
    found_is(apart, 1, 1, 1);
    found_is(apart, 3, 3, 3);
    found_is(tied, 3, 1, 2);
    found_is(end, 2, 0, 1);
    found_is(empty, 4, 4, 4);
    found_is(inner, 3, 0, 1);
    tied[1].flags = GRADCLIP_UNCOUNTED; /* scaled twice all the same */
    found_is(tied, 3, 1, 2);
}

/* At both ends of what an address can be, and with every byte of it different. */
static void far_apart(void)
{
    gradclip_tensor list[] = {at(UINTPTR_MAX - 7, 1, GRADCLIP_F64), at(1, 1, GRADCLIP_F16), at(UINTPTR_MAX / 2, 3, GRADCLIP_F16),
                              at(UINT64_C(0x0102030405060708), 1, GRADCLIP_F32), at(3, PTRDIFF_MAX / 8, GRADCLIP_F64)};
    found_is(list, 4, 4, 4);
    found_is(list, 5, 3, 4);
    list[3] = at(UINTPTR_MAX - 3, 1, GRADCLIP_F16);
    found_is(list, 4, 0, 3);
}

static void like_comparing_all_pairs(void)
{
    static gradclip_tensor list[MOST];
    for (int round = 0; round < 4000; round++) {
        size_t count = below(round % 10 ? 12 : MOST), room = 1 + below(round % 3 ? 40 : 40 * MOST), lowest = count, other = count;
        unsigned shift = (unsigned)below(50);
        for (size_t i = 0; i < count; i++) {
            uint32_t dtype = 1 + (uint32_t)below(4);
            /* Now and then spread over all of memory, with the neighbours kept. */
            list[i] = at(4096 + 16 * below(room) + (round & 1 ? (uintptr_t)below(3) << shift : 0), below(6), dtype);
        }
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < count; j++)
                if (i != j && list[i].length && list[j].length && share(&list[i], &list[j]) && list[i].data <= list[j].data &&
                    (lowest == count || list[i].data < list[lowest].data))
                    lowest = i, other = j;
        size_t i = 77, j = 88;
        CHECK_STATUS(gradclip_find_overlap(list, count, &i, &j), GRADCLIP_OK);
        if (lowest == count) {
            CHECK(i == count && j == count, "round %d: %zu and %zu of %zu", round, i, j, count);
            continue;
        }
        CHECK(i < j && j < count && share(&list[i], &list[j]), "round %d: %zu and %zu of %zu", round, i, j, count);
        CHECK(list[i].data == list[lowest].data || list[j].data == list[lowest].data, "round %d: %zu and %zu, not %zu and %zu", round, i, j, lowest, other);
    }
}

static void many_tensors(void)
{
    gradclip_tensor *list = malloc(MANY * sizeof *list);
    size_t *order = malloc(MANY * sizeof *order);
    if (!list || !order) exit(2);
    for (size_t i = 0; i < MANY; i++) {
        size_t k = below(i + 1);
        order[i] = i;
        order[i] = order[k], order[k] = i;
    }
    for (size_t i = 0; i < MANY; i++) list[i] = at(UINT64_C(0x7f0000000000) + order[i] * 4000, 1000, GRADCLIP_F32);
    found_is(list, MANY, MANY, MANY);
    list[MANY / 2].length++; /* into the next one in memory, if there is one */
    size_t next = 0, first, second;
    while (next < MANY && order[next] != order[MANY / 2] + 1) next++;
    first = next < MANY / 2 ? next : MANY / 2, second = next < MANY / 2 ? MANY / 2 : next;
    found_is(list, MANY, next < MANY ? first : MANY, next < MANY ? second : MANY);
    free(list);
    free(order);
}

static void refusals(void)
{
    gradclip_tensor list[] = {at(1000, 4, GRADCLIP_F32), at(1000, 4, GRADCLIP_F32)};
    size_t i = 77, j = 88;
    CHECK_STATUS(gradclip_find_overlap(NULL, 2, &i, &j), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK(strstr(gradclip_last_error(), "grads"), "%s", gradclip_last_error());
    CHECK_STATUS(gradclip_find_overlap(list, SIZE_MAX, &i, &j), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK(strstr(gradclip_last_error(), "count"), "%s", gradclip_last_error());
    CHECK_STATUS(gradclip_find_overlap(list, 2, NULL, &j), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK(strstr(gradclip_last_error(), "first must not be NULL"), "%s", gradclip_last_error());
    CHECK_STATUS(gradclip_find_overlap(list, 2, &i, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK(strstr(gradclip_last_error(), "second must not be NULL"), "%s", gradclip_last_error());
    list[1].dtype = 9;
    CHECK_STATUS(gradclip_find_overlap(list, 2, &i, &j), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK(strstr(gradclip_last_error(), "grads[1].dtype"), "%s", gradclip_last_error());
    list[1] = at(0, 4, GRADCLIP_F32);
    CHECK_STATUS(gradclip_find_overlap(list, 2, &i, &j), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK(strstr(gradclip_last_error(), "grads[1].data"), "%s", gradclip_last_error());
    list[1] = at(1000, SIZE_MAX / 2, GRADCLIP_F32);
    CHECK_STATUS(gradclip_find_overlap(list, 2, &i, &j), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK(strstr(gradclip_last_error(), "grads[1].length"), "%s", gradclip_last_error());
    list[1] = at(1000, 4, GRADCLIP_F32);
    list[1].device_type = 2;
    CHECK_STATUS(gradclip_find_overlap(list, 2, &i, &j), GRADCLIP_ERROR_UNSUPPORTED);
    CHECK(i == 77 && j == 88, "a failing call wrote");
}

int main(void)
{
    few_tensors();
    far_apart();
    like_comparing_all_pairs();
    many_tensors();
    refusals();
    return checks_summary("overlap");
}
