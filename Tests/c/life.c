/*
 * The life of a process: many threads that call at once, forks in the middle of calls,
 * signals during them, threads with a stack of 64 KB, the end of the process while calls
 * run. Whatever happens, a call gives the bits that it gives in quiet.
 *
 * LIFE_SECONDS=60: how long the threads call (3).
 */
#define _GNU_SOURCE
#include "calls.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 64, SMALL = 3008, WORKERS = 3 };

static uint64_t quiet_small[STEPS], quiet_large[STEPS];

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void in_quiet(void)
{
    struct world small, large;
    if (!make_world(&small, SMALL, 1) || !make_world(&large, ENOUGH_FOR_THREADS, 1)) exit(2);
    for (int i = 0; i < STEPS; i++) {
        fill_world(&small);
        uint64_t before = digest(&small);
        quiet_small[i] = digest_of_step(&small, i);
        quiet_large[i] = digest_of_step(&large, i);
        CHECK(quiet_small[i] && quiet_large[i], "%s fails: %s", steps[i].name, gradclip_last_error());
        CHECK(quiet_small[i] != before, "%s does nothing", steps[i].name);
    }
    free(small.bytes), free(large.bytes);
}

/* ---------------------------------------------------------------- threads -- */

struct caller {
    pthread_t thread;
    int number;
    double until;
    long calls, least;
    const char *wrong; /* the step that gave other bits */
};

static void *call_and_call(void *argument)
{
    struct caller *c = argument;
    struct world w;
    int is_large = c->number % 4 == 0; /* these want the library's threads, and one at a time gets them */
    if (!make_world(&w, is_large ? ENOUGH_FOR_THREADS : SMALL, 1 + WORKERS)) exit(2);
    do {
        int i = (int)((c->calls + c->number) % STEPS);
        if (digest_of_step(&w, i) != (is_large ? quiet_large : quiet_small)[i]) c->wrong = steps[i].name;
        c->calls++;
    } while (!c->wrong && (c->calls < c->least || seconds() < c->until));
    free(w.bytes);
    return NULL;
}

static void start(struct caller *callers, int count, double duration)
{
    for (int i = 0; i < count; i++) {
        callers[i] = (struct caller){.number = i, .until = seconds() + duration};
        if (pthread_create(&callers[i].thread, NULL, call_and_call, &callers[i])) exit(2);
    }
}

static long finish(struct caller *callers, int count, const char *when)
{
    long calls = 0;
    for (int i = 0; i < count; i++) {
        pthread_join(callers[i].thread, NULL);
        CHECK(!callers[i].wrong, "%s: thread %d, %s: other bits than in quiet, or %s", when, i, callers[i].wrong, gradclip_last_error());
        calls += callers[i].calls;
    }
    return calls;
}

/* Each kind of call often, with the library's threads to itself, as it seldom has them among many callers. */
static void one_caller(void)
{
    struct world w;
    if (!make_world(&w, ENOUGH_FOR_THREADS, 1 + WORKERS)) exit(2);
    for (int i = 0; i < STEPS; i++)
        for (int k = 0; k < 20; k++) CHECK(digest_of_step(&w, i) == quiet_large[i], "%s: other bits with threads", steps[i].name);
    free(w.bytes);
}

static void many_threads(void)
{
    struct caller callers[THREADS];
    const char *given = getenv("LIFE_SECONDS");
    double duration = given ? atof(given) : 3;
    start(callers, THREADS, duration);
    long calls = finish(callers, THREADS, "many threads");
    printf("%d threads for %g s: %ld calls\n", THREADS, duration, calls);
}

/* ------------------------------------------------------------------- fork -- */

/* What a child does: some calls with threads of its own. It gives up after 20 s. */
static void child(void)
{
    struct world w;
    alarm(20);
    if (!make_world(&w, ENOUGH_FOR_THREADS, 1 + WORKERS)) _exit(2);
    for (int i = 0; i < 4; i++)
        if (digest_of_step(&w, i) != quiet_large[i]) _exit(3);
    exit(0); /* the library's end, too */
}

static int fork_and_wait(void)
{
    int status = -1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) child();
    if (pid > 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    return status;
}

static void *forks(void *bad)
{
    for (int i = 0; i < 3; i++)
        if (fork_and_wait() != 0) atomic_fetch_add((_Atomic int *)bad, 1);
    return NULL;
}

static void fork_in_the_middle(void)
{
    struct caller callers[4];
    pthread_t forking[2];
    _Atomic int bad = 0;
    CHECK(fork_and_wait() == 0, "a child of a quiet process");
    start(callers, 4, 1.5);
    for (int i = 0; i < 2; i++)
        if (pthread_create(&forking[i], NULL, forks, &bad)) exit(2);
    for (int i = 0; i < 4; i++) CHECK(fork_and_wait() == 0, "a child of the main thread");
    for (int i = 0; i < 2; i++) pthread_join(forking[i], NULL);
    CHECK(bad == 0, "%d children of threads failed", bad);
    finish(callers, 4, "while others fork");
}

/* ---------------------------------------------------------------- signals -- */

static volatile sig_atomic_t signals;
static pthread_t signalled;
static volatile sig_atomic_t elsewhere;

static void on_signal(int number)
{
    (void)number;
    signals++;
    if (!pthread_equal(pthread_self(), signalled)) elsewhere++;
}

/* A signal every 200 us, in a process whose only other threads are the library's. */
static void signals_during_calls(int flags)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags}, before;
    struct itimerval every = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    struct world w;
    signals = elsewhere = 0;
    signalled = pthread_self();
    if (!make_world(&w, ENOUGH_FOR_THREADS, 1 + WORKERS)) exit(2);
    sigemptyset(&action.sa_mask);
    sigaction(SIGALRM, &action, &before);
    setitimer(ITIMER_REAL, &every, NULL);
    for (int i = 0; i < STEPS; i++) CHECK(digest_of_step(&w, i) == quiet_large[i], "%s, flags %x", steps[i].name, (unsigned)flags);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
    CHECK(signals > 50, "only %d signals", (int)signals);
    CHECK(elsewhere == 0, "%d signals went to the library's threads", (int)elsewhere);
    free(w.bytes);
}

/* ------------------------------------------------------------ small stack -- */

static void small_stacks(void)
{
    pthread_attr_t attributes;
    struct caller callers[4];
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstacksize(&attributes, 64 * 1024) == 0, "64 KB");
    for (int i = 0; i < 4; i++) {
        /* Every step at least once, on this thread alone and with the library's. */
        callers[i] = (struct caller){.number = i * 2, .until = seconds() + 0.5, .least = STEPS};
        if (pthread_create(&callers[i].thread, &attributes, call_and_call, &callers[i])) exit(2);
    }
    CHECK(finish(callers, 4, "64 KB of stack") >= 4 * STEPS, "not every step");
    pthread_attr_destroy(&attributes);
}

/* ---------------------------------------------------------- the end of it -- */

/* exit() in one thread while others call, and the pool works: the process ends, in time. */
static void end_while_calls_run(void)
{
    for (int i = 0; i < 8; i++) {
        int status = -1;
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            struct caller callers[9];
            alarm(20);
            start(callers, 9, 30);
            struct timespec pause = {0, 10000000 * (i + 1)};
            nanosleep(&pause, NULL);
            exit(7);
        }
        if (pid > 0) waitpid(pid, &status, 0);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7, "status %x", (unsigned)status);
    }
}

int main(int argc, char **argv)
{
    in_quiet();
    one_caller();
    if (argc > 1 && !strcmp(argv[1], "threads")) { /* for ThreadSanitizer */
        many_threads();
        return checks_summary("life threads");
    }
    signals_during_calls(0);
    signals_during_calls(SA_RESTART);
    small_stacks();
    fork_in_the_middle();
    end_while_calls_run();
    many_threads();
    return checks_summary("life");
}
