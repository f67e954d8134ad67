/* A team of threads for the roof, and the check that there are two free cores. */
#include "driver.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

double bench_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

typedef struct team {
    int threads;
    atomic_int ready;
    void (*body)(void *context, int index);
    void *context;
} team;

typedef struct member {
    team *team;
    int index;
    double start, end;
} member;

/* Waiting spins: a roof must not contain the time that waking a thread takes. */
static void *work(void *argument) {
    member *own = argument;
    team *team = own->team;
    atomic_fetch_add(&team->ready, 1);
    while (atomic_load(&team->ready) < team->threads) sched_yield();
    own->start = bench_now();
    team->body(team->context, own->index);
    own->end = bench_now();
    return NULL;
}

double bench_team(int threads, void (*body)(void *, int), void *context) {
    if (threads < 1 || threads > BENCH_MOST_THREADS) return -1;
    team team = {.threads = threads, .body = body, .context = context};
    member members[BENCH_MOST_THREADS];
    pthread_t made[BENCH_MOST_THREADS];
    for (int i = 0; i < threads; i++) members[i] = (member){.team = &team, .index = i};
    int started = 1;
    while (started < threads && pthread_create(&made[started], NULL, work, &members[started]) == 0) started++;
    int failed = started < threads;
    if (failed) atomic_store(&team.ready, threads); /* lets those go that did start */
    else work(&members[0]);
    for (int i = 1; i < started; i++) pthread_join(made[i], NULL);
    if (failed) return -1;
    double start = members[0].start, end = members[0].end;
    for (int i = 1; i < threads; i++) {
        if (members[i].start < start) start = members[i].start;
        if (members[i].end > end) end = members[i].end;
    }
    return end - start;
}

typedef struct spin {
    double seconds;
    double rate[2];
} spin;

/* In a register and never inlined: what goes through the stack, or is compiled twice,
 * may run at two speeds, and the gain would say more about the compiler than about
 * the processors. */
static __attribute__((noinline)) void count_up(void *context, int index) {
    spin *spin = context;
    double start = bench_now(), now = start;
    double turns = 0;
    while (now - start < spin->seconds) {
        for (int i = 0; i < 5000; i++) __asm__ volatile("" : "+r"(i));
        turns++;
        now = bench_now();
    }
    spin->rate[index] = turns / (now - start);
}

double bench_spin_gain(double seconds) {
    spin one = {.seconds = seconds}, two = {.seconds = seconds};
    if (bench_team(1, count_up, &one) < 0) return -1;
    if (bench_team(2, count_up, &two) < 0) return -1;
    return (two.rate[0] + two.rate[1]) / one.rate[0];
}
