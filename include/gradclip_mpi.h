/*
 * gradclip_mpi.h - gradient clipping by a norm that spans MPI ranks
 *
 * Gradients that are sharded over the ranks of a communicator (tensor or pipeline
 * parallelism, ZeRO, FSDP) have one norm, of all shards together. These functions find
 * it and clip each rank's shards by it. Header-only, over the MPI that you compile with:
 *
 *     mpicc trainer.c -lgradclip
 *
 *     gradclip_mpi_result found;
 *     gradclip_status status = gradclip_mpi_clip_grad_norm(
 *         MPI_COMM_WORLD, shards, count, 1.0, 2.0, NULL, &found);
 *     if (status < 0) {                                  // refused, and nothing was written
 *         fprintf(stderr, "%s\n", gradclip_mpi_last_error(&found));
 *         MPI_Abort(MPI_COMM_WORLD, 1);
 *     }
 *     if (status == GRADCLIP_OK)  optimizer_step();      // otherwise not finite: skipped on every rank
 *
 * THE COMMUNICATOR holds the ranks whose gradients belong to one norm, and every one of
 * them makes the call, one whose list is empty too. Gradients that data parallelism has
 * averaged are the same on every rank: they need no communicator,
 * gradclip_clip_grad_norm() gives every rank the same bits. With data times tensor
 * parallelism it is the tensor-parallel group.
 *
 * DUPLICATES. What several ranks of the communicator hold alike (a layer norm under
 * tensor parallelism, tied weights) is to be counted by one of them: the others set
 * GRADCLIP_UNCOUNTED in its flags, and it is scaled everywhere.
 *
 * THE SAME BITS. For norm_type 1 and 2 over float32, float16 and bfloat16, and for
 * INFINITY, total_norm and clip_coef have the bits of one gradclip_clip_grad_norm() on
 * all gradients, for any number of ranks and any cut. For 1 and 2 over float64 that
 * takes exact_f64. For other orders, and float64, the sums are put together in the order
 * of the ranks: every rank has the same bits, and so has every run with the same cut.
 * norm_type 0 counts each shard as a tensor.
 *
 * WHAT IS SENT. One MPI_Allreduce of 192 bytes by MPI_SUM. INFINITY and -INFINITY
 * take another of 16 bytes by MPI_MAX; other orders, and float64 with norm_type 1 and
 * 2, one of an int (has every rank the memory?) and an MPI_Allgather of 1032 bytes a
 * rank. If an element is not finite one more, of 32 bytes, says where.
 *
 * ALL RANKS DECIDE ALIKE. A NaN or an infinity on one rank is found on all: the policy
 * of the options is carried out everywhere. A call that is refused on one rank (a bad
 * argument, no memory), and ranks that do not agree on norm_type, max_norm or options
 * (but num_threads), are an error on every rank, and no gradient is written.
 *
 * A RANK THAT FAILS. Gradients are written after the last message, and each rank writes
 * all of its own or none. What MPI does about a rank that is gone is up to the
 * communicator's error handler: MPI_ERRORS_ARE_FATAL, the default, ends the program;
 * with MPI_ERRORS_RETURN, if MPI notices, the status is GRADCLIP_MPI_ERROR and nothing
 * was written here.
 *
 * Not to be called from two threads at a time on one communicator. C99 or C++17.
 */
#ifndef GRADCLIP_MPI_H
#define GRADCLIP_MPI_H

#include <gradclip.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A gradclip_status: an MPI function failed; gradclip_mpi_result.mpi_error says how. */
enum { GRADCLIP_MPI_ERROR = -100 };

/* What a call found. Nothing needs to be initialised. */
typedef struct gradclip_mpi_result {
    gradclip_result all; /* as after gradclip_clip_grad_norm() on the gradients of all ranks;
                            first_tensor is an index into the list of the rank below, and
                            tensor_norms is NULL */
    int rank;            /* the lowest rank with a non-finite element, which first_tensor and
                            first_element are of; -1 if all is finite */
    int mpi_error;       /* MPI_SUCCESS, or what an MPI function returned */
    char mpi_message[MPI_MAX_ERROR_STRING + 1]; /* that as text */
} gradclip_mpi_result;

/* The message that belongs to a status below 0. */
static inline const char *gradclip_mpi_last_error(const gradclip_mpi_result *found)
{
    return found != NULL && found->mpi_error != MPI_SUCCESS ? found->mpi_message : gradclip_last_error();
}

/* ------------------------------------------------------------ internals -- */

/* An export and, before it, its size. */
enum { GRADCLIP_MPI_EXPORT = 1024, GRADCLIP_MPI_BLOCK = 8 + GRADCLIP_MPI_EXPORT };

static inline gradclip_status gradclip_mpi_failed_(int error, gradclip_mpi_result *found)
{
    int length = 0;
    found->mpi_error = error;
    if (MPI_Error_string(error, found->mpi_message, &length) != MPI_SUCCESS)
        (void)snprintf(found->mpi_message, sizeof found->mpi_message, "MPI error %d", error);
    return GRADCLIP_MPI_ERROR;
}

/* MPI_Op over {rank, tensor, element, is anything written}: the place of the lower rank stays. */
static inline void gradclip_mpi_lower_rank_(void *in, void *inout, int *count, MPI_Datatype *type)
{
    const int64_t *a = (const int64_t *)in;
    int64_t *b = (int64_t *)inout;
    (void)type;
    for (int i = 0; i < *count; i++, a += 4, b += 4) {
        const int64_t writes = a[3] | b[3];
        if (a[0] < b[0]) memcpy(b, a, 3 * sizeof *b);
        b[3] = writes;
    }
}

/* Where the first non-finite element is, from what each rank knows of its own. *writes says whether
 * this rank has gradients to clip, and receives whether any rank has. */
static inline gradclip_status gradclip_mpi_culprit_(MPI_Comm comm, const gradclip_result *own, int *writes,
                                                    gradclip_mpi_result *found)
{
    int error, rank = 0;
    int64_t mine[4], first[4] = {0, 0, 0, 0};
    MPI_Datatype place;
    MPI_Op lower_rank;
    if ((error = MPI_Comm_rank(comm, &rank)) != MPI_SUCCESS) return gradclip_mpi_failed_(error, found);
    mine[0] = own->nonfinite_count > 0 ? (int64_t)rank : INT64_MAX;
    mine[1] = (int64_t)own->first_tensor;
    mine[2] = (int64_t)own->first_element;
    mine[3] = *writes;
    if ((error = MPI_Type_contiguous(4, MPI_INT64_T, &place)) != MPI_SUCCESS) return gradclip_mpi_failed_(error, found);
    error = MPI_Type_commit(&place);
    if (error == MPI_SUCCESS && (error = MPI_Op_create(gradclip_mpi_lower_rank_, 1, &lower_rank)) == MPI_SUCCESS) {
        error = MPI_Allreduce(mine, first, 1, place, lower_rank, comm);
        MPI_Op_free(&lower_rank);
    }
    MPI_Type_free(&place);
    if (error != MPI_SUCCESS) return gradclip_mpi_failed_(error, found);
    found->rank = (int)first[0];
    found->all.first_tensor = (uint64_t)first[1];
    found->all.first_element = (uint64_t)first[2];
    *writes = first[3] != 0;
    return GRADCLIP_OK;
}

/* Add up the accumulators of all ranks, in their order, from their exports. */
static inline gradclip_status gradclip_mpi_gather_(MPI_Comm comm, gradclip_accumulator *accumulator,
                                                   const unsigned char *block, gradclip_mpi_result *found)
{
    int error, ranks = 0, failed, any_failed = 0;
    gradclip_status status = GRADCLIP_OK;
    unsigned char *blocks;
    if ((error = MPI_Comm_size(comm, &ranks)) != MPI_SUCCESS) return gradclip_mpi_failed_(error, found);
    blocks = (unsigned char *)malloc((size_t)ranks * GRADCLIP_MPI_BLOCK);
    /* A rank without memory must not leave the others waiting for it. */
    failed = blocks == NULL;
    error = MPI_Allreduce(&failed, &any_failed, 1, MPI_INT, MPI_MAX, comm);
    if (error == MPI_SUCCESS && !any_failed)
        error = MPI_Allgather((void *)(size_t)block, GRADCLIP_MPI_BLOCK, MPI_BYTE, blocks, GRADCLIP_MPI_BLOCK, MPI_BYTE, comm);
    if (error != MPI_SUCCESS) status = gradclip_mpi_failed_(error, found);
    else if (any_failed) status = GRADCLIP_ERROR_OUT_OF_MEMORY;
    for (int r = 0; status == GRADCLIP_OK && r < ranks; r++) {
        const unsigned char *theirs = blocks + (size_t)r * GRADCLIP_MPI_BLOCK;
        uint64_t size;
        memcpy(&size, theirs, 8);
        status = gradclip_accumulator_import(accumulator, theirs + 8, (size_t)size);
    }
    free(blocks);
    return status;
}

/*
 * Put the sum over all ranks into each rank's accumulator. `refused` is what a call on this
 * rank has returned so far: below 0, the other ranks are told of it. *writes: as for
 * gradclip_mpi_culprit_, where something is not finite.
 */
static inline gradclip_status gradclip_mpi_reduce_(MPI_Comm comm, gradclip_status refused,
                                                   gradclip_accumulator *accumulator, double max_norm, int *writes,
                                                   gradclip_mpi_result *found)
{
    int error;
    int64_t words[GRADCLIP_WORDS], sums[GRADCLIP_WORDS];
    unsigned char block[GRADCLIP_MPI_BLOCK];
    size_t room = GRADCLIP_MPI_EXPORT;
    gradclip_result own;
    memset(block, 0, sizeof block);
    memset(&own, 0, sizeof own);
    memset(found, 0, sizeof *found);
    found->rank = -1;
    found->mpi_error = MPI_SUCCESS;

    /* All that can fail here does so before the first message. */
    (void)gradclip_result_init(&own, sizeof own);
    (void)gradclip_result_init(&found->all, sizeof found->all);
    if (refused >= 0) refused = gradclip_accumulator_finish(accumulator, max_norm, &own);
    if (refused >= 0) refused = gradclip_accumulator_to_words(accumulator, max_norm, words);
    if (refused >= 0) refused = gradclip_accumulator_export(accumulator, block + 8, &room);
    if (refused < 0) (void)gradclip_accumulator_to_words(NULL, 0.0, words);
    {
        uint64_t size = room;
        memcpy(block, &size, 8);
    }

    error = MPI_Allreduce(words, sums, GRADCLIP_WORDS, MPI_INT64_T, MPI_SUM, comm);
    if (error == MPI_SUCCESS && sums[GRADCLIP_WORD_KIND] < 0)
        error = MPI_Allreduce(words, sums, 2, MPI_INT64_T, MPI_MAX, comm);
    if (error != MPI_SUCCESS) return gradclip_mpi_failed_(error, found);
    if (refused < 0) return refused;
    /* From here on all ranks return the same. */
    gradclip_status status = gradclip_accumulator_from_words(accumulator, max_norm, sums);
    if (status >= 0 && sums[GRADCLIP_WORD_KIND] > 0) status = gradclip_mpi_gather_(comm, accumulator, block, found);
    if (status >= 0 && sums[GRADCLIP_WORD_NONFINITE] > 0) status = gradclip_mpi_culprit_(comm, &own, writes, found);
    return status;
}

static inline int gradclip_mpi_has_elements_(const gradclip_tensor *grads, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (grads[i].length > 0) return 1;
    return 0;
}

/* The result of all ranks' sum; `clips`: and the write, which some rank has to do. */
static inline gradclip_status gradclip_mpi_tell_(gradclip_accumulator *accumulator, const gradclip_tensor *grads,
                                                 size_t count, double max_norm, int clips, gradclip_mpi_result *found)
{
    uint64_t tensor = found->all.first_tensor, element = found->all.first_element;
    /* A rank without gradients clips a zero of its own, to return what the others do. */
    float zero = 0;
    gradclip_tensor own = {NULL, 1, GRADCLIP_F32, 0, 1, 0};
    own.data = &zero;
    if (!gradclip_mpi_has_elements_(grads, count)) grads = &own, count = 1;
    gradclip_status status = clips ? gradclip_accumulator_clip(accumulator, grads, count, max_norm, &found->all)
                                   : gradclip_accumulator_finish(accumulator, max_norm, &found->all);
    if (found->rank >= 0) {
        found->all.first_tensor = tensor;
        found->all.first_element = element;
    }
    return status;
}

/* Accumulate, put together, finish; `clips`: and write. */
static inline gradclip_status gradclip_mpi_run_(MPI_Comm comm, const gradclip_tensor *grads, size_t count,
                                                double max_norm, double norm_type, const gradclip_options *options,
                                                int clips, gradclip_mpi_result *found)
{
    gradclip_mpi_result unasked;
    gradclip_accumulator *accumulator = NULL;
    if (found == NULL) found = &unasked;
    gradclip_status status = gradclip_accumulator_create(norm_type, options, &accumulator);
    if (status >= 0) status = gradclip_accumulator_add(accumulator, grads, count);
    int writes = clips; /* (What is not finite is in some rank's list.) */
    status = gradclip_mpi_reduce_(comm, status, accumulator, max_norm, &writes, found);
    if (status >= 0) status = gradclip_mpi_tell_(accumulator, grads, count, max_norm, clips, found);
    gradclip_accumulator_free(accumulator);
    return status;
}

/* ------------------------------------------------- clip by global norm -- */

/*
 * Clip grads, this rank's shards, in place so that the norm of the gradients of all
 * ranks is at most max_norm. To be called by every rank of comm with the same max_norm,
 * norm_type and options; the arguments are those of gradclip_clip_grad_norm(). found may
 * be NULL.
 *
 * Returns the same on every rank: GRADCLIP_OK, GRADCLIP_NON_FINITE, or an error (a rank
 * whose own arguments were refused returns why; GRADCLIP_MPI_ERROR may differ).
 */
static inline gradclip_status gradclip_mpi_clip_grad_norm(MPI_Comm comm, const gradclip_tensor *grads, size_t count,
                                                          double max_norm, double norm_type,
                                                          const gradclip_options *options, gradclip_mpi_result *found)
{
    return gradclip_mpi_run_(comm, grads, count, max_norm, norm_type, options, 1, found);
}

/* The same without the write, for an optimizer that multiplies by found->all.factor
 * itself; with max_norm = INFINITY it only measures. As gradclip_defer_clip() it never
 * returns GRADCLIP_OK over a NaN that is still there, under the policy ZERO either. */
static inline gradclip_status gradclip_mpi_defer_clip(MPI_Comm comm, const gradclip_tensor *grads, size_t count,
                                                      double max_norm, double norm_type,
                                                      const gradclip_options *options, gradclip_mpi_result *found)
{
    return gradclip_mpi_run_(comm, grads, count, max_norm, norm_type, options, 0, found);
}

/*
 * The same for an accumulator that each rank has added its shards to, during the
 * backward pass say, of which then only the message is left to wait for. grads are what
 * is clipped (a rank may have none: count = 0). If no rank has any, nothing is replaced, and
 * it is gradclip_mpi_defer_clip(): never GRADCLIP_OK over a NaN. Afterwards the accumulator
 * holds the sum over all ranks: reset it before the next step.
 */
static inline gradclip_status gradclip_mpi_accumulator_clip(MPI_Comm comm, gradclip_accumulator *accumulator,
                                                            const gradclip_tensor *grads, size_t count, double max_norm,
                                                            gradclip_mpi_result *found)
{
    gradclip_mpi_result unasked;
    if (found == NULL) found = &unasked;
    /* (Multiplying by 1 checks the list and writes nothing.) */
    gradclip_status status = gradclip_scale(grads, count, 1.0, NULL);
    int writes = status >= 0 && gradclip_mpi_has_elements_(grads, count);
    status = gradclip_mpi_reduce_(comm, status, accumulator, max_norm, &writes, found);
    return status < 0 ? status : gradclip_mpi_tell_(accumulator, grads, count, max_norm, writes, found);
}

#ifdef __cplusplus
}
#endif
#endif /* GRADCLIP_MPI_H */
