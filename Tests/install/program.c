/* What a user's program does, with answers that need no library: C99, C11, C++17. */
#include <gradclip.h>

#include <stdio.h>
#include <stdlib.h>

/* 3 and 4 have the norm 5; 2^22 ones, enough for several threads, have 2^11. */
int main(void)
{
    float three[] = {3, 0}, four[] = {4};
    float *grads[2];
    size_t lengths[] = {2, 1};
    size_t many = (size_t)1 << 22, i;
    float *ones = (float *)malloc(many * sizeof *ones);
    gradclip_options options;
    gradclip_result result;
    int failures = 0;

    if (gradclip_version() != GRADCLIP_VERSION) failures |= 1;
    gradclip_options_init(&options, sizeof options);
    options.eps = 0;
    gradclip_result_init(&result, sizeof result);
    grads[0] = three;
    grads[1] = four;
    if (gradclip_clip_grad_norm_f32(grads, lengths, 2, 2.5, 2.0, &options, &result) != GRADCLIP_OK) failures |= 2;
    if (result.total_norm != 5 || result.clip_coef != 0.5) failures |= 4;
    if (three[0] != 1.5f || three[1] != 0 || four[0] != 2) failures |= 8;

    if (!ones) return 16;
    for (i = 0; i < many; i++) ones[i] = 1;
    if (gradclip_clip_grad_norm_f32(&ones, &many, 1, 1024, 2.0, &options, &result) != GRADCLIP_OK) failures |= 32;
    if (result.total_norm != 2048) failures |= 64;
    for (i = 0; i < many; i++) failures |= ones[i] != 0.5f ? 128 : 0;
    free(ones);
    if (failures) fprintf(stderr, "failures: %d\n", failures);
    else printf("%s %s\n", gradclip_version_string(), gradclip_isa());
    return failures != 0;
}
