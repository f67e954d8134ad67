/* The norms and results of gradclip.h from plain loops over single elements, written
 * without a look at the library. */
#ifndef GRADCLIP_FUZZ_REFERENCE_H
#define GRADCLIP_FUZZ_REFERENCE_H

#include "gradclip.h"

/* Enough for the sum of squares of any doubles, with more than twice their precision. */
typedef struct reference_norm {
    double norm;      /* total_norm for grad_scale 1, over what the policy counts */
    long double fine; /* the same with more digits; 0 or INFINITY where they do not fit */
    uint64_t nonfinite, nan, first_tensor, first_element;
} reference_norm;

/* skip: leave non-finite elements out (policy ZERO). */
reference_norm reference(const gradclip_tensor *tensors, size_t count, double norm_type, int skip);

/* One element as a double, and a double rounded to an element's type. */
double element(const gradclip_tensor *tensor, uint64_t index);

#endif
