// Chooses the kernels of the process.
#include "CGradClipKernels.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
// __builtin_cpu_supports also asks the operating system whether it saves the
// registers, which cpuid alone does not tell.
static bool supports_v3(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")
        && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("lzcnt")
        && __builtin_cpu_supports("movbe");
}

static bool supports_v4(void) {
    return supports_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
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
    isa = GK_ISA_BASELINE;
    if (wanted && strcmp(wanted, "baseline") == 0) return;
    if (gradclip_kernels_x86_64_v3 && supports_v3()) {
        gradclip_kernels_x86_64_v3(&kernels);
        isa = GK_ISA_X86_64_V3;
    }
    if (wanted && strcmp(wanted, "x86-64-v3") == 0) return;
    if (gradclip_kernels_x86_64_v4 && supports_v4()) {
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
