/* A deferred call never says OK over a NaN: nothing was replaced, so the optimizer would read it. */
#include "check.h"

#include <math.h>

static gradclip_status finished(const gradclip_tensor *t, const gradclip_options *o, gradclip_result *r)
{
    gradclip_accumulator *a;
    CHECK_STATUS(gradclip_accumulator_create(2, o, &a), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_add(a, t, 1), GRADCLIP_OK);
    gradclip_status status = gradclip_accumulator_finish(a, 1, r);
    gradclip_accumulator_free(a);
    return status;
}

int main(void)
{
    float bad[] = {3, NAN, 4, INFINITY}, small[] = {.3f, NAN}, *pointers[] = {bad};
    double wide[] = {3, NAN, 4, INFINITY}, *doubles[] = {wide};
    size_t length = 4;
    gradclip_tensor t = {bad, 4, GRADCLIP_F32, 0, 0, 0}, little = {small, 2, GRADCLIP_F32, 0, 0, 0};
    gradclip_options o = default_options();
    o.eps = 0;
    for (uint32_t policy = 0; policy < 3; policy++) {
        o.nonfinite = policy;
        gradclip_status expected = policy == GRADCLIP_NONFINITE_PROPAGATE ? GRADCLIP_OK : GRADCLIP_NON_FINITE;
        gradclip_result r[5];
        for (int i = 0; i < 5; i++) gradclip_result_init(&r[i], sizeof r[i]);
        CHECK_STATUS(gradclip_defer_clip_f32(pointers, &length, 1, 1, 2, &o, &r[0]), expected);
        CHECK_STATUS(gradclip_defer_clip_f64(doubles, &length, 1, 1, 2, &o, &r[1]), expected);
        CHECK_STATUS(gradclip_defer_clip(&t, 1, 1, 2, &o, &r[2]), expected);
        CHECK_STATUS(finished(&t, &o, &r[3]), expected);
        for (int i = 0; i < 4; i++) {
            CHECK(r[i].nonfinite_count == 2 && r[i].nan_count == 1 && r[i].first_element == 1, "call %d", i);
            if (policy == GRADCLIP_NONFINITE_ZERO) {
                /* What the rest would have: norm 5, factor 1/5, for whoever writes. */
                CHECK_NUMBER(r[i].total_norm, 5);
                CHECK_NUMBER(r[i].clip_coef, 0.2);
                CHECK_NUMBER(r[i].factor, 0.2);
            } else if (policy == GRADCLIP_NONFINITE_LEAVE) {
                CHECK_NUMBER(r[i].factor, 1);
            } else {
                CHECK(isnan(r[i].factor), "factor %g: torch's", r[i].factor);
            }
        }
        /* Also where the rest is not clipped. */
        CHECK_STATUS(gradclip_defer_clip(&little, 1, 1, 2, &o, &r[4]), expected);
    }
    /* Writing is the way under ZERO: */
    gradclip_result r;
    gradclip_result_init(&r, sizeof r);
    o.nonfinite = GRADCLIP_NONFINITE_ZERO;
    CHECK_STATUS(gradclip_defer_clip(&t, 1, 1, 2, &o, &r), GRADCLIP_NON_FINITE);
    CHECK_STATUS(gradclip_clip_grads_with_norm(&t, 1, 1, r.total_norm, &o, NULL), GRADCLIP_OK);
    CHECK(bad[0] == 3 * .2f && bad[1] == 0 && bad[2] == 4 * .2f && bad[3] == 0, "%g %g %g %g", bad[0], bad[1], bad[2], bad[3]);
    /* Nothing of this without a NaN, and an uncounted tensor is not looked at. */
    CHECK_STATUS(gradclip_defer_clip(&t, 1, 1, 2, &o, &r), GRADCLIP_OK);
    little.flags = GRADCLIP_UNCOUNTED;
    CHECK_STATUS(gradclip_defer_clip(&little, 1, 1, 2, &o, &r), GRADCLIP_OK);
    /* An accumulator's clip with nothing to clip is deferred, too. */
    gradclip_tensor empty = {NULL, 0, GRADCLIP_F32, 0, 0, 0};
    for (uint32_t policy = 0; policy < 3; policy++)
        for (size_t count = 0; count < 3; count++) {
            const gradclip_tensor lists[3][2] = {{empty, empty}, {empty, empty}, {empty, t}};
            gradclip_accumulator *a;
            bad[1] = NAN, bad[0] = 3, bad[2] = 4, bad[3] = 0, t.flags = 0;
            o.nonfinite = policy;
            CHECK_STATUS(gradclip_accumulator_create(2, &o, &a), GRADCLIP_OK);
            CHECK_STATUS(gradclip_accumulator_add(a, &t, 1), GRADCLIP_OK);
            const int replaced = policy == GRADCLIP_NONFINITE_PROPAGATE || (policy == GRADCLIP_NONFINITE_ZERO && count == 2);
            CHECK_STATUS(gradclip_accumulator_clip(a, lists[count], count, 1, &r), replaced ? GRADCLIP_OK : GRADCLIP_NON_FINITE);
            CHECK(r.nonfinite_count == 1 && r.first_element == 1, "%llu", (unsigned long long)r.nonfinite_count);
            if (policy == GRADCLIP_NONFINITE_ZERO) CHECK_NUMBER(r.factor, 0.2);
            CHECK(isnan(bad[1]) == !(policy == GRADCLIP_NONFINITE_ZERO && count == 2), "policy %u, %zu tensors: %g", policy, count, bad[1]);
            gradclip_accumulator_free(a);
        }
    return checks_summary("deferred");
}
