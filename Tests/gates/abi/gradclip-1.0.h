/*
 * gradclip.h - gradient clipping for native trainers
 *
 * libgradclip clips gradients that lie in plain CPU memory: by their global
 * norm (as torch.nn.utils.clip_grad_norm_ does), with any norm order, in place
 * or out of place, or by value. Link with -lgradclip. This header is the
 * manual; it compiles as C99, C11 and C++17.
 *
 *     float *grads[] = { weight_grad, bias_grad };
 *     size_t lengths[] = { 4096, 64 };
 *     gradclip_result result;
 *     gradclip_result_init(&result, sizeof result);
 *     gradclip_status status =
 *         gradclip_clip_grad_norm_f32(grads, lengths, 2, 1.0, 2.0, NULL, &result);
 *     if (status < 0)  fprintf(stderr, "%s\n", gradclip_last_error());
 *     if (status == GRADCLIP_NON_FINITE)  skip_this_step();
 *
 * WHAT IS COMPUTED
 *
 * For tensors g_1 ... g_k and norm order p = norm_type:
 *
 *   norm of a tensor   n_i = (sum |x|^p)^(1/p);  p = INFINITY: max |x|;
 *                      p = -INFINITY: min |x|;  p = 0: how many elements are
 *                      not zero. p may be any other number but NaN; beyond
 *                      2^50 in magnitude it counts as infinite, which changes
 *                      the norm by less than a part in 10^13. The norm of an
 *                      empty tensor is 0.
 *   total_norm         the p-norm of (n_1 ... n_k) over the tensors that are
 *                      not empty: for finite p other than 0 the norm of all
 *                      gradients taken as one vector, for p = 0 the number of
 *                      tensors with an element that is not zero.
 *   clip_coef          min(1, max_norm / (total_norm + eps)), in float64.
 *                      max_norm = 0 gives 0; otherwise total_norm + eps = 0
 *                      gives 1; max_norm = INFINITY gives 1 (measure only).
 *   factor             clip_coef / grad_scale: what each element is multiplied
 *                      by. A float32 element is multiplied by (float)factor
 *                      where that is a normal number and through float64
 *                      otherwise; a float64 element by factor. Of a float16 or
 *                      bfloat16 element the float32 product is rounded to the
 *                      element's type, to nearest.
 *
 * (The formulas are those of torch.nn.utils.clip_grad_norm_, whose eps is
 * 1e-6; set eps = 0 for the formula of the textbooks, optax and TensorFlow.)
 *
 * For p = 1 and p = 2 over float32, float16 and bfloat16, total_norm and the norm
 * of each tensor are the true norm, correctly rounded to float64 (before the
 * division by grad_scale): the sums are kept exactly, so the bits do not depend
 * on the order of tensors, on the instruction set, or on anything else.
 *
 * The norm is of the gradients as they were before clipping. Finite gradients
 * of any magnitude neither overflow nor underflow on the way: when the true
 * norm is larger than DBL_MAX, total_norm reads INFINITY, clip_coef is right
 * all the same, and the gradients are clipped.
 *
 * WHAT IS WRITTEN
 *
 * In place, gradients are written if and only if factor differs from 1, or the
 * policy GRADCLIP_NONFINITE_ZERO met an element to replace. Out of place every
 * destination is always written, unless the call fails or leaves non-finite
 * gradients alone. A call that fails has written no gradient and no result.
 *
 * NON-FINITE GRADIENTS
 *
 * A NaN or an infinity among the counted elements is reported in every case:
 * how many, how many of them NaN, and the first tensor and element in list
 * order. What happens then is the policy in gradclip_options.nonfinite.
 *
 * POINTERS AND LENGTHS
 *
 * Lengths count elements. Data may lie at any address; no alignment is asked
 * for. An empty tensor may have NULL for its data. With count = 0 the arrays
 * themselves may be NULL. A list must not name the same memory twice (such
 * memory would be counted and scaled twice), and the tensors of a list must
 * not overlap. Nothing is kept after a call returns.
 *
 * THREADS
 *
 * Every function may be called from any thread at any time, on different
 * gradients. The error message belongs to the calling thread. The floating
 * point environment of the host (rounding mode, flush-to-zero, unmasked
 * exceptions) neither changes a result nor is changed.
 */
#ifndef GRADCLIP_H
#define GRADCLIP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------- versions -- */

/* The version of this header. The library's own is gradclip_version(). Within
 * one major version a program built with an older header runs with a newer
 * library; the soname (libgradclip.so.1) changes with the major version. */
#define GRADCLIP_VERSION_MAJOR 1
#define GRADCLIP_VERSION_MINOR 0
#define GRADCLIP_VERSION_PATCH 0
#define GRADCLIP_VERSION \
    (GRADCLIP_VERSION_MAJOR * 10000 + GRADCLIP_VERSION_MINOR * 100 + GRADCLIP_VERSION_PATCH)
#define GRADCLIP_VERSION_STRING "1.0.0"

/* The version of the library at run time: major * 10000 + minor * 100 + patch,
 * to be compared with GRADCLIP_VERSION. */
uint32_t gradclip_version(void);

/* The same as text, "1.0.0". A static string. */
const char *gradclip_version_string(void);

/* The instruction set the kernels of this process use: "baseline",
 * "x86-64-v3", "x86-64-v4" or "neon". A static string. */
const char *gradclip_isa(void);

/* -------------------------------------------------------------- threads -- */

/*
 * How many threads a call uses at most, the caller's included; the results have
 * the same bits for any number. Without a choice it is the environment variable
 * GRADCLIP_NUM_THREADS if that is a number > 0, and otherwise as many as the process
 * may run on: its affinity mask, and its cgroup's quota. 0 returns to that. At most
 * 256 are used. gradclip_options.num_threads overrides it for one call.
 *
 * The threads are made when a call first needs them, sleep between calls, block
 * all signals, and end when the library is unloaded or the process exits. Calls
 * with less than 2 MiB of gradients stay on the caller's thread; so does a call
 * that finds the threads busy with another one. A forked child makes its own.
 */
void gradclip_set_num_threads(uint32_t num_threads);
uint32_t gradclip_get_num_threads(void);

/* --------------------------------------------------------------- status -- */

/* What a call came to. Below 0: the call was refused and nothing was written.
 * 0: done. Above 0: an outcome to look at. */
typedef int32_t gradclip_status;
enum {
    /* Done. */
    GRADCLIP_OK = 0,
    /* There are NaNs or infinities and the policy is to leave them: no gradient
     * was written. The result is filled in and says where they are. */
    GRADCLIP_NON_FINITE = 1,
    /* An argument is outside its range; gradclip_last_error() names it. */
    GRADCLIP_ERROR_INVALID_ARGUMENT = -1,
    /* The request is valid but this library cannot do it (a dtype, a device). */
    GRADCLIP_ERROR_UNSUPPORTED = -2,
    /* Scratch memory could not be had. */
    GRADCLIP_ERROR_OUT_OF_MEMORY = -3,
    /* Bytes that were to be read back are damaged or foreign. */
    GRADCLIP_ERROR_BAD_DATA = -4
};

/* A short text for a status, "invalid argument" for instance; "unknown status"
 * for a number that is none. A static string. */
const char *gradclip_status_string(gradclip_status status);

/* What was wrong with the last call that this thread made and that returned a
 * status below 0, naming the argument and its value: "max_norm must be a number
 * >= 0 (got -1)". "" if there was none. The text does not depend on the locale
 * and is valid until this thread's next failing call. */
const char *gradclip_last_error(void);

/* -------------------------------------------------------------- tensors -- */

/* Element types, for gradclip_tensor.dtype. */
enum {
    GRADCLIP_F32 = 1,  /* IEEE binary32, float */
    GRADCLIP_F64 = 2,  /* IEEE binary64, double */
    GRADCLIP_F16 = 3,  /* IEEE binary16 */
    GRADCLIP_BF16 = 4  /* bfloat16: the upper half of a float */
};

/* Flags, for gradclip_tensor.flags; 0 for none. */
enum {
    /* Scale this tensor with the others but leave it out of the norm, and do
     * not look for NaN or infinities in it: a duplicate of something that
     * another rank counts (tensor parallelism, tied weights). */
    GRADCLIP_UNCOUNTED = 1u
};

/* One gradient of a list of mixed types. The layout is frozen: 32 bytes.
 * device_type and device_id are DLPack's numbers: device_type 1 (kDLCPU) or 0
 * for memory the CPU can read; anything else is GRADCLIP_ERROR_UNSUPPORTED.
 * device_id is ignored for the CPU. */
typedef struct gradclip_tensor {
    void *data;          /* first element; NULL if length is 0 */
    uint64_t length;     /* number of elements; its bytes must not exceed PTRDIFF_MAX */
    uint32_t dtype;      /* GRADCLIP_F32, ... */
    uint32_t flags;      /* 0 or GRADCLIP_UNCOUNTED */
    int32_t device_type; /* DLPack's device type; 0 or 1: CPU */
    int32_t device_id;
} gradclip_tensor;

/* -------------------------------------------------------------- options -- */

/* What to do about NaN and infinities, for gradclip_options.nonfinite. */
enum {
    /* Write nothing and return GRADCLIP_NON_FINITE. total_norm is what the
     * formula gives (NaN or INFINITY as a rule). The default. */
    GRADCLIP_NONFINITE_LEAVE = 0,
    /* What torch does: the coefficient follows from the non-finite norm and is
     * multiplied everywhere. Returns GRADCLIP_OK. An infinity turns itself into
     * NaN and all else into 0; a NaN turns everything into NaN. */
    GRADCLIP_NONFINITE_PROPAGATE = 1,
    /* Leave them out of the norm and replace them by 0; clip the rest by the
     * norm of the rest. Returns GRADCLIP_OK. */
    GRADCLIP_NONFINITE_ZERO = 2
};

/* Options of a call. NULL stands for the defaults everywhere. Initialise with
 * gradclip_options_init(), then set what differs. New fields are added at the
 * end; a field that the library does not know must be 0. */
typedef struct gradclip_options {
    uint64_t struct_size; /* sizeof(gradclip_options) of the caller */
    double eps;           /* added to total_norm in clip_coef; finite, >= 0; default 1e-6 */
    double grad_scale;    /* the factor the gradients are still multiplied by (loss scaling);
                             finite, > 0; default 1. Norms are those of gradient / grad_scale
                             (the counts of norm_type 0 do not change with it), and the write
                             pass divides by it. */
    uint32_t nonfinite;   /* GRADCLIP_NONFINITE_...; default LEAVE */
    uint32_t exact_f64;   /* 1: sum float64 gradients exactly too, for norm_type 1 and 2; default
                             0: their norm is within 1 ulp of the true one */
    uint32_t num_threads; /* threads to use at most; 0: gradclip_get_num_threads() */
    uint32_t reserved;    /* 0 */
} gradclip_options;

/* Fill *options with the defaults. struct_size is sizeof(gradclip_options) as
 * the caller knows it; a library with a longer struct leaves the rest alone. */
gradclip_status gradclip_options_init(gradclip_options *options, size_t struct_size);

/* --------------------------------------------------------------- result -- */

/* No tensor or element: first_tensor and first_element when all is finite. */
#define GRADCLIP_NONE UINT64_MAX

/* What a call found. Initialise with gradclip_result_init(); set tensor_norms
 * if the norm of each tensor is wanted. NULL instead of a result is fine. */
typedef struct gradclip_result {
    uint64_t struct_size;     /* sizeof(gradclip_result) of the caller */
    double total_norm;        /* before clipping, of gradient / grad_scale */
    double clip_coef;         /* between 0 and 1 (NaN after PROPAGATE of a NaN); 1 if the
                                 call returned NON_FINITE: nothing was multiplied */
    double factor;            /* clip_coef / grad_scale: what elements were multiplied by; 1
                                 if the call would have written and returned NON_FINITE */
    uint64_t nonfinite_count; /* how many elements are NaN or infinite */
    uint64_t nan_count;       /* how many of those are NaN */
    uint64_t first_tensor;    /* the first of them in list order, or GRADCLIP_NONE */
    uint64_t first_element;   /* and its index in that tensor, or GRADCLIP_NONE */
    double *tensor_norms;     /* in: NULL, or room for one double per tensor, which receives
                                 the norm of each (0 for an empty or uncounted tensor) */
} gradclip_result;

/* Prepare *result: struct_size is sizeof(gradclip_result) as the caller knows
 * it, all else becomes 0 or NULL. */
gradclip_status gradclip_result_init(gradclip_result *result, size_t struct_size);

/* --------------------------------------------------- clip by global norm -- */

/*
 * Clip gradients in place so that their norm is at most max_norm.
 *
 *   grads      count pointers to the gradients
 *   lengths    count lengths, in elements
 *   max_norm   the largest norm allowed; 0 <= max_norm <= INFINITY
 *   norm_type  the order p; any number but NaN; 2 is usual
 *   options    NULL for the defaults
 *   result     NULL if nothing is asked back
 *
 * Returns GRADCLIP_OK, GRADCLIP_NON_FINITE, or an error.
 */
gradclip_status gradclip_clip_grad_norm_f32(float *const *grads, const size_t *lengths, size_t count,
                                            double max_norm, double norm_type,
                                            const gradclip_options *options, gradclip_result *result);
gradclip_status gradclip_clip_grad_norm_f64(double *const *grads, const size_t *lengths, size_t count,
                                            double max_norm, double norm_type,
                                            const gradclip_options *options, gradclip_result *result);

/* The same on a list of tensors that may differ in dtype. */
gradclip_status gradclip_clip_grad_norm(const gradclip_tensor *grads, size_t count,
                                        double max_norm, double norm_type,
                                        const gradclip_options *options, gradclip_result *result);

/*
 * The same out of place: the gradients are read, and the clipped gradients are
 * written to outputs (unless the call returns NON_FINITE: then they are not). outputs[i] has room for lengths[i] elements and either is
 * grads[i] itself or overlaps no gradient and no other output. When nothing
 * needs clipping the gradients are copied.
 */
gradclip_status gradclip_clip_grad_norm_to_f32(float *const *grads, float *const *outputs,
                                               const size_t *lengths, size_t count,
                                               double max_norm, double norm_type,
                                               const gradclip_options *options, gradclip_result *result);
gradclip_status gradclip_clip_grad_norm_to_f64(double *const *grads, double *const *outputs,
                                               const size_t *lengths, size_t count,
                                               double max_norm, double norm_type,
                                               const gradclip_options *options, gradclip_result *result);

/* The same on tensor lists. outputs[i] must have the dtype and the length of
 * grads[i]; its flags must be 0. */
gradclip_status gradclip_clip_grad_norm_to(const gradclip_tensor *grads, const gradclip_tensor *outputs,
                                           size_t count, double max_norm, double norm_type,
                                           const gradclip_options *options, gradclip_result *result);

/* ------------------------------------- the same job in separate steps -- */

/*
 * Only the norm: nothing is written but *result (which must not be NULL).
 * clip_coef is 1 and factor is 1 / grad_scale. Combine the norms of several
 * processes if need be, then go on with gradclip_clip_grads_with_norm_...(), or
 * with gradclip_clip_coef() and an optimizer that multiplies by it.
 */
gradclip_status gradclip_get_total_norm_f32(float *const *grads, const size_t *lengths, size_t count,
                                            double norm_type,
                                            const gradclip_options *options, gradclip_result *result);
gradclip_status gradclip_get_total_norm_f64(double *const *grads, const size_t *lengths, size_t count,
                                            double norm_type,
                                            const gradclip_options *options, gradclip_result *result);
gradclip_status gradclip_get_total_norm(const gradclip_tensor *grads, size_t count, double norm_type,
                                        const gradclip_options *options, gradclip_result *result);

/*
 * Everything but the write: the norm, clip_coef and factor that clipping by
 * max_norm would use, for an optimizer that multiplies by factor itself (deferred
 * clipping: one pass over the gradients less). Nothing is written but *result,
 * which must not be NULL. After GRADCLIP_NON_FINITE skip the step.
 */
gradclip_status gradclip_defer_clip_f32(float *const *grads, const size_t *lengths, size_t count,
                                        double max_norm, double norm_type,
                                        const gradclip_options *options, gradclip_result *result);
gradclip_status gradclip_defer_clip_f64(double *const *grads, const size_t *lengths, size_t count,
                                        double max_norm, double norm_type,
                                        const gradclip_options *options, gradclip_result *result);
gradclip_status gradclip_defer_clip(const gradclip_tensor *grads, size_t count,
                                    double max_norm, double norm_type,
                                    const gradclip_options *options, gradclip_result *result);

/*
 * The coefficient that belongs to a norm: min(1, max_norm / (total_norm + eps)).
 * total_norm is >= 0; INFINITY gives 0. Only eps is used of the options (the
 * factor to multiply by is *clip_coef / grad_scale).
 */
gradclip_status gradclip_clip_coef(double max_norm, double total_norm,
                                   const gradclip_options *options, double *clip_coef);

/*
 * Clip in place by a norm that is known already (torch's
 * clip_grads_with_norm_). total_norm is that of gradient / grad_scale, >= 0. The
 * gradients are not inspected, but an infinite total_norm is treated by the
 * policy: LEAVE writes nothing and returns GRADCLIP_NON_FINITE; PROPAGATE
 * multiplies by 0; ZERO replaces non-finite elements by 0 whatever the norm.
 * Of the result total_norm, clip_coef and factor are set; nothing is counted,
 * and tensor_norms must be NULL.
 */
gradclip_status gradclip_clip_grads_with_norm_f32(float *const *grads, const size_t *lengths, size_t count,
                                                  double max_norm, double total_norm,
                                                  const gradclip_options *options, gradclip_result *result);
gradclip_status gradclip_clip_grads_with_norm_f64(double *const *grads, const size_t *lengths, size_t count,
                                                  double max_norm, double total_norm,
                                                  const gradclip_options *options, gradclip_result *result);
gradclip_status gradclip_clip_grads_with_norm(const gradclip_tensor *grads, size_t count,
                                              double max_norm, double total_norm,
                                              const gradclip_options *options, gradclip_result *result);

/* Multiply all gradients by a finite factor, in place. A factor of 1 writes
 * nothing. Of the options only num_threads is used. */
gradclip_status gradclip_scale(const gradclip_tensor *grads, size_t count, double factor,
                               const gradclip_options *options);

/* ---------------------------------------------------------- accumulator -- */

/*
 * A norm that is added up piece by piece: gradients as the backward pass makes
 * them, while they are still in cache; parts of them by several threads, each with
 * an accumulator of its own that is merged afterwards; shards in several
 * processes, which exchange accumulators as bytes.
 *
 * For norm_type 1 and 2 over float32, float16 and bfloat16 (over float64 with
 * exact_f64) and for INFINITY and -INFINITY the result has the bits of one call
 * on the whole list, however it was cut and merged. For other orders that holds
 * if tensors are cut at multiples of 4096 elements only. For norm_type 0 every
 * tensor that is added counts as one tensor.
 *
 * One accumulator must not be used by two threads at a time.
 */
typedef struct gradclip_accumulator gradclip_accumulator;

/* Make an accumulator; *accumulator is NULL after an error. The options hold for
 * all that is done with it (eps, grad_scale, nonfinite, exact_f64). */
gradclip_status gradclip_accumulator_create(double norm_type, const gradclip_options *options,
                                            gradclip_accumulator **accumulator);

/* Release it. NULL is allowed. */
void gradclip_accumulator_free(gradclip_accumulator *accumulator);

/* Forget all that was added. */
gradclip_status gradclip_accumulator_reset(gradclip_accumulator *accumulator);

/* Add tensors. They are numbered in the order in which they are added, from 0;
 * that is what first_tensor refers to. Returns GRADCLIP_OK even if they are not
 * finite: gradclip_accumulator_finish() tells. */
gradclip_status gradclip_accumulator_add(gradclip_accumulator *accumulator,
                                         const gradclip_tensor *grads, size_t count);

/* Add one tensor. */
gradclip_status gradclip_accumulator_add_f32(gradclip_accumulator *accumulator, const float *grad, size_t length);
gradclip_status gradclip_accumulator_add_f64(gradclip_accumulator *accumulator, const double *grad, size_t length);

/* Add what another accumulator holds, as if its tensors came after these. The
 * other one is unchanged and may be the same. norm_type and exact_f64 of the two
 * must agree. */
gradclip_status gradclip_accumulator_merge(gradclip_accumulator *accumulator, const gradclip_accumulator *other);

/*
 * Write the accumulator's state as bytes. *size is how much room there is, and
 * receives how many bytes there are; with bytes = NULL only that. For norm_type 1
 * and 2 over float32, float16 and bfloat16 it is at most 192, otherwise, and with
 * exact_f64, at most 1024. The bytes are the same on every machine, and carry a version and a
 * checksum.
 */
gradclip_status gradclip_accumulator_export(const gradclip_accumulator *accumulator, void *bytes, size_t *size);

/*
 * Add what bytes from gradclip_accumulator_export() hold, as
 * gradclip_accumulator_merge() would. Bytes that are damaged, foreign, of another
 * version, norm_type or exact_f64 are refused with GRADCLIP_ERROR_BAD_DATA.
 */
gradclip_status gradclip_accumulator_import(gradclip_accumulator *accumulator, const void *bytes, size_t size);

/*
 * The norm of all that was added, with clip_coef and factor for max_norm (INFINITY:
 * measure only). Afterwards more may be added. result must not be NULL; its
 * tensor_norms must be. Returns as gradclip_defer_clip() does. Clip with
 * gradclip_scale(), or let the optimizer multiply by factor.
 */
gradclip_status gradclip_accumulator_finish(gradclip_accumulator *accumulator, double max_norm,
                                            gradclip_result *result);

/* --------------------------------------------------------------- report -- */

/* What gradclip_inspect() tells of one tensor. The magnitudes and the mean are of
 * its finite elements, and of gradient / grad_scale. */
typedef struct gradclip_report {
    double norm;                    /* its norm over finite elements */
    double max_abs;                 /* the largest magnitude; 0 if there is none */
    double mean;                    /* the mean; 0 if there is no element */
    uint64_t length;                /* elements */
    uint64_t nan_count;             /* NaNs */
    uint64_t positive_infinity_count;
    uint64_t negative_infinity_count;
    uint64_t zero_count;            /* elements that are +0 or -0 */
    uint64_t subnormal_count;       /* elements below the smallest normal number of the dtype, 0 left out */
    uint64_t first_nonfinite;       /* index of the first NaN or infinity, or GRADCLIP_NONE */
} gradclip_report;

/*
 * Look at every tensor: who is large, who is NaN. One pass over memory; nothing is
 * written but the reports and *result (NULL: not asked for), which holds the total
 * norm over finite elements, the counts, and the first non-finite element.
 *
 *   reports      room for one report per tensor
 *   report_size  sizeof(gradclip_report) as the caller knows it: the distance
 *                between reports; what the library does not know is left alone
 *
 * Uncounted tensors are reported too, but left out of *result. The policy in the
 * options does not matter. Returns GRADCLIP_OK, or an error.
 */
gradclip_status gradclip_inspect(const gradclip_tensor *grads, size_t count, double norm_type,
                                 const gradclip_options *options,
                                 gradclip_report *reports, size_t report_size, gradclip_result *result);

/* -------------------------------------------------------- clip by value -- */

/*
 * Clamp every element to [-clip_value, clip_value], in place (torch's
 * clip_grad_value_). clip_value is a number >= 0 and is rounded to the
 * gradient's own type, as torch does. NaN stays NaN; infinities become
 * +-clip_value. Memory in which nothing lies beyond the limit is not written.
 * Of the options only num_threads is used.
 */
gradclip_status gradclip_clip_grad_value_f32(float *const *grads, const size_t *lengths, size_t count,
                                             double clip_value, const gradclip_options *options);
gradclip_status gradclip_clip_grad_value_f64(double *const *grads, const size_t *lengths, size_t count,
                                             double clip_value, const gradclip_options *options);
gradclip_status gradclip_clip_grad_value(const gradclip_tensor *grads, size_t count,
                                         double clip_value, const gradclip_options *options);

#ifdef __cplusplus
}
#endif
#endif /* GRADCLIP_H */
