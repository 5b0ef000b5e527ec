# The sum of the accumulators, in a tree that depends on their number alone.

from cython.parallel cimport prange
from libc.string cimport memcpy

cdef enum:
    CHUNK = 128  # elements whose tree stays in the first-level cache
    DEPTH = 32  # of the tree: 2^32 accumulators
    SHARED_SUMS = 1 << 16  # doubles; for fewer, waking a second thread costs more than it saves


cdef void combine_chunk(const double *accumulators, Py_ssize_t count, Py_ssize_t size,
                        Py_ssize_t n, double *total) noexcept nogil:
    """total = the sum over `count` rows of `size` each, for the first n <= CHUNK elements.

    Row after row as a binary counter counts: neighbours are added, then neighbouring pairs, and
    so on, and what is left over joins at the end; the same tree as in contract.combine.
    """
    cdef double[CHUNK * DEPTH] sums  # at level m: of 2^m rows
    cdef double *into
    cdef const double *carry
    cdef Py_ssize_t row, bits, level, i
    for row in range(count):
        carry = accumulators + row * size
        level, bits = 0, row
        while bits & 1:
            into = sums + level * CHUNK
            for i in range(n):
                into[i] += carry[i]
            carry = into
            level += 1
            bits >>= 1
        memcpy(sums + level * CHUNK, carry, n * sizeof(double))
    carry = NULL
    level, bits = 0, count
    while bits:
        if bits & 1:
            into = sums + level * CHUNK
            if carry != NULL:
                for i in range(n):
                    into[i] += carry[i]
            carry = into
        level += 1
        bits >>= 1
    memcpy(total, carry, n * sizeof(double))


cdef void combine_part(const double *accumulators, Py_ssize_t count, Py_ssize_t size,
                       double *total, int part, int n_parts) noexcept nogil:
    """total (size) = the sum of `count` accumulators, a part of its elements."""
    cdef Py_ssize_t n_chunks = (size + CHUNK - 1) // CHUNK, chunk
    for chunk in range(n_chunks * part // n_parts, n_chunks * (part + 1) // n_parts):
        combine_chunk(accumulators + chunk * CHUNK, count, size,
                      min(CHUNK, size - chunk * CHUNK), total + chunk * CHUNK)


cdef void combine_sums(const double *accumulators, Py_ssize_t count, Py_ssize_t size,
                       double *total, int n_threads) noexcept nogil:
    """total (size) = the sum of `count` accumulators; each element by one thread."""
    cdef int part
    if n_threads <= 1 or count * size < SHARED_SUMS:
        combine_part(accumulators, count, size, total, 0, 1)
        return
    for part in prange(n_threads, num_threads=n_threads, schedule="static"):
        combine_part(accumulators, count, size, total, part, n_threads)


cdef void mirror(double *matrices, Py_ssize_t count, Py_ssize_t n) noexcept nogil:
    """The upper triangles from the lower ones."""
    cdef Py_ssize_t k, i, j
    for k in range(count):
        for i in range(n):
            for j in range(i):
                matrices[j * n + i] = matrices[i * n + j]
        matrices += n * n


def combine(accumulators, means, layout, total, n_threads):
    """Write the sum of `accumulators` into `total`, as ``kernels.reference`` states."""
    cdef Views views
    cdef Problem problem
    cdef Model *model = &problem.model
    cdef Py_buffer *rows
    cdef Py_ssize_t[2] shape
    cdef Py_ssize_t count, size
    cdef Sums sums
    cdef Carver carver = Carver(NULL, 0)
    cdef FoldScratch scratch
    cdef void *memory = NULL
    cdef int threads = 1
    memset(&problem, 0, sizeof(Problem))
    views.n = 0
    try:
        model.means = numbers_2d(&views, means, "means", &model.n_components, &model.n_features)
        model.padded = padded_features(model.n_features)
        problem.layout = layout
        size = problem.accumulator_size = accumulator_size(&problem)
        rows = view(&views, accumulators, "accumulators", 2, "d")
        count = rows.shape[0]
        shape = [count, size]
        check_contiguous(rows, "accumulators", shape)
        if count < 1:
            raise ValueError("accumulators has no row; at least one is needed.")
        buffer = view(&views, total, "total", 1, "d", True)
        check_contiguous(buffer, "total", shape + 1)
        sums = sums_at(&problem, <double *>buffer.buf)
        if problem.layout == LAYOUT_POOLED:
            carve_combine(&carver, model, &scratch)
            memory = reserve_pieces(&carver)
            if memory == NULL:
                raise MemoryError(
                    f"{model.n_components} means of {model.n_features} features")
            carve_combine(&carver, model, &scratch)
        if count * size >= SHARED_SUMS:
            threads = startable_threads(<int>max(1, min(n_threads, size // CHUNK, MOST_THREADS)))
        with nogil:
            combine_sums(<const double *>rows.buf, count, size, sums.mass, threads)
            if problem.layout == LAYOUT_POOLED:
                pad_means(model)
                fold(sums.pairs, model, &scratch, sums.second, 0, 1)
                mirror(sums.second, 1, model.n_features)
            elif problem.layout == LAYOUT_FULL:
                mirror(sums.second, model.n_components, model.n_features)
    finally:
        free(memory)
        release(&views)


cdef void carve_combine(Carver *carver, Model *model, FoldScratch *scratch) noexcept nogil:
    model.padded_means = carve(carver, model.n_components * model.padded)
    carve_fold(carver, model.padded, scratch)


cdef const double *numbers_2d(Views *views, object array, str name, Py_ssize_t *n_rows,
                              Py_ssize_t *n_columns) except NULL:
    """The data of a C-contiguous float64 matrix, and its sizes."""
    cdef Py_buffer *buffer = view(views, array, name, 2, "d")
    check_contiguous(buffer, name, buffer.shape)
    n_rows[0], n_columns[0] = buffer.shape[0], buffer.shape[1]
    if buffer.shape[0] < 1 or buffer.shape[1] < 1:
        raise ValueError(f"{name} has shape {array.shape}; no axis may be empty.")
    return <const double *>buffer.buf
