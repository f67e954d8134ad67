// Windows; see the header. There is no fork and no cancellation of threads.
#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#define _CRT_RAND_S
#include "CGradClipSystem.h"

#include <errno.h>
#include <malloc.h>
#include <process.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

static SRWLOCK lock = SRWLOCK_INIT;
static CONDITION_VARIABLE work = CONDITION_VARIABLE_INIT;
static CONDITION_VARIABLE end = CONDITION_VARIABLE_INIT;

void gk_pool_lock(void) { AcquireSRWLockExclusive(&lock); }
void gk_pool_unlock(void) { ReleaseSRWLockExclusive(&lock); }
void gk_pool_wait_for_work(void) { SleepConditionVariableSRW(&work, &lock, INFINITE, 0); }
void gk_pool_wait_for_end(void) { SleepConditionVariableSRW(&end, &lock, INFINITE, 0); }
void gk_pool_announce_work(void) { WakeAllConditionVariable(&work); }
void gk_pool_wake_worker(void) { WakeConditionVariable(&work); }
void gk_pool_announce_end(void) { WakeConditionVariable(&end); }

// Threads cannot be waited for while a library is unloaded: what a thread does at its end needs the
// loader's lock. So with the first worker the library stays until the process ends, which ends
// its threads before anything of the library's would run.
void gk_pool_register(void (*in_child)(void), void (*at_end)(void)) {
    (void)in_child, (void)at_end;
    HMODULE own;
    GetModuleHandleExW(
        GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, (LPCWSTR)(void *)&lock, &own);
}

typedef struct start {
    void (*body)(void *);
    void *context;
} start;

static unsigned __stdcall run(void *argument) {
    start given = *(start *)argument;
    free(argument);
    given.body(given.context);
    return 0;
}

bool gk_thread_start(uint64_t *thread, void (*body)(void *), void *context) {
    start *given = malloc(sizeof *given);
    if (!given) return false;
    *given = (start){body, context};
    uintptr_t made = _beginthreadex(NULL, 512 * 1024, run, given, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (!made) free(given);
    else *thread = made;
    return made != 0;
}

void gk_thread_join(uint64_t thread) {
    WaitForSingleObject((HANDLE)(uintptr_t)thread, INFINITE);
    CloseHandle((HANDLE)(uintptr_t)thread);
}

int gk_cancellation_disable(void) { return 0; }
void gk_cancellation_restore(int state) { (void)state; }

int64_t gk_nanoseconds(void) {
    LARGE_INTEGER now, frequency;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&now);
    return (int64_t)((double)now.QuadPart * (1e9 / (double)frequency.QuadPart));
}

// Those of the process's processor group; its affinity mask is one of that group.
int gk_processor_count(void) {
    DWORD_PTR own, all;
    if (!GetProcessAffinityMask(GetCurrentProcess(), &own, &all) || own == 0) return 1;
    return __builtin_popcountll(own);
}

void *gk_allocate(size_t size) {
    size = (size + 63) / 64 * 64;
    void *memory = _aligned_malloc(size, 64);
    return memory ? memset(memory, 0, size) : NULL;
}

void gk_release(void *memory) { _aligned_free(memory); }

// What Embedded Swift's runtime asks of a C library and this one has not got. free() takes what
// comes from here, so no more than its own alignment can be had.
int posix_memalign(void **memory, size_t alignment, size_t size) {
    if (alignment > 16) return ENOMEM;
    *memory = malloc(size);
    return *memory ? 0 : ENOMEM;
}

void arc4random_buf(void *buffer, size_t size) {
    unsigned value = 0;
    for (size_t i = 0; i < size; i++) {
        if (i % sizeof value == 0) rand_s(&value);
        ((unsigned char *)buffer)[i] = (unsigned char)(value >> 8 * (i % sizeof value));
    }
}
#endif
