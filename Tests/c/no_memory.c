/*
 * Memory that runs out, at each allocation of a call in turn: the call says so and has
 * written nothing, or does without (threads). Afterwards it gives what it always gives.
 *
 * Each try of a step of calls.h has a process of its own that has called nothing before,
 * so that the allocations for a first call and for threads are among those that fail.
 */
#define _GNU_SOURCE
#include "calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

/* The library asks for memory and threads by these names: allocation number `fails` from
 * now on, or with `lasting` that and all after it, get none. */
static long asked, fails = -1;
static int lasting, refused, threads_asked;
static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;

static int refuse(void)
{
    pthread_mutex_lock(&counting);
    int no = fails >= 0 && (asked == fails || (lasting && asked > fails));
    asked++;
    refused |= no;
    pthread_mutex_unlock(&counting);
    return no;
}

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    if (!refuse()) return __libc_malloc(size);
    errno = ENOMEM;
    return NULL;
}

void *calloc(size_t count, size_t size)
{
    if (!refuse()) return __libc_calloc(count, size);
    errno = ENOMEM;
    return NULL;
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    if (refuse()) return ENOMEM;
    *memory = __libc_memalign(alignment, size);
    return *memory ? 0 : ENOMEM;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument)
{
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
    threads_asked++;
    return refuse() ? EAGAIN : create(thread, attributes, body, argument);
}

static struct world calm, w;

/* A step with allocation number n refused. 0: there was none; 1: it did without; 2: an error. */
static int one(int i, long n, int and_all_after)
{
    fill_world(&w);
    memcpy(calm.bytes, w.bytes, w.size);
    asked = 0, refused = 0, lasting = and_all_after, fails = n;
    gradclip_status status = steps[i].run(&w);
    fails = -1;
    CHECK(status == GRADCLIP_OK || status == GRADCLIP_ERROR_OUT_OF_MEMORY, "%s: status %d", steps[i].name, (int)status);
    CHECK(status == GRADCLIP_OK || refused, "%s: out of memory when there was enough", steps[i].name);
    if (status) {
        const char *said = gradclip_last_error();
        CHECK(!memcmp(w.bytes, calm.bytes, w.size), "%s, allocation %ld: something was written", steps[i].name, n);
        CHECK(strstr(said, "memory") || strstr(said, "allocated"), "%s: \"%s\"", steps[i].name, said);
    }
    uint64_t found = digest(&w);
    int was_refused = refused;
    uint64_t expected = digest_of_step(&w, i);
    CHECK(expected != 0, "%s, afterwards: %s", steps[i].name, gradclip_last_error());
    CHECK(status || found == expected, "%s, allocation %ld: other bits without it", steps[i].name, n);
    return was_refused * (status ? 2 : 1);
}

/* The same in a child; more than 2: it failed. */
static int apart(int i, long n, int and_all_after)
{
    int status = -1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        checks_failed = 0;
        int what = one(i, n, and_all_after);
        _exit(checks_failed ? 9 : what);
    }
    if (pid > 0) waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 9;
}

/* A report on a tensor that all threads would work on: without memory to do that, the same report. */
static void large_report(void)
{
    enum { LARGE = 2500000 };
    gradclip_report expected, report;
    gradclip_options options = default_options();
    float *x = malloc(LARGE * sizeof *x);
    if (!x) abort();
    for (size_t i = 0; i < LARGE; i++) x[i] = (float)(i % 1009) * 0x1p-9f - 0.5f;
    gradclip_tensor list = tensor_of(x, LARGE, GRADCLIP_F32);
    options.num_threads = 2;
    memset(&expected, 0, sizeof expected), memset(&report, 0, sizeof report);
    CHECK_STATUS(gradclip_inspect(&list, 1, 2, &options, &expected, sizeof expected, NULL), GRADCLIP_OK);
    asked = 0, refused = 0, lasting = 1, fails = 0;
    CHECK_STATUS(gradclip_inspect(&list, 1, 2, &options, &report, sizeof report, NULL), GRADCLIP_OK);
    fails = -1;
    CHECK(refused, "no memory was asked for");
    CHECK(same_bits(&report, &expected, sizeof report), "another report: mean %a, norm %a", report.mean, report.norm);
    free(x);
}

int main(void)
{
    static const struct { const char *name; int fails; } expected[] = {
        {"accumulator", 1}, {"words", 1}, {"autoclip", 1}, {"zclip", 1}, {"adagc", 1}, {"skipstep", 1}, {"by_norm", 1},
        {"by_group", 1}, {"by_block_rms", 1}, {"adaptive_rows", 1}, {"per_example", 1}, {"overlap", 1}, {"clip_p2", 0}, {"total_norm", 0}};
    long refusals = 0, errors = 0;
    int nothing = 0;
    if (!make_world(&calm, ENOUGH_FOR_THREADS, 2) || !make_world(&w, ENOUGH_FOR_THREADS, 2)) return 2;
    for (int i = 0; i < STEPS; i++) {
        long counts[3] = {0, 0, 0};
        for (long n = 0; counts[0] == 0 && n < 500; n++)
            for (int and_all = 1; and_all >= 0; and_all--) {
                int what = apart(i, n, and_all);
                CHECK(what <= 2, "%s, allocation %ld%s", steps[i].name, n, and_all ? " and all after" : "");
                if (what <= 2) counts[what]++;
            }
        CHECK(counts[0] > 0, "%s asks for memory without end", steps[i].name);
        for (size_t k = 0; k < sizeof expected / sizeof *expected; k++)
            if (!strcmp(expected[k].name, steps[i].name)) CHECK((counts[2] > 0) == expected[k].fails, "%s: %ld errors", steps[i].name, counts[2]);
        if (counts[1] + counts[2] == 0) nothing++;
        refusals += counts[1] + counts[2], errors += counts[2];
    }
    fill_world(&w);
    CHECK(steps[3].run(&w) == GRADCLIP_OK && threads_asked == 1, "threads are made by the name that this test has taken: %d", threads_asked);
    large_report();
    /* Where a tensor is too small for threads. */
    CHECK(nothing < 6, "%d steps ask for no memory", nothing);
    printf("%ld allocations refused, %ld calls that said so; ", refusals, errors);
    return checks_summary("no_memory");
}
