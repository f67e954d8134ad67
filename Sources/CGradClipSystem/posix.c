// POSIX threads and memory; see the header.
#ifndef _WIN32
#ifndef __APPLE__ // where this would hide the rest
#define _POSIX_C_SOURCE 200809L
#endif
#include "CGradClipSystem.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
void gk_pool_wake_worker(void) { pthread_cond_signal(&work); }
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
}

// Before main() and before dlopen() returns: a fork may come while the first call of the process is
// under way. (In the archive this is in the object with all else, so it is linked in.)
__attribute__((constructor)) static void load(void) { pthread_atfork(gk_pool_lock, gk_pool_unlock, in_child); }

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

int64_t gk_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int gk_cancellation_disable(void) {
    int before = PTHREAD_CANCEL_DISABLE;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

void gk_cancellation_restore(int state) { pthread_setcancelstate(state, &(int){0}); }

void *gk_allocate(size_t size) {
    void *memory = NULL;
    size = (size + 63) / 64 * 64;
    if (posix_memalign(&memory, 64, size) != 0) return NULL;
    return memset(memory, 0, size);
}

void gk_release(void *memory) { free(memory); }
#endif
