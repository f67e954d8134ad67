/*
 * An OpenMP host, built with -Ofast as llm.c is: start-up code flushes denormals to
 * zero in its threads. Calls from inside and outside parallel regions give the same
 * bits, denormals count, and the threads keep their floating point settings.
 */
#include "../c/check.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#else
static unsigned _mm_getcsr(void) { return 0; }
static void _mm_setcsr(unsigned csr) { (void)csr; }
#endif

enum { THREADS = 4, PIECES = 64, LENGTH = 40000, FTZ_DAZ = 0x8040 };

static float *arena;

static double norm_of(float *grad, size_t length)
{
    gradclip_result result = new_result();
    gradclip_get_total_norm_f32(&grad, &length, 1, 2.0, NULL, &result);
    return result.total_norm;
}

int main(void)
{
    omp_set_num_threads(THREADS);
    arena = malloc(PIECES * LENGTH * sizeof *arena);
    unsigned state = 1;
    for (size_t i = 0; i < PIECES * LENGTH; i++) {
        state = state * 1664525u + 1013904223u;
        arena[i] = (float)((int)(state >> 8) - (1 << 23)) * 1e-7f;
    }
    /* The last piece is denormal throughout: its norm is 0 where they are flushed.
     * 2^-140, in bits: arithmetic would flush it on the way. */
    const unsigned denormal = 1u << 9;
    for (size_t i = 0; i < LENGTH; i++) memcpy(&arena[(PIECES - 1) * LENGTH + i], &denormal, sizeof denormal);

    double outside[PIECES], inside[PIECES], whole = norm_of(arena, PIECES * LENGTH);
    unsigned settings[THREADS];
    int changed = 0, members = 0;
    for (int p = 0; p < PIECES; p++) outside[p] = norm_of(arena + p * LENGTH, LENGTH);
    CHECK_NUMBER(outside[PIECES - 1], 200 * ldexp(1, -140));

    /* Every thread clips on its own, and adds its pieces to an accumulator of its own;
     * each with another setting of FTZ and DAZ. */
    gradclip_accumulator *parts[THREADS];
#pragma omp parallel reduction(+ : changed, members)
    {
        int me = omp_get_thread_num();
        members++;
        _mm_setcsr(me % 2 ? _mm_getcsr() | FTZ_DAZ : _mm_getcsr() & ~(unsigned)FTZ_DAZ);
        settings[me] = _mm_getcsr();
        gradclip_accumulator_create(2.0, NULL, &parts[me]);
#pragma omp for schedule(dynamic)
        for (int p = 0; p < PIECES; p++) {
            inside[p] = norm_of(arena + p * LENGTH, LENGTH);
            gradclip_accumulator_add_f32(parts[me], arena + p * LENGTH, LENGTH);
        }
        changed += (_mm_getcsr() ^ settings[me]) & ~0x3fu ? 1 : 0; /* the low bits are flags of what happened */
    }
    CHECK(members == THREADS, "%d threads", members);
    CHECK(changed == 0, "%d threads have other settings than before", changed);
    for (int p = 0; p < PIECES; p++) CHECK_NUMBER(inside[p], outside[p]);

    gradclip_result result = new_result();
    for (int t = THREADS - 1; t > 0; t--) CHECK_STATUS(gradclip_accumulator_merge(parts[0], parts[t]), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_finish(parts[0], 1.0, &result), GRADCLIP_OK);
    CHECK_NUMBER(result.total_norm, whole);
    for (int t = 0; t < THREADS; t++) gradclip_accumulator_free(parts[t]);
    free(arena);
    return checks_summary("openmp_host");
}
