/*
 * Forks against calls from the first instruction of a process on: every kind of call, with the
 * library's threads and without, is under way in other threads, from before the first choice of
 * kernels and the first thread of the pool, while the process forks. Every child makes the call
 * and gets the bits of a quiet process.
 *
 * fork [EXECUTABLE ARGUMENT...]: what starts this program again, for a scenario each; without, this
 * program itself. It is built in four ways: linked with the shared library and with the archive, and
 * both as a plugin, which fork_plugin.c opens and whose main() is plugin_main().
 */
#define _GNU_SOURCE
#include "calls.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SMALL = 3008, CHILDREN = 5, CALLERS = 2, PATIENCE = 120 /* seconds, for a machine that is busy */ };

static size_t elements(int with_pool) { return with_pool ? ENOUGH_FOR_THREADS : SMALL; }

/* -------------------------------------------------------------- a scenario -- */

static int step, with_pool;
static uint64_t expected;
static atomic_int stop, wrong;

static int call_is_right(struct world *w) { return digest_of_step(w, step) == expected; }

static void *caller(void *argument)
{
    while (!stop && !wrong)
        if (!call_is_right(argument)) wrong = 1;
    return NULL;
}

/* How many threads there may be, which is asked of files: the first call of a process, too. */
static void *asker(void *argument)
{
    (void)argument;
    (void)gradclip_get_num_threads();
    return NULL;
}

/* A child that hangs is ended by a signal. */
static int child(struct world *w, int number)
{
    alarm(PATIENCE);
    if (gradclip_get_num_threads() == 0 || !call_is_right(w)) _exit(1);
    if (number % 2) _exit(0);
    exit(0); /* with the library's end */
}

static int scenario(void)
{
    pthread_t threads[CALLERS + 1];
    struct world worlds[CALLERS + 1];
    int bad = 0;
    for (int i = 0; i <= CALLERS; i++)
        if (!make_world(&worlds[i], elements(with_pool), with_pool ? 2 + 2 * (uint32_t)i : 1)) return 2;
    /* Now the first call of the process, and at the same time the first fork. */
    if (pthread_create(&threads[CALLERS], NULL, asker, NULL)) return 2;
    for (int i = 0; i < CALLERS; i++)
        if (pthread_create(&threads[i], NULL, caller, &worlds[i])) return 2;
    for (int i = 0; i < CHILDREN; i++) {
        int status = -1;
        pid_t pid = fork();
        if (pid < 0) return 2;
        if (pid == 0) child(&worlds[CALLERS], i);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
        if (status != 0) {
            fprintf(stderr, "fork: %s, %s: child %d: %s %d\n", steps[step].name, with_pool ? "with threads" : "one thread", i,
                    WIFSIGNALED(status) ? "hung, signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
            bad = 1;
            break;
        }
    }
    stop = 1;
    alarm(PATIENCE);
    for (int i = 0; i <= CALLERS; i++) pthread_join(threads[i], NULL);
    return bad || wrong;
}

/* ------------------------------------------------------------ all scenarios -- */

static int run_scenario(int count, char **command, int i, int pool, uint64_t digest)
{
    char number[16], threads[16], hash[32], *arguments[8];
    int status = -1, n = 0;
    if (count > 4) return 0;
    for (; n < count; n++) arguments[n] = command[n];
    snprintf(number, sizeof number, "%d", i);
    snprintf(threads, sizeof threads, "%d", pool);
    snprintf(hash, sizeof hash, "%llx", (unsigned long long)digest);
    arguments[n++] = number, arguments[n++] = threads, arguments[n++] = hash, arguments[n] = NULL;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        setenv("GRADCLIP_TEST_SCENARIO", "1", 1);
        execv(arguments[0], arguments);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    return status == 0;
}

int main(int argc, char **argv)
{
    if (getenv("GRADCLIP_TEST_SCENARIO") && argc >= 4) {
        step = atoi(argv[argc - 3]);
        with_pool = atoi(argv[argc - 2]);
        expected = strtoull(argv[argc - 1], NULL, 16);
        return scenario();
    }
    char *self[] = {"/proc/self/exe"};
    int own = argc < 2;
    for (int pool = 0; pool < 2; pool++) {
        struct world quiet;
        if (!make_world(&quiet, elements(pool), 1)) return 2;
        for (int i = 0; i < STEPS; i++) {
            uint64_t digest = digest_of_step(&quiet, i);
            CHECK(digest, "%s fails: %s", steps[i].name, gradclip_last_error());
            CHECK(run_scenario(own ? 1 : argc - 1, own ? self : argv + 1, i, pool, digest), "%s, %s", steps[i].name, pool ? "with threads" : "one thread");
        }
        free(quiet.bytes);
    }
    printf("fork: %d children of %d processes; ", 2 * STEPS * CHILDREN, 2 * STEPS);
    return checks_summary("fork");
}
