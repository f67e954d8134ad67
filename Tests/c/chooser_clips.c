/* Choosers and gradients: what is clipped, what is skipped and left as it was. */
#include "choosers.h"

#include <float.h>

static gradclip_status clipped(gradclip_chooser *chooser, float *a, float *b, const double *loss, const gradclip_options *options,
                               gradclip_result *result, gradclip_decision *d)
{
    gradclip_tensor tensors[] = {tensor_of(a, 2, GRADCLIP_F32), tensor_of(b, 1, GRADCLIP_F32)};
    return gradclip_chooser_clip(chooser, tensors, 2, 2, loss, options, result, d);
}

static void clips_by_its_threshold(void)
{
    gradclip_options options = default_options();
    options.eps = 0, options.grad_scale = 2;
    gradclip_chooser *chooser = new_kind(GRADCLIP_AUTOCLIP);
    gradclip_decision d = new_decision();
    gradclip_result r = new_result();
    double norms[2];
    float a[] = {6, 8}, b[] = {0};
    r.tensor_norms = norms;
    CHECK_STATUS(clipped(chooser, a, b, NULL, &options, &r, &d), GRADCLIP_OK);
    CHECK(a[0] == 3 && a[1] == 4 && r.total_norm == 5 && r.factor == 0.5 && d.threshold == 5 && norms[0] == 5 && norms[1] == 0, "%g %g", a[0], r.total_norm);
    a[0] = 0, a[1] = 30, b[0] = 40; /* the 10th percentile of 5 and 25 is 7 */
    CHECK_STATUS(clipped(chooser, a, b, NULL, &options, &r, &d), GRADCLIP_OK);
    CHECK(r.total_norm == 25 && d.threshold == 7 && d.clip_coef == 7.0 / 25 && r.clip_coef == d.clip_coef && r.factor == d.clip_coef / 2 &&
              d.action == GRADCLIP_ACTION_CLIP && a[1] == 30 * (float)(7.0 / 50) && b[0] == 40 * (float)(7.0 / 50), "%g %g", d.threshold, a[1]);
    /* Left alone, propagated, zeroed. */
    struct bytes before = exported(chooser), after;
    a[0] = 3, a[1] = NAN, b[0] = 4;
    CHECK_STATUS(clipped(chooser, a, b, NULL, &options, &r, &d), GRADCLIP_NON_FINITE);
    CHECK(a[0] == 3 && b[0] == 4 && r.nan_count == 1 && r.first_element == 1 && d.action == GRADCLIP_ACTION_SKIP && !d.recorded && r.clip_coef == 1, "%g", a[0]);
    options.nonfinite = GRADCLIP_NONFINITE_PROPAGATE;
    CHECK_STATUS(clipped(chooser, a, b, NULL, &options, &r, &d), GRADCLIP_OK);
    CHECK(isnan(a[0]) && isnan(b[0]) && !d.recorded, "%g", a[0]);
    after = exported(chooser);
    CHECK(after.size == before.size && same_bits(after.data, before.data, after.size), "NaN entered the history");
    free(before.data), free(after.data);
    options.nonfinite = GRADCLIP_NONFINITE_ZERO;
    a[0] = 6, a[1] = INFINITY, b[0] = 8;
    CHECK_STATUS(clipped(chooser, a, b, NULL, &options, &r, &d), GRADCLIP_OK);
    CHECK(r.total_norm == 5 && d.recorded && a[0] == 3 && a[1] == 0 && b[0] == 4, "%g %g", r.total_norm, a[1]);
    gradclip_chooser_free(chooser);
    /* A norm beyond DBL_MAX: clipped by what is known, and not recorded. */
    chooser = new_kind(GRADCLIP_AUTOCLIP);
    double huge[] = {DBL_MAX, DBL_MAX}, four = 4;
    gradclip_tensor t = tensor_of(&four, 1, GRADCLIP_F64);
    CHECK_STATUS(gradclip_chooser_clip(chooser, &t, 1, 2, NULL, NULL, NULL, NULL), GRADCLIP_OK);
    t = tensor_of(huge, 2, GRADCLIP_F64);
    CHECK_STATUS(gradclip_chooser_clip(chooser, &t, 1, 2, NULL, NULL, &(gradclip_result){.struct_size = 64}, &d), GRADCLIP_OK);
    CHECK(fabs(huge[0] / (4 / sqrt(2)) - 1) < 1e-12 && !d.recorded && d.action == GRADCLIP_ACTION_CLIP, "%g", huge[0]);
    /* Every result and decision may be NULL; no tensors are fine. */
    CHECK_STATUS(gradclip_chooser_clip(chooser, NULL, 0, 2, NULL, NULL, NULL, NULL), GRADCLIP_OK);
    gradclip_chooser_free(chooser);
}

static void skips_and_writes_nothing(void)
{
    gradclip_chooser_options o = defaults_of(GRADCLIP_SKIPSTEP);
    o.window = 6;
    gradclip_chooser *chooser = new_chooser(&o);
    gradclip_decision d = new_decision();
    gradclip_result r = new_result();
    gradclip_options options = default_options();
    double loss = 1;
    options.grad_scale = 2;
    for (int i = 0; i < 4; i++) {
        float a[] = {6, 8}, b[] = {(float)i};
        loss = 1 + i % 2;
        CHECK_STATUS(clipped(chooser, a, b, &loss, &options, &r, &d), GRADCLIP_OK);
        CHECK(a[0] == 3 && d.clip_coef == 1 && r.factor == 0.5, "unscaled, not clipped: %g", a[0]);
    }
    float a[] = {600, 800}, b[] = {1};
    loss = 1;
    CHECK_STATUS(clipped(chooser, a, b, &loss, &options, &r, &d), GRADCLIP_SKIP_STEP);
    CHECK(a[0] == 600 && d.action == GRADCLIP_ACTION_SKIP && d.recorded && r.total_norm > 500 && r.factor == 1, "%g", a[0]);
    a[0] = 6, a[1] = 8, loss = 1e6;
    CHECK_STATUS(clipped(chooser, a, b, &loss, &options, &r, &d), GRADCLIP_SKIP_STEP);
    loss = NAN;
    CHECK_STATUS(clipped(chooser, a, b, &loss, &options, &r, &d), GRADCLIP_NON_FINITE);
    CHECK(a[0] == 6 && !d.recorded && r.nonfinite_count == 0, "%g", a[0]);
    gradclip_chooser_free(chooser);
}

static void each_tensor_by_its_own(void)
{
    gradclip_chooser_options o = defaults_of(GRADCLIP_ADAGC);
    o.warmup_steps = 2, o.lambda_rel = 2, o.max_norm = 100, o.decay = 0.5, o.eps = 0;
    gradclip_chooser *chooser = new_chooser(&o);
    gradclip_decision d = new_decision();
    gradclip_result r = new_result();
    gradclip_options options = default_options();
    double thresholds[2], coefs[2], norms[2];
    d.tensor_thresholds = thresholds, d.tensor_coefs = coefs, r.tensor_norms = norms;
    options.grad_scale = 2;
    float a[] = {6, 8}, b[] = {2};
    CHECK_STATUS(clipped(chooser, a, b, NULL, &options, &r, &d), GRADCLIP_OK); /* gamma 5, 1 */
    CHECK(a[0] == 3 && b[0] == 1 && d.threshold == 100 && coefs[0] == 1 && thresholds[0] == INFINITY && norms[0] == 5 && norms[1] == 1, "%g", a[0]);
    a[0] = 0, a[1] = 80, b[0] = 3;
    CHECK_STATUS(clipped(chooser, a, b, NULL, &options, &r, &d), GRADCLIP_OK);
    CHECK(thresholds[0] == 10 && thresholds[1] == 2 && coefs[0] == 0.25 && coefs[1] == 1 && d.clip_coef == 0.25 && r.clip_coef == 0.25 &&
              a[1] == 10 && b[0] == 1.5f && d.threshold == INFINITY, "%g %g", a[1], b[0]);
    /* An empty tensor has no gradient, and its gamma stays. */
    gradclip_tensor tensors[] = {tensor_of(NULL, 0, GRADCLIP_F32), tensor_of(b, 1, GRADCLIP_F32)};
    b[0] = 1;
    options.grad_scale = 1;
    CHECK_STATUS(gradclip_chooser_clip(chooser, tensors, 2, 2, NULL, &options, &r, &d), GRADCLIP_OK);
    CHECK(coefs[0] == 1 && thresholds[0] == INFINITY && norms[0] == 0 && norms[1] == 1, "%g", coefs[0]);
    a[0] = 3, a[1] = INFINITY, b[0] = 9;
    CHECK_STATUS(clipped(chooser, a, b, NULL, &options, &r, &d), GRADCLIP_NON_FINITE);
    CHECK(b[0] == 9 && r.first_element == 1 && coefs[1] == 1 && !d.recorded, "%g", b[0]);
    double huge[] = {DBL_MAX, DBL_MAX}, one = 1;
    gradclip_tensor large[] = {tensor_of(huge, 2, GRADCLIP_F64), tensor_of(&one, 1, GRADCLIP_F64)};
    CHECK_STATUS(gradclip_chooser_clip(chooser, large, 2, 2, NULL, NULL, &r, &d), GRADCLIP_SKIP_STEP);
    CHECK(huge[0] == DBL_MAX && one == 1 && d.action == GRADCLIP_ACTION_SKIP && !d.recorded && d.clip_coef == 1, "%g", huge[0]);
    gradclip_chooser_free(chooser);
}

/* Where the smallest coefficient is grad_scale, the tensor that it clips stays as it is, and the others do not. */
static void a_factor_of_one_among_others(void)
{
    gradclip_chooser_options o = defaults_of(GRADCLIP_ADAGC);
    o.warmup_steps = 2, o.lambda_rel = 2, o.max_norm = 100, o.decay = 0.5, o.eps = 0;
    gradclip_chooser *chooser = new_chooser(&o);
    gradclip_decision d = new_decision();
    gradclip_result r = new_result();
    gradclip_options options = default_options();
    options.grad_scale = 0.5;
    float a[] = {1.5, 2}, b[] = {0.5};
    CHECK_STATUS(clipped(chooser, a, b, NULL, &options, &r, &d), GRADCLIP_OK); /* gamma 5, 1 */
    a[0] = 0, a[1] = 10, b[0] = 0.5;
    CHECK_STATUS(clipped(chooser, a, b, NULL, &options, &r, &d), GRADCLIP_OK);
    CHECK(r.clip_coef == 0.5 && r.factor == 1 && a[1] == 10 && b[0] == 1, "%g %g %g", r.factor, a[1], b[0]);
    gradclip_chooser_free(chooser);
}

int main(void)
{
    clips_by_its_threshold();
    skips_and_writes_nothing();
    each_tensor_by_its_own();
    a_factor_of_one_among_others();
    return checks_summary("chooser_clips");
}
