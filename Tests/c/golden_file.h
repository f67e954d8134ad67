/* Reading Tests/golden/golden.txt (its README.md has the format). */
#ifndef GOLDEN_FILE_H
#define GOLDEN_FILE_H

#include <stddef.h>
#include <stdint.h>

/* Stands among expected elements for "any NaN". */
#define ANY_NAN UINT64_MAX
#define MAX_TENSORS 16

enum call { CALL_CLIP, CALL_WITH, CALL_SCALE, CALL_VALUE, CALL_COEF };

struct element_type {
    const char *name;
    uint32_t dtype;
    size_t size;
    uint64_t sign, infinity;
};

struct tensor {
    const struct element_type *type;
    int counted;
    size_t offset, length;
    double norm;
    long norm_ulps;
    uint64_t *input, *expected; /* bit patterns */
    int unwritten;              /* not even an out-of-place call writes it */
};

struct golden {
    enum call call;
    int line;
    const char *note;
    double p, max_norm, eps, grad_scale, total, factor_in; /* arguments */
    int policy;
    /* What must come out. */
    int status;
    double total_norm, coef, factor;
    long total_ulps, coef_ulps, element_ulps;
    uint64_t nonfinite, nans, first_tensor, first_element;
    size_t count;
    struct tensor tensors[MAX_TENSORS];
};

/* Open the file; the process ends with a message if that fails, and so it does
 * on a line that is not understood. */
void golden_open(const char *path);

/* The next case, or 0 at the end. What it points to lives until the next call. */
int golden_next(struct golden *g);

#endif
