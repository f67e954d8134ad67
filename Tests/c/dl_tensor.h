/* DLPack's DLTensor, as dlpack.h 1.x lays it out. */
#ifndef DL_TENSOR_H
#define DL_TENSOR_H

#include <stdint.h>

struct dl_tensor {
    void *data;
    int32_t device_type, device_id, ndim;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t byte_offset;
};

#endif
