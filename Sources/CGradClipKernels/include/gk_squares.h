// Squares of integers of 52 bits, and the flag that tells whether anything was rounded on the way to them
// (FixedSquares.swift). The kernels of x86-64-v4 have the instructions of AVX-512 IFMA here, and only those that are
// chosen for processors with it may call them. Anywhere else a model in C stands for them, by which tests try the arithmetic.
#ifndef GK_SQUARES_H
#define GK_SQUARES_H

#include "gk_vectors.h"

// What keeps the compiler from moving arithmetic across a look at the flag are operands: the flag is cleared by
// an instruction from which the scale comes, so nothing that is scaled is computed before; and it is read by one through
// which the or of all that was computed goes, so all of it is computed by then. Arithmetic that does neither might come
// in between: at worst it raises the flag, and an exact block is summed in another way.
#if defined(__AVX512F__)
#define GK_IN_REGISTER "+v"
#else
#define GK_IN_REGISTER "+m"
#endif

// Forgets that anything was inexact so far; returns scale.
GK_INLINE gk_f64x8 gk_watch_inexact(gk_f64x8 scale) {
#if defined(__x86_64__)
    uint32_t control;
    __asm__ volatile("stmxcsr %0" : "=m"(control));
    control &= ~UINT32_C(0x20);
    __asm__ volatile("ldmxcsr %1" : GK_IN_REGISTER(scale) : "m"(control));
#elif defined(__aarch64__)
    uint64_t flags;
    __asm__ volatile("mrs %0, fpsr" : "=r"(flags));
    __asm__ volatile("msr fpsr, %1" : "+m"(scale) : "r"(flags & ~UINT64_C(0x10)));
#endif
    return scale;
}

// The or of all that was computed, with the highest bit of each lane set if anything was inexact since.
GK_INLINE gk_u64x8 gk_note_inexact(gk_u64x8 seen) {
    uint64_t flag = 0x20; // where nobody knows: it was
#if defined(__x86_64__)
    uint32_t control;
    __asm__ volatile("stmxcsr %0" : "=m"(control), GK_IN_REGISTER(seen));
    flag = control & 0x20;
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, fpsr" : "=r"(flag), "+m"(seen));
    flag = flag << 1 & 0x20;
#endif
    return seen | flag << 58;
}

// The bits of x * scale + 2^52, rounded once. (As an instruction, so that it is this one that raises the flag.)
GK_INLINE gk_u64x8 gk_integers(gk_f64x8 x, gk_f64x8 scale, gk_f64x8 two52) {
#if defined(__AVX512F__)
    __asm__("vfmadd213pd %2, %1, %0" : "+v"(x) : "v"(scale), "v"(two52));
    return (gk_u64x8)x;
#else
    return (gk_u64x8)(x * scale + two52); // scale is a power of two: the product is exact
#endif
}

// sum + the lower, or the upper, 52 bits of the square of x's lower 52 bits.
GK_INLINE gk_u64x8 gk_add_lower_halves(gk_u64x8 sum, gk_u64x8 x) {
#if defined(__AVX512F__)
    __asm__("vpmadd52luq %1, %1, %0" : "+v"(sum) : "v"(x));
#else
    for (int i = 0; i < 8; i++) {
        const unsigned __int128 low = x[i] & 0xfffffffffffff;
        sum[i] += (uint64_t)(low * low) & 0xfffffffffffff;
    }
#endif
    return sum;
}

GK_INLINE gk_u64x8 gk_add_upper_halves(gk_u64x8 sum, gk_u64x8 x) {
#if defined(__AVX512F__)
    __asm__("vpmadd52huq %1, %1, %0" : "+v"(sum) : "v"(x));
#else
    for (int i = 0; i < 8; i++) {
        const unsigned __int128 low = x[i] & 0xfffffffffffff;
        sum[i] += (uint64_t)(low * low >> 52);
    }
#endif
    return sum;
}

#endif
