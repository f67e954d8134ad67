/*
 * The roof: how fast this memory can be read, and read and written in place, by
 * loops that do nothing else. Vectors of 64 bytes become whatever the processor
 * has. Which way of walking is best differs between processors, so there are
 * several, and the benchmark takes the best.
 */
#include "driver.h"

#include <stdint.h>

typedef uint64_t vector __attribute__((vector_size(64), aligned(8), may_alias));
enum { VECTORS = 4, CHUNK = VECTORS * sizeof(vector), AHEAD = 4096 };

/* What the loops read must be used, and what they add must not be known to be 0. */
static volatile uint64_t sink;
static volatile uint64_t zero;

typedef struct pass {
    int kind, streams, prefetch, threads, passes;
    char *memory;
    size_t bytes;
} pass;

typedef struct variant {
    const char *name;
    int streams, prefetch;
} variant;

static const variant variants[] = {
    {"one stream", 1, 0},
    {"one stream, prefetched", 1, 1},
    {"two streams", 2, 0},
    {"four streams", 4, 0},
};

int bench_roof_variants(void) { return (int)(sizeof variants / sizeof *variants); }
const char *bench_roof_name(int i) { return variants[i].name; }

static inline __attribute__((always_inline)) void read_chunks(char *memory, size_t length, int streams, int prefetch) {
    vector sums[VECTORS] = {{0}};
    for (size_t at = 0; at < length; at += CHUNK)
        for (int s = 0; s < streams; s++) {
            const char *from = memory + (size_t)s * length + at;
            if (prefetch)
                for (size_t line = 0; line < CHUNK; line += 64) __builtin_prefetch(from + AHEAD + line, 0, 3);
            for (int v = 0; v < VECTORS; v++) sums[v] += ((const vector *)from)[v];
        }
    vector sum = sums[0] + sums[1] + sums[2] + sums[3];
    uint64_t total = 0;
    for (int i = 0; i < 8; i++) total += sum[i];
    sink = total;
}

static inline __attribute__((always_inline)) void write_chunks(char *memory, size_t length, int streams, int prefetch) {
    const uint64_t nothing = zero;
    for (size_t at = 0; at < length; at += CHUNK)
        for (int s = 0; s < streams; s++) {
            char *from = memory + (size_t)s * length + at;
            if (prefetch)
                for (size_t line = 0; line < CHUNK; line += 64) __builtin_prefetch(from + AHEAD + line, 1, 3);
            for (int v = 0; v < VECTORS; v++) ((vector *)from)[v] += nothing;
        }
}

/* Constants for streams and prefetch, so that the compiler makes a loop for each. */
static void walk(int kind, char *memory, size_t length, int streams, int prefetch) {
    if (kind == BENCH_READ) {
        if (streams == 4) read_chunks(memory, length, 4, 0);
        else if (streams == 2) read_chunks(memory, length, 2, 0);
        else if (prefetch) read_chunks(memory, length, 1, 1);
        else read_chunks(memory, length, 1, 0);
    } else {
        if (streams == 4) write_chunks(memory, length, 4, 0);
        else if (streams == 2) write_chunks(memory, length, 2, 0);
        else if (prefetch) write_chunks(memory, length, 1, 1);
        else write_chunks(memory, length, 1, 0);
    }
}

/* Every thread has a run of its own; what does not fill a chunk is left out, less
 * than 1 KB a thread. */
static void share(void *context, int index) {
    const pass *pass = context;
    size_t length = pass->bytes / (size_t)pass->threads / (size_t)pass->streams / CHUNK * CHUNK;
    char *memory = pass->memory + (size_t)index * length * (size_t)pass->streams;
    for (int i = 0; i < pass->passes; i++) walk(pass->kind, memory, length, pass->streams, pass->prefetch);
}

double bench_roof(int kind, int which, void *memory, size_t bytes, int threads, int passes) {
    if (which < 0 || which >= bench_roof_variants()) return -1;
    pass pass = {kind, variants[which].streams, variants[which].prefetch, threads, passes, memory, bytes};
    double seconds = bench_team(threads, share, &pass);
    return seconds < 0 ? -1 : seconds / passes;
}
