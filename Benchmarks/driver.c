/* gradclip and BLAS, called as a native trainer calls them. */
#include "driver.h"

#include <math.h>

/* That a call did what the case is about: no case may get fast by doing nothing. */
static int did_as_meant(gradclip_status status, const gradclip_result *result, int writes) {
    return status == GRADCLIP_OK && (result->factor != 1) == (writes != 0);
}

double bench_clip_grad_norm(const gradclip_tensor *grads, size_t count, double norm_type,
                            const gradclip_options *options, const double *max_norms,
                            const double *scales, int calls, int writes, double *total_norm) {
    gradclip_options own = *options;
    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    int good = 1;
    double start = bench_now();
    for (int i = 0; i < calls; i++) {
        if (scales) own.grad_scale = scales[i];
        gradclip_status status =
            gradclip_clip_grad_norm(grads, count, max_norms[i], norm_type, &own, &result);
        if (status < 0) return -1;
        good &= did_as_meant(status, &result, writes);
    }
    double seconds = (bench_now() - start) / calls;
    *total_norm = result.total_norm;
    return good ? seconds : -2;
}

double bench_clip_grad_value(const gradclip_tensor *grads, size_t count,
                             const gradclip_options *options, const double *clip_values, int calls) {
    double start = bench_now();
    for (int i = 0; i < calls; i++)
        if (gradclip_clip_grad_value(grads, count, clip_values[i], options) < 0) return -1;
    return (bench_now() - start) / calls;
}

double bench_total_norm(const gradclip_tensor *grads, size_t count, double norm_type, const gradclip_options *options,
                        double *tensor_norms, int calls, double *total_norm) {
    gradclip_result result;
    gradclip_result_init(&result, sizeof result);
    result.tensor_norms = tensor_norms;
    double start = bench_now();
    for (int i = 0; i < calls; i++)
        if (gradclip_get_total_norm(grads, count, norm_type, options, &result) < 0) return -1;
    double seconds = (bench_now() - start) / calls;
    *total_norm = result.total_norm;
    return seconds;
}

double bench_inspect(const gradclip_tensor *grads, size_t count, const gradclip_options *options,
                     gradclip_report *reports, int calls) {
    double start = bench_now();
    for (int i = 0; i < calls; i++)
        if (gradclip_inspect(grads, count, 2, options, reports, sizeof *reports, NULL) < 0) return -1;
    return (bench_now() - start) / calls;
}

double bench_scale(const gradclip_tensor *grads, size_t count, double factor, const gradclip_options *options, int calls) {
    double start = bench_now();
    for (int i = 0; i < calls; i++)
        if (gradclip_scale(grads, count, factor, options) < 0) return -1;
    return (bench_now() - start) / calls;
}

double bench_blas(const gradclip_tensor *grads, size_t count, bench_snrm2 snrm2, bench_sscal sscal,
                  const double *max_norms, int calls, int writes, double *total_norm) {
    int good = 1;
    double start = bench_now();
    for (int i = 0; i < calls; i++) {
        double sum = 0;
        for (size_t t = 0; t < count; t++) {
            double norm = snrm2((int)grads[t].length, grads[t].data, 1);
            sum += norm * norm;
        }
        *total_norm = sqrt(sum);
        double clip_coef = max_norms[i] / (*total_norm + 1e-6);
        if (clip_coef < 1)
            for (size_t t = 0; t < count; t++)
                sscal((int)grads[t].length, (float)clip_coef, grads[t].data, 1);
        good &= (clip_coef < 1) == (writes != 0);
    }
    double seconds = (bench_now() - start) / calls;
    return good ? seconds : -2;
}
