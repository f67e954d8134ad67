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
 *     if (status < 0) {                              // refused, and nothing was written
 *         fprintf(stderr, "%s\n", gradclip_last_error());
 *         exit(1);
 *     }
 *     if (status == GRADCLIP_OK)  optimizer_step();  // otherwise NaN or infinite: skip the step
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
 * not overlap; the calls do not look, gradclip_find_overlap() does. Nothing is
 * kept after a call returns.
 *
 * What a function only measures it does not write, though the types say float *const * and
 * void *: to gradclip_get_total_norm(), gradclip_defer_clip(), gradclip_accumulator_add(),
 * gradclip_accumulator_add_difference(), gradclip_chooser_feed_tensor(), gradclip_inspect() and
 * gradclip_find_overlap(), as the grads of gradclip_clip_grad_norm_to() and
 * gradclip_clip_per_example(), and as weights, const float data may be given by a cast.
 *
 * THREADS
 *
 * Every function may be called from any thread at any time, on different
 * gradients, only not in a signal handler; a stack of 64 KB is enough. The error
 * message belongs to the calling thread. The floating point environment of the host
 * (rounding mode, flush-to-zero, unmasked exceptions) neither changes a result nor is
 * changed.
 *
 * A process may fork at any time, while calls run in other threads and before the first
 * call; the child may call every function. The calls of other threads go on in the parent
 * only.
 *
 * A thread may be cancelled (pthread_cancel) at any time: a request that comes during a call
 * takes effect at the thread's next cancellation point after it. (That is POSIX's default, deferred
 * cancellation. Asynchronous cancellation ends a thread anywhere, in malloc too; no function of
 * this library may be called under it.) A callback may leave by pthread_exit: nothing is held
 * while it runs.
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
 * "x86-64-v3", "x86-64-v4", "x86-64-v4-ifma" or "neon". A static string. */
const char *gradclip_isa(void);

/* -------------------------------------------------------------- threads -- */

/*
 * How many threads a call uses at most, the caller's included; the results have
 * the same bits for any number. Without a choice it is the environment variable
 * GRADCLIP_NUM_THREADS if that is a number > 0, in decimal digits and nothing else (any
 * other text counts as not set), and otherwise as many as the process
 * may run on: its affinity mask, and the quotas of its cgroups. 0 returns to that. At most
 * 256 are used. gradclip_options.num_threads overrides it for one call.
 *
 * The threads are made when a call first needs them, sleep between calls, block
 * all signals, and end when the library is unloaded or the process exits. Calls
 * with less than 2 MiB of gradients stay on the caller's thread; so does a call
 * that finds the threads busy with another one, or that follows calls which threads held up because
 * another program had their processors. A forked child makes its own.
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
    /* A chooser's verdict: this step is an outlier and is to be skipped. No gradient
     * was written. */
    GRADCLIP_SKIP_STEP = 2,
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

/*
 * Rows for objects of another library that speaks DLPack, for bindings: read() is given an object
 * and a DLTensor (dlpack.h) to fill, and returns 0 if it could. That is what
 * DLPackExchangeAPI.dltensor_from_py_object_no_sync does, which torch and others have in the
 * capsule __dlpack_c_exchange_api__ of a type (DLPack 1.3); its objects are that type's, by address,
 * and the caller holds Python's lock.
 *
 *   objects    what read() is given, one after the other
 *   count      how many objects, and rows there is room for in tensors
 *   tensors    receives a row for each, as the clipping functions take them
 *
 * GRADCLIP_ERROR_UNSUPPORTED: read() failed for an object, or it is not in CPU memory (device_type
 * 1), not of a type of gradclip (the message has DLPack's dtype in one number: code + 256 bits +
 * 65536 lanes), of a shape that nothing has (an extent below 0, 2^63 elements), or not row-major
 * without gaps (the message has the first stride that is not, or 1 where it has no memory). tensors
 * is filled up to it then. A row is good for as long as its object's memory is where it was.
 */
typedef int (*gradclip_dlpack_reader)(void *object, void *dl_tensor);
gradclip_status gradclip_tensors_from_dlpack(void *const *objects, size_t count,
                                             gradclip_dlpack_reader read, gradclip_tensor *tensors);

/*
 * Looks for memory that a list names twice: two tensors, tied weights for instance, of which
 * some bytes are the same. Empty tensors share none. Nothing of the tensors is read.
 *
 *   grads, count     the list, as the clipping functions take it
 *   first, second    receive the indexes of two such tensors, first < second: of all pairs, one
 *                    that begins lowest in memory. Both are count if no two tensors overlap
 *
 * It takes time in proportion to count (about 10 ns each), and 32 bytes of memory each until it
 * returns; GRADCLIP_ERROR_OUT_OF_MEMORY if there are none. To be called when a list is made, not
 * for each step.
 */
gradclip_status gradclip_find_overlap(const gradclip_tensor *grads, size_t count, size_t *first, size_t *second);

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
     * norm of the rest. Returns GRADCLIP_OK, and GRADCLIP_NON_FINITE where nothing is
     * written (gradclip_defer_clip(), gradclip_accumulator_finish()): the optimizer
     * would read them. */
    GRADCLIP_NONFINITE_ZERO = 2
};

/* Options of a call. NULL stands for the defaults everywhere. Initialise with
 * gradclip_options_init(), then set what differs. New fields are added at the
 * end; a field that the library does not know must be 0. */
typedef struct gradclip_options {
    uint64_t struct_size; /* sizeof(gradclip_options) of the caller */
    double eps;           /* added to total_norm in clip_coef; finite, >= 0; default 1e-6 */
    double grad_scale;    /* the factor the gradients are still multiplied by (loss scaling);
                             finite and > 2^-1024, so that its inverse is finite; default 1.
                             Norms are those of gradient / grad_scale (the counts of norm_type 0
                             do not change with it), and the write pass divides by it. */
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
                                 if the call would have written and returned NON_FINITE.
                                 (Deferred under ZERO it is that of the finite elements.) */
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
 * written to outputs (unless the call returns NON_FINITE: then they are not).
 * outputs[i] has room for lengths[i] elements and either is grads[i] itself or
 * overlaps no gradient and no other output. When nothing needs clipping the
 * gradients are copied.
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
 * which must not be NULL.
 *
 * GRADCLIP_OK: multiply by factor. GRADCLIP_NON_FINITE: an element is NaN or infinite, and
 * whatever it is multiplied by, the optimizer would read it. Skip the step; or, under
 * the policy ZERO, go on with gradclip_clip_grads_with_norm(), which replaces such
 * elements (norm, coefficient and factor are those of the rest). Under
 * PROPAGATE the status is GRADCLIP_OK, and factor what torch would multiply by.
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

/* Release an accumulator. NULL is allowed. */
void gradclip_accumulator_free(gradclip_accumulator *accumulator);

/* Make an accumulator forget all that was added. */
gradclip_status gradclip_accumulator_reset(gradclip_accumulator *accumulator);

/*
 * Number the tensors: the next one that is added gets `index`, those after it in the
 * same and in later calls the following numbers. That is what first_tensor refers to. A
 * backward pass makes gradients in the reverse order, so say before each which one it is:
 *
 *     gradclip_accumulator_set_next_tensor(accumulator, i);
 *     if (gradclip_accumulator_add_f32(accumulator, grads[i], lengths[i]) < 0) {
 *         fprintf(stderr, "%s\n", gradclip_last_error());
 *         exit(1);
 *     }
 *
 * From then on first_tensor is the lowest number with an element that is not finite,
 * whichever was added first, and merging keeps numbers. index is below 2^63. Without
 * this call tensors are numbered in the order in which they are added, from 0.
 */
gradclip_status gradclip_accumulator_set_next_tensor(gradclip_accumulator *accumulator, uint64_t index);

/* Add tensors to an accumulator. Returns GRADCLIP_OK even if they are not
 * finite: gradclip_accumulator_finish() tells. */
gradclip_status gradclip_accumulator_add(gradclip_accumulator *accumulator,
                                         const gradclip_tensor *grads, size_t count);

/* The same for one tensor. */
gradclip_status gradclip_accumulator_add_f32(gradclip_accumulator *accumulator, const float *grad, size_t length);
gradclip_status gradclip_accumulator_add_f64(gradclip_accumulator *accumulator, const double *grad, size_t length);

/*
 * Add the differences tensors[i] - minus[i], element by element, without a copy of them:
 * how far weights went from older ones, a client's update in federated learning.
 *
 *   tensors, count  what is subtracted from; GRADCLIP_UNCOUNTED leaves a pair out
 *   minus           as many tensors, each as long as its partner; flags 0. The dtypes of
 *                   a pair may differ
 *
 * Each difference is rounded to float64, to nearest, and is then added as an element of
 * float64 is: set exact_f64 for sums that are exact, and a norm whose bits depend on
 * nothing else. (Of float16 all differences are exact in float64, of float32 those of elements
 * whose magnitudes differ by a factor below 2^28, or of which one is 0. The norm of the
 * rounded differences is within a part in 2^53 of that of the exact ones.) A difference that is
 * NaN or infinite is not finite, also one of two infinities, or of float64 elements beyond DBL_MAX.
 */
gradclip_status gradclip_accumulator_add_difference(gradclip_accumulator *accumulator,
                                                    const gradclip_tensor *tensors, const gradclip_tensor *minus,
                                                    size_t count);

/* Add what another accumulator holds, as if its tensors came after these (unless the
 * caller numbered them). The other one is unchanged and may be the same. norm_type and exact_f64 of the two
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
 * The accumulator as GRADCLIP_WORDS integers that ranks of a parallel program add up,
 * word by word, with any all-reduce that can sum int64 (MPI_SUM, NCCL's, gloo's): one
 * message of 192 bytes, right for up to 2^23 ranks, after which every rank knows the
 * norm of all shards. <gradclip_mpi.h> does all of this over MPI; this is for other
 * transports.
 *
 *     int64_t words[GRADCLIP_WORDS], sums[GRADCLIP_WORDS];
 *     gradclip_status status = gradclip_accumulator_to_words(accumulator, max_norm, words);
 *     if (status < 0) {                                    // the others wait for words all the same
 *         status = gradclip_accumulator_to_words(NULL, max_norm, words);
 *     }
 *     ... all-reduce words by SUM into sums ...
 *     status = gradclip_accumulator_from_words(accumulator, max_norm, sums);
 *     if (status == GRADCLIP_OK) {
 *         status = gradclip_accumulator_clip(accumulator, grads, count, max_norm, &result);
 *     }
 *     if (status < 0) {                                    // refused on every rank
 *         fprintf(stderr, "%s\n", gradclip_last_error());
 *         exit(1);
 *     }
 *     if (status == GRADCLIP_OK)  optimizer_step();        // otherwise not finite: skip the step
 *
 * sums[GRADCLIP_WORD_KIND] says whether that is all there is to do, and is the same on
 * every rank:
 *
 *   0      it is. So it is for norm_type 1 and 2 over float32, float16 and bfloat16, and for 0.
 *   < 0    norm_type is INFINITY or -INFINITY: all-reduce the first two words, as they
 *          were before the sum, by MAX, and put them into sums[0] and sums[1] before from_words().
 *   > 0    the sum needs more room (float64, other orders): export() each accumulator before
 *          from_words(), which leaves it empty, gather all exports, and import() them on
 *          every rank in the order of ranks, which makes the bits the same everywhere.
 *
 * sums[GRADCLIP_WORD_NONFINITE] is how many elements of all ranks are not finite. Where
 * they are is not in the words (first_tensor becomes GRADCLIP_NONE): look into the
 * result of finish() before the sum, and send that in a second message only then.
 *
 * A rank whose call cannot go on (an argument was refused) must send words all the
 * same, for the others wait for them: with accumulator = NULL to_words() gives those of
 * a refusal, and from_words() is an error on every rank. It is one, too, if the ranks
 * do not agree on norm_type, max_norm and options (num_threads aside), of which a hash
 * of 20 bits goes along: GRADCLIP_ERROR_INVALID_ARGUMENT. Words that are no such sum are
 * GRADCLIP_ERROR_BAD_DATA. After an error the accumulator is as it was.
 */
enum {
    GRADCLIP_WORDS = 24,
    GRADCLIP_WORD_NONFINITE = 17,
    GRADCLIP_WORD_KIND = 23
};
gradclip_status gradclip_accumulator_to_words(const gradclip_accumulator *accumulator, double max_norm,
                                              int64_t *words);

/* Replace what the accumulator holds by what all ranks' words add up to. */
gradclip_status gradclip_accumulator_from_words(gradclip_accumulator *accumulator, double max_norm,
                                                const int64_t *words);

/*
 * The norm of all that was added, with clip_coef and factor for max_norm (INFINITY:
 * measure only). Afterwards more may be added. result must not be NULL; its
 * tensor_norms must be. Returns as gradclip_defer_clip() does: never GRADCLIP_OK over a
 * NaN that is still there. Clip with gradclip_accumulator_clip(), or after GRADCLIP_OK
 * let the optimizer multiply by factor.
 */
gradclip_status gradclip_accumulator_finish(gradclip_accumulator *accumulator, double max_norm,
                                            gradclip_result *result);

/*
 * The same, and clip grads in place by that norm, as gradclip_clip_grad_norm() would
 * with the accumulator's options. The gradients are not measured again: as a rule they
 * are those that were added. result may be NULL; its tensor_norms must be. With no
 * gradients to clip (count 0, or all of them empty) it returns what
 * gradclip_accumulator_finish() does: nothing is replaced.
 */
gradclip_status gradclip_accumulator_clip(gradclip_accumulator *accumulator,
                                          const gradclip_tensor *grads, size_t count,
                                          double max_norm, gradclip_result *result);

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

/* ------------------------------------------------------------- choosers -- */

/*
 * Choosers of max_norm. A chooser is told the norm of every step and decides what
 * to do about it, from the norms before:
 *
 *     gradclip_chooser_options options;
 *     gradclip_chooser *chooser;
 *     gradclip_chooser_options_init(&options, sizeof options, GRADCLIP_AUTOCLIP);
 *     if (gradclip_chooser_create(&options, &chooser) < 0) {
 *         fprintf(stderr, "%s\n", gradclip_last_error());
 *         exit(1);
 *     }
 *     for (every step) {
 *         ... backward pass ...
 *         gradclip_status status = gradclip_chooser_clip(chooser, grads, count, 2.0, NULL, NULL, NULL, NULL);
 *         if (status < 0) {                       // refused: no step will do
 *             fprintf(stderr, "%s\n", gradclip_last_error());
 *             exit(1);
 *         }
 *         if (status != GRADCLIP_OK) continue;    // not finite, or an outlier: leave the step out
 *         ... optimizer ...
 *     }
 *     gradclip_chooser_free(chooser);
 *
 * AUTOCLIP (Seetharaman et al., arXiv 2007.14469). threshold = the given percentile
 * of the norms so far, interpolated as numpy.percentile does, times clip_factor. mode 0: this step's
 * norm among them (the paper); mode 1: not (PyPI's autoclip). window = 0: of all
 * norms (the paper); otherwise of the last `window`. Of more than 10^6 norms it
 * keeps a histogram, and the threshold is that of the exact rule to a part in 1024
 * (norms below 2^-1022 apart).
 *
 * ZCLIP (Kumar et al., arXiv 2504.02507; PyPI's zclip). Mean m and variance v of the
 * norms n: over the first warmup_steps as they are, then moving averages,
 * m <- decay m + (1 - decay) x, v <- decay v + (1 - decay) (x - m)^2, where x is the
 * norm, or for a spike the threshold before the cap. With s = sqrt(v) and
 * z = (n - m) / (s + eps) a spike is z > z_threshold, and then
 *   mode 0: threshold = clip_factor (m + z_threshold^2 s / z)
 *   mode 1: threshold = m
 * mode 2: a spike is n > m + z_threshold s, and that is the threshold.
 * Without a spike there is none. max_norm caps the threshold, in the warm-up too.
 *
 * ADAGC (Wang et al., arXiv 2502.11034; PyPI's pytorch_optimizer). Each tensor i has
 * its own threshold lambda_rel max(gamma_i, eps), where gamma_i <- decay gamma_i +
 * (1 - decay) (norm after clipping). Before step warmup_steps all are clipped
 * together, by min(1, max_norm / (total_norm + eps)), and gamma_i is the smallest
 * norm after clipping.
 *
 * SKIPSTEP (OLMo-core). Skip a step whose loss or norm is more than z_threshold
 * standard deviations (of n - 1) above the mean of the last `window`, once there are
 * window / 2 - 1 of them, and at least 2. Nothing is clipped.
 *
 * A norm that is not finite never enters a history; nor does a step whose loss is
 * not finite. Their decision is GRADCLIP_ACTION_SKIP.
 *
 * Memory is bounded: at most 16 MB for AUTOCLIP (8.4 MB beyond 10^6 norms), 32
 * bytes per step of the window for SKIPSTEP, 16 bytes per tensor for ADAGC.
 *
 * One chooser must not be used by two threads at a time, but for
 * gradclip_chooser_feed_tensor().
 */
typedef struct gradclip_chooser gradclip_chooser;

/* Kinds of choosers, for gradclip_chooser_options.kind. */
enum {
    GRADCLIP_AUTOCLIP = 1,
    GRADCLIP_ZCLIP = 2,
    GRADCLIP_ADAGC = 3,
    GRADCLIP_SKIPSTEP = 4
};

/* What a chooser is made of; each kind uses the fields named above. All must be in
 * range, used or not. gradclip_chooser_options_init() fills in the defaults. */
typedef struct gradclip_chooser_options {
    uint64_t struct_size;  /* sizeof(gradclip_chooser_options) of the caller */
    uint32_t kind;         /* GRADCLIP_AUTOCLIP, ... */
    uint32_t mode;         /* AUTOCLIP: 0 or 1, ZCLIP: 0, 1 or 2; default 0 */
    uint64_t window;       /* AUTOCLIP: 0 (all, the default) to 10^6; SKIPSTEP: 2 to 10^6, default 128 */
    uint64_t warmup_steps; /* ZCLIP: default 25, 0 counts as 1; ADAGC: default 100 */
    double percentile;     /* AUTOCLIP: 0 to 100; default 10 */
    double decay;          /* 0 to 1; ZCLIP's alpha, default 0.97; ADAGC's beta, default 0.98 */
    double z_threshold;    /* finite, >= 0; ZCLIP: default 2.5; SKIPSTEP's sigma_factor: default 6 */
    double max_norm;       /* >= 0; ZCLIP's cap, default INFINITY (none); ADAGC's lambda_abs, default 1 */
    double lambda_rel;     /* ADAGC: finite, >= 0; default 1.05 */
    double clip_factor;    /* AUTOCLIP; ZCLIP, mode 0: finite, >= 0; default 1 */
    double eps;            /* finite, >= 0; ZCLIP: default 1e-6; ADAGC: default 1e-8 */
    uint32_t skip_update_on_spike; /* ZCLIP: 1: a spike leaves m and v alone; default 0 */
    uint32_t reserved;     /* 0 */
} gradclip_chooser_options;

/* Fill *options with the defaults of a kind. struct_size is that of the caller. */
gradclip_status gradclip_chooser_options_init(gradclip_chooser_options *options, size_t struct_size,
                                              uint32_t kind);

/* What is to be done with a step, for gradclip_decision.action. */
enum {
    GRADCLIP_ACTION_PASS = 0, /* take the gradients as they are */
    GRADCLIP_ACTION_CLIP = 1, /* multiply them by clip_coef */
    GRADCLIP_ACTION_SKIP = 2  /* leave the step out */
};

/* A chooser's decision about a step. Initialise with gradclip_decision_init(). */
typedef struct gradclip_decision {
    uint64_t struct_size;      /* sizeof(gradclip_decision) of the caller */
    double threshold;          /* max_norm for this step; INFINITY if there is none. SKIPSTEP: norms
                                  above it are skipped. ADAGC: max_norm while all are clipped together */
    double clip_coef;          /* between 0 and 1; of ADAGC's the smallest; 1 if the step is skipped */
    double mean;               /* ZCLIP: m, SKIPSTEP: the mean of the norms before; otherwise 0 */
    double deviation;          /* ZCLIP: sqrt(v), SKIPSTEP: the deviation; INFINITY: too few norms yet */
    uint64_t steps;            /* norms that entered the history so far */
    uint32_t action;           /* GRADCLIP_ACTION_... */
    uint32_t recorded;         /* 1 if this norm entered the history */
    double *tensor_thresholds; /* in: NULL, or room for one double per tensor: ADAGC's thresholds... */
    double *tensor_coefs;      /* ...and coefficients (the other kinds leave the room alone) */
} gradclip_decision;

/* Prepare *decision: struct_size is that of the caller, all else becomes 0 or NULL. */
gradclip_status gradclip_decision_init(gradclip_decision *decision, size_t struct_size);

/* Make a chooser; *chooser is NULL after an error. */
gradclip_status gradclip_chooser_create(const gradclip_chooser_options *options, gradclip_chooser **chooser);

/* Release a chooser. NULL is allowed. */
void gradclip_chooser_free(gradclip_chooser *chooser);

/* Make a chooser forget all norms. */
gradclip_status gradclip_chooser_reset(gradclip_chooser *chooser);

/*
 * Tell a chooser the norm of a step, and get its decision.
 *
 *   total_norm  the norm before clipping, >= 0; NaN and INFINITY are an outcome, not an error
 *   loss        the step's loss, or NULL; only SKIPSTEP looks at it. Given to some steps
 *               and not to others, the history is that of the steps where it was given
 *
 * clip_coef = min(1, threshold / (total_norm + 1e-6)), as gradclip_clip_coef() without
 * options. With a norm from gradclip_defer_clip() or gradclip_accumulator_finish(), called
 * with a max_norm of INFINITY, the optimizer multiplies by decision.clip_coef *
 * result.factor. ADAGC takes this for the norm of its only tensor. Returns GRADCLIP_OK,
 * GRADCLIP_NON_FINITE (the norm or the loss is NaN or infinite), GRADCLIP_SKIP_STEP,
 * or an error. The history may need memory: after GRADCLIP_ERROR_OUT_OF_MEMORY it is
 * as it was.
 */
gradclip_status gradclip_chooser_feed(gradclip_chooser *chooser, double total_norm, const double *loss,
                                      gradclip_decision *decision);

/*
 * The same for ADAGC, with the norm of each tensor; -1 for a tensor that has no
 * gradient in this step, which is left out. Their number is that of the first call. An
 * optimizer multiplies each tensor by its own of decision.tensor_coefs, times result.factor.
 */
gradclip_status gradclip_chooser_feed_tensors(gradclip_chooser *chooser, const double *tensor_norms, size_t count,
                                              gradclip_decision *decision);

/*
 * ADAGC tensor by tensor, for an optimizer that steps inside the backward pass, each tensor
 * as soon as it has its gradient: measures one gradient, and says what to multiply it by.
 *
 *   index      which tensor it is, below 10^6. One that no call had before makes room for it
 *   grad       its gradient; it is not written, and its flags must be 0
 *   norm_type  the order p
 *   options    grad_scale, exact_f64 and num_threads are used
 *   result     must not be NULL, and its tensor_norms must be. total_norm is the norm of this
 *              tensor, clip_coef its coefficient, first_tensor index if it is not finite
 *
 * No global norm is known yet then. So before step warmup_steps each tensor is clipped by its
 * own norm, min(1, max_norm / (norm + eps)), where whole steps are clipped by their total norm;
 * from then on the rule is the same. A step begins with a tensor that was fed in the
 * step before, and counts as one of `steps` then; a state that is exported holds whole steps
 * only if that is done between two.
 *
 * GRADCLIP_OK: multiply by result->factor. GRADCLIP_NON_FINITE, whatever the policy: an element
 * is NaN or infinite; GRADCLIP_SKIP_STEP: the norm of finite elements exceeds DBL_MAX. Leave this
 * tensor's step out then: factor is 1, and the state stays as it was. An empty tensor has no
 * gradient in this step.
 *
 * Any number of threads may call it on one chooser at a time, but no other function of that
 * chooser meanwhile. A tensor's decisions depend on its own gradients and the number of the step.
 */
gradclip_status gradclip_chooser_feed_tensor(gradclip_chooser *chooser, size_t index, const gradclip_tensor *grad,
                                             double norm_type, const gradclip_options *options,
                                             gradclip_result *result);

/*
 * Measure gradients, tell the chooser, and clip them in place as it decides. The
 * arguments are those of gradclip_clip_grad_norm() and gradclip_chooser_feed(); loss,
 * options, result and decision may be NULL.
 *
 * Returns GRADCLIP_OK: clipped, or left as they were. GRADCLIP_SKIP_STEP, and
 * GRADCLIP_NON_FINITE for a loss or, under the policy LEAVE, gradients that are not
 * finite: nothing was written. Under PROPAGATE the norm does not enter the
 * history; under ZERO the norm of the rest does. Finite gradients whose norm
 * exceeds DBL_MAX are clipped (ADAGC: GRADCLIP_SKIP_STEP) and do not enter it either.
 *
 * ADAGC multiplies each tensor by its own coefficient (result->clip_coef is the
 * smallest); its own eps takes the place of the options'; empty tensors have no
 * gradient in this step, and uncounted tensors are an error.
 */
gradclip_status gradclip_chooser_clip(gradclip_chooser *chooser, const gradclip_tensor *grads, size_t count,
                                      double norm_type, const double *loss, const gradclip_options *options,
                                      gradclip_result *result, gradclip_decision *decision);

/*
 * Write the chooser as bytes: kind, options and history. *size is how much room there
 * is, and receives how many bytes there are; with bytes = NULL only that. They are
 * the same on every machine, and carry a version and a checksum.
 */
gradclip_status gradclip_chooser_export(const gradclip_chooser *chooser, void *bytes, size_t *size);

/*
 * Replace options and history by those in bytes from gradclip_chooser_export(), of any
 * library of this major version: options that it did not know have their defaults. From
 * then on it decides as the other one would, to the bit. Bytes that are damaged,
 * foreign, of another kind, or that set an option which this library does not know, are
 * refused with GRADCLIP_ERROR_BAD_DATA, and
 * the chooser stays as it was.
 */
gradclip_status gradclip_chooser_import(gradclip_chooser *chooser, const void *bytes, size_t size);

/* -------------------------------------------------------------- monitor -- */

/*
 * The log of a training run: a line of CSV for every step, and a warning the first
 * time that a gradient is not finite, that all gradients are zero, that the loss is
 * not finite. `gradclip advise` reads the CSV. A callback of the caller's takes the
 * lines:
 *
 *     static void log_line(void *file, uint32_t kind, const char *text) {
 *         fprintf(kind == GRADCLIP_LOG_CSV ? (FILE *)file : stderr, "%s\n", text);
 *     }
 *     ...
 *     FILE *file = fopen("run.csv", "w");
 *     if (file == NULL) {
 *         perror("run.csv");
 *         exit(1);
 *     }
 *     gradclip_monitor monitor;
 *     gradclip_monitor_init(&monitor, sizeof monitor);
 *     monitor.callback = log_line;
 *     monitor.user_data = file;
 *     for (every step) {
 *         ... clip, with a result ...
 *         if (gradclip_monitor_log(&monitor, &learning_rate, &loss, &result, NULL) < 0) {
 *             fprintf(stderr, "%s\n", gradclip_last_error());
 *             exit(1);
 *         }
 *     }
 *     fclose(file);
 *
 * The columns, which the first line names, are step,grad_norm,clip_coef,learning_rate,loss,
 * nonfinite_count,first_tensor,first_element,threshold,action. The last two are those of a
 * chooser's decision: its threshold, and "pass", "clip" or "skip" for what was done with
 * the step. They are blank without one.
 */
enum {
    GRADCLIP_LOG_CSV = 0,    /* the header or a line of the CSV */
    GRADCLIP_LOG_WARNING = 1 /* a sentence that names the step, and tensor and element */
};

/* Takes a line, which has no newline at its end, depends on no locale, and is valid
 * until the callback returns. It is called in the thread of the step; it may call
 * any function of this library but gradclip_monitor_log(). It must return: a C++
 * exception or a longjmp() that leaves it passes through frames that cannot be unwound,
 * and what happens then is undefined (as a rule std::terminate() ends the process). */
typedef void (*gradclip_log_callback)(void *user_data, uint32_t kind, const char *text);

/* Initialise with gradclip_monitor_init(), then set callback and what else is wanted. */
typedef struct gradclip_monitor {
    uint64_t struct_size;           /* sizeof(gradclip_monitor) of the caller */
    uint64_t step;                  /* the number of the next step; 1 at first. Set it to resume */
    gradclip_log_callback callback; /* where lines go; must not be NULL */
    void *user_data;                /* handed to the callback */
    uint32_t said;                  /* what was said already: 1 the header, 4 not finite, 8 all zero,
                                       16 the loss. Set 1 to append to a file that has the header */
    uint32_t reserved;              /* 0 */
} gradclip_monitor;

/* Prepare *monitor: struct_size is that of the caller, step 1, all else becomes 0 or NULL. */
gradclip_status gradclip_monitor_init(gradclip_monitor *monitor, size_t struct_size);

/*
 * Log a step of a training run.
 *
 *   learning_rate, loss  NULL: the cell stays blank
 *   result    what a call found. One that gradclip_result_init() prepared and no call has
 *             filled is refused: after a call that was refused there is no step to log
 *   decision  what a chooser decided about the step; NULL without a chooser
 *
 * One monitor must not be used by two threads at a time.
 */
gradclip_status gradclip_monitor_log(gradclip_monitor *monitor, const double *learning_rate, const double *loss,
                                     const gradclip_result *result, const gradclip_decision *decision);

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

/* ------------------------------------------------------- clip in parts -- */

/*
 * Each tensor by its own norm: tf.clip_by_norm, Keras's clipnorm, burn's
 * clipping.
 *
 *     g_i  becomes  g_i * min(1, max_norm_i / (||g_i|| + eps)) / grad_scale
 *
 * (eps of the options, 1e-6 by default; TensorFlow and Keras have none: set 0.)
 *
 *   max_norms   one for all tensors (max_norm_count 1) or one each
 *               (max_norm_count = count); each 0 <= max_norm <= INFINITY
 *   clip_coefs  NULL, or room for count doubles: the coefficient of each tensor
 *
 * The other arguments, the policies and what is returned are those of
 * gradclip_clip_grad_norm(). In *result, total_norm is the norm of all tensors
 * together, clip_coef the smallest coefficient and factor what belongs to it. An
 * uncounted tensor is not measured, and only divided by grad_scale. With the policy
 * LEAVE one element that is not finite leaves every tensor alone, and all
 * coefficients are 1.
 */
gradclip_status gradclip_clip_by_norm(const gradclip_tensor *grads, size_t count,
                                      const double *max_norms, size_t max_norm_count, double norm_type,
                                      const gradclip_options *options, gradclip_result *result,
                                      double *clip_coefs);

/*
 * Groups of tensors, each by the norm of the whole group: parameter groups, or the
 * parts of a model (Megatron, optax.masked around clip_by_global_norm).
 *
 *   groups       for each tensor its group, below group_count
 *   max_norms    for each group the largest norm allowed; INFINITY: only measured
 *   group_norms  NULL, or room for group_count doubles: the norm of each group,
 *                exact as total_norm is (0 for a group without tensors)
 *   clip_coefs   NULL, or room for group_count doubles
 *
 * All else is as for gradclip_clip_by_norm(), but that uncounted tensors are
 * multiplied by their group's coefficient.
 */
gradclip_status gradclip_clip_by_group(const gradclip_tensor *grads, size_t count,
                                       const uint32_t *groups, const double *max_norms, size_t group_count,
                                       double norm_type, const gradclip_options *options,
                                       gradclip_result *result, double *group_norms, double *clip_coefs);

/*
 * Each tensor by its root mean square: optax.clip_by_block_rms, and the d of
 * Adafactor (arXiv 1804.04235, section 6) where the tensors are updates.
 *
 *     rms_i = ||g_i||_2 / sqrt(length_i)
 *     g_i  becomes  g_i / max(1, rms_i / threshold) / grad_scale
 *
 * threshold is >= 0 (1 is Adafactor's). eps is not used; tensor_norms are norms, not
 * yet divided by the root of the length. All else is as for gradclip_clip_by_norm().
 */
gradclip_status gradclip_clip_by_block_rms(const gradclip_tensor *grads, size_t count, double threshold,
                                           const gradclip_options *options, gradclip_result *result,
                                           double *clip_coefs);

/* ------------------------------------------------- clip by the weights -- */

/*
 * How a tensor is divided into units, in gradclip_adaptive_clip_grad(): in memory it is
 * an array of the shape [outer, reduced, inner], and all elements that differ only in
 * the middle index are one unit. An array of more axes comes to that where the reduced
 * ones are neighbours in memory: (O, I, H, W) reduced over I, H and W is
 * { O, I * H * W, 1 }, and (H, W, I, O) reduced over H, W and I is { 1, H * W * I, O }.
 */
typedef struct gradclip_units {
    uint64_t outer;
    uint64_t reduced;
    uint64_t inner; /* outer * reduced * inner is the tensor's length */
} gradclip_units;

/*
 * Adaptive gradient clipping: each unit of a gradient by its norm against that of
 * the same unit of the weights (Brock et al., NFNets, arXiv 2102.06171).
 *
 *     limit_u  = clip_factor * max(||w_u||, eps)
 *     g_u  becomes  g_u / grad_scale                              if ||g_u|| < limit_u
 *                   g_u / grad_scale * limit_u / max(||g_u||, 1e-6)  otherwise
 *
 * where ||g_u|| is of gradient / grad_scale. This is what timm.utils.adaptive_clip_grad and
 * optax.adaptive_grad_clip compute; they differ in the units. For a weight of shape
 *
 *     rank 0, 1        both: one unit, all axes are reduced
 *     rank 2, (o, i)   timm: reduces all axes but 0, a unit for each output
 *             (i, o)   optax: reduces axis 0, a unit for each output
 *     rank 3           timm: all axes but 0; optax: axis 0 alone (multihead weights)
 *     rank 4  (OIHW)   timm: all axes but 0
 *             (HWIO)   optax: axes 0, 1 and 2
 *     rank 5           timm: all axes but 0; optax: axes 0 to 3 (DHWIO)
 *     more             timm: all axes but 0; optax refuses them
 *
 * and optax counts a weight with at most one extent above 1 as rank 1.
 *
 *   weights      for each gradient the weights: as long, in the same order in
 *                memory; another dtype is fine. They are only read.
 *   units        for each gradient how it is divided
 *   clip_factor  finite, >= 0; 0.01 is usual
 *   eps          what the norm of a unit of weights counts at least, finite, >= 0;
 *                1e-3 is usual. (eps of the options is not used.)
 *   norm_type    the order p > 0
 *   clip_coefs   NULL, or room for one double a unit, tensor by tensor, outer index
 *                before inner: limit_u / max(||g_u||, 1e-6), or 1
 *
 * The policies are those of gradclip_clip_grad_norm(), each unit by its own norm:
 * PROPAGATE makes NaN of a unit with a NaN and leaves the others as they would be (and an
 * infinite limit, of weights with an infinity, gives 1, as an infinite max_norm does). A
 * tensor that is to be left out (NFNets leave out the classifier's) gets the flag
 * GRADCLIP_UNCOUNTED: it is not measured, and only divided by grad_scale.
 * Weights that are not finite are an error, except with PROPAGATE. In *result,
 * total_norm is the norm of all gradients together, clip_coef the smallest coefficient,
 * and tensor_norms must be NULL.
 */
gradclip_status gradclip_adaptive_clip_grad(const gradclip_tensor *grads, const gradclip_tensor *weights,
                                            const gradclip_units *units, size_t count,
                                            double clip_factor, double eps, double norm_type,
                                            const gradclip_options *options, gradclip_result *result,
                                            double *clip_coefs);

/* ----------------------------------------------------- clip per example -- */

/* How an example's coefficient follows from the norm n of its gradient. */
enum {
    /* min(1, max_norm / (n + eps)): Abadi et al., arXiv 1607.00133. eps of the options:
     * 1e-6 as Opacus has it, 0 as optax and jax-privacy. */
    GRADCLIP_EXAMPLE_CLIP = 0,
    /* max_norm / (n + eps), also where that is larger than 1: automatic clipping, Bu et
     * al., arXiv 2206.07136. eps is what the paper calls gamma: 0.01 for its AUTO-S, 0
     * for AUTO-V. A norm of 0 gives 1 if eps is 0. */
    GRADCLIP_EXAMPLE_AUTOMATIC = 1,
    /* 1 if n <= max_norm, otherwise 0: examples that are too large are left out. */
    GRADCLIP_EXAMPLE_THRESHOLD = 2
};

/* What gradclip_clip_per_example() found. Set struct_size; all else is written. */
typedef struct gradclip_per_example_result {
    uint64_t struct_size;     /* sizeof(gradclip_per_example_result) of the caller */
    uint64_t clipped;         /* examples with a norm above its max_norm; the dropped are not among them */
    uint64_t nonfinite;       /* examples that were dropped for a NaN or an infinity */
    uint64_t first_nonfinite; /* the first of them, or GRADCLIP_NONE */
    double sensitivity;       /* what the norm of no contribution exceeds: max_norm, or with one
                                 max_norm a tensor the root of the sum of their squares */
    double rounding_bound;    /* what the norm of (sums - the exact sum of the contributions)
                                 does not exceed */
} gradclip_per_example_result;

/*
 * For differentially private training (DP-SGD): clip the gradient of every example
 * by its own norm, and add the clipped gradients up. Two passes over the gradients; no
 * clipped copy is made, and the gradients are not written.
 *
 *     n_b    = norm of example b over all tensors, of gradient / grad_scale
 *     sum_i  = sum over b of factor_b * grads_i[b],  factor_b = coefficient(n_b) / grad_scale
 *
 *   grads           tensors of shape [examples, ...], the rows of an example one
 *                   after the other; flags 0
 *   sums            NULL to measure only, or count tensors that receive the sums:
 *                   F32 or F64 whatever the gradients are, of length
 *                   grads[i].length / examples, apart from the gradients and each other
 *   examples        how many; of 0, which Poisson sampling may draw, the gradients are empty
 *                   and the sums 0
 *   max_norms       one for the norm over all tensors (max_norm_count 1), or one a
 *                   tensor (max_norm_count = count: per-layer clipping, each tensor of
 *                   an example by the norm of that alone); each 0, or finite
 *                   and at least DBL_MIN
 *   rule            GRADCLIP_EXAMPLE_...
 *   norms           NULL, or room for examples * max_norm_count doubles, the ones of an
 *                   example together: its norms
 *   factors         the same for its factors, 0 if it was dropped
 *
 * Privacy rests on sensitivity: THE EXACT NORM OF EVERY CONTRIBUTION IS AT MOST
 * max_norm. (A contribution is what an example adds: products of factor and element,
 * rounded towards zero to float64.) Norms are rounded up and factors down for that.
 * Rounded to the nearest, the contribution exceeds max_norm for half of all examples.
 *
 * The sums are accumulated in float64, towards zero, and rounded to float32, to
 * nearest, where sums is that. How far they may be from the exact sum depends on no
 * gradient and is returned:
 *
 *     rounding_bound = B (B - 1) 2^-52 C                for B examples, C = sensitivity,
 *                      + B C 2^-24 + sqrt(m) 2^-150     the second line for the m elements
 *                                                       of float32 sums, if any
 * and INFINITY where B C exceeds FLT_MAX, as float32 sums may then.
 *
 * So one example more or less changes the result by at most C + 2 rounding_bound.
 *
 * An example with a NaN or an infinity in any tensor is dropped: it adds nothing,
 * whatever the policy (nonfinite is not used), and is counted. Which ones were is told
 * by norms: NaN, or INFINITY for infinities alone. Finite float64 gradients whose norm
 * exceeds DBL_MAX are not dropped, though it reads INFINITY.
 *
 * The norms are exact as elsewhere. The bits do not depend on num_threads or the
 * instruction set. No noise is added and no privacy accounted for; see docs/methods.md for
 * how to combine the sums with Opacus or jax-privacy. Returns GRADCLIP_OK or an error.
 */
gradclip_status gradclip_clip_per_example(const gradclip_tensor *grads, const gradclip_tensor *sums,
                                          size_t count, size_t examples,
                                          const double *max_norms, size_t max_norm_count, uint32_t rule,
                                          const gradclip_options *options,
                                          gradclip_per_example_result *result,
                                          double *norms, double *factors);

/*
 * The max_norm for the next step, if a share `quantile` of the examples is to stay
 * unclipped (Andrew et al., arXiv 1905.03871, the geometric update):
 *
 *     *adapted = max_norm * exp(-rate * (unclipped / examples - quantile))
 *
 *   max_norm    finite, >= 0
 *   unclipped   how many were not clipped; as a rule with noise added, so any finite number
 *   examples    of how many; > 0
 *   quantile    0 ... 1; 0.5 is usual
 *   rate        the learning rate, >= 0; 0.2 is usual
 *
 * Computed without libm, so that all machines get the same bits. The exponent is rounded to
 * float64 as it is computed; beside what that costs, the error is below 2 ulp.
 */
gradclip_status gradclip_adapt_max_norm(double max_norm, double unclipped, double examples,
                                        double quantile, double rate, double *adapted);

#ifdef __cplusplus
}
#endif
#endif /* GRADCLIP_H */
