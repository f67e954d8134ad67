/* The log of a run: its lines, its warnings, in any locale and any floating point environment. */
#include "check.h"

#include <fenv.h>
#include <stddef.h>
#include <math.h>

enum { INVALID = GRADCLIP_ERROR_INVALID_ARGUMENT, LINES = 32 };

struct log { char text[LINES][256]; uint32_t kind[LINES]; int count; int rounding; };

static void take(void *user_data, uint32_t kind, const char *text)
{
    struct log *log = user_data;
    if (log->count == LINES) return;
    /* It may call the library. */
    double x[] = {3, 4}, *grads[] = {x};
    size_t n = 2;
    gradclip_result r = new_result();
    CHECK_STATUS(gradclip_clip_grad_norm_f64(grads, &n, 1, 1, 2, NULL, &r), GRADCLIP_OK);
    CHECK(r.total_norm == 5 && x[0] < 1, "norm %g in the callback", r.total_norm);
    log->kind[log->count] = kind;
    log->rounding = fegetround();
    snprintf(log->text[log->count++], sizeof log->text[0], "%s", text);
}

static void check_line(const struct log *log, int i, uint32_t kind, const char *text)
{
    CHECK(i < log->count && log->kind[i] == kind && !strcmp(log->text[i], text), "line %d of %d: \"%s\", expected \"%s\"", i, log->count,
          i < log->count ? log->text[i] : "", text);
}

static const char *const header = "step,grad_norm,clip_coef,learning_rate,loss,nonfinite_count,first_tensor,first_element,threshold,action";

static void lines_and_warnings(void)
{
    struct log log = {0};
    gradclip_monitor m;
    gradclip_result r = new_result();
    double x[] = {3, 4}, lr = 0.1, loss = 2.5;
    double *grads[] = {x};
    size_t n = 2;
    memset(&m, 0xee, sizeof m);
    CHECK_STATUS(gradclip_monitor_init(&m, sizeof m), GRADCLIP_OK);
    m.callback = take, m.user_data = &log;
    CHECK_STATUS(gradclip_clip_grad_norm_f64(grads, &n, 1, 2.5, 2, NULL, &r), GRADCLIP_OK);
    r.clip_coef = 0.5;
    CHECK_STATUS(gradclip_monitor_log(&m, &lr, &loss, &r, NULL), GRADCLIP_OK);
    CHECK_STATUS(gradclip_monitor_log(&m, NULL, NULL, &r, NULL), GRADCLIP_OK);
    check_line(&log, 0, GRADCLIP_LOG_CSV, header);
    check_line(&log, 1, GRADCLIP_LOG_CSV, "1,5,0.5,0.1,2.5,0,,,,");
    check_line(&log, 2, GRADCLIP_LOG_CSV, "2,5,0.5,,,0,,,,");
    /* Every number reads back as it was. */
    lr = 1.0 / 3, loss = -0x1.123456789abcdp-1000;
    r.total_norm = 0x1.fffffffffffffp1023;
    CHECK_STATUS(gradclip_monitor_log(&m, &lr, &loss, &r, NULL), GRADCLIP_OK);
    double norm, coef, rate, value;
    CHECK(sscanf(log.text[3], "3,%lf,%lf,%lf,%lf,0,,,,", &norm, &coef, &rate, &value) == 4, "%s", log.text[3]);
    CHECK(norm == r.total_norm && rate == lr && value == loss && coef == 0.5, "%s", log.text[3]);
    /* Each cause is told once. */
    x[0] = 1, x[1] = NAN, loss = -INFINITY;
    for (int again = 0; again < 2; again++) {
        gradclip_clip_grad_norm_f64(grads, &n, 1, 1, 2, NULL, &r);
        CHECK_STATUS(gradclip_monitor_log(&m, &lr, &loss, &r, NULL), GRADCLIP_OK);
    }
    check_line(&log, 4, GRADCLIP_LOG_CSV, "4,nan,1,0.33333333333333331,-inf,1,0,1,,");
    check_line(&log, 5, GRADCLIP_LOG_WARNING, "step 4: NaN or infinite gradients, elements: 1, the first: element 1 of tensor 0");
    check_line(&log, 6, GRADCLIP_LOG_WARNING, "step 4: the loss is NaN or infinite");
    check_line(&log, 7, GRADCLIP_LOG_CSV, "5,nan,1,0.33333333333333331,-inf,1,0,1,,");
    CHECK(log.count == 8, "%d lines", log.count);
    x[0] = x[1] = 0;
    gradclip_clip_grad_norm_f64(grads, &n, 1, 1, 2, NULL, &r);
    fesetround(FE_UPWARD);
    CHECK_STATUS(gradclip_monitor_log(&m, &lr, NULL, &r, NULL), GRADCLIP_OK);
    CHECK(log.rounding == FE_UPWARD && fegetround() == FE_UPWARD, "the callback runs in the host's environment");
    fesetround(FE_TONEAREST);
    check_line(&log, 9, GRADCLIP_LOG_WARNING, "step 6: all gradients are zero");
    CHECK(m.step == 7 && m.said == (1 | 4 | 8 | 16), "step %llu, said %u", (unsigned long long)m.step, m.said);
    /* Resumed: no header, the next number. */
    struct log rest = {0};
    CHECK_STATUS(gradclip_monitor_init(&m, sizeof m), GRADCLIP_OK);
    m.callback = take, m.user_data = &rest, m.said = 1, m.step = UINT64_MAX;
    CHECK_STATUS(gradclip_monitor_log(&m, NULL, NULL, &r, NULL), GRADCLIP_OK);
    check_line(&rest, 0, GRADCLIP_LOG_CSV, "18446744073709551615,0,1,,,0,,,,");
}

/* What a chooser decided stands in the row: a skipped step is not the same line as a taken one. */
static void decisions(void)
{
    gradclip_chooser_options o;
    gradclip_chooser *chooser;
    gradclip_decision d;
    gradclip_result r = new_result();
    gradclip_monitor m;
    struct log log = {0};
    CHECK_STATUS(gradclip_chooser_options_init(&o, sizeof o, GRADCLIP_SKIPSTEP), GRADCLIP_OK);
    o.window = 4;
    CHECK_STATUS(gradclip_chooser_create(&o, &chooser), GRADCLIP_OK);
    CHECK_STATUS(gradclip_decision_init(&d, sizeof d), GRADCLIP_OK);
    CHECK_STATUS(gradclip_monitor_init(&m, sizeof m), GRADCLIP_OK);
    m.callback = take, m.user_data = &log, m.said = 1;
    double norms[] = {1, 2, 1, 2, 100, 1.5}, *grads[1];
    for (int i = 0; i < 6; i++) {
        size_t n = 1;
        grads[0] = &norms[i];
        gradclip_tensor t = {grads[0], n, GRADCLIP_F64, 0, 0, 0};
        gradclip_status status = gradclip_chooser_clip(chooser, &t, 1, 2, NULL, NULL, &r, &d);
        CHECK(status == (i == 4 ? GRADCLIP_SKIP_STEP : GRADCLIP_OK), "step %d: %d", i, status);
        CHECK_STATUS(gradclip_monitor_log(&m, NULL, NULL, &r, &d), GRADCLIP_OK);
    }
    check_line(&log, 0, GRADCLIP_LOG_CSV, "1,1,1,,,0,,,inf,pass");
    double threshold;
    char action[8];
    CHECK(sscanf(log.text[4], "5,100,1,,,0,,,%lf,%7s", &threshold, action) == 2, "%s", log.text[4]);
    CHECK(threshold == d.threshold || (threshold > 4 && threshold < 6 && !strcmp(action, "skip")), "%s", log.text[4]);
    CHECK(strstr(log.text[5], ",pass"), "%s", log.text[5]);
    d.action = GRADCLIP_ACTION_CLIP, d.threshold = 0.25;
    CHECK_STATUS(gradclip_monitor_log(&m, NULL, NULL, &r, &d), GRADCLIP_OK);
    check_line(&log, 6, GRADCLIP_LOG_CSV, "7,1.5,1,,,0,,,0.25,clip");
    d.action = 3;
    CHECK_STATUS(gradclip_monitor_log(&m, NULL, NULL, &r, &d), INVALID);
    CHECK(!strcmp(gradclip_last_error(), "decision.action must be a GRADCLIP_ACTION_ (got 3)"), "%s", gradclip_last_error());
    gradclip_chooser_free(chooser);
}

/* Structs of older and younger programs: every size from the first field on. */
static void sizes(void)
{
    unsigned char bytes[3][256];
    double x[] = {3, 4}, *grads[] = {x};
    size_t n = 2;
    gradclip_result r = new_result();
    gradclip_decision d;
    CHECK_STATUS(gradclip_clip_grad_norm_f64(grads, &n, 1, 10, 2, NULL, &r), GRADCLIP_OK);
    CHECK_STATUS(gradclip_decision_init(&d, sizeof d), GRADCLIP_OK);
    d.threshold = 10;
    for (size_t more = 0; more < 200; more++) {
        struct log log = {0};
        gradclip_monitor *m = (gradclip_monitor *)bytes[0];
        memset(bytes, 0x5a, sizeof bytes);
        size_t size = offsetof(gradclip_monitor, said) + more;
        CHECK_STATUS(gradclip_monitor_init(m, size), GRADCLIP_OK);
        m->callback = take, m->user_data = &log;
        memcpy(bytes[1], &r, sizeof r), memcpy(bytes[2], &d, sizeof d);
        uint64_t result_size = 24 + more, decision_size = 16 + more;
        memcpy(bytes[1], &result_size, 8), memcpy(bytes[2], &decision_size, 8);
        CHECK_STATUS(gradclip_monitor_log(m, NULL, NULL, (void *)bytes[1], (void *)bytes[2]), GRADCLIP_OK);
        check_line(&log, 1, GRADCLIP_LOG_CSV, "1,5,1,,,0,,,10,pass");
        CHECK(m->step == 2 && bytes[0][size] == 0x5a, "%zu bytes", size);
    }
}

static void refused(void)
{
    struct log log = {0};
    gradclip_monitor m;
    gradclip_result r = new_result(), none = {0};
    CHECK_STATUS(gradclip_monitor_init(NULL, sizeof m), INVALID);
    CHECK_STATUS(gradclip_monitor_init(&m, 7), INVALID);
    CHECK_STATUS(gradclip_monitor_init(&m, sizeof m), GRADCLIP_OK);
    m.user_data = &log;
    double x[] = {1}, *grads[] = {x};
    size_t n = 1;
    CHECK_STATUS(gradclip_clip_grad_norm_f64(grads, &n, 1, 1, 2, NULL, &r), GRADCLIP_OK);
    CHECK_STATUS(gradclip_monitor_log(&m, NULL, NULL, &r, NULL), INVALID);
    CHECK(strstr(gradclip_last_error(), "monitor.callback") == gradclip_last_error(), "%s", gradclip_last_error());
    m.callback = take;
    CHECK_STATUS(gradclip_monitor_log(NULL, NULL, NULL, &r, NULL), INVALID);
    CHECK_STATUS(gradclip_monitor_log(&m, NULL, NULL, NULL, NULL), INVALID);
    CHECK(strstr(gradclip_last_error(), "result") == gradclip_last_error(), "%s", gradclip_last_error());
    CHECK_STATUS(gradclip_monitor_log(&m, NULL, NULL, &none, NULL), INVALID);
    CHECK(!strcmp(gradclip_last_error(), "result.struct_size must be between 8 and 4096: initialise the struct (got 0)"), "%s", gradclip_last_error());
    CHECK_STATUS(gradclip_result_init(&none, sizeof none), GRADCLIP_OK);
    CHECK_STATUS(gradclip_monitor_log(&m, NULL, NULL, &none, NULL), INVALID);
    CHECK(!strcmp(gradclip_last_error(), "result must have been filled by a call that was not refused"), "%s", gradclip_last_error());
    m.struct_size = 16;
    CHECK_STATUS(gradclip_monitor_log(&m, NULL, NULL, &r, NULL), INVALID);
    CHECK(strstr(gradclip_last_error(), "monitor") == gradclip_last_error(), "%s", gradclip_last_error());
    CHECK(log.count == 0 && m.step == 1 && m.said == 0, "%d lines", log.count);
}

int main(void)
{
    CHECK(sizeof(gradclip_monitor) == 40, "%zu", sizeof(gradclip_monitor));
    lines_and_warnings();
    decisions();
    sizes();
    refused();
    return checks_summary("monitor");
}
