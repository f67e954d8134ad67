/*
 * Threads that end while they call: pthread_cancel takes effect after the call, pthread_exit
 * behind a call or in a callback. Either way no lock stays behind, no thread of the library is
 * lost, and the next calls give the bits of a quiet process.
 */
#define _GNU_SOURCE
#include "calls.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

enum { TIMES = 6, PATIENCE = 120 /* seconds, for a machine that is busy */ };

struct calling {
    struct world world;
    int step;
    atomic_int calls, is_calling;
    int was_cut_off;
};

static void at_the_end(void *argument)
{
    struct calling *c = argument;
    c->was_cut_off = c->is_calling;
}

static void *call_until_cancelled(void *argument)
{
    struct calling *c = argument;
    pthread_cleanup_push(at_the_end, c);
    for (;;) {
        c->is_calling = 1;
        (void)steps[c->step].run(&c->world);
        c->is_calling = 0;
        c->calls++;
        pthread_testcancel();
    }
    pthread_cleanup_pop(0);
    return NULL;
}

/* Every kind of call is cancelled some times, at places that differ by themselves. */
static void cancelled_calls(uint32_t threads)
{
    static struct calling c;
    struct world after;
    if (!make_world(&c.world, ENOUGH_FOR_THREADS, threads) || !make_world(&after, ENOUGH_FOR_THREADS, threads)) exit(2);
    for (c.step = 0; c.step < STEPS; c.step++) {
        const uint64_t quiet = digest_of_step(&after, c.step);
        CHECK(quiet, "%s fails: %s", steps[c.step].name, gradclip_last_error());
        for (int i = 0; i < TIMES; i++) {
            pthread_t thread;
            void *result = NULL;
            c.calls = c.is_calling = c.was_cut_off = 0;
            fill_world(&c.world);
            alarm(PATIENCE);
            if (pthread_create(&thread, NULL, call_until_cancelled, &c)) exit(2);
            /* In the first call, or later. */
            while (!(i % 2 ? c.calls : c.is_calling)) sched_yield();
            struct timespec pause = {0, 150000 * i};
            nanosleep(&pause, NULL);
            pthread_cancel(thread);
            pthread_join(thread, &result);
            CHECK(result == PTHREAD_CANCELED, "%s: not cancelled", steps[c.step].name);
            CHECK(!c.was_cut_off, "%s: cut off in the middle", steps[c.step].name);
            CHECK(digest_of_step(&after, c.step) == quiet, "%s, after one that was cancelled: %s", steps[c.step].name, gradclip_last_error());
            alarm(0);
        }
    }
    free(c.world.bytes), free(after.bytes);
}

/* A request that came before the call. */
static void *call_when_cancelled_already(void *argument)
{
    struct calling *c = argument;
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    pthread_cancel(pthread_self());
    pthread_setcancelstate(before, &before);
    for (int i = 0; i < STEPS; i++, c->calls++) (void)steps[i].run(&c->world);
    pthread_testcancel();
    return NULL;
}

static void cancelled_before_the_call(void)
{
    static struct calling c;
    pthread_t thread;
    void *result = NULL;
    if (!make_world(&c.world, ENOUGH_FOR_THREADS, 3)) exit(2);
    fill_world(&c.world);
    alarm(PATIENCE);
    if (pthread_create(&thread, NULL, call_when_cancelled_already, &c)) exit(2);
    pthread_join(thread, &result);
    alarm(0);
    CHECK(result == PTHREAD_CANCELED && c.calls == STEPS, "%d calls of %d", (int)c.calls, STEPS);
    free(c.world.bytes);
}

/* ------------------------------------------------------------ pthread_exit -- */

static void leave(void *user_data, uint32_t kind, const char *line)
{
    (void)kind, (void)line;
    pthread_exit(user_data);
}

static void *call_and_exit(void *argument)
{
    struct world *w = argument;
    for (int i = 0; i < STEPS; i++) (void)steps[i].run(w);
    pthread_exit(w);
}

static void *exit_in_the_callback(void *argument)
{
    gradclip_monitor monitor;
    gradclip_result result = new_result();
    float grad = 3, *grads[] = {&grad};
    size_t length = 1;
    gradclip_monitor_init(&monitor, sizeof monitor);
    monitor.callback = leave;
    monitor.user_data = argument;
    if (gradclip_get_total_norm_f32(grads, &length, 1, 2, NULL, &result) == GRADCLIP_OK) (void)gradclip_monitor_log(&monitor, NULL, NULL, &result, NULL);
    return NULL;
}

static void exits(void)
{
    struct world leaving, after;
    void *(*const bodies[])(void *) = {call_and_exit, exit_in_the_callback};
    if (!make_world(&leaving, ENOUGH_FOR_THREADS, 3) || !make_world(&after, ENOUGH_FOR_THREADS, 3)) exit(2);
    alarm(PATIENCE);
    for (int i = 0; i < 2 * TIMES; i++) {
        pthread_t thread;
        void *result = NULL;
        fill_world(&leaving);
        const uint64_t quiet = digest_of_step(&after, i % STEPS);
        if (pthread_create(&thread, NULL, bodies[i % 2], &leaving)) exit(2);
        pthread_join(thread, &result);
        CHECK(result == &leaving, "thread %d did not get to pthread_exit", i);
        CHECK(digest_of_step(&after, i % STEPS) == quiet, "%s, after a thread that left", steps[i % STEPS].name);
    }
    alarm(0);
    free(leaving.bytes), free(after.bytes);
}

/* The first thread of the process leaves; another calls on, and ends the process. */
static pthread_t first_thread;

static void *call_on(void *argument)
{
    struct world *w = argument;
    pthread_join(first_thread, NULL);
    for (int i = 0; i < STEPS; i++) CHECK(digest_of_step(w, i) == digest_of_step(w, i), "%s", steps[i].name);
    exit(checks_summary("cancel"));
}

int main(void)
{
    static struct world w;
    pthread_t thread;
    cancelled_calls(1);
    cancelled_calls(3);
    cancelled_before_the_call();
    exits();
    if (!make_world(&w, ENOUGH_FOR_THREADS, 3)) return 2;
    alarm(PATIENCE);
    first_thread = pthread_self();
    if (pthread_create(&thread, NULL, call_on, &w)) return 2;
    pthread_exit(NULL);
}
