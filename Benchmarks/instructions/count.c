/*
 * count WHAT BLOCKS: one call over BLOCKS * 4096 normally distributed elements, for an emulator that counts its
 * instructions (count.sh). WHAT is a number below `kinds`; with none the names are printed.
 */
#include <gradclip.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4096 };

static const struct kind {
    const char *name;
    uint32_t dtype;
    double norm_type; /* 0: multiply; -1: inspect */
    int exact_f64, is_wide;
} kinds[] = {
    {"float32, p = 2", GRADCLIP_F32, 2, 0, 0},
    {"float32, p = 1", GRADCLIP_F32, 1, 0, 0},
    {"float32, p = 2, every exponent", GRADCLIP_F32, 2, 0, 1},
    {"bfloat16, p = 2", GRADCLIP_BF16, 2, 0, 0},
    {"bfloat16, p = 2, every exponent", GRADCLIP_BF16, 2, 0, 1},
    {"float16, p = 2", GRADCLIP_F16, 2, 0, 0},
    {"float64, p = 2", GRADCLIP_F64, 2, 0, 0},
    {"float64, p = 2, exact_f64", GRADCLIP_F64, 2, 1, 0},
    {"float32, p = 3", GRADCLIP_F32, 3, 0, 0},
    {"float32, p = 2.7", GRADCLIP_F32, 2.7, 0, 0},
    {"float32, p = ∞", GRADCLIP_F32, INFINITY, 0, 0},
    {"multiply float32", GRADCLIP_F32, 0, 0, 0},
    {"multiply bfloat16", GRADCLIP_BF16, 0, 0, 0},
    {"multiply float16", GRADCLIP_F16, 0, 0, 0},
    {"inspect float32", GRADCLIP_F32, -1, 0, 0},
};

static uint64_t state = 88172645463325252u;
static double uniform(void) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (double)(state >> 11) * 0x1p-53;
}

int main(int argc, char **argv) {
    const size_t count = sizeof kinds / sizeof *kinds;
    if (argc < 3) {
        for (size_t i = 0; i < count; i++) puts(kinds[i].name);
        return 0;
    }
    const struct kind *kind = &kinds[(size_t)atoi(argv[1]) % count];
    /* One block, again and again: few instructions, and as many however many blocks are asked for. */
    enum { MOST = 16 };
    const size_t length = (size_t)atoi(argv[2]) * BLOCK, size = kind->dtype == GRADCLIP_F64 ? 8 : kind->dtype == GRADCLIP_F32 ? 4 : 2;
    char *data = calloc(MOST * BLOCK, 8);
    if (!data || length > MOST * BLOCK) return 1;
    for (size_t i = 0; i < BLOCK; i++) {
        double x = 0;
        for (int k = 0; k < 4; k++) x += uniform() - 0.5; /* about normal */
        if (kind->is_wide) x = ldexp(1 + uniform(), (int)(uniform() * 253) - 126);
        float f = (float)x;
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        if (kind->dtype == GRADCLIP_F32) ((float *)data)[i] = f;
        if (kind->dtype == GRADCLIP_F64) ((double *)data)[i] = x;
        if (kind->dtype == GRADCLIP_BF16) ((uint16_t *)data)[i] = (uint16_t)(bits >> 16);
        if (kind->dtype == GRADCLIP_F16) { /* between 2^-14 and 1 */
            uint32_t magnitude = bits & 0x7fffffff;
            if (magnitude < 0x38800000) magnitude = 0x38800000;
            ((uint16_t *)data)[i] = (uint16_t)(((magnitude - 0x38000000) >> 13) | bits >> 31 << 15);
        }
    }
    for (size_t i = 1; i < MOST; i++) memcpy(data + i * BLOCK * size, data, BLOCK * size);
    gradclip_options options;
    gradclip_options_init(&options, sizeof options);
    options.num_threads = 1;
    options.exact_f64 = (uint32_t)kind->exact_f64;
    gradclip_tensor grad = {.data = data, .length = length, .dtype = kind->dtype};
    gradclip_report report;
    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    gradclip_status status;
    if (kind->norm_type > 0) status = gradclip_get_total_norm(&grad, 1, kind->norm_type, &options, &result);
    else if (kind->norm_type < 0) status = gradclip_inspect(&grad, 1, 2, &options, &report, sizeof report, &result);
    else status = gradclip_scale(&grad, 1, 0.75, &options);
    return status == GRADCLIP_OK ? 0 : 1;
}
