# The M-steps of the basic families: the sums of one state -> the parameters of the next.
#
# These are the formulas of covariance/*.py for the ordinary case. Where a component is empty, a
# covariance is below the floor or has no Cholesky factor, the step returns False, `then` means
# nothing, and covariance/*.py does the step.

from cython.parallel cimport prange, threadid
from libc.math cimport log, sqrt

cdef struct State:  # a mixture and its sums; pieces of one array, in this order
    double *weights  # K
    double *means  # (K, D)
    double *covariances  # by family
    double *coefficients  # K
    double *factors  # as the kernels read them
    double *centre  # D
    double *mass  # an accumulator, combined
    double *first
    double *second
    double *scalars


cdef struct Fit:  # what an M-step needs beside the states
    int step
    Py_ssize_t n_components
    Py_ssize_t n_features
    const double *scale  # D: the features' standard deviations
    double relative  # the floor in scaled coordinates
    double *offset  # scratch, (K, D): first / mass
    double *matrix  # scratch, (D, D) for each thread that has a component
    double *upper  # likewise, behind it
    int n_threads  # of the team that makes the passes


cdef double EMPTY_SHARE = 2.0 ** -52  # as in covariance/base.py
cdef double LOG_2_PI = log(6.283185307179586)
# K D^3 from which threads share the components. EPYC (Zen 4), us of an M-step on one thread and on
# two: D = 16, K = 64: 94 54; D = 32, K = 8: 24 18; D = 32, K = 32: 103 66; D = 64, K = 8: 86 59;
# D = 128, K = 4: 250 144.
cdef double SHARED_CUBES = 1 << 18


cdef bint maximise_state(const Fit *fit, const State *now, State *then) noexcept nogil:
    """One M-step of the family; False where it is not an ordinary one."""
    cdef Py_ssize_t n_features = fit.n_features, k, d
    cdef double half = rounded_product(0.5 * n_features, LOG_2_PI)
    cdef bint ordinary
    if not move_means(fit, now, then):
        return False
    if fit.step == STEP_MEANS:
        return True
    elif fit.step == STEP_FULL:
        ordinary = full_covariances(fit, now, then)
    elif fit.step == STEP_TIED:
        ordinary = tied_covariance(fit, now, then)
    elif fit.step == STEP_DIAG:
        ordinary = diag_covariances(fit, now, then)
    else:
        ordinary = spherical_covariances(fit, now, then)
    for k in range(fit.n_components):
        # They hold log det P_k so far.
        then.coefficients[k] = log(then.weights[k]) + then.coefficients[k] - half
    return ordinary


cdef bint move_means(const Fit *fit, const State *now, State *then) noexcept nogil:
    """Weights mass / sum, means shift + first / mass, and the centre; k-means keeps the rest."""
    cdef Py_ssize_t n_components = fit.n_components, n_features = fit.n_features, k, d, i
    cdef double total = 0.0, least = 0.0, mass
    for k in range(n_components):
        total += now.mass[k]
    if fit.step == STEP_MEANS:
        for i in range(now.centre - now.weights):
            then.weights[i] = now.weights[i]
    else:
        least = EMPTY_SHARE * total
    for d in range(n_features):
        then.centre[d] = 0.0
    for k in range(n_components):
        mass = now.mass[k]
        if not mass > least:
            return False
        if fit.step != STEP_MEANS:
            then.weights[k] = mass / total
        for d in range(n_features):
            i = k * n_features + d
            fit.offset[i] = now.first[i] / mass
            then.means[i] = now.means[i] + fit.offset[i]
            then.centre[d] += rounded_product(then.weights[k], then.means[i])
    return True


cdef Py_ssize_t threads_with_components(const Fit *fit) noexcept nogil:
    """How many threads work on the M-step."""
    cdef double cubes = <double>fit.n_components * fit.n_features * fit.n_features * fit.n_features
    if fit.step != STEP_FULL or cubes < SHARED_CUBES:
        return 1
    return min(<Py_ssize_t>fit.n_threads, fit.n_components)


cdef bint full_covariances(const Fit *fit, const State *now, State *then) noexcept nogil:
    """second / mass - offset offset^T of each component; each component by one thread."""
    cdef Py_ssize_t k, n_failed = 0, each = (fit.n_components + fit.n_threads - 1) // fit.n_threads
    if threads_with_components(fit) == 1:
        for k in range(fit.n_components):
            if not full_covariance(fit, 0, now, then, k):
                return False
        return True
    # The team of the passes, though some may get nothing: OpenMP ends the threads that a smaller
    # team leaves out, and starts others for the next pass. In pieces of as many, the first threads
    # get all, and much the same as they have added up in `add_accumulators`.
    for k in prange(fit.n_components, num_threads=fit.n_threads, schedule="static", chunksize=each):
        n_failed += not full_covariance(fit, threadid(), now, then, k)
    return n_failed == 0


cdef bint full_covariance(const Fit *fit, int thread, const State *now, State *then,
                          Py_ssize_t k) noexcept nogil:
    """That of component k, with the scratch of a thread; False if it is not an ordinary one."""
    cdef Py_ssize_t n_features = fit.n_features, size = n_features * n_features, d, e
    cdef double *covariance = then.covariances + k * size
    cdef const double *second = now.second + k * size
    cdef const double *offset = fit.offset + k * n_features
    cdef Fit own = fit[0]
    own.matrix += 2 * size * thread
    own.upper += 2 * size * thread
    for d in range(n_features):
        for e in range(d + 1):
            covariance[d * n_features + e] = (
                second[d * n_features + e] / now.mass[k] - offset[d] * offset[e])
    for d in range(n_features):
        for e in range(d):
            covariance[e * n_features + d] = covariance[d * n_features + e]
    return factorise_above_floor(&own, covariance, then.factors + k * size, then.coefficients + k)


cdef bint tied_covariance(const Fit *fit, const State *now, State *then) noexcept nogil:
    """(second - sum_k mass_k offset_k offset_k^T) / sum_k mass_k."""
    cdef Py_ssize_t n_features = fit.n_features, k, d, e
    cdef double total = 0.0
    for k in range(fit.n_components):
        total += now.mass[k]
    moments_of_offsets(fit, now, fit.matrix)
    for d in range(n_features):
        for e in range(d + 1):
            then.covariances[d * n_features + e] = (
                now.second[d * n_features + e] - fit.matrix[d * n_features + e]) / total
    for d in range(n_features):
        for e in range(d):
            then.covariances[e * n_features + d] = then.covariances[d * n_features + e]
    if not factorise_above_floor(fit, then.covariances, then.factors, then.coefficients):
        return False
    for k in range(1, fit.n_components):
        then.coefficients[k] = then.coefficients[0]
    return True


cdef void moments_of_offsets(const Fit *fit, const State *now, double *matrix) noexcept nogil:
    """matrix (lower) = sum_k mass_k offset_k offset_k^T."""
    cdef Py_ssize_t n_features = fit.n_features, k, d, e
    cdef const double *offset = fit.offset
    cdef double factor
    for d in range(n_features):
        for e in range(d + 1):
            matrix[d * n_features + e] = 0.0
    for k in range(fit.n_components):
        for d in range(n_features):
            factor = now.mass[k] * offset[d]
            for e in range(d + 1):
                matrix[d * n_features + e] += factor * offset[e]
        offset += n_features


cdef bint diag_covariances(const Fit *fit, const State *now, State *then) noexcept nogil:
    """second / mass - offset^2 of each component and feature."""
    cdef Py_ssize_t n_features = fit.n_features, k, d, i
    cdef double variance, log_determinant
    for k in range(fit.n_components):
        log_determinant = 0.0
        for d in range(n_features):
            i = k * n_features + d
            variance = now.second[i] / now.mass[k] - fit.offset[i] * fit.offset[i]
            if not is_variance(variance, fit.relative * (fit.scale[d] * fit.scale[d])):
                return False
            then.covariances[i] = variance
            then.factors[i] = 1.0 / sqrt(variance)
            log_determinant += log(then.factors[i])
        then.coefficients[k] = log_determinant
    return True


cdef bint spherical_covariances(const Fit *fit, const State *now, State *then) noexcept nogil:
    """(second / mass - |offset|^2) / D of each component."""
    cdef Py_ssize_t n_features = fit.n_features, k, d, i
    cdef double variance, squares, lowest = 0.0
    for d in range(n_features):
        lowest = max(lowest, fit.relative * (fit.scale[d] * fit.scale[d]))
    for k in range(fit.n_components):
        squares = 0.0
        for i in range(k * n_features, (k + 1) * n_features):
            squares += fit.offset[i] * fit.offset[i]
        variance = now.second[k] / (now.mass[k] * n_features) - squares / n_features
        if not is_variance(variance, lowest):
            return False
        then.covariances[k] = variance
        for i in range(k * n_features, (k + 1) * n_features):
            then.factors[i] = 1.0 / sqrt(variance)
        then.coefficients[k] = rounded_product(n_features, log(then.factors[k * n_features]))
    return True


cdef inline bint is_variance(double variance, double lowest) noexcept nogil:
    """Positive, finite and not below the floor."""
    return variance > 0.0 and variance * 0.0 == 0.0 and variance >= lowest


cdef bint factorise_above_floor(const Fit *fit, const double *covariance, double *factor,
                                double *log_determinant) noexcept nogil:
    """The precision factor and its log determinant; False if there is none, or below the floor.

    All eigenvalues in scaled coordinates are above the floor where what exceeds it still has a
    Cholesky factor, and surely where the trace of the inverse, the sum of their inverses, is small.
    """
    cdef Py_ssize_t n = fit.n_features, d, e
    cdef double trace = 0.0, entry
    if not cholesky_rows(covariance, fit.upper, n):
        return False
    log_determinant[0] = invert_rows(fit.upper, factor, n)
    if fit.relative > 0.0:
        for d in range(n):
            fit.matrix[d] = 0.0
        for d in range(n):
            for e in range(d + 1):
                entry = factor[d * n + e] * fit.scale[e]
                fit.matrix[e] += entry * entry  # each its own, or it would wait for the last
        for d in range(n):
            trace += fit.matrix[d]
        if fit.relative * trace <= 0.5:
            return True
        for d in range(n):
            for e in range(d + 1):
                fit.matrix[d * n + e] = covariance[d * n + e] / (fit.scale[d] * fit.scale[e])
            fit.matrix[d * n + d] -= fit.relative
        if not cholesky_rows(fit.matrix, fit.upper, n):
            return False
    return True
