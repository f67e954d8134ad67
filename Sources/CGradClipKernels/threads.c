// What the thread pool needs from the system; see the header.
#define _GNU_SOURCE
#include "CGradClipKernels.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

// glibc 2.34 moved these into libc under new versions; the old ones are still
// there, and with them the library runs on systems from 2.17 on.
#if defined(__GLIBC__) && defined(__x86_64__)
#define OLDEST "GLIBC_2.2.5"
#elif defined(__GLIBC__) && defined(__aarch64__)
#define OLDEST "GLIBC_2.17"
#endif
#ifdef OLDEST
__asm__(".symver pthread_create,pthread_create@" OLDEST);
__asm__(".symver pthread_join,pthread_join@" OLDEST);
__asm__(".symver pthread_sigmask,pthread_sigmask@" OLDEST);
__asm__(".symver pthread_attr_setstacksize,pthread_attr_setstacksize@" OLDEST);
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER;
static pthread_cond_t end = PTHREAD_COND_INITIALIZER;
static void (*handle_child)(void);
static void (*handle_end)(void);

void gk_pool_lock(void) { pthread_mutex_lock(&lock); }
void gk_pool_unlock(void) { pthread_mutex_unlock(&lock); }
void gk_pool_wait_for_work(void) { pthread_cond_wait(&work, &lock); }
void gk_pool_wait_for_end(void) { pthread_cond_wait(&end, &lock); }
void gk_pool_announce_work(void) { pthread_cond_broadcast(&work); }
void gk_pool_announce_end(void) { pthread_cond_signal(&end); }

// The child has the forking thread only. Its conditions still count waiters that
// do not exist, so they are made anew.
static void in_child(void) {
    pthread_cond_t fresh = PTHREAD_COND_INITIALIZER;
    work = fresh;
    end = fresh;
    if (handle_child) handle_child();
    gk_pool_unlock();
}

void gk_pool_register(void (*child)(void), void (*at_end)(void)) {
    handle_child = child;
    handle_end = at_end;
    pthread_atfork(gk_pool_lock, gk_pool_unlock, in_child);
}

__attribute__((destructor)) static void unload(void) {
    if (handle_end) handle_end();
}

typedef struct start {
    void (*body)(void *);
    void *context;
} start;

static void *run(void *argument) {
    start given = *(start *)argument;
    free(argument);
    given.body(given.context);
    return NULL;
}

bool gk_thread_start(uint64_t *thread, void (*body)(void *), void *context) {
    _Static_assert(sizeof(pthread_t) <= sizeof *thread, "a thread fits");
    start *given = malloc(sizeof *given);
    if (!given) return false;
    *given = (start){body, context};
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 512 * 1024);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t made;
    int failed = pthread_create(&made, &attributes, run, given);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (failed) free(given);
    else *thread = (uint64_t)made;
    return !failed;
}

void gk_thread_join(uint64_t thread) { pthread_join((pthread_t)thread, NULL); }

int gk_affinity_count(void) {
    enum { MOST = 16384 };
    cpu_set_t *set = CPU_ALLOC(MOST);
    if (!set) return 1;
    size_t size = CPU_ALLOC_SIZE(MOST);
    CPU_ZERO_S(size, set);
    int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 1;
    CPU_FREE(set);
    return count > 0 ? count : 1;
}

bool gk_read_file(const char *path, char *buffer, size_t size) {
    FILE *file = fopen(path, "re");
    if (!file) return false;
    size_t length = fread(buffer, 1, size - 1, file);
    fclose(file);
    buffer[length] = 0;
    return true;
}

const char *gk_environment(const char *name) { return getenv(name); }
