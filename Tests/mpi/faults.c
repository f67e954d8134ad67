/*
 * faults FOLDER HOW: a rank goes away in the middle of a call. Each rank's gradients
 * lie in a file, so that they can be looked at afterwards (faults FOLDER check N, not
 * under MPI): untouched, or clipped as a whole, never in part.
 *
 *   exit-before    the last rank ends with status 3 before it sends its words
 *   kill-before    it kills itself there
 *   kill-second    it kills itself between the first message and the second (norm_type 3)
 *   kill-after     it kills itself after the messages, before its gradients are written
 */
#include "sharding.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

enum { TENSORS = 64, LENGTH = 50000 };
static const char *how;

static float *gradients(const char *folder, int rank, int create)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/gradients-%d", folder, rank);
    int file = open(path, create ? O_RDWR | O_CREAT | O_TRUNC : O_RDONLY, 0600);
    if (file < 0 || (create && ftruncate(file, sizeof(float) * TENSORS * LENGTH) != 0)) return perror(path), NULL;
    void *memory = mmap(NULL, sizeof(float) * TENSORS * LENGTH, create ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file, 0);
    close(file);
    return memory == MAP_FAILED ? NULL : memory;
}

static int go_away(int number)
{
    if (my_rank != rank_count - 1) return MPI_SUCCESS;
    if (!strcmp(how, "exit-before")) _exit(3);
    if (!strcmp(how, "kill-before") || (!strcmp(how, "kill-second") && number == 2)) raise(SIGKILL);
    return MPI_SUCCESS;
}

/* All elements are 1; after clipping they are all the same smaller number. */
static int check(const char *folder, int ranks)
{
    for (int rank = 0; rank < ranks; rank++) {
        const float *g = gradients(folder, rank, 0);
        if (g == NULL) return 2;
        for (size_t i = 0; i < (size_t)TENSORS * LENGTH; i++)
            if (g[i] != g[0] || !(g[i] > 0)) return printf("rank %d is half scaled: element %zu is %a, the first %a\n", rank, i, (double)g[i], (double)g[0]), 1;
        printf("rank %d: %s\n", rank, g[0] == 1 ? "untouched" : "clipped as a whole");
    }
    return 0;
}

int main(int argc, char **argv)
{
    static gradclip_tensor mine[TENSORS];
    gradclip_mpi_result found;
    if (argc == 4 && !strcmp(argv[2], "check")) return check(argv[1], atoi(argv[3]));
    begin(&argc, &argv);
    if (argc != 3) return MPI_Abort(MPI_COMM_WORLD, 2);
    how = argv[2];
    /* So that MPI says what it can instead of ending this process at once. */
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    float *g = gradients(argv[1], my_rank, 1);
    if (g == NULL) return MPI_Abort(MPI_COMM_WORLD, 2);
    for (size_t i = 0; i < (size_t)TENSORS * LENGTH; i++) g[i] = 1;
    for (int i = 0; i < TENSORS; i++) mine[i] = tensor_of(g + (size_t)i * LENGTH, LENGTH, GRADCLIP_F32);
    MPI_Barrier(MPI_COMM_WORLD);
    before_message = go_away;
    int measures = !strcmp(how, "kill-after") && my_rank == rank_count - 1;
    double p = !strcmp(how, "kill-second") ? 3 : 2;
    gradclip_status status = (measures ? gradclip_mpi_defer_clip : gradclip_mpi_clip_grad_norm)(MPI_COMM_WORLD, mine, TENSORS, 1, p, NULL, &found);
    if (measures) {
        sleep(1); /* mpirun ends the others, who are to have written by then */
        raise(SIGKILL);
    }
    printf("rank %d: status %d%s%s\n", my_rank, (int)status, status < 0 ? ": " : "", status < 0 ? gradclip_mpi_last_error(&found) : "");
    fflush(stdout);
    MPI_Barrier(MPI_COMM_WORLD); /* what a trainer would do next: go on to the next step */
    MPI_Finalize();
    return 0;
}
