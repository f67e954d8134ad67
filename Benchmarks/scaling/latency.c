/*
 * latency ROUNDS TRANSPORT: what the messages of a clip over MPI ranks take, and the work on each rank.
 * Rank 0 prints lines of transport,what,ranks,bytes,minimum,median (microseconds).
 *
 * The time of a round is that of the rank for which it took longest, which bounds what the message
 * takes from above. Where other programs use the processors too, the fastest round says most.
 */
#include <gradclip_mpi.h>
#include <sched.h>

enum { MOST = 20000 };
static double times[MOST], slowest[MOST];
static int rank, ranks, rounds;
static const char *transport;

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* With more ranks than processors one that waits lets the others run. */
int MPI_Allreduce(const void *send, void *receive, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
    if (ranks <= 2) return PMPI_Allreduce(send, receive, count, type, op, comm);
    MPI_Request request;
    int done = 0, error = MPI_Iallreduce(send, receive, count, type, op, comm, &request);
    while (error == MPI_SUCCESS && !done)
        if ((error = MPI_Test(&request, &done, MPI_STATUS_IGNORE)) == MPI_SUCCESS && !done) sched_yield();
    return error;
}

#define MEASURE(WHAT, BYTES, ROUNDS, CALL)                                                               \
    do {                                                                                                 \
        int n = (ROUNDS) < MOST ? (ROUNDS) : MOST, one = 1, all;                                         \
        for (int i = 0; i < n; i++) {                                                                    \
            MPI_Allreduce(&one, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);                              \
            double start = MPI_Wtime();                                                                  \
            CALL;                                                                                        \
            times[i] = MPI_Wtime() - start;                                                              \
        }                                                                                                \
        MPI_Reduce(times, slowest, n, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);                           \
        qsort(slowest, (size_t)n, sizeof *slowest, by_size);                                             \
        if (rank == 0)                                                                                   \
            printf("%s,%s,%d,%lu,%.3f,%.3f\n", transport, WHAT, ranks, (unsigned long)(BYTES), slowest[0] * 1e6, slowest[n / 2] * 1e6); \
    } while (0)

int main(int argc, char **argv)
{
    static int64_t words[1 << 14], sums[1 << 14];
    static unsigned char block[GRADCLIP_MPI_BLOCK], blocks[GRADCLIP_MPI_BLOCK * 256];
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (argc != 3) return MPI_Abort(MPI_COMM_WORLD, 2);
    rounds = atoi(argv[1]);
    transport = argv[2];

    float few[16] = {1}; /* so few that only the call and its message count */
    gradclip_tensor tiny = {few, 16, GRADCLIP_F32, 0, 0, 0};
    gradclip_result r;
    gradclip_result_init(&r, sizeof r);
    MEASURE("allreduce", 192, rounds, MPI_Allreduce(words, sums, 24, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD));
    MEASURE("clip over ranks", sizeof few, rounds, gradclip_mpi_clip_grad_norm(MPI_COMM_WORLD, &tiny, 1, 1e30, 2.0, NULL, NULL));
    if (ranks == 2) {
        for (int count = 1; count <= 1 << 14; count *= 4)
            MEASURE("allreduce by size", count * 8, rounds / 10, MPI_Allreduce(words, sums, count, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD));
        MEASURE("allgather", GRADCLIP_MPI_BLOCK, rounds / 10,
                MPI_Allgather(block, GRADCLIP_MPI_BLOCK, MPI_BYTE, blocks, GRADCLIP_MPI_BLOCK, MPI_BYTE, MPI_COMM_WORLD));
    }
    if (ranks == 1) {
        MEASURE("norm", sizeof few, rounds, gradclip_get_total_norm(&tiny, 1, 2.0, NULL, &r));
        gradclip_accumulator *a = NULL;
        size_t size = GRADCLIP_MPI_EXPORT, length = (size_t)1 << 25; /* more than caches hold */
        gradclip_accumulator_create(3.0, NULL, &a);
        gradclip_accumulator_add(a, &tiny, 1);
        gradclip_accumulator_export(a, block, &size);
        MEASURE("import", size, rounds, gradclip_accumulator_import(a, block, size));
        gradclip_accumulator_free(a);
        float *g = malloc(length * sizeof *g);
        for (size_t i = 0; i < length; i++) g[i] = 1e-3f;
        gradclip_tensor shard = {g, length, GRADCLIP_F32, 0, 0, 0};
        MEASURE("norm", length * 4, 9, gradclip_get_total_norm(&shard, 1, 2.0, NULL, &r));
        MEASURE("scale", length * 4, 9, gradclip_scale(&shard, 1, -1.0, NULL));
        free(g);
    }
    MPI_Finalize();
    return 0;
}
