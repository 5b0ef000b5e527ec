# The scorer that Python calls. What is ordinary is done here: a buffer of float64 or float32 with
# the mixture's width, and a place of the right form for the results. At anything else, errors
# included, the call is handed to the plain-Python scorer, which does what Mixture does.

from cpython.buffer cimport PyBuffer_IsContiguous
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_DECREF

from numpy import empty, float64, int64, ndarray

cdef extern from "Python.h":
    int PyObject_CheckBuffer(object)
    int get_buffer "PyObject_GetBuffer"(object, Py_buffer *, int)  # its exceptions are cleared here
    void PyErr_Clear()

cdef enum:
    RELEASE_WORK = 1 << 18  # multiplications, some 20 us: below, the GIL is kept
    ROW = 0  # forms of input
    ROWS = 1
    OTHER = 2


cdef class Scorer:
    """A mixture frozen for scoring; see ``gaussmix.Scorer``."""

    cdef Frozen frozen
    cdef object plain
    cdef object parameters  # holds the arrays that `frozen` points to
    cdef object weights
    cdef double row_work

    def __cinit__(self, plain, parameters, weights):
        cdef Views views
        cdef Problem problem
        cdef Py_ssize_t n_features
        memset(&problem, 0, sizeof(Problem))
        views.n = 0
        self.plain, self.parameters, self.weights = plain, parameters, weights
        try:
            problem.X.n_features = parameters.means.shape[1]
            read_model(&views, parameters, &problem)
            self.frozen.model = problem.model
            self.frozen.weights = numbers(&views, weights, "weights", problem.model.n_components)
            freeze(&self.frozen)
        finally:
            release(&views)
        n_features = problem.model.n_features
        if problem.model.factor_kind == FACTOR_FULL:
            n_features = n_features * n_features // 2
        self.row_work = problem.model.n_components * <double>(n_features + 16)

    def __dealloc__(self):
        free(self.frozen.memory)

    @property
    def mixture(self):
        """The mixture that is scored."""
        return self.plain.mixture

    @property
    def n_components(self):
        """K."""
        return self.frozen.model.n_components

    @property
    def n_features(self):
        """D."""
        return self.frozen.model.n_features

    @property
    def capsule(self):
        """A PyCapsule with the ``gaussmix_model`` of ``gaussmix.h``; it keeps the scorer alive."""
        capsule = PyCapsule_New(&self.frozen, "gaussmix.model", drop_owner)
        PyCapsule_SetContext(capsule, <void *>self)
        Py_INCREF(self)
        return capsule

    def __repr__(self):
        return repr(self.plain)

    def __reduce__(self):
        return self.plain.__reduce__()

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def logpdf(self, x, *, out=None):
        """Log density of a row (float) or of each of several (N,), in nats."""
        result = self.score(x, WANT_LOGPDF, 0.0, out)
        return self.plain.logpdf(x, out=out) if result is None else result

    def predict(self, x, *, out=None):
        """Most probable component of a row (int) or of each of several (N,), ties to the lowest."""
        result = self.score(x, WANT_LABELS, 0.0, out)
        return self.plain.predict(x, out=out) if result is None else result

    def nearest(self, x, gate=2.5, *, out=None):
        """Nearest component of a row (int) or of each of several (N,), or -1 outside the gate."""
        cdef double limit = -1.0
        if gate is not None:
            if type(gate) is not float and type(gate) is not int or not 0.0 < gate < 1e300:
                return self.plain.nearest(x, gate, out=out)
            limit = gate
        result = self.score(x, WANT_NEAREST, limit, out)
        return self.plain.nearest(x, gate, out=out) if result is None else result

    def predict_proba(self, x, *, out=None):
        """Posterior probability of each component: (K,) for a row, (N, K) for several."""
        result = self.score(x, WANT_RESPONSIBILITIES, 0.0, out)
        return self.plain.predict_proba(x, out=out) if result is None else result

    def responsibilities_into(self, X, out):
        """Write `predict_proba` of X into `out`: (K,) for a row, (N, K) for several."""
        if out is None or self.score(X, WANT_RESPONSIBILITIES, 0.0, out) is None:
            self.plain.responsibilities_into(X, out)

    cdef int read(self, object x, Py_buffer *buffer, Rows *rows) except -1:
        """What `x` is; if a row or rows, with its buffer held."""
        cdef Py_ssize_t n_features = self.frozen.model.n_features, item
        cdef int axis, form
        if not PyObject_CheckBuffer(x):
            return OTHER
        if get_buffer(x, buffer, PyBUF_STRIDES | PyBUF_FORMAT) < 0:
            PyErr_Clear()
            return OTHER
        item = buffer.itemsize
        # One feature is as in Mixture: the numbers of a one-dimensional array are rows.
        form = ROW if buffer.ndim == 1 and n_features > 1 else ROWS
        axis = buffer.ndim - 1 if n_features > 1 or buffer.ndim == 2 else 1
        if (buffer.ndim < 1 or buffer.ndim > 2 or buffer.format == NULL or buffer.format[1] != 0
                or (buffer.format[0] != b"d" and buffer.format[0] != b"f")
                or (axis < buffer.ndim and buffer.shape[axis] != n_features)
                or not lies_within(x, buffer)):
            PyBuffer_Release(buffer)
            return OTHER
        rows.data = <const char *>buffer.buf
        rows.item = item
        rows.n_features = n_features
        rows.n_rows = 1 if form == ROW else buffer.shape[0]
        rows.row_stride = 0 if form == ROW else buffer.strides[0]
        rows.feature_stride = buffer.strides[axis] if axis < buffer.ndim else item
        if <size_t>buffer.buf % item or rows.row_stride % item or rows.feature_stride % item:
            PyBuffer_Release(buffer)
            return OTHER
        return form

    cdef int run(self, int want, double gate, const Rows *X, void *out) except -1:
        """Whether it is done; False if a row holds NaN or an infinity."""
        cdef Py_ssize_t bad_row
        cdef int code
        if X.n_rows * self.row_work < RELEASE_WORK:
            code = score_rows(&self.frozen, want, gate, X, out, &bad_row)
        else:
            with nogil:
                code = score_rows(&self.frozen, want, gate, X, out, &bad_row)
        if code == GAUSSMIX_NO_MEMORY:
            raise MemoryError("a scorer's scratch")
        return code == GAUSSMIX_OK

    cdef object score(self, object x, int want, double gate, object out):
        """The results, in `out` if there is one; None where that is not for here to do."""
        cdef Py_buffer buffer
        cdef Rows rows
        cdef double number
        cdef int64_t label
        cdef int form = self.read(x, &buffer, &rows)
        if form == OTHER:
            return None
        try:
            if form == ROWS or want == WANT_RESPONSIBILITIES or out is not None:
                if out is None:
                    out = self.new(form, want, rows.n_rows)
                return out if self.fill(&buffer, form, &rows, want, gate, out) else None
            if want == WANT_LOGPDF:
                return number if self.run(want, gate, &rows, &number) else None
            return label if self.run(want, gate, &rows, &label) else None
        finally:
            PyBuffer_Release(&buffer)

    cdef int fill(self, const Py_buffer *buffer, int form, const Rows *rows, int want,
                  double gate, object out) except -1:
        """Whether `out` takes the results and has them now."""
        cdef Py_buffer into
        if get_buffer(out, &into, PyBUF_STRIDES | PyBUF_FORMAT | PyBUF_WRITABLE) < 0:
            PyErr_Clear()
            return False
        try:
            return (self.takes(&into, form, want, rows.n_rows) and apart(buffer, &into)
                    and lies_within(out, &into) and self.run(want, gate, rows, into.buf))
        finally:
            PyBuffer_Release(&into)

    cdef object new(self, int form, int want, Py_ssize_t n_rows):
        if want != WANT_RESPONSIBILITIES:
            return empty(n_rows, float64 if want == WANT_LOGPDF else int64)
        if form == ROW:
            return empty(self.frozen.model.n_components, float64)
        return empty((n_rows, self.frozen.model.n_components), float64)

    cdef bint takes(self, const Py_buffer *into, int form, int want, Py_ssize_t n_rows):
        """Whether results fit: the shape, the type, C-contiguous, aligned."""
        cdef int n_dims = form == ROWS
        cdef bint labels = want == WANT_LABELS or want == WANT_NEAREST
        cdef char code
        if into.format == NULL or into.format[1] != 0:
            return False
        code = into.format[0]
        if want == WANT_RESPONSIBILITIES:
            n_dims += 1
            if (into.ndim != n_dims
                    or into.shape[n_dims - 1] != self.frozen.model.n_components):
                return False
        return (into.ndim == n_dims and (form == ROW or into.shape[0] == n_rows)
                and into.itemsize == 8
                and (code == b"l" or code == b"q" if labels else code == b"d")
                and <size_t>into.buf % 8 == 0 and PyBuffer_IsContiguous(<Py_buffer *>into, b"C"))


cdef bint lies_within(object x, const Py_buffer *buffer):
    """Whether x has the memory that its shape says.

    as_strided makes arrays that have not, and so does ndarray.resize of those they are views of.
    """
    cdef Py_buffer whole
    cdef bint within
    if type(x) is not ndarray:
        # Other buffers are honest; a subclass may be anything's view.
        return not isinstance(x, ndarray)
    base = x.base
    if base is None:
        return True
    if (type(base) is not ndarray or base.base is not None
            or not PyBuffer_IsContiguous(<Py_buffer *>buffer, b"A")):
        return False
    if get_buffer(base, &whole, PyBUF_STRIDES) < 0:
        PyErr_Clear()
        return False
    within = (PyBuffer_IsContiguous(&whole, b"A") and <size_t>whole.buf <= <size_t>buffer.buf
              and <size_t>buffer.buf + buffer.len <= <size_t>whole.buf + whole.len)
    PyBuffer_Release(&whole)
    return within


cdef bint apart(const Py_buffer *buffer, const Py_buffer *into) noexcept:
    """Whether two buffers surely share no memory; the first may have any strides."""
    cdef size_t low = <size_t>buffer.buf, high = low + buffer.itemsize
    cdef size_t first = <size_t>into.buf, end = first + into.len
    cdef int axis
    cdef Py_ssize_t reach
    for axis in range(buffer.ndim):
        reach = max(buffer.shape[axis] - 1, 0) * buffer.strides[axis]
        if reach < 0:
            low += reach
        else:
            high += reach
    return high <= first or end <= low


cdef void drop_owner(object capsule) noexcept:
    Py_DECREF(<object>PyCapsule_GetContext(capsule))
