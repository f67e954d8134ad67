/*
 * char_rnn_gradients.c - the example's backpropagation computes its gradients
 *
 * Every gradient of a small network is compared with the difference quotient of
 * the loss. The example is included whole, so that this is the code that trains.
 */
#define main char_rnn_main
#include "../examples/char_rnn.c"
#undef main

enum { H = 6, V = 5, T = 7 };

/* The loss alone, from the state `start`. */
static double loss_from(model *m, const float *start, const unsigned char *x)
{
    memcpy(m->h, start, H * sizeof(float));
    return loss_and_gradients(m, x);
}

int main(void)
{
    static const char *const names[TENSORS] = {"input", "recurrent", "output", "hidden bias", "output bias"};
    const unsigned char x[T + 1] = {0, 3, 1, 1, 4, 2, 0, 3};
    random_state random = {7};
    model m, analytic;
    float start[H];
    int passed = 0, failed = 0;
    model_init(&m, H, V, T, &random);
    model_init(&analytic, H, V, T, &random);
    for (int i = 0; i < H; i++) start[i] = (float)random_normal(&random);
    for (int i = 0; i < TENSORS; i++) {
        /* Larger weights than at the start of training, biases too: tanh and
         * softmax must be out of their straight parts. */
        for (size_t j = 0; j < m.lengths[i]; j++) m.params[i][j] = (float)(0.7 * random_normal(&random));
        memcpy(analytic.params[i], m.params[i], m.lengths[i] * sizeof(float));
    }
    loss_from(&analytic, start, x);

    for (int i = 0; i < TENSORS; i++) {
        for (size_t j = 0; j < m.lengths[i]; j++) {
            float kept = m.params[i][j], up = kept + 0.01f, down = kept - 0.01f;
            m.params[i][j] = up;
            double loss_up = loss_from(&m, start, x);
            m.params[i][j] = down;
            double loss_down = loss_from(&m, start, x);
            m.params[i][j] = kept;
            /* The losses are float32 sums of about 20: 1e-6 each, over 0.02. The
             * third derivative adds about as much. */
            double expected = (loss_up - loss_down) / ((double)up - (double)down);
            double got = analytic.grads[i][j];
            if (fabs(got - expected) <= 1e-3 + 1e-3 * fabs(expected)) {
                passed++;
            } else {
                failed++;
                printf("FAILED: gradient of %s[%zu] is %g, the difference quotient is %g\n", names[i], j, got, expected);
            }
        }
    }
    model_free(&m);
    model_free(&analytic);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
