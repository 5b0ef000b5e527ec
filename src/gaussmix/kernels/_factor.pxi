# Covariances to precision factors: Cholesky, then the inverse of the triangle, per component.
#
# Own loops and not LAPACK: the bits do not depend on a BLAS library's threads, no lock of its is
# held when another thread forks, and a small matrix costs its arithmetic only. Rows are reduced by
# those above them, one after the other, so that there is no sum over lanes: FACTOR_ROWS at once by
# what stands above all of them, and then by each other.

from libc.math cimport log, sqrt


cdef bint cholesky_rows(const double *covariance, double *upper, Py_ssize_t n) noexcept nogil:
    """upper (n, n) with upper^T upper = covariance, of whose lower triangle is read; 0 if none.

    Below its diagonal `upper` gets numbers of no use.
    """
    cdef Py_ssize_t begin = 0, end, first, i, j, m
    cdef double pivot, factor
    while begin < n:
        end = min(begin + FACTOR_ROWS, n)
        first = begin - begin % LANES  # whole vectors, if n is a multiple of them
        for j in range(begin, end):
            for i in range(first, j):
                upper[j * n + i] = 0.0
            for i in range(j, n):
                upper[j * n + i] = covariance[i * n + j]
        subtract_rows(upper + begin, upper + first, n, begin, n - first,
                      upper + begin * n + first, False, end - begin)
        for j in range(begin, end):
            for m in range(begin, j):
                subtract_row(upper[m * n + j], upper + m * n + j, n - j, upper + j * n + j)
            pivot = upper[j * n + j]
            if not (pivot > 0.0 and pivot * 0.0 == 0.0):
                return False
            factor = 1.0 / sqrt(pivot)
            for i in range(j, n):
                upper[j * n + i] *= factor
        begin = end
    return True


cdef double invert_rows(const double *upper, double *inverse, Py_ssize_t n) noexcept nogil:
    """inverse = upper^-T, lower triangular with zeros above; returns its log determinant."""
    cdef Py_ssize_t begin = 0, end, i, m, e
    cdef double factor, log_determinant = 0.0
    while begin < n:
        end = min(begin + FACTOR_ROWS, n)
        for e in range(begin * n, end * n):
            inverse[e] = 0.0
        # A row is 0 above its diagonal, and subtracting 0 changes nothing: to the end of a vector.
        subtract_rows(upper + begin, inverse, n, begin,
                      min(n, (begin + LANES - 1) // LANES * LANES), inverse + begin * n, True,
                      end - begin)
        for i in range(begin, end):
            for m in range(begin, i):
                subtract_row(upper[m * n + i], inverse + m * n, m + 1, inverse + i * n)
            factor = 1.0 / upper[i * n + i]
            for e in range(i):
                inverse[i * n + e] *= factor
            inverse[i * n + i] = factor
            log_determinant += log(factor)
        begin = end
    return log_determinant


cdef inline void subtract_row(double factor, const double *row, Py_ssize_t count,
                              double *target) noexcept nogil:
    cdef Py_ssize_t e
    for e in range(count):
        target[e] -= factor * row[e]


def factorise(covariances, factors, log_determinants):
    """Write the precision factors; -1, or the first component without a Cholesky factor.

    As ``kernels.reference`` states. O(K D^3).
    """
    cdef Views views
    cdef Py_buffer *factors_buffer
    cdef Py_buffer *logs_buffer
    cdef Py_ssize_t k, n, n_components, failed = -1
    cdef Py_ssize_t[3] shape
    cdef const double *source
    cdef double *target
    cdef double *logs
    cdef double *upper
    views.n = 0
    try:
        n_components = view(&views, covariances, "covariances", 3, "d").shape[0]
        n = views.buffers[0].shape[1]
        source = numbers(&views, covariances, "covariances", n_components, n, n)
        shape = [n_components, n, n]
        factors_buffer = view(&views, factors, "factors", 3, "d", True)
        check_contiguous(factors_buffer, "factors", shape)
        logs_buffer = view(&views, log_determinants, "log_determinants", 1, "d", True)
        check_contiguous(logs_buffer, "log_determinants", shape)
        target = <double *>factors_buffer.buf
        logs = <double *>logs_buffer.buf
        upper = <double *>reserve(<size_t>(n * n + 1) * sizeof(double))
        if upper == NULL:
            raise MemoryError("the Cholesky factor does not fit into memory")
        with nogil:
            for k in range(n_components):
                if not cholesky_rows(source + k * n * n, upper, n):
                    failed = k
                    break
                logs[k] = invert_rows(upper, target + k * n * n, n)
        free(upper)
        return failed
    finally:
        release(&views)
