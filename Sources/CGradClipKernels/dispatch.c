// Chooses the kernels of the process.
#include "CGradClipKernels.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

// The levels of the x86-64 psABI. The processor must have the instructions, and
// the operating system must save the registers (XCR0), which cpuid alone does not
// tell. By hand, because libgcc's feature table alone takes 4 KB.
static unsigned x86_level(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 1;
    const unsigned v3_c = bit_FMA | bit_MOVBE | bit_OSXSAVE | bit_AVX | bit_F16C | bit_SSE4_2 | bit_POPCNT;
    if ((c & v3_c) != v3_c) return 1;
    unsigned saved, high;
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    if ((saved & 0x6) != 0x6) return 1; // xmm, ymm
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 1;
    const unsigned v3_b = bit_AVX2 | bit_BMI | bit_BMI2;
    const unsigned v4_b = bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL;
    if ((b & v3_b) != v3_b) return 1;
    unsigned features = b;
    if (!__get_cpuid(0x80000001, &a, &b, &c, &d) || !(c & bit_LZCNT)) return 1;
    if ((features & v4_b) != v4_b || (saved & 0xe6) != 0xe6) return 3; // opmask, zmm
    return 4;
}
#endif

static gk_kernels kernels;
static uint32_t isa;
static atomic_int state; // 0: not chosen, 1: being chosen, 2: chosen

static void choose(void) {
    gradclip_kernels_baseline(&kernels);
#if defined(__aarch64__)
    isa = GK_ISA_NEON;
#elif defined(__x86_64__)
    const char *wanted = getenv("GRADCLIP_ISA");
    const unsigned level = x86_level();
    isa = GK_ISA_BASELINE;
    if (wanted && strcmp(wanted, "baseline") == 0) return;
    if (gradclip_kernels_x86_64_v3 && level >= 3) {
        gradclip_kernels_x86_64_v3(&kernels);
        isa = GK_ISA_X86_64_V3;
    }
    if (wanted && strcmp(wanted, "x86-64-v3") == 0) return;
    if (gradclip_kernels_x86_64_v4 && level >= 4) {
        gradclip_kernels_x86_64_v4(&kernels);
        isa = GK_ISA_X86_64_V4;
    }
#endif
}

const gk_kernels *gk_process_kernels(void) {
    int seen = atomic_load_explicit(&state, memory_order_acquire);
    while (seen != 2) {
        int none = 0;
        if (atomic_compare_exchange_strong(&state, &none, 1)) {
            choose();
            atomic_store_explicit(&state, 2, memory_order_release);
        }
        seen = atomic_load_explicit(&state, memory_order_acquire);
    }
    return &kernels;
}

uint32_t gk_process_isa(void) {
    gk_process_kernels();
    return isa;
}
