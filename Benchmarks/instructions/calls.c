/*
 * calls WHAT TIMES: calls of one kind, again and again, for valgrind to count their instructions (annotations.py).
 * WHAT is a number below `kinds`; with none the names are printed.
 */
#include <gradclip.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TENSORS = 200, LENGTH = 16, LARGE = 65536 };

static float data[TENSORS * LENGTH], *pointers[TENSORS], large[LARGE];
static double norms[TENSORS];
static size_t lengths[TENSORS];
static gradclip_tensor list[TENSORS];
static gradclip_report reports[TENSORS];
static gradclip_options options;
static gradclip_result result;
static gradclip_accumulator *accumulator;
static gradclip_chooser *chooser;
static gradclip_decision decision;

static gradclip_status clip(size_t count, double p, double *tensor_norms)
{
    result.tensor_norms = tensor_norms;
    return gradclip_clip_grad_norm_f32(pointers, lengths, count, 1e9, p, &options, &result);
}

static gradclip_status one(void) { return clip(1, 2, NULL); }
static gradclip_status many(void) { return clip(TENSORS, 2, NULL); }
static gradclip_status cubes(void) { return clip(TENSORS, 3, NULL); }
static gradclip_status own_norms(void) { return clip(TENSORS, 2, norms); }
static gradclip_status by_norm(void)
{
    double limit = 1e9;
    result.tensor_norms = NULL;
    return gradclip_clip_by_norm(list, TENSORS, &limit, 1, 2, &options, &result, NULL);
}
static gradclip_status inspect(void) { return gradclip_inspect(list, TENSORS, 2, &options, reports, sizeof *reports, NULL); }
static gradclip_status accumulate(void)
{
    gradclip_status status = gradclip_accumulator_add(accumulator, list, TENSORS);
    return status ? status : gradclip_accumulator_finish(accumulator, 1e9, &result);
}
static gradclip_status feed(void)
{
    static int step;
    return gradclip_chooser_feed(chooser, 1 + step++ % 7, NULL, &decision);
}

static gradclip_status large_norm(uint32_t dtype, size_t length, double p)
{
    gradclip_tensor tensor;
    memset(&tensor, 0, sizeof tensor);
    tensor.data = large, tensor.length = length, tensor.dtype = dtype;
    result.tensor_norms = NULL;
    return gradclip_get_total_norm(&tensor, 1, p, &options, &result);
}
static gradclip_status large_f32(void) { return large_norm(GRADCLIP_F32, LARGE, 2); }
static gradclip_status large_bf16(void) { return large_norm(GRADCLIP_BF16, 2 * LARGE, 2); }
static gradclip_status large_power(void) { return large_norm(GRADCLIP_F32, LARGE, 2.7); }

static const struct {
    const char *name;
    gradclip_status (*call)(void);
} kinds[] = {{"one element", one}, {"200 x 16", many}, {"200 x 16, p = 3", cubes}, {"200 x 16, tensor_norms", own_norms},
             {"clip_by_norm", by_norm}, {"inspect", inspect}, {"accumulator", accumulate}, {"chooser", feed},
             {"64k float32", large_f32}, {"128k bfloat16", large_bf16}, {"64k float32, p = 2.7", large_power}};

int main(int argc, char **argv)
{
    const size_t count = sizeof kinds / sizeof *kinds;
    if (argc < 3) {
        for (size_t i = 0; i < count; i++) puts(kinds[i].name);
        return 0;
    }
    for (int i = 0; i < TENSORS * LENGTH; i++) data[i] = (float)(i % 101 - 50) * 0.01f;
    for (int i = 0; i < LARGE; i++) large[i] = (float)(i % 1009 - 500) * 0x1p-9f;
    for (int i = 0; i < TENSORS; i++) {
        pointers[i] = data + LENGTH * i, lengths[i] = LENGTH;
        list[i].data = pointers[i], list[i].length = LENGTH, list[i].dtype = GRADCLIP_F32;
    }
    lengths[0] = atoi(argv[1]) == 0 ? 1 : LENGTH;
    gradclip_options_init(&options, sizeof options);
    gradclip_result_init(&result, sizeof result);
    gradclip_decision_init(&decision, sizeof decision);
    options.num_threads = 1;
    gradclip_chooser_options choose;
    gradclip_chooser_options_init(&choose, sizeof choose, GRADCLIP_AUTOCLIP);
    if (gradclip_accumulator_create(2, &options, &accumulator) || gradclip_chooser_create(&choose, &chooser)) return 1;
    for (int i = 0; i < atoi(argv[2]); i++)
        if (kinds[(size_t)atoi(argv[1]) % count].call() != GRADCLIP_OK) {
            fprintf(stderr, "%s\n", gradclip_last_error());
            return 1;
        }
    gradclip_chooser_free(chooser);
    gradclip_accumulator_free(accumulator);
    return 0;
}
