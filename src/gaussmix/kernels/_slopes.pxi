# The density as a landscape: steps of a climb, and slope and curvature; lanes are rows.
#
# hills/landscape.py states both in NumPy.

cdef double CONCAVE = 1e-4  # as in hills/landscape.py


cdef double *aligned_doubles(Py_ssize_t n, void **memory) except NULL:
    """Room for n numbers from a cache line on; `memory` is to be freed."""
    memory[0] = reserve(<size_t>n * sizeof(double) + 64)
    if memory[0] == NULL:
        raise MemoryError(f"{n} numbers of scratch do not fit into memory")
    return <double *>(<char *>memory[0] + (64 - <size_t>memory[0] % 64) % 64)


cdef double *output(Views *views, object array, str name, Py_ssize_t n_rows, Py_ssize_t n=1,
                    Py_ssize_t m=1) except NULL:
    """The data of a C-contiguous float64 array of this shape to be written to."""
    cdef Py_ssize_t[3] shape = [n_rows, n, m]
    cdef Py_buffer *buffer = view(views, array, name, array.ndim, "d", True)
    check_contiguous(buffer, name, shape)
    return <double *>buffer.buf


cdef void turn(const double *rows, Py_ssize_t begin, Py_ssize_t n_rows, Py_ssize_t width,
               double *lanes) noexcept nogil:
    """LANES rows of (n_rows, width) as vectors; the last one stands for those past the end."""
    cdef Py_ssize_t lane, i
    cdef const double *row
    for lane in range(LANES):
        row = rows + min(begin + lane, n_rows - 1) * width
        for i in range(width):
            lanes[i * LANES + lane] = row[i]


cdef void turn_back(const double *lanes, Py_ssize_t begin, Py_ssize_t n_rows, Py_ssize_t width,
                    double *rows) noexcept nogil:
    cdef Py_ssize_t lane, i
    for lane in range(min(<Py_ssize_t>LANES, n_rows - begin)):
        for i in range(width):
            rows[(begin + lane) * width + i] = lanes[i * LANES + lane]


cdef void turn_back_triangle(const double *lanes, Py_ssize_t begin, Py_ssize_t n_rows,
                             Py_ssize_t n, double *matrices) noexcept nogil:
    """Lower triangles as whole symmetric matrices."""
    cdef Py_ssize_t lane, d, e
    cdef double *matrix
    for lane in range(min(<Py_ssize_t>LANES, n_rows - begin)):
        matrix = matrices + (begin + lane) * n * n
        for d in range(n):
            for e in range(d + 1):
                matrix[d * n + e] = matrix[e * n + d] = lanes[(d * (d + 1) // 2 + e) * LANES
                                                              + lane]


def ascend(Z, shares, table, steps, lengths):
    """Write the fixed-point iteration's steps from the rows of Z, and their lengths.

    As ``kernels.contract`` states. O(n K D^2).
    """
    cdef Views views
    cdef Py_ssize_t n_rows, n, n_components, width, block, begin
    cdef const double *z
    cdef const double *share
    cdef const double *values
    cdef double *step
    cdef double *length
    cdef double *sums
    cdef double *at
    cdef double *lanes
    cdef void *memory = NULL
    views.n = 0
    try:
        n_rows = view(&views, Z, "Z", 2, "d").shape[0]
        n = views.buffers[0].shape[1]
        n_components = view(&views, table, "table", 2, "d").shape[0]
        width = n * (n + 1) // 2 + n
        z = numbers(&views, Z, "Z", n_rows, n)
        values = numbers(&views, table, "table", n_components, width)
        share = numbers(&views, shares, "shares", n_rows, n_components)
        step = output(&views, steps, "steps", n_rows, n)
        length = output(&views, lengths, "lengths", n_rows)
        sums = aligned_doubles((width + 2 * n + n_components + 1) * LANES, &memory)
        at = sums + width * LANES
        lanes = at + 2 * n * LANES
        with nogil:
            for block in range((n_rows + LANES - 1) // LANES):
                begin = block * LANES
                turn(share, begin, n_rows, n_components, lanes)
                turn(z, begin, n_rows, n, at)
                weighted_sums(lanes, values, n_components, width, width, sums)
                step_lanes(sums, at, n, at + n * LANES, lanes)
                turn_back(at + n * LANES, begin, n_rows, n, step)
                turn_back(lanes, begin, n_rows, 1, length)
    finally:
        free(memory)
        release(&views)


def slopes(Z, means, factors, table, shares, gradients, curvatures, precisions, newtons, concave):
    """Write the first and second derivatives of the log density at the rows of Z.

    As ``kernels.contract`` states. O(n K D^2).
    """
    cdef Views views
    cdef Py_ssize_t n_rows, n, n_components, triangle, block, begin
    cdef const double *z
    cdef const double *mean
    cdef const double *factor
    cdef const double *values
    cdef const double *share_of
    cdef double *gradient_to
    cdef double *newton_to
    cdef double *curvature_to
    cdef double *precision_to
    cdef double *concave_to
    cdef double *at
    cdef double *white
    cdef double *gradient
    cdef double *newton
    cdef double *precision
    cdef double *curvature
    cdef double *lower
    cdef double *share
    cdef double *pull
    cdef double *positive
    cdef void *memory = NULL
    views.n = 0
    try:
        n_rows = view(&views, Z, "Z", 2, "d").shape[0]
        n = views.buffers[0].shape[1]
        n_components = view(&views, means, "means", 2, "d").shape[0]
        triangle = n * (n + 1) // 2
        z = numbers(&views, Z, "Z", n_rows, n)
        mean = numbers(&views, means, "means", n_components, n)
        factor = numbers(&views, factors, "factors", n_components, n, n)
        values = numbers(&views, table, "table", n_components, triangle + n)
        share_of = numbers(&views, shares, "shares", n_rows, n_components)
        gradient_to = output(&views, gradients, "gradients", n_rows, n)
        newton_to = output(&views, newtons, "newtons", n_rows, n)
        curvature_to = output(&views, curvatures, "curvatures", n_rows, n, n)
        precision_to = output(&views, precisions, "precisions", n_rows, n, n)
        concave_to = output(&views, concave, "concave", n_rows)
        at = aligned_doubles((5 * n + 3 * triangle + n_components * (n + 1) + 1) * LANES, &memory)
        white = at + n * LANES  # 2 D
        gradient = white + 2 * n * LANES
        newton = gradient + n * LANES
        precision = newton + n * LANES
        curvature = precision + triangle * LANES
        lower = curvature + triangle * LANES
        share = lower + triangle * LANES
        pull = share + n_components * LANES
        positive = pull + n_components * n * LANES
        with nogil:
            for block in range((n_rows + LANES - 1) // LANES):
                begin = block * LANES
                turn(z, begin, n_rows, n, at)
                turn(share_of, begin, n_rows, n_components, share)
                slopes_lanes(at, share, mean, factor, values, n_components, n, CONCAVE, pull,
                             white, lower, gradient, precision, curvature, newton, positive)
                turn_back(gradient, begin, n_rows, n, gradient_to)
                turn_back(newton, begin, n_rows, n, newton_to)
                turn_back_triangle(curvature, begin, n_rows, n, curvature_to)
                turn_back_triangle(precision, begin, n_rows, n, precision_to)
                turn_back(positive, begin, n_rows, 1, concave_to)
    finally:
        free(memory)
        release(&views)
