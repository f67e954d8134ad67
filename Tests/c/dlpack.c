/* gradclip_tensors_from_dlpack: rows of what a DLPack reader gives. */
#include "check.h"
#include "dl_tensor.h"

#include <math.h>
#include <stdlib.h>

enum { FLOAT = 2, BFLOAT = 4, COMPLEX = 5, CPU = 1, CUDA = 2 };

static int reads;

/* An object is a dl_tensor here, NULL one that cannot be read. */
static int copy_out(void *object, void *out)
{
    reads++;
    if (!object) return -1;
    memcpy(out, object, sizeof(struct dl_tensor));
    return 0;
}

static struct dl_tensor plain(void *data, uint8_t code, uint8_t bits, int32_t ndim, int64_t *shape, int64_t *strides)
{
    return (struct dl_tensor){data, CPU, 0, ndim, code, bits, 1, shape, strides, 0};
}

static void rows_of_every_dtype_are_clipped(void)
{
    float a[] = {3, 0, 0, 0, 4, 0};
    double b[] = {0, 12};
    uint16_t half[] = {0, 0}, brain[] = {0};
    int64_t two_three[] = {2, 3}, rows[] = {3, 1}, two[] = {2}, one_one[] = {1, 1}, any[] = {77, -5};
    struct dl_tensor given[] = {
        plain(a, FLOAT, 32, 2, two_three, rows),   plain(b - 1, FLOAT, 64, 1, two, NULL),
        plain(half, FLOAT, 16, 1, two, NULL),      plain(brain, BFLOAT, 16, 2, one_one, any), /* strides of extent 1 */
        plain(NULL, FLOAT, 32, 2, (int64_t[]){0, 4}, (int64_t[]){9, 9}), plain(&brain[0], BFLOAT, 16, 0, NULL, NULL),
    };
    enum { COUNT = sizeof given / sizeof *given };
    static const uint32_t dtypes[] = {GRADCLIP_F32, GRADCLIP_F64, GRADCLIP_F16, GRADCLIP_BF16, GRADCLIP_F32, GRADCLIP_BF16};
    static const uint64_t lengths[] = {6, 2, 2, 1, 0, 1};
    void *objects[COUNT], *data[] = {a, b, half, brain, NULL, brain};
    gradclip_tensor list[COUNT + 1];
    memset(list, 0x5a, sizeof list);
    given[1].byte_offset = 8;
    given[0].device_id = 7; /* means nothing for the CPU */
    for (int i = 0; i < COUNT; i++) objects[i] = &given[i];
    reads = 0;
    CHECK_STATUS(gradclip_tensors_from_dlpack(objects, COUNT, copy_out, list), GRADCLIP_OK);
    CHECK(reads == COUNT, "%d", reads);
    for (int i = 0; i < COUNT; i++) {
        CHECK(list[i].data == data[i] && list[i].length == lengths[i] && list[i].dtype == dtypes[i], "row %d", i);
        CHECK(list[i].flags == 0 && list[i].device_type == 1 && list[i].device_id == 0, "row %d", i);
    }
    CHECK(list[COUNT].flags == 0x5a5a5a5a, "no row is written beyond count");
    gradclip_result r = new_result();
    CHECK_STATUS(gradclip_clip_grad_norm(list, COUNT - 1, 6.5, 2, NULL, &r), GRADCLIP_OK);
    CHECK_NUMBER(r.total_norm, 13);
    CHECK(fabs(a[0] - 1.5) < 1e-6 && fabs(b[1] - 6) < 1e-5, "%g %g", a[0], b[1]);
}

static void refused(struct dl_tensor *second, const char *message)
{
    float x[] = {1};
    int64_t one[] = {1};
    struct dl_tensor first = plain(x, FLOAT, 32, 1, one, NULL);
    void *objects[] = {&first, second, &first};
    gradclip_tensor list[3];
    memset(list, 0x5a, sizeof list);
    reads = 0;
    CHECK_STATUS(gradclip_tensors_from_dlpack(objects, 3, copy_out, list), GRADCLIP_ERROR_UNSUPPORTED);
    CHECK(!strcmp(gradclip_last_error(), message), "%s", gradclip_last_error());
    CHECK(reads == 2 && list[0].data == x && list[1].flags == 0x5a5a5a5a, "the first is filled, the rest not looked at");
}

static void what_has_no_row_is_named(void)
{
    float x[12] = {0};
    int64_t shape[] = {3, 4}, columns[] = {1, 3}, wide[] = {8, 1}, still[] = {0, 1}, back[] = {-4, 1};
    struct dl_tensor t;
    refused(NULL, "objects[1] must be readable: read() must return 0 (got -1)");
    t = plain(x, FLOAT, 32, 2, shape, NULL), t.device_type = CUDA;
    refused(&t, "objects[1].device_type must be 1 (CPU memory) (got 2)");
    t = plain(x, FLOAT, 32, 2, shape, NULL), t.lanes = 4;
    refused(&t, "objects[1].dtype must be one of gradclip's (got 270338)");
    t = plain(x, COMPLEX, 64, 2, shape, NULL);
    refused(&t, "objects[1].dtype must be one of gradclip's (got 81925)");
    t = plain(x, 0, 64, 2, shape, NULL);
    refused(&t, "objects[1].dtype must be one of gradclip's (got 81920)");
    t = plain(x, FLOAT, 32, 2, shape, columns);
    refused(&t, "objects[1].strides must be row-major, and data not NULL (got 1)");
    t = plain(x, FLOAT, 32, 2, shape, wide);
    refused(&t, "objects[1].strides must be row-major, and data not NULL (got 8)");
    t = plain(x, FLOAT, 32, 2, shape, still);
    refused(&t, "objects[1].strides must be row-major, and data not NULL (got 0)");
    t = plain(x, FLOAT, 32, 2, shape, back);
    refused(&t, "objects[1].strides must be row-major, and data not NULL (got -4)");
    t = plain(x, FLOAT, 32, 2, NULL, NULL);
    refused(&t, "objects[1].shape must be extents >= 0 of less than 2^63 elements (got -1)");
    t = plain(x, FLOAT, 32, 2, (int64_t[]){-3, -4}, NULL);
    refused(&t, "objects[1].shape must be extents >= 0 of less than 2^63 elements (got -4)");
    t = plain(x, FLOAT, 32, 2, (int64_t[]){-3, 4}, NULL);
    refused(&t, "objects[1].shape must be extents >= 0 of less than 2^63 elements (got -3)");
    t = plain(x, FLOAT, 32, 2, (int64_t[]){1ll << 32, 1ll << 32}, NULL); /* 2^64: 0 of 64 bits */
    refused(&t, "objects[1].shape must be extents >= 0 of less than 2^63 elements (got 4294967296)");
    t = plain(x, FLOAT, 32, -1, shape, NULL);
    refused(&t, "objects[1].ndim must be >= 0 (got -1)");
    t = plain(NULL, FLOAT, 32, 2, shape, NULL);
    refused(&t, "objects[1].strides must be row-major, and data not NULL (got 1)");
}

static void arguments(void)
{
    void *object = NULL;
    gradclip_tensor row;
    CHECK_STATUS(gradclip_tensors_from_dlpack(NULL, 0, NULL, NULL), GRADCLIP_OK);
    CHECK_STATUS(gradclip_tensors_from_dlpack(NULL, 1, copy_out, &row), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gradclip_tensors_from_dlpack(&object, 1, NULL, &row), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gradclip_tensors_from_dlpack(&object, 1, copy_out, NULL), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK(!strcmp(gradclip_last_error(), "tensors must not be NULL (got NULL)"), "%s",
          gradclip_last_error());
    CHECK_STATUS(gradclip_tensors_from_dlpack(&object, SIZE_MAX, copy_out, &row), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gradclip_tensors_from_dlpack(&object, SIZE_MAX / 64 + 1, copy_out, &row), GRADCLIP_ERROR_INVALID_ARGUMENT);
    CHECK(!strncmp(gradclip_last_error(), "count is too large for an array (got ", 37), "%s", gradclip_last_error());
}

int main(void)
{
    rows_of_every_dtype_are_clipped();
    what_has_no_row_is_named();
    arguments();
    return checks_summary("dlpack");
}
