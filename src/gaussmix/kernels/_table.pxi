# The functions that C programs reach through the table of gaussmix.h, which says what they do.

from cpython.pycapsule cimport PyCapsule_GetContext, PyCapsule_New, PyCapsule_SetContext
from libc.math cimport cos, sin

cdef extern from *:
    """
    #define GAUSSMIX_TWO_PI 6.283185307179586
    """
    const double GAUSSMIX_TWO_PI


cdef inline const Frozen *whole(const gaussmix_model *model) noexcept nogil:
    """The mixture behind its face; NULL if another instruction set's table made it."""
    return <const Frozen *>model if model.api == &table else NULL


cdef inline int c_row(const gaussmix_model *model, int want, double gate, const double *row,
                      void *out) noexcept nogil:
    cdef Rows X
    cdef Py_ssize_t bad_row
    cdef const Frozen *frozen = whole(model)
    if frozen == NULL:
        return GAUSSMIX_OTHER_MODEL
    X.data = <const char *>row
    X.row_stride = 0
    X.feature_stride = X.item = sizeof(double)
    X.n_rows = 1
    X.n_features = frozen.model.n_features
    return score_rows(frozen, want, gate, &X, out, &bad_row)


cdef int c_logpdf(const gaussmix_model *model, const double *row,
                  double *log_density) noexcept nogil:
    return c_row(model, WANT_LOGPDF, 0.0, row, log_density)


cdef int c_logpdf_many(const gaussmix_model *model, const double *rows, int64_t n_rows,
                       int64_t row_stride, double *log_densities,
                       int64_t *bad_row) noexcept nogil:
    cdef Rows X
    cdef Py_ssize_t bad = -1
    cdef int code
    cdef const Frozen *frozen = whole(model)
    if frozen == NULL:
        return GAUSSMIX_OTHER_MODEL
    if n_rows < 0:
        return GAUSSMIX_BAD_ARGUMENT
    X.data = <const char *>rows
    X.row_stride = row_stride * <int64_t>sizeof(double)
    X.feature_stride = X.item = sizeof(double)
    X.n_rows = n_rows
    X.n_features = frozen.model.n_features
    code = score_rows(frozen, WANT_LOGPDF, 0.0, &X, log_densities, &bad)
    if code == GAUSSMIX_NOT_FINITE and bad_row != NULL:
        bad_row[0] = bad
    return code


cdef int c_responsibilities(const gaussmix_model *model, const double *row,
                            double *responsibilities) noexcept nogil:
    return c_row(model, WANT_RESPONSIBILITIES, 0.0, row, responsibilities)


cdef int c_predict(const gaussmix_model *model, const double *row,
                   int64_t *label) noexcept nogil:
    return c_row(model, WANT_LABELS, 0.0, row, label)


cdef int c_nearest(const gaussmix_model *model, const double *row, double gate,
                   int64_t *label) noexcept nogil:
    if not gate > 0.0:
        return GAUSSMIX_BAD_ARGUMENT
    return c_row(model, WANT_NEAREST, gate, row, label)


cdef inline double uniform(uint64_t *state) noexcept nogil:
    """In (0, 1]: SplitMix64's next 53 bits."""
    cdef uint64_t bits = splitmix(state[0], 0)
    state[0] += <uint64_t>0x9E3779B97F4A7C15
    return <double>((bits >> 11) + 1) * (1.0 / 9007199254740992.0)


cdef Py_ssize_t draw_component(const Frozen *frozen, double share) noexcept nogil:
    """The first component whose cumulative weight reaches `share`, in (0, 1], of their sum."""
    cdef double total = 0.0, sum = 0.0
    cdef Py_ssize_t k
    for k in range(frozen.model.n_components):
        total += frozen.weights[k]
    for k in range(frozen.model.n_components):
        sum += frozen.weights[k]
        if sum >= share * total:
            return k
    return frozen.model.n_components - 1  # not reached: the last sum is the total


cdef int c_sample_one(const gaussmix_model *model, uint64_t *state, double *row,
                      int64_t *label) noexcept nogil:
    """mean + P^-1 e, e standard normal by Box and Muller (1958), by forward substitution."""
    cdef const Frozen *frozen = whole(model)
    cdef Py_ssize_t k, d, e, n_features
    cdef const double *factor
    cdef double radius, angle
    if frozen == NULL:
        return GAUSSMIX_OTHER_MODEL
    n_features = frozen.model.n_features
    k = draw_component(frozen, uniform(state))
    for d in range(0, n_features, 2):
        radius = sqrt(-2.0 * log(uniform(state)))
        angle = GAUSSMIX_TWO_PI * uniform(state)
        row[d] = radius * cos(angle)
        if d + 1 < n_features:
            row[d + 1] = radius * sin(angle)
    factor = frozen.model.factors
    if frozen.model.factor_kind == FACTOR_DIAG:
        for d in range(n_features):
            row[d] /= factor[k * n_features + d]
    else:
        if frozen.model.factor_kind == FACTOR_FULL:
            factor += k * n_features * n_features
        for d in range(n_features):
            for e in range(d):
                row[d] -= factor[d * n_features + e] * row[e]
            row[d] /= factor[d * n_features + d]
    for d in range(n_features):
        row[d] += frozen.model.means[k * n_features + d]
    if label != NULL:
        label[0] = k
    return GAUSSMIX_OK


cdef int32_t c_version() noexcept nogil:
    return GAUSSMIX_API_VERSION


table.size = sizeof(gaussmix_api)
table.version = c_version
table.logpdf = c_logpdf
table.logpdf_many = c_logpdf_many
table.responsibilities = c_responsibilities
table.predict = c_predict
table.nearest = c_nearest
table.sample_one = c_sample_one

c_api = PyCapsule_New(&table, "gaussmix.c_api.table", NULL)
