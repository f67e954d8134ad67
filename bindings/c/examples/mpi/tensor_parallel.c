/*
 * tensor_parallel.c - a trainer whose layers are split over the ranks, under mpirun
 *
 * Every rank has some of the hidden units, with the rows of the two matrices that belong to them, and all ranks
 * work on the same examples. The output bias is on every rank, and so is its gradient: a
 * duplicate, that rank 0 counts and the others mark as uncounted. Forgetting that, or
 * adding up the norms of the ranks, is how sharded training gets its norm wrong.
 *
 *     mpirun -n 4 tensor_parallel ../data/asyoulik.txt
 *
 * WHY THE LOG IS THE SAME FOR ANY NUMBER OF RANKS. What the units add to the logits is
 * exchanged block by block (MPI_Allgatherv) and added in the order of the blocks, of
 * which there are BLOCKS whoever has them; every rank does so with the same numbers. An MPI_Allreduce
 * would add in an order that depends on the ranks. The norm needs no such care: gradclip's is exact.
 */
#include "char_mlp.h"

enum { EXAMPLES = 128 };

int main(int argc, char **argv)
{
    settings s = begin(argc, argv, 0.4);
    size_t V = s.text.vocabulary;
    /* Blocks of each rank; with more ranks than blocks some have none. */
    int *counts = zeros((size_t)s.ranks, sizeof(int)), *starts = zeros((size_t)s.ranks + 1, sizeof(int));
    for (int r = 0; r <= s.ranks; r++) starts[r] = BLOCKS * r / s.ranks;
    size_t first = (size_t)starts[s.rank], blocks = (size_t)starts[s.rank + 1] - first;
    mlp m = mlp_new(V, first, blocks, 0.1);
    for (int r = 0; r < s.ranks; r++) { /* in floats */
        counts[r] = (starts[r + 1] - starts[r]) * (int)(EXAMPLES * V);
        starts[r] *= (int)(EXAMPLES * V);
    }

    float *hidden = zeros(EXAMPLES * m.units, sizeof(float)), *mine = zeros(blocks * V, sizeof(float));
    float *all = zeros(BLOCKS * EXAMPLES * V, sizeof(float)); /* (BLOCKS, EXAMPLES, vocabulary) */
    float *logits = zeros(BLOCKS * V, sizeof(float)), *dlogits = zeros(V, sizeof(float));

    gradclip_tensor grads[] = {
        {m.grads, m.at_bias, GRADCLIP_F32, 0, 0, 0},
        {m.grads + m.at_bias, m.units, GRADCLIP_F32, 0, 0, 0},
        {m.grads + m.at_output, m.units * V, GRADCLIP_F32, 0, 0, 0},
        {m.grads + m.at_output_bias, V, GRADCLIP_F32, s.rank == 0 ? 0 : GRADCLIP_UNCOUNTED, 0, 0},
    };
    gradclip_options options;
    gradclip_options_init(&options, sizeof options);
    options.grad_scale = EXAMPLES; /* of the sum, the mean: clipping divides in the same pass */

    for (int step = 1; step <= s.steps; step++) {
        uint64_t number = (uint64_t)(step - 1) * EXAMPLES;
        double sum = 0;
        for (size_t i = 0; i < EXAMPLES; i++) {
            forward(&m, example(&s.text, number + i), hidden + i * m.units, mine);
            for (size_t b = 0; b < blocks; b++) memcpy(all + ((first + b) * EXAMPLES + i) * V, mine + b * V, V * sizeof(float));
        }
        MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all, counts, starts, MPI_FLOAT, MPI_COMM_WORLD);
        memset(m.grads, 0, m.size * sizeof(float));
        for (size_t i = 0; i < EXAMPLES; i++) {
            const unsigned char *x = example(&s.text, number + i);
            for (size_t b = 0; b < BLOCKS; b++) memcpy(logits + b * V, all + (b * EXAMPLES + i) * V, V * sizeof(float));
            sum += loss(&m, logits, x[CONTEXT], dlogits);
            backward(&m, x, hidden + i * m.units, dlogits);
        }

        gradclip_mpi_result found;
        gradclip_status status = gradclip_mpi_clip_grad_norm(MPI_COMM_WORLD, grads, 4, s.max_norm, 2.0, &options, &found);

        if (clipped(&s, step, sum / EXAMPLES, status, &found))
            for (size_t i = 0; i < m.size; i++) m.params[i] -= (float)s.learning_rate * m.grads[i];
    }

    void *rest[] = {counts, starts, hidden, mine, all, logits, dlogits};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) free(rest[i]);
    mlp_free(&m);
    end(&s);
    return 0;
}
