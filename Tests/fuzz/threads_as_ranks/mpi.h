/* So much of MPI as gradclip_mpi.h uses, between threads of one process that are its ranks:
 * a fuzzer's process cannot be several. Every call is collective but those that tell of the
 * communicator; a call of fail_at's number fails on every rank, as MPI_ERRORS_RETURN has it. */
#ifndef GRADCLIP_FUZZ_MPI_H
#define GRADCLIP_FUZZ_MPI_H

#include <pthread.h>
#include <stdint.h>
#include <string.h>

enum { MPI_SUCCESS = 0, MPI_ERR_OTHER = 15, MPI_MAX_ERROR_STRING = 64, MOST_RANKS = 5, MOST_MESSAGE = 1100 };

typedef struct world {
    int ranks;
    int fail_at; /* this call fails, counted from 1; 0: none */
    pthread_barrier_t barrier;
    const void *sent[MOST_RANKS];
    uint8_t reduced[MOST_MESSAGE];
} world;

typedef struct rank {
    world *all;
    int number;
    int calls;
} rank;

typedef rank *MPI_Comm;
typedef int MPI_Datatype; /* its size */
typedef void MPI_User_function(void *in, void *inout, int *count, MPI_Datatype *type);
typedef MPI_User_function *MPI_Op;
enum { MPI_BYTE = 1, MPI_INT = 4, MPI_INT64_T = 8 };

static inline void fake_sum(void *in, void *inout, int *count, MPI_Datatype *type) {
    (void)type; /* (only of int64; unsigned, as sums may wrap) */
    for (int i = 0; i < *count; i++) ((uint64_t *)inout)[i] += ((const uint64_t *)in)[i];
}

static inline void fake_max(void *in, void *inout, int *count, MPI_Datatype *type) {
    for (int i = 0; i < *count; i++) {
        if (*type == MPI_INT) {
            if (((int *)in)[i] > ((int *)inout)[i]) ((int *)inout)[i] = ((int *)in)[i];
        } else if (((int64_t *)in)[i] > ((int64_t *)inout)[i]) {
            ((int64_t *)inout)[i] = ((int64_t *)in)[i];
        }
    }
}
#define MPI_SUM fake_sum
#define MPI_MAX fake_max

static inline int MPI_Comm_rank(MPI_Comm comm, int *number) { return *number = comm->number, MPI_SUCCESS; }
static inline int MPI_Comm_size(MPI_Comm comm, int *ranks) { return *ranks = comm->all->ranks, MPI_SUCCESS; }
static inline int MPI_Error_string(int error, char *text, int *length) {
    (void)error;
    strcpy(text, "the fuzzer's network is down");
    return *length = (int)strlen(text), MPI_SUCCESS;
}
static inline int MPI_Type_contiguous(int count, MPI_Datatype old, MPI_Datatype *type) { return *type = count * old, MPI_SUCCESS; }
static inline int MPI_Type_commit(MPI_Datatype *type) { return *type > 0 ? MPI_SUCCESS : MPI_ERR_OTHER; }
static inline int MPI_Type_free(MPI_Datatype *type) { return *type = 0, MPI_SUCCESS; }
static inline int MPI_Op_create(MPI_User_function *function, int commutes, MPI_Op *op) { return (void)commutes, *op = function, MPI_SUCCESS; }
static inline int MPI_Op_free(MPI_Op *op) { return *op = NULL, MPI_SUCCESS; }

static inline int fake_meet(MPI_Comm comm) { return pthread_barrier_wait(&comm->all->barrier); }

static inline int MPI_Allreduce(const void *sent, void *received, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm) {
    world *all = comm->all;
    const size_t size = (size_t)count * (size_t)type;
    if (++comm->calls == all->fail_at) return MPI_ERR_OTHER;
    all->sent[comm->number] = sent;
    if (fake_meet(comm) != 0) { /* one rank does the sum */
        memcpy(all->reduced, all->sent[0], size);
        for (int r = 1; r < all->ranks; r++) op((void *)(uintptr_t)all->sent[r], all->reduced, &count, &type);
    }
    fake_meet(comm);
    memcpy(received, all->reduced, size);
    fake_meet(comm);
    return MPI_SUCCESS;
}

static inline int MPI_Allgather(const void *sent, int count, MPI_Datatype type, void *received, int count_each, MPI_Datatype type_each, MPI_Comm comm) {
    world *all = comm->all;
    (void)count_each, (void)type_each;
    if (++comm->calls == all->fail_at) return MPI_ERR_OTHER;
    all->sent[comm->number] = sent;
    fake_meet(comm);
    for (int r = 0; r < all->ranks; r++) memcpy((uint8_t *)received + (size_t)r * (size_t)count * (size_t)type, all->sent[r], (size_t)count * (size_t)type);
    fake_meet(comm);
    return MPI_SUCCESS;
}

#endif
