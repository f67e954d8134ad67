/*
 * What choosers decide, step by step, against golden/choosers.txt (see golden/generate_choosers.py). Every
 * seventh step the chooser is exported, and goes on as the one that its bytes make.
 */
#include "check.h"

#include <math.h>
#include <stdlib.h>

enum { LINE = 4096, TENSORS = 8 };

static gradclip_chooser *chooser;
static gradclip_chooser_options options;
static unsigned long line_number, steps;

static double number(const char *text) { return strtod(text, NULL); }

/* To a part in 10^12; same_bits where `exactly`. */
static void check_number(double got, const char *text, int exactly, const char *what)
{
    double expected = number(text);
    int same = same_bits(&got, &expected, 8) || (!exactly && fabs(got - expected) <= 1e-12 * fabs(expected));
    CHECK(same, "line %lu: %s %a, expected %a", line_number, what, got, expected);
}

static void new_chooser(char *rest)
{
    char *field[12];
    for (int i = 0; i < 12; i++) field[i] = strtok(i ? NULL : rest, " \n");
    if (!field[11]) exit(2);
    gradclip_chooser_free(chooser);
    CHECK_STATUS(gradclip_chooser_options_init(&options, sizeof options, (uint32_t)atoi(field[0])), GRADCLIP_OK);
    options.mode = (uint32_t)atoi(field[1]);
    options.window = (uint64_t)atoi(field[2]);
    options.warmup_steps = (uint64_t)atoi(field[3]);
    double *numbers[] = {&options.percentile, &options.decay, &options.z_threshold, &options.max_norm,
                         &options.lambda_rel, &options.clip_factor, &options.eps};
    for (int i = 0; i < 7; i++) *numbers[i] = number(field[4 + i]);
    options.skip_update_on_spike = (uint32_t)atoi(field[11]);
    CHECK_STATUS(gradclip_chooser_create(&options, &chooser), GRADCLIP_OK);
    if (!chooser) exit(2);
}

/* Another one, made of the bytes of this. */
static void resume(void)
{
    size_t size = 0, again;
    CHECK_STATUS(gradclip_chooser_export(chooser, NULL, &size), GRADCLIP_OK);
    void *bytes = malloc(size), *copy = malloc(size);
    CHECK_STATUS(gradclip_chooser_export(chooser, bytes, &size), GRADCLIP_OK);
    gradclip_chooser_options plain;
    gradclip_chooser *next;
    gradclip_chooser_options_init(&plain, sizeof plain, options.kind);
    CHECK_STATUS(gradclip_chooser_create(&plain, &next), GRADCLIP_OK);
    CHECK_STATUS(gradclip_chooser_import(next, bytes, size), GRADCLIP_OK);
    again = size;
    CHECK_STATUS(gradclip_chooser_export(next, copy, &again), GRADCLIP_OK);
    CHECK(again == size && same_bits(bytes, copy, size), "line %lu: other bytes after a round trip", line_number);
    gradclip_chooser_free(chooser);
    chooser = next;
    free(bytes), free(copy);
}

static void total_step(char *rest)
{
    char *field[8];
    for (int i = 0; i < 8; i++) field[i] = strtok(i ? NULL : rest, " \n");
    if (!field[7]) exit(2);
    gradclip_decision d;
    gradclip_decision_init(&d, sizeof d);
    double loss = number(field[1]);
    gradclip_status status = gradclip_chooser_feed(chooser, number(field[0]), strcmp(field[1], "-") ? &loss : NULL, &d);
    CHECK(status == atoi(field[2]), "line %lu: status %d, expected %s", line_number, (int)status, field[2]);
    check_number(d.threshold, field[3], options.kind == GRADCLIP_AUTOCLIP, "threshold");
    check_number(d.clip_coef, field[4], options.kind == GRADCLIP_AUTOCLIP, "clip_coef");
    check_number(d.mean, field[5], 0, "mean");
    check_number(d.deviation, field[6], 0, "deviation");
    CHECK((int)d.recorded == atoi(field[7]), "line %lu: recorded %u", line_number, d.recorded);
    uint32_t action = status ? GRADCLIP_ACTION_SKIP : d.clip_coef == 1 ? GRADCLIP_ACTION_PASS : GRADCLIP_ACTION_CLIP;
    CHECK(d.action == action, "line %lu: action %u", line_number, d.action);
}

static void tensor_step(char *rest)
{
    const char *status = strtok(rest, " \n"), *coef = strtok(NULL, " \n"), *recorded = strtok(NULL, " \n");
    char *cell, *expected[TENSORS][2];
    double norms[TENSORS], thresholds[TENSORS], coefs[TENSORS];
    size_t count = 0;
    while ((cell = strtok(NULL, " \n")) && count < TENSORS) {
        expected[count][0] = strchr(cell, ':') + 1;
        expected[count][1] = strchr(expected[count][0], ':') + 1;
        norms[count++] = cell[0] == '-' ? -1 : number(cell);
    }
    gradclip_decision d;
    gradclip_decision_init(&d, sizeof d);
    d.tensor_thresholds = thresholds;
    d.tensor_coefs = coefs;
    gradclip_status got = gradclip_chooser_feed_tensors(chooser, norms, count, &d);
    CHECK(got == atoi(status), "line %lu: status %d, expected %s", line_number, (int)got, status);
    CHECK((int)d.recorded == atoi(recorded), "line %lu: recorded %u", line_number, d.recorded);
    check_number(d.clip_coef, coef, 0, "clip_coef");
    for (size_t i = 0; i < count; i++)
        if (expected[i][0][0] != '-') {
            check_number(thresholds[i], expected[i][0], 0, "threshold");
            check_number(coefs[i], expected[i][1], 0, "clip_coef");
        }
}

int main(int argc, char **argv)
{
    static char line[LINE];
    FILE *file = argc > 1 ? fopen(argv[1], "r") : NULL;
    if (!file) return fprintf(stderr, "usage: golden_choosers choosers.txt\n"), 2;
    while (fgets(line, sizeof line, file)) {
        line_number++;
        if (!strncmp(line, "chooser ", 8)) {
            new_chooser(line + 8);
            continue;
        }
        if (++steps % 7 == 0) resume();
        if (line[0] == 's') total_step(line + 2);
        else tensor_step(line + 2);
    }
    fclose(file);
    gradclip_chooser_free(chooser);
    CHECK(steps > 10000, "%lu steps", steps);
    return checks_summary("golden_choosers");
}
