// The floating point control word, which Swift cannot reach.
#ifndef GK_ENVIRONMENT_H
#define GK_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Round to nearest, no flush to zero, IEEE halves, exceptions masked; returns what
// was, with the flags of the exceptions raised so far.
static inline uint64_t gk_float_environment_enter(void) {
#if defined(__x86_64__)
    uint32_t was;
    uint32_t ours = 0x1f80;
    __asm__ volatile("stmxcsr %0" : "=m"(was));
    __asm__ volatile("ldmxcsr %0" : : "m"(ours) : "memory");
    return was;
#elif defined(__aarch64__)
    uint64_t control, flags; // 32 bits each
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    __asm__ volatile("mrs %0, fpsr" : "=r"(flags));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0) : "memory");
    return flags << 32 | control;
#else
    return 0;
#endif
}

// Towards zero, and to nearest again.
static inline void gk_round_towards_zero(bool towards_zero) {
#if defined(__x86_64__)
    uint32_t ours = towards_zero ? 0x7f80 : 0x1f80;
    __asm__ volatile("ldmxcsr %0" : : "m"(ours) : "memory");
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)(towards_zero ? 0xc00000 : 0)) : "memory");
#endif
}

static inline void gk_float_environment_leave(uint64_t was) {
#if defined(__x86_64__)
    uint32_t value = (uint32_t)was;
    __asm__ volatile("ldmxcsr %0" : : "m"(value) : "memory");
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(was & 0xffffffff) : "memory");
    __asm__ volatile("msr fpsr, %0" : : "r"(was >> 32) : "memory");
#else
    (void)was;
#endif
}

#endif
