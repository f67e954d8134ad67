/*
 * One process, two users: this host links libgradclip and clips; the Python that it
 * embeds clips through ctypes, with GRADCLIP_LIBRARY naming the same file. There must
 * be one library: the same functions, one setting, one pool of threads, one state.
 *
 *     one_process LIBRARY     the file for Python; PYTHONPATH finds gradclip and one_process.py
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
/* Python.h asks for GNU's functions. */
#include "../c/check.h"
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

enum { COUNT = 4 << 20, MOST = 64 };

/* The threads of this process. */
typedef struct tasks { long ids[MOST]; int count; } tasks;

static tasks threads_now(void)
{
    tasks t = {.count = 0};
    DIR *folder = opendir("/proc/self/task");
    struct dirent *entry;
    while (folder && (entry = readdir(folder)) != NULL)
        if (entry->d_name[0] != '.' && t.count < MOST) t.ids[t.count++] = atol(entry->d_name);
    if (folder) closedir(folder);
    return t;
}

/* How many of a are among b. */
static int shared(tasks a, tasks b)
{
    int found = 0;
    for (int i = 0; i < a.count; i++)
        for (int k = 0; k < b.count; k++) found += a.ids[i] == b.ids[k];
    return found;
}

/* How many different files named libgradclip are mapped. */
static int mapped_libraries(void)
{
    static char names[MOST][512];
    char line[1024];
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) {
        char *path = strchr(line, '/');
        if (path == NULL || strstr(path, "libgradclip") == NULL) continue;
        int known = 0;
        for (int i = 0; i < count; i++) known |= strncmp(names[i], path, sizeof names[i] - 1) == 0;
        if (!known && count < MOST) snprintf(names[count++], sizeof names[0], "%s", path);
    }
    if (maps) fclose(maps);
    return count;
}

static double clip_here(void)
{
    float *grad = malloc(COUNT * sizeof(float));
    size_t length = COUNT;
    gradclip_result result = new_result();
    for (size_t i = 0; i < COUNT; i++) grad[i] = 1;
    CHECK_STATUS(gradclip_clip_grad_norm_f32(&grad, &length, 1, 1.0, 2.0, NULL, &result), GRADCLIP_OK);
    free(grad);
    return result.total_norm;
}

static void *clip_meanwhile(void *norm)
{
    for (int i = 0; i < 20; i++) *(double *)norm = clip_here();
    return NULL;
}

static PyObject *module;

/* one_process.name(argument) as a number; NaN if it raised. */
static double python(const char *name, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    PyObject *function = PyObject_GetAttrString(module, name);
    PyObject *given = Py_VaBuildValue(format, arguments);
    PyObject *answer = function && given ? PyObject_CallObject(function, given) : NULL;
    PyObject *number = answer ? PyNumber_Float(answer) : NULL;
    double value = number ? PyFloat_AsDouble(number) : Py_NAN;
    if (PyErr_Occurred()) PyErr_Print();
    Py_XDECREF(number);
    Py_XDECREF(answer);
    Py_XDECREF(given);
    Py_XDECREF(function);
    va_end(arguments);
    return value;
}

int main(int argc, char **argv)
{
    if (argc != 2) return fprintf(stderr, "usage: one_process LIBRARY\n"), 2;
    setenv("GRADCLIP_LIBRARY", argv[1], 1);

    /* The host is there first, and has made the pool. */
    gradclip_set_num_threads(3);
    CHECK_NUMBER(clip_here(), 2048);
    tasks before = threads_now();
    CHECK(before.count == 3, "%d threads", before.count);

    Py_InitializeEx(0);
    module = PyImport_ImportModule("one_process");
    if (module == NULL) return PyErr_Print(), 1;

    /* One library. */
    CHECK(mapped_libraries() == 1, "%d files", mapped_libraries());
    unsigned long long address = (unsigned long long)(uintptr_t)dlsym(RTLD_DEFAULT, "gradclip_clip_grad_norm");
    CHECK(python("has_function_at", "(sK)", "gradclip_clip_grad_norm", address) == 1, "Python has another function than %llx", address);

    /* One pool: Python's call of the same size works on the host's threads. */
    CHECK_NUMBER(python("get_num_threads", "()"), 3);
    CHECK_NUMBER(python("clip", "(i)", COUNT), 2048);
    tasks after = threads_now();
    CHECK(after.count == 3 && shared(before, after) == 3, "%d threads, %d of them as before", after.count, shared(before, after));

    /* Both at once: no thread more, when the host's own second one is gone. */
    pthread_t other;
    double norm = 0;
    pthread_create(&other, NULL, clip_meanwhile, &norm);
    for (int i = 0; i < 20; i++) CHECK_NUMBER(python("clip", "(i)", COUNT), 2048);
    pthread_join(other, NULL);
    CHECK_NUMBER(norm, 2048);
    after = threads_now();
    CHECK(after.count == 3 && shared(before, after) == 3, "%d threads, %d of them as before", after.count, shared(before, after));

    /* One setting, either way. */
    python("set_num_threads", "(i)", 4);
    CHECK(gradclip_get_num_threads() == 4, "%u", (unsigned)gradclip_get_num_threads());
    /* (On a busy machine calls do without threads for a while.) */
    for (int i = 0; i < 2000; i++) {
        CHECK_NUMBER(clip_here(), 2048);
        after = threads_now();
        if (after.count == 4) break;
    }
    CHECK(after.count == 4 && shared(before, after) == 3, "%d threads, %d of them as before", after.count, shared(before, after));
    gradclip_set_num_threads(2);
    CHECK_NUMBER(python("get_num_threads", "()"), 2);

    /* One state: an accumulator made here takes a gradient from Python, and a refused
     * call of Python's is this thread's last error. */
    gradclip_accumulator *sum = NULL;
    gradclip_result result = new_result();
    const float three = 3;
    CHECK_STATUS(gradclip_accumulator_create(2.0, NULL, &sum), GRADCLIP_OK);
    CHECK_STATUS(gradclip_accumulator_add_f32(sum, &three, 1), GRADCLIP_OK);
    CHECK_NUMBER(python("add_to", "(Kd)", (unsigned long long)(uintptr_t)sum, 4.0), 0);
    CHECK_STATUS(gradclip_accumulator_finish(sum, 1.0, &result), GRADCLIP_OK);
    CHECK_NUMBER(result.total_norm, 5);
    gradclip_accumulator_free(sum);
    CHECK_NUMBER(python("clip_refused", "(d)", -7.0), 1);
    CHECK(strstr(gradclip_last_error(), "max_norm") && strstr(gradclip_last_error(), "-7"), "\"%s\"", gradclip_last_error());

    /* Python goes, the library stays. */
    Py_DECREF(module);
    CHECK(Py_FinalizeEx() == 0, "Python could not end");
    CHECK_NUMBER(clip_here(), 2048);
    return checks_summary("one_process");
}
