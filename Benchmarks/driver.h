/*
 * What the benchmark measures from C. Built as a shared library and called from
 * Python, so that gradclip, the roof and the Python peers run in one process and
 * in the same rounds. Every function returns seconds per call (or per pass), and
 * a negative number when what was to be measured did not happen.
 */
#ifndef GRADCLIP_BENCHMARK_DRIVER_H
#define GRADCLIP_BENCHMARK_DRIVER_H

#include <gradclip.h>
#include <stddef.h>

enum { BENCH_MOST_THREADS = 256 };

double bench_now(void);

/* ---- threads.c: a team whose start and end are measured without its making -- */

/* Runs body(context, i) for i in 0 ..< threads at the same time. Returns the
 * seconds from the moment all were ready to the end of the last, or -1. */
double bench_team(int threads, void (*body)(void *context, int index), void *context);

/* How much faster two spinning threads count than one: 2 with two free cores.
 * Looks for about 2 * seconds. */
double bench_spin_gain(double seconds);

/* ---- roof.c: the best plain loops over the same memory ---- */

enum { BENCH_READ = 0, BENCH_READ_WRITE = 1 };

/* How many ways there are to write the loop; the best one is the roof. */
int bench_roof_variants(void);
const char *bench_roof_name(int variant);

/* One pass over bytes of memory, divided evenly among threads. The memory keeps
 * its contents. */
double bench_roof(int kind, int variant, void *memory, size_t bytes, int threads, int passes);

/* ---- driver.c: gradclip and what is called like it ---- */

/* gradclip_clip_grad_norm(), calls times; call i with max_norms[i] and, unless
 * scales is NULL, grad_scale scales[i]. writes says whether a call has to write;
 * -2 if one did not do as it says, -1 if one failed. *total_norm: the last norm. */
double bench_clip_grad_norm(const gradclip_tensor *grads, size_t count, double norm_type,
                            const gradclip_options *options, const double *max_norms,
                            const double *scales, int calls, int writes, double *total_norm);

/* gradclip_clip_grad_value(), call i with clip_values[i]. */
double bench_clip_grad_value(const gradclip_tensor *grads, size_t count,
                             const gradclip_options *options, const double *clip_values, int calls);

/* gradclip_get_total_norm(); tensor_norms may be NULL. *total_norm: the last norm. */
double bench_total_norm(const gradclip_tensor *grads, size_t count, double norm_type, const gradclip_options *options,
                        double *tensor_norms, int calls, double *total_norm);

/* gradclip_inspect(), p = 2; count reports. */
double bench_inspect(const gradclip_tensor *grads, size_t count, const gradclip_options *options,
                     gradclip_report *reports, int calls);

/* gradclip_scale(), in place. */
double bench_scale(const gradclip_tensor *grads, size_t count, double factor, const gradclip_options *options, int calls);

/* BLAS: snrm2 for every tensor, the root of the sum of squares, and sscal for
 * every tensor where the norm is above max_norms[i]. F32 only. */
typedef float (*bench_snrm2)(int n, const float *x, int step);
typedef void (*bench_sscal)(int n, float alpha, float *x, int step);
double bench_blas(const gradclip_tensor *grads, size_t count, bench_snrm2 snrm2, bench_sscal sscal,
                  const double *max_norms, int calls, int writes, double *total_norm);

/* ---- plain.c ---- */

/* The norm that one would write by hand: squares in float64, as the compiler
 * vectorises them, one thread; with memory asked for ahead, or not. */
double bench_plain_norm(const float *x, size_t length, int prefetch, int calls, double *norm);

#endif
