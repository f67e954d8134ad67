/* Messages do not depend on the locale: here one whose decimal point is a comma
 * (LOCPATH must lead to de_DE.UTF-8; run.sh makes it). */
#include "check.h"

#include <locale.h>
#include <math.h>

static void messages(void)
{
    double coef;
    (void)gradclip_clip_coef(-0.5, 1, NULL, &coef);
    CHECK(strcmp(gradclip_last_error(), "max_norm must be a number >= 0 (got -0.5)") == 0, "%s", gradclip_last_error());
    (void)gradclip_clip_coef(1, -1234567.25, NULL, &coef);
    CHECK(strstr(gradclip_last_error(), "-1234567.25"), "%s", gradclip_last_error());
    (void)gradclip_clip_coef(1, -0.1, NULL, &coef);
    CHECK(strstr(gradclip_last_error(), "(got -0.1)"), "%s", gradclip_last_error());
    (void)gradclip_clip_coef(-1.0 / 3, 1, NULL, &coef);
    CHECK(strstr(gradclip_last_error(), "-0.3333333333333333"), "%s", gradclip_last_error());
    (void)gradclip_clip_coef(-1e-310, 1, NULL, &coef);
    CHECK(strstr(gradclip_last_error(), "e-310"), "%s", gradclip_last_error());
}

static char logged[256];

static void take(void *user_data, uint32_t kind, const char *text)
{
    (void)user_data, (void)kind;
    snprintf(logged, sizeof logged, "%s", text);
}

static void lines_of_the_log(void)
{
    gradclip_monitor monitor;
    gradclip_result result = new_result();
    double learning_rate = 0.1, loss = -2.5;
    gradclip_monitor_init(&monitor, sizeof monitor);
    monitor.callback = take;
    result.first_tensor = GRADCLIP_NONE;
    result.total_norm = 1.25;
    result.clip_coef = 0.5;
    (void)gradclip_monitor_log(&monitor, &learning_rate, &loss, &result, NULL);
    CHECK(strcmp(logged, "1,1.25,0.5,0.1,-2.5,0,,,,") == 0, "%s", logged);
}

int main(void)
{
    char text[16];
    messages();
    CHECK(setlocale(LC_ALL, "de_DE.UTF-8") != NULL, "the locale is missing");
    snprintf(text, sizeof text, "%g", 0.5);
    CHECK(strcmp(text, "0,5") == 0, "the locale has no comma: %s", text);
    messages();
    lines_of_the_log();
    return checks_summary("locale");
}
