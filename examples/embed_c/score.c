/* A C program that opens a model file and scores rows in two threads, without the GIL.
 *
 *     ./score PYTHON MODEL.gmix
 *
 * PYTHON is the interpreter of the environment that gaussmix is installed in.
 */
#define _POSIX_C_SOURCE 200809L
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <gaussmix.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N_ROWS 100000
#define N_THREADS 2

typedef struct {
    const gaussmix_api *api;
    const gaussmix_model *model;
    uint64_t seed;
    double mean, nanoseconds; /* results */
    int failed;
} Task;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return 1e9 * (double)time.tv_sec + (double)time.tv_nsec;
}

/* Draws rows, scores them one by one, and once more all together: the same bits. */
static void *work(void *argument) {
    Task *task = argument;
    const gaussmix_api *api = task->api;
    const gaussmix_model *model = task->model;
    size_t width = (size_t)model->n_features;
    double *rows = malloc(N_ROWS * width * sizeof(double));
    double *one = malloc(N_ROWS * sizeof(double)), *many = malloc(N_ROWS * sizeof(double));
    double start;
    task->failed = rows == NULL || one == NULL || many == NULL;
    for (size_t i = 0; i < N_ROWS && !task->failed; i++)
        task->failed = api->sample_one(model, &task->seed, rows + i * width, NULL);
    start = now();
    for (size_t i = 0; i < N_ROWS && !task->failed; i++)
        task->failed = api->logpdf(model, rows + i * width, one + i);
    task->nanoseconds = (now() - start) / N_ROWS;
    if (!task->failed)
        task->failed = api->logpdf_many(model, rows, N_ROWS, model->n_features, many, NULL) ||
                       memcmp(one, many, N_ROWS * sizeof(double)) != 0;
    task->mean = 0.0;
    for (size_t i = 0; i < N_ROWS && !task->failed; i++) task->mean += one[i] / N_ROWS;
    free(rows);
    free(one);
    free(many);
    return NULL;
}

static int start_python(const char *program) {
    PyConfig config;
    PyStatus status;
    PyConfig_InitPythonConfig(&config);
    status = PyConfig_SetBytesString(&config, &config.program_name, program);
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    return !PyStatus_Exception(status);
}

/* gaussmix.load(path).scorer(); a new reference, or NULL with an exception set. */
static PyObject *open_scorer(const char *path) {
    PyObject *scorer = NULL, *mixture = NULL, *gaussmix = PyImport_ImportModule("gaussmix");
    if (gaussmix != NULL) mixture = PyObject_CallMethod(gaussmix, "load", "s", path);
    if (mixture != NULL) scorer = PyObject_CallMethod(mixture, "scorer", NULL);
    Py_XDECREF(gaussmix);
    Py_XDECREF(mixture);
    return scorer;
}

int main(int argc, char **argv) {
    Task tasks[N_THREADS] = {{0}};
    pthread_t threads[N_THREADS];
    const gaussmix_api *api;
    const gaussmix_model *model = NULL;
    PyObject *scorer;
    PyThreadState *state;
    int failed = 0;
    if (argc != 3 || !start_python(argv[1])) {
        fprintf(stderr, "usage: %s PYTHON MODEL.gmix\n", argv[0]);
        return 2;
    }
    scorer = open_scorer(argv[2]); /* owns the model: kept until the threads are done */
    api = scorer == NULL ? NULL : gaussmix_import();
    if (api != NULL) model = gaussmix_model_of(scorer);
    if (model == NULL) {
        PyErr_Print();
        return 1;
    }
    state = PyEval_SaveThread(); /* from here on without the GIL */
    for (int i = 0; i < N_THREADS; i++) {
        tasks[i].api = api;
        tasks[i].model = model;
        tasks[i].seed = (uint64_t)i;
        if (pthread_create(&threads[i], NULL, work, &tasks[i]) != 0) return 1;
    }
    for (int i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
        failed |= tasks[i].failed;
        printf("thread %d: mean log density %.4f, %.0f ns a row\n", i, tasks[i].mean,
               tasks[i].nanoseconds);
    }
    PyEval_RestoreThread(state);
    Py_DECREF(scorer);
    if (Py_FinalizeEx() < 0) return 1;
    return failed;
}
