#include "reference.h"

#include <math.h>
#include <string.h>

static double from_half(uint16_t bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double value;
    if (exponent == 31)
        value = fraction ? NAN : INFINITY;
    else if (exponent == 0)
        value = ldexp(fraction, -24);
    else
        value = ldexp(1024 + fraction, exponent - 25);
    return bits >> 15 ? -value : value;
}

double element(const gradclip_tensor *tensor, uint64_t index) {
    const char *at = tensor->data;
    uint16_t half;
    uint32_t word;
    float single;
    double value;
    switch (tensor->dtype) {
    case GRADCLIP_F32:
        memcpy(&single, at + index * 4, 4);
        return single;
    case GRADCLIP_F64:
        memcpy(&value, at + index * 8, 8);
        return value;
    case GRADCLIP_F16:
        memcpy(&half, at + index * 2, 2);
        return from_half(half);
    default:
        memcpy(&half, at + index * 2, 2);
        word = (uint32_t)half << 16;
        memcpy(&single, &word, 4);
        return single;
    }
}

/* A positive number as fraction * 2^exponent that never leaves its range. */
typedef struct wide {
    long double fraction; /* 0, or in [1/2, 1) */
    long exponent;
} wide;

static wide normal(long double fraction, long exponent) {
    int more;
    if (fraction == 0) return (wide){0, 0};
    fraction = frexpl(fraction, &more);
    return (wide){fraction, exponent + more};
}

static wide sum(wide a, wide b) {
    if (a.fraction == 0) return b;
    if (b.fraction == 0) return a;
    if (a.exponent < b.exponent) {
        const wide c = a;
        a = b;
        b = c;
    }
    const long apart = a.exponent - b.exponent;
    return normal(a.fraction + (apart > 200 ? 0 : ldexpl(b.fraction, -(int)apart)), a.exponent);
}

/* x^p. The error of the logarithm's product grows with p, and is divided by p again
 * when the root is taken. */
static wide power(wide x, long double p) {
    const long double z = (x.exponent + log2l(x.fraction)) * p, down = floorl(z);
    if (fabsl(z) > 0x1p61L) return (wide){0.5L, z > 0 ? 1L << 61 : -(1L << 61)}; /* of small orders only: beyond anything */
    return normal(exp2l(z - down), (long)down);
}

static double rounded(wide x) { return x.fraction == 0 ? 0 : x.exponent > 20000 ? INFINITY : x.exponent < -20000 ? 0 : (double)ldexpl(x.fraction, (int)x.exponent); }

reference_norm reference(const gradclip_tensor *tensors, size_t count, double p, int skip) {
    if (fabs(p) >= 0x1p50) p = copysign(INFINITY, p);
    reference_norm result = {.first_tensor = GRADCLIP_NONE, .first_element = GRADCLIP_NONE};
    wide total = {0, 0}, some = {0, 0}; /* the sum, and that of the last terms: thousands of equal ones round alike */
    long double largest = 0, smallest = INFINITY;
    double nonzero_tensors = 0;
    int has_nan = 0, has_infinity = 0, has_zero = 0, has_elements = 0;
    for (size_t i = 0; i < count; i++) {
        if (tensors[i].flags & GRADCLIP_UNCOUNTED) continue;
        int is_nonzero = 0;
        for (uint64_t k = 0; k < tensors[i].length; k++) {
            const double x = fabs(element(&tensors[i], k));
            if (!isfinite(x)) {
                if (result.nonfinite++ == 0) result.first_tensor = i, result.first_element = k;
                result.nan += isnan(x);
                if (skip) continue;
                if (isnan(x)) has_nan = 1;
                else has_infinity = 1;
                is_nonzero = 1;
                has_elements = 1;
                continue;
            }
            has_elements = 1;
            if (x > largest) largest = x;
            if (x < smallest) smallest = x;
            if (x == 0) has_zero = 1;
            else {
                is_nonzero = 1;
                if (p != 0 && !isinf(p)) {
                    const wide w = normal(x, 0);
                    some = sum(some, p == 1 ? w : p == 2 ? normal(w.fraction * w.fraction, 2 * w.exponent) : power(w, p));
                    if (k % 128 == 127) total = sum(total, some), some = (wide){0, 0};
                }
            }
        }
        nonzero_tensors += is_nonzero;
        total = sum(total, some), some = (wide){0, 0};
    }
    if (!has_elements) return result;
    if (p == 0) {
        result.norm = result.fine = nonzero_tensors;
    } else if (has_nan) {
        result.norm = result.fine = NAN;
    } else if (p == INFINITY) {
        result.norm = result.fine = has_infinity ? INFINITY : largest;
    } else if (p == -INFINITY) {
        result.norm = result.fine = smallest == INFINITY ? INFINITY : smallest;
    } else if (p > 0 && has_infinity) {
        result.norm = result.fine = INFINITY;
    } else if (p < 0 && has_zero) {
        result.norm = result.fine = 0;
    } else if (total.fraction == 0) {
        result.norm = result.fine = p < 0 && has_infinity ? INFINITY : 0;
    } else {
        const wide root = p == 1 ? total : p == 2 ? (total.exponent % 2 ? normal(sqrtl(total.fraction * 2), (total.exponent - 1) / 2) : normal(sqrtl(total.fraction), total.exponent / 2)) : power(total, 1 / (long double)p);
        result.norm = rounded(root);
        result.fine = root.exponent > 16000 ? INFINITY : root.exponent < -16000 ? 0 : ldexpl(root.fraction, (int)root.exponent);
    }
    return result;
}
