# Python arguments -> Problem, through the buffer protocol: no copy, and no NumPy headers to build.

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)

cdef struct Views:  # the buffers a call holds, released together
    Py_buffer[12] buffers
    int n


cdef Py_buffer *view(Views *views, object array, str name, int n_dims, str formats,
                     bint writable=False) except NULL:
    """The buffer of `array`; a ValueError unless it has `n_dims` axes and one of the formats."""
    cdef Py_buffer *buffer = &views.buffers[views.n]
    cdef int flags = PyBUF_STRIDES | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0)
    PyObject_GetBuffer(array, buffer, flags)
    views.n += 1
    if buffer.ndim != n_dims or buffer.format[1] != 0 or buffer.format[0] not in formats:
        raise ValueError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; a native array with "
            f"{n_dims} axes and a format among {formats!r} is needed."
        )
    return buffer


cdef const double *numbers(Views *views, object array, str name, Py_ssize_t n_rows,
                           Py_ssize_t n_columns=-1, Py_ssize_t n_layers=-1) except? NULL:
    """The data of a C-contiguous float64 array of this shape; else a ValueError."""
    cdef int n_dims = 1 + (n_columns >= 0) + (n_layers >= 0), axis
    cdef Py_buffer *buffer = view(views, array, name, n_dims, "d")
    cdef Py_ssize_t[3] shape = [n_rows, n_columns, n_layers]
    check_contiguous(buffer, name, shape)
    return <const double *>buffer.buf


cdef int check_contiguous(const Py_buffer *buffer, str name, const Py_ssize_t *shape) except -1:
    cdef Py_ssize_t step = buffer.itemsize
    cdef int axis
    for axis in range(buffer.ndim - 1, -1, -1):
        if buffer.shape[axis] != shape[axis] or (
                buffer.strides[axis] != step and shape[axis] > 1):
            raise ValueError(
                f"{name}: axis {axis} has length {buffer.shape[axis]} and stride "
                f"{buffer.strides[axis]}; a C-contiguous array of length {shape[axis]} there is "
                "needed."
            )
        step *= shape[axis]
    return 0


cdef int read_rows(Views *views, object X, Problem *problem) except -1:
    cdef Py_buffer *buffer = view(views, X, "X", 2, "fd")
    cdef Py_ssize_t item = buffer.itemsize
    if <size_t>buffer.buf % item or buffer.strides[0] % item or buffer.strides[1] % item:
        raise ValueError("X is not aligned. Pass a copy: X.copy().")
    problem.X.data = <const char *>buffer.buf
    problem.X.item = item
    problem.X.n_rows = buffer.shape[0]
    problem.X.n_features = buffer.shape[1]
    problem.X.row_stride = buffer.strides[0]
    problem.X.feature_stride = buffer.strides[1]
    return 0


cdef int read_model(Views *views, object parameters, Problem *problem) except -1:
    """The mixture, checked against X, which must have been read."""
    cdef Model *model = &problem.model
    cdef Py_ssize_t n_features = problem.X.n_features, n_components
    factor_kind, coefficients, means, factors, centre = parameters
    n_components = view(views, means, "means", 2, "d").shape[0]
    PyBuffer_Release(&views.buffers[views.n - 1])
    views.n -= 1
    if n_components < 1 or n_features < 1:
        raise ValueError(f"means has shape {means.shape}; at least one component and one feature "
                         "are needed.")
    if n_components > INT32_MAX or n_features > INT32_MAX:
        raise ValueError(f"means has shape {means.shape}; each axis must be below 2**31.")
    model.factor_kind = factor_kind
    model.n_components = n_components
    model.n_features = n_features
    model.padded = padded_features(n_features)
    model.means = numbers(views, means, "means", n_components, n_features)
    model.coefficients = numbers(views, coefficients, "log_coefficients", n_components)
    model.centre = NULL
    if model.factor_kind == FACTOR_DIAG:
        model.factors = numbers(views, factors, "factors", n_components, n_features)
    elif model.factor_kind == FACTOR_FULL:
        model.factors = numbers(views, factors, "factors", n_components, n_features, n_features)
    elif model.factor_kind == FACTOR_SHARED:
        model.factors = numbers(views, factors, "factors", n_features, n_features)
        model.centre = numbers(views, centre, "centre", n_features)
    else:
        raise ValueError(f"factor_kind is {factor_kind}; use one of the FACTOR_ codes.")
    return 0


cdef void release(Views *views) noexcept:
    while views.n > 0:
        views.n -= 1
        PyBuffer_Release(&views.buffers[views.n])


