// What the library takes from the operating system: threads and what happens to them in a
// fork, at a cancellation and at unload; processors; memory; the environment; text.
//
// A file per system implements it (posix.c with linux.c or macos.c, windows.c); text.c is C that
// all have. Nothing else in the library knows where it runs.
#ifndef CGRADCLIPSYSTEM_H
#define CGRADCLIPSYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// --------------------------------------------------------------- threads --

// One lock and two conditions, for the pool (ThreadPool.swift). The lock is held for moments
// only: nothing is read or waited for under it. From the moment the library is loaded, a fork
// takes it first, so that the child finds whole what it guards.
void gk_pool_lock(void);
void gk_pool_unlock(void);
void gk_pool_wait_for_work(void);
void gk_pool_wait_for_end(void);
void gk_pool_announce_work(void);
void gk_pool_wake_worker(void);
void gk_pool_announce_end(void);

// What to do in a forked child, where no worker exists, and when the library is unloaded or the
// process exits. Called under the lock; in_child is too.
void gk_pool_register(void (*in_child)(void), void (*at_end)(void));

// A thread with all signals blocked and a small stack; false if there is none to be had.
bool gk_thread_start(uint64_t *thread, void (*body)(void *), void *context);
void gk_thread_join(uint64_t thread);

// The calling thread is not cancelled until what the first gave goes to the second.
int gk_cancellation_disable(void);
void gk_cancellation_restore(int state);

// Nanoseconds since some moment; for how long something took.
int64_t gk_nanoseconds(void);

// Processors that the process may use, at least 1: its affinity mask, and the quotas of its
// cgroups. Reads files.
int gk_processor_count(void);

// A variable of the environment, or NULL.
const char *gk_environment(const char *name);

// Words that several threads read and write.
static inline uint32_t gk_atomic_load(const uint32_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
static inline void gk_atomic_store(uint32_t *word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }

// Hands out numbers 0, 1, 2 ...
static inline int64_t gk_draw_number(int64_t *next) { return __atomic_fetch_add(next, 1, __ATOMIC_RELAXED); }

// ---------------------------------------------------------- memory, text --

// Zeroed memory aligned to 64 (size is rounded up), or NULL; and its release.
void *gk_allocate(size_t size);
void gk_release(void *memory);

// The calling thread's last error message, and a line of its log: GK_MESSAGE bytes each.
enum { GK_MESSAGE = 256 };
char *gk_thread_message(void);
char *gk_thread_line(void);

// Where the calling thread's last ArgumentError says what it is about: GK_REFUSAL bytes,
// aligned to 16.
enum { GK_REFUSAL = 128 };
void *gk_thread_refusal(void);

// snprintf("%.*g") whose decimal point is '.' in every locale; true if the text
// reads back as the value.
bool gk_format_double(char *buffer, size_t size, int digits, double value);

#endif
