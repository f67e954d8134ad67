/* What the MPI tests share: a gradient that every rank has a copy of, cut into shards
 * at random places, and how often MPI was called. */
#ifndef SHARDING_H
#define SHARDING_H

#include "../c/check.h"
#include "../c/random.h"

#include <gradclip_mpi.h>
#include <sched.h>
#include <stdlib.h>

enum { MOST_PIECES = 24 };

static int my_rank, rank_count;

/* The same on every rank, so that all cut alike. */
static inline void begin(int *argc, char ***argv)
{
    MPI_Init(argc, argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &my_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &rank_count);
}

/* How the checks went on all ranks. */
static inline int end(const char *name)
{
    int counts[2] = {checks_passed, checks_failed}, sums[2];
    MPI_Reduce(counts, sums, 2, MPI_INT, MPI_SUM, 0, MPI_COMM_WORLD);
    if (my_rank == 0) printf("%s on %d ranks: %d passed, %d failed\n", name, rank_count, sums[0], sums[1]);
    MPI_Bcast(sums, 2, MPI_INT, 0, MPI_COMM_WORLD);
    MPI_Finalize();
    return sums[1] != 0 || sums[0] == 0;
}

/* Pieces of one tensor, each of which belongs to a rank. */
typedef struct sharding {
    size_t pieces, start[MOST_PIECES], length[MOST_PIECES];
    int owner[MOST_PIECES];
    /* This rank's, as a list, and which piece each is. */
    gradclip_tensor mine[MOST_PIECES];
    size_t count, piece_of[MOST_PIECES];
} sharding;

/* Cuts length elements at random multiples of unit. Some pieces are empty, and so are some ranks. */
static inline sharding cut(void *data, size_t length, const struct element_type *t, size_t unit)
{
    sharding s = {0};
    size_t ends[MOST_PIECES];
    s.pieces = 1 + below(MOST_PIECES);
    for (size_t i = 0; i < s.pieces; i++) ends[i] = i + 1 == s.pieces ? length : below(length / unit + 1) * unit;
    for (size_t i = 1; i < s.pieces; i++) /* sorted */
        for (size_t j = i; j > 0 && ends[j] < ends[j - 1]; j--) {
            size_t other = ends[j];
            ends[j] = ends[j - 1], ends[j - 1] = other;
        }
    for (size_t i = 0; i < s.pieces; i++) {
        s.start[i] = i ? ends[i - 1] : 0;
        s.length[i] = ends[i] - s.start[i];
        s.owner[i] = (int)below((size_t)rank_count);
        if (s.owner[i] != my_rank) continue;
        s.mine[s.count] = tensor_of((unsigned char *)data + s.start[i] * t->size, s.length[i], t->dtype);
        s.piece_of[s.count++] = i;
    }
    return s;
}

/* ---------------------------------------- what is sent, through MPI's profiling interface -- */

static int messages, message_bytes;

static inline void note(int count, MPI_Datatype type)
{
    int size;
    MPI_Type_size(type, &size);
    messages++;
    message_bytes += count * size;
}

/* There are more ranks than processors here, and MPICH waits without ever giving up
 * its own: a thousand messages would take minutes. */
static inline int wait_politely(int error, MPI_Request *request)
{
    int done = 0;
    while (error == MPI_SUCCESS && !done)
        if ((error = MPI_Test(request, &done, MPI_STATUS_IGNORE)) == MPI_SUCCESS && !done) sched_yield();
    return error;
}

/* A test sets this to be called before each message. */
static int (*before_message)(int number);

int MPI_Allreduce(const void *send, void *receive, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
    note(count, type);
    int error = before_message ? before_message(messages) : MPI_SUCCESS;
    MPI_Request request;
    return error != MPI_SUCCESS ? error : wait_politely(PMPI_Iallreduce(send, receive, count, type, op, comm, &request), &request);
}

int MPI_Allgather(const void *send, int send_count, MPI_Datatype send_type, void *receive, int count, MPI_Datatype type,
                  MPI_Comm comm)
{
    note(send_count, send_type);
    int error = before_message ? before_message(messages) : MPI_SUCCESS;
    MPI_Request request;
    return error != MPI_SUCCESS ? error
                                : wait_politely(PMPI_Iallgather(send, send_count, send_type, receive, count, type, comm, &request), &request);
}

#endif
