// Chooses the kernels of the process.
#include "CGradClipKernels.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

// The levels of the x86-64 psABI. The processor must have the instructions, and
// the operating system must save the registers (XCR0), which cpuid alone does not
// tell. By hand, because libgcc's feature table alone takes 4 KB. 5: the fourth with AVX-512 IFMA.
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
    return features & bit_AVX512IFMA ? 5 : 4;
}

// Whether IFMA is taken unasked. On AMD's only from Zen 5 on, family 26, where it was measured to be 1.4 times as
// fast. By LLVM's model of Zen 4 it lets 16 elements through in 10 cycles, and two accumulators do in 8 (docs/performance.md).
static bool prefers_ifma(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d) || c != signature_AMD_ecx) return true;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
    const unsigned family = ((a >> 8) & 0xf) + ((a >> 20) & 0xff);
    return family >= 26;
}
#endif

// Fills the table with what this process is to use; returns which that is.
static uint32_t choose(gk_kernels *table) {
    gradclip_kernels_baseline(table);
#if defined(__aarch64__)
    return GK_ISA_NEON;
#elif defined(__x86_64__)
    const char *wanted = getenv("GRADCLIP_ISA");
    const unsigned level = x86_level();
    if (level < 3 || !gradclip_kernels_x86_64_v3 || (wanted && strcmp(wanted, "baseline") == 0)) return GK_ISA_BASELINE;
    gradclip_kernels_x86_64_v3(table);
    if (level < 4 || !gradclip_kernels_x86_64_v4 || (wanted && strcmp(wanted, "x86-64-v3") == 0)) return GK_ISA_X86_64_V3;
    gradclip_kernels_x86_64_v4(table);
    const bool asked = wanted && strcmp(wanted, "x86-64-v4-ifma") == 0;
    if (level < 5 || !gradclip_kernels_x86_64_v4_ifma || (wanted && strcmp(wanted, "x86-64-v4") == 0) || !(asked || prefers_ifma()))
        return GK_ISA_X86_64_V4;
    gradclip_kernels_x86_64_v4_ifma(table);
    return GK_ISA_X86_64_V4_IFMA;
#else
    return GK_ISA_BASELINE;
#endif
}

static gk_kernels chosen;
static uint32_t chosen_isa; // + 1; 0: not yet

// When the library is loaded. No thread is there then that calls it, so what is chosen is written once, and read without a lock;
// a child of a fork has it, too.
__attribute__((constructor)) static void load(void) {
    if (!chosen_isa) chosen_isa = choose(&chosen) + 1;
}

const gk_kernels *gk_process_kernels(void) {
    load(); // for what runs earlier while a program is loaded
    return &chosen;
}

uint32_t gk_process_isa(void) {
    load();
    return chosen_isa - 1;
}
