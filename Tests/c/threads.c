/* The message belongs to the thread; calls from many threads do not disturb
 * each other; lists are long. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

enum { THREADS = 8, ROUNDS = 300 };

struct job {
    int number;
    const char *wrong; /* what went wrong, or NULL */
    double norm;
};

static void *work(void *argument)
{
    struct job *job = argument;
    char expected[80];
    double coef, x[501];
    double *grads[] = {x};
    size_t n = 501;
    if (strcmp(gradclip_last_error(), "") != 0) job->wrong = "a message before the thread's first error";
    snprintf(expected, sizeof expected, "max_norm must be a number >= 0 (got -%d)", job->number);
    for (int round = 0; round < ROUNDS; round++) {
        gradclip_result r = new_result();
        if (gradclip_clip_coef(-job->number, 1, NULL, &coef) != GRADCLIP_ERROR_INVALID_ARGUMENT) job->wrong = "a wrong status";
        for (size_t i = 0; i < n; i++) x[i] = (double)(job->number + 1) * (double)i;
        if (gradclip_clip_grad_norm_f64(grads, &n, 1, 1, 2, NULL, &r) != GRADCLIP_OK) job->wrong = "a call that failed";
        /* A call that succeeds leaves the message. */
        if (strcmp(gradclip_last_error(), expected) != 0) job->wrong = "another thread's message";
        if (round && r.total_norm != job->norm) job->wrong = "another norm for the same numbers";
        job->norm = r.total_norm;
    }
    return NULL;
}

static void many_threads(void)
{
    pthread_t threads[THREADS];
    struct job jobs[THREADS];
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (struct job){i + 1, NULL, 0};
        if (pthread_create(&threads[i], NULL, work, &jobs[i])) exit(2);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(jobs[i].wrong == NULL, "thread %d saw %s", i, jobs[i].wrong);
    }
    CHECK(strcmp(gradclip_last_error(), "") == 0, "the main thread has \"%s\"", gradclip_last_error());
}

static void a_message_lasts(void)
{
    double coef;
    const char *message;
    (void)gradclip_clip_coef(1, -2, NULL, &coef);
    message = gradclip_last_error();
    (void)gradclip_clip_coef(1, 2, NULL, &coef);
    CHECK(strstr(message, "total_norm") && strstr(message, "-2"), "%s", message);
    CHECK(strcmp(message, gradclip_last_error()) == 0, "%s", gradclip_last_error());
    (void)gradclip_clip_coef(1, -3, NULL, &coef);
    CHECK(strstr(gradclip_last_error(), "-3"), "%s", gradclip_last_error());
}

/* 100 000 tensors of 0 to 6 elements, together (3, 4, 0, ...) scaled. */
static void a_long_list(void)
{
    enum { COUNT = 100000 };
    float **grads = malloc(COUNT * sizeof *grads);
    size_t *lengths = malloc(COUNT * sizeof *lengths);
    gradclip_tensor *list = malloc(COUNT * sizeof *list);
    double *norms = malloc(COUNT * sizeof *norms);
    float *arena = calloc(COUNT * 7, sizeof *arena);
    gradclip_result r = new_result();
    gradclip_options options = default_options();
    size_t total = 0;
    if (!grads || !lengths || !list || !norms || !arena) exit(2);
    for (size_t i = 0; i < COUNT; i++) {
        lengths[i] = i % 7;
        grads[i] = arena + total;
        total += i % 7;
        list[i] = tensor_of(grads[i], lengths[i], GRADCLIP_F32);
    }
    for (size_t i = 0; i < total; i++) arena[i] = i % 2 ? -0.5f : 0.5f;
    options.eps = 0;
    r.tensor_norms = norms;
    CHECK_STATUS(gradclip_clip_grad_norm_f32(grads, lengths, COUNT, INFINITY, 2, &options, &r), GRADCLIP_OK);
    CHECK(fabs(r.total_norm / (0.5 * sqrt((double)total)) - 1) < 1e-14, "%a", r.total_norm);
    CHECK(norms[0] == 0 && norms[1] == 0.5 && norms[4] == 1 && norms[COUNT - 3] == 0.5 * sqrt((COUNT - 3) % 7), "norms");
    CHECK_STATUS(gradclip_clip_grad_norm(list, COUNT, 2, INFINITY, &options, &r), GRADCLIP_OK);
    CHECK(r.total_norm == 0.5, "%a", r.total_norm);
    CHECK_STATUS(gradclip_clip_grad_norm(list, COUNT, 0.125, INFINITY, &options, &r), GRADCLIP_OK);
    size_t wrong = 0;
    for (size_t i = 0; i < total; i++) wrong += arena[i] != (i % 2 ? -0.125f : 0.125f);
    CHECK(wrong == 0, "%zu elements", wrong);
    arena[total - 1] = NAN;
    CHECK_STATUS(gradclip_clip_grad_norm(list, COUNT, 0.1, 2, &options, &r), GRADCLIP_NON_FINITE);
    CHECK(r.nonfinite_count == 1 && r.first_tensor < COUNT && grads[r.first_tensor] + r.first_element == arena + total - 1, "%llu", (unsigned long long)r.first_tensor);
    free(grads), free(lengths), free(list), free(norms), free(arena);
}

int main(void)
{
    many_threads();
    a_message_lasts();
    a_long_list();
    return checks_summary("threads");
}
