/* gaussmix from C: log densities, responsibilities and labels, row by row.
 *
 * The compiler finds this file in gaussmix.get_include(). Nothing is to be linked: all functions
 * are reached through a table, which Python hands out as a capsule.
 *
 *     #include <Python.h>
 *     #include <gaussmix.h>
 *
 *     const gaussmix_api *api = gaussmix_import();           // GIL held; NULL: exception is set
 *     const gaussmix_model *model = gaussmix_model_of(scorer); // GIL held; NULL: exception is set
 *     double density;
 *     if (api->logpdf(model, row, &density) != GAUSSMIX_OK) ...
 *
 * Ownership and lifetime. A model belongs to the Python object it was taken from, a
 * gaussmix.Scorer: hold a reference to that for as long as the model is used. It never changes. The
 * table lives as long as the process. All other memory belongs to the caller, who passes rows of
 * n_features doubles and places for results; nothing is kept.
 *
 * Threads. With a model and the table in hand no function needs the GIL or takes a lock, and any
 * number of threads may use one model. None starts a thread.
 *
 * Memory. A call takes less than 20 KB of the stack. Scratch beyond that is allocated and freed: for
 * one row from a hundred features and a thousand components on, for more than a few rows at a time
 * from three times the features plus the components = 60 on, which costs little beside the rows.
 *
 * Results are the bits that Mixture's methods give for the same rows. Where a function returns
 * something other than GAUSSMIX_OK, results may have been written in part and mean nothing.
 *
 * Versions. Structs only ever grow at their ends, and `size` is the size in bytes that the library
 * knows; no field changes its meaning. A program compiled with an older header runs with a newer
 * library. One compiled with a newer header may meet an older library: before it uses anything that
 * is not of version 1 it asks api->version(), which counts additions as GAUSSMIX_API_VERSION does.
 */
#ifndef GAUSSMIX_H
#define GAUSSMIX_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GAUSSMIX_API_VERSION 1

/* What functions return. */
#define GAUSSMIX_OK 0
#define GAUSSMIX_NOT_FINITE 1 /* a row holds NaN or an infinity */
#define GAUSSMIX_NO_MEMORY 2
#define GAUSSMIX_BAD_ARGUMENT 3 /* a gate that is not positive, a negative number of rows */
#define GAUSSMIX_OTHER_MODEL 4 /* the model belongs to another table; use model->api */

/* What covariance_type of a model is. */
#define GAUSSMIX_SPHERICAL_OR_DIAG 0
#define GAUSSMIX_FULL 1
#define GAUSSMIX_TIED 2

typedef struct gaussmix_model gaussmix_model;
typedef struct gaussmix_api gaussmix_api;

/* A mixture that is ready for scoring. Not to be copied: more follows behind these fields. */
struct gaussmix_model {
    size_t size;
    const gaussmix_api *api; /* the table whose functions take this model */
    int32_t version;
    int32_t covariance_type;
    int64_t n_components;
    int64_t n_features;
};

struct gaussmix_api {
    size_t size;

    /* The GAUSSMIX_API_VERSION that the library was compiled with. */
    int32_t (*version)(void);

    /* The log density of a row, in nats. */
    int (*logpdf)(const gaussmix_model *model, const double *row, double *log_density);

    /* Those of n_rows rows; row i begins at rows + i * row_stride, log_densities has n_rows places.
     * With GAUSSMIX_NOT_FINITE *bad_row is the first row at fault, unless bad_row is NULL. */
    int (*logpdf_many)(const gaussmix_model *model, const double *rows, int64_t n_rows,
                       int64_t row_stride, double *log_densities, int64_t *bad_row);

    /* The posterior probability of each component: n_components places. */
    int (*responsibilities)(const gaussmix_model *model, const double *row,
                            double *responsibilities);

    /* The most probable component, ties to the lowest index. */
    int (*predict)(const gaussmix_model *model, const double *row, int64_t *label);

    /* The nearest component in its own standard deviations, or -1 where it is not nearer than
     * `gate`, which is positive; with INFINITY only rows whose distance overflows are refused. */
    int (*nearest)(const gaussmix_model *model, const double *row, double gate, int64_t *label);

    /* A point drawn from the mixture: n_features places, and its component unless label is NULL.
     * *state is any number; it is advanced, and the same one gives the same point. Each thread
     * needs one of its own (SplitMix64). */
    int (*sample_one)(const gaussmix_model *model, uint64_t *state, double *row, int64_t *label);
};

#define GAUSSMIX_API_CAPSULE "gaussmix.c_api.table"
#define GAUSSMIX_MODEL_CAPSULE "gaussmix.model"

#ifdef Py_PYTHON_H

/* The table, importing gaussmix; NULL with an exception set where there are no compiled kernels. */
static inline const gaussmix_api *gaussmix_import(void) {
    return (const gaussmix_api *)PyCapsule_Import(GAUSSMIX_API_CAPSULE, 0);
}

/* The model of a gaussmix.Scorer, which is only borrowed: it lives as long as the scorer. NULL with
 * an exception set if `scorer` is none. */
static inline const gaussmix_model *gaussmix_model_of(PyObject *scorer) {
    const gaussmix_model *model = NULL;
    PyObject *capsule = PyObject_GetAttrString(scorer, "capsule");
    if (capsule == NULL) return NULL;
    model = (const gaussmix_model *)PyCapsule_GetPointer(capsule, GAUSSMIX_MODEL_CAPSULE);
    Py_DECREF(capsule);
    return model;
}

#endif

#ifdef __cplusplus
}
#endif

#endif
