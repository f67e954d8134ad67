/* The gradients of mini_gpt.c against difference quotients of its loss. */
#define main mini_gpt_main
#include "../examples/mini_gpt.c"
#undef main

/* Parameters are float and so is the way to the loss: with steps of 2^-6 the quotient
 * has three digits or so for the gradients that matter. */
int main(void)
{
    static const unsigned char text[] =
        "Now, my co-mates and brothers in exile, hath not old custom made this life more sweet";
    arena p = lay_out(zeros(lay_out(NULL).length)), grads = lay_out(zeros(p.length));
    random_state = 7;
    initialise(&p);
    /* Away from the symmetric beginning: biases and gains too. */
    for (size_t i = 0; i < p.length; i++) p.all[i] += (float)(0.1 * random_normal());
    sequence_loss(&p, &grads, text, 1.0f);

    double scale = 0;
    for (size_t i = 0; i < p.length; i++) scale = fmax(scale, fabs(grads.all[i]));
    int checked = 0, wrong = 0;
    float *starts[2 + 10 * LAYERS + 1];
    int tensors = 0;
    starts[tensors++] = p.bytes;
    starts[tensors++] = p.positions;
    for (int l = 0; l < LAYERS; l++) {
        const block *b = &p.blocks[l];
        float *all[] = {b->norm1, b->qkv, b->qkv_bias, b->project, b->project_bias,
                        b->norm2, b->up, b->up_bias, b->down, b->down_bias};
        for (int k = 0; k < 10; k++) starts[tensors++] = all[k];
    }
    starts[tensors++] = p.norm;
    for (int k = 0; k < tensors; k++) {
        size_t begin = (size_t)(starts[k] - p.all), end = k + 1 < tensors ? (size_t)(starts[k + 1] - p.all) : p.length;
        /* The largest gradient of every tensor, and a few at random. */
        size_t largest = begin;
        for (size_t i = begin; i < end; i++)
            if (fabsf(grads.all[i]) > fabsf(grads.all[largest])) largest = i;
        for (int n = 0; n < 12; n++) {
            size_t i = n == 0 ? largest : begin + (size_t)(random_uniform() * (double)(end - begin));
            const float step = 0x1p-6f, kept = p.all[i];
            p.all[i] = kept + step;
            double above = sequence_loss(&p, NULL, text, 0);
            p.all[i] = kept - step;
            double below = sequence_loss(&p, NULL, text, 0);
            p.all[i] = kept;
            double quotient = (above - below) / (2 * step), error = fabs(quotient - grads.all[i]);
            checked++;
            if (error > 0.01 * fabs(quotient) + 2e-4 * scale) {
                wrong++;
                fprintf(stderr, "tensor %d, element %zu: gradient %g, quotient %g\n", k, i - begin, grads.all[i], quotient);
            }
        }
    }
    printf("mini_gpt_gradients: %d checked, %d wrong (largest gradient %g)\n", checked, wrong, scale);
    free(p.all);
    free(grads.all);
    return wrong != 0;
}
