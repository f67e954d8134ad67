/*
 * data_parallel.c - a data-parallel trainer with sharded gradients (ZeRO), under mpirun
 *
 * Every rank has all parameters and works through its own micro-batches. The gradients are
 * reduced and scattered: each rank ends up with a shard of their sum, clips it by the norm of all
 * shards, updates its shard of the parameters, and gathers those of the others.
 *
 *     mpirun -n 4 data_parallel ../data/asyoulik.txt
 *
 * WHY THE LOG IS THE SAME FOR ANY NUMBER OF RANKS. A step has MICRO_BATCHES micro-batches whoever
 * works on them, and their gradients and losses are added in the order of the
 * micro-batches: addition of floats rounds, so its order must not depend on who is
 * there. MPI_Allreduce or MPI_Reduce_scatter would promise no order; so the parts are
 * exchanged as they are (MPI_Alltoallv) and each rank adds those of its shard. The norm
 * needs no such care: gradclip's is exact.
 */
#include "char_mlp.h"

enum { MICRO_BATCHES = 12, EXAMPLES = 16 };

/* Rank r's part of n things: uneven where the ranks do not divide n. */
static int part_begin(size_t n, int r, int ranks) { return (int)(n * (size_t)r / (size_t)ranks); }

/* The gradients of one micro-batch, in m->grads; returns its loss. */
static double micro_batch(mlp *m, const text *t, uint64_t number)
{
    float hidden[HIDDEN], block_logits[BLOCKS * MOST_SYMBOLS], dlogits[MOST_SYMBOLS];
    double sum = 0;
    memset(m->grads, 0, m->size * sizeof(float));
    for (uint64_t i = 0; i < EXAMPLES; i++) {
        const unsigned char *x = example(t, number * EXAMPLES + i);
        forward(m, x, hidden, block_logits);
        sum += loss(m, block_logits, x[CONTEXT], dlogits);
        backward(m, x, hidden, dlogits);
    }
    return sum / EXAMPLES;
}

int main(int argc, char **argv)
{
    settings s = begin(argc, argv, 0.4);
    mlp m = mlp_new(s.text.vocabulary, 0, BLOCKS, 0.1);

    /* Shards of the arena: it is one tensor to us. */
    int *shard_begin = zeros((size_t)s.ranks + 1, sizeof(int)), *shard_size = zeros((size_t)s.ranks, sizeof(int));
    for (int r = 0; r <= s.ranks; r++) shard_begin[r] = part_begin(m.size, r, s.ranks);
    for (int r = 0; r < s.ranks; r++) shard_size[r] = shard_begin[r + 1] - shard_begin[r];
    int mine = shard_begin[s.rank];
    size_t shard = (size_t)shard_size[s.rank];
    /* Micro-batches of each rank, and where its parts of each shard are when sent and received. */
    int first = part_begin(MICRO_BATCHES, s.rank, s.ranks), count = part_begin(MICRO_BATCHES, s.rank + 1, s.ranks) - first;
    int *sent = zeros((size_t)s.ranks, sizeof(int)), *sent_at = zeros((size_t)s.ranks, sizeof(int));
    int *got = zeros((size_t)s.ranks, sizeof(int)), *got_at = zeros((size_t)s.ranks, sizeof(int));
    for (int r = 0; r < s.ranks; r++) {
        sent[r] = count * shard_size[r];
        sent_at[r] = count * shard_begin[r];
        int theirs = part_begin(MICRO_BATCHES, r, s.ranks);
        got[r] = (part_begin(MICRO_BATCHES, r + 1, s.ranks) - theirs) * (int)shard;
        got_at[r] = theirs * (int)shard;
    }
    float *to_send = zeros((size_t)count * m.size, sizeof(float));
    float *received = zeros(MICRO_BATCHES * shard, sizeof(float)), *sum = zeros(shard, sizeof(float));

    gradclip_options options;
    gradclip_options_init(&options, sizeof options);
    options.grad_scale = MICRO_BATCHES * EXAMPLES; /* of the sum, the mean: clipping divides in the same pass */

    for (int step = 1; step <= s.steps; step++) {
        double losses[MICRO_BATCHES] = {0}, mean = 0;
        for (int i = 0; i < count; i++) {
            losses[first + i] = micro_batch(&m, &s.text, (uint64_t)(step - 1) * MICRO_BATCHES + (uint64_t)(first + i));
            for (int r = 0; r < s.ranks; r++)
                memcpy(to_send + sent_at[r] + (size_t)i * (size_t)shard_size[r], m.grads + shard_begin[r],
                       (size_t)shard_size[r] * sizeof(float));
        }
        MPI_Alltoallv(to_send, sent, sent_at, MPI_FLOAT, received, got, got_at, MPI_FLOAT, MPI_COMM_WORLD);
        memset(sum, 0, shard * sizeof(float));
        for (size_t b = 0; b < MICRO_BATCHES; b++)
            for (size_t i = 0; i < shard; i++) sum[i] += received[b * shard + i];
        /* (All but one rank add a zero to each: no order to care about.) */
        MPI_Allreduce(MPI_IN_PLACE, losses, MICRO_BATCHES, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
        for (int b = 0; b < MICRO_BATCHES; b++) mean += losses[b] / MICRO_BATCHES;

        gradclip_tensor gradient = {sum, shard, GRADCLIP_F32, 0, 0, 0};
        gradclip_mpi_result found;
        gradclip_status status = gradclip_mpi_clip_grad_norm(MPI_COMM_WORLD, &gradient, 1, s.max_norm, 2.0, &options, &found);

        if (clipped(&s, step, mean, status, &found))
            for (size_t i = 0; i < shard; i++) m.params[(size_t)mine + i] -= (float)s.learning_rate * sum[i];
        MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, m.params, shard_size, shard_begin, MPI_FLOAT, MPI_COMM_WORLD);
    }

    void *rest[] = {shard_begin, shard_size, sent, sent_at, got, got_at, to_send, received, sum};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) free(rest[i]);
    mlp_free(&m);
    end(&s);
    return 0;
}
