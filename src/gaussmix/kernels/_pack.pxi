# Stage 1, pack: rows of any memory order and float width -> tiles of doubles, feature-major.
#
# Adding 0.0 turns -0.0 into +0.0, so that equal numbers give equal bits.

ctypedef fused real:
    float
    double


cdef struct Rows:  # X as it lies in memory
    const char *data
    Py_ssize_t row_stride  # in bytes; any sign, also 0
    Py_ssize_t feature_stride
    Py_ssize_t item  # bytes of a number: 4 or 8
    Py_ssize_t n_rows
    Py_ssize_t n_features


cdef struct Bytes:  # a piece of memory
    const char *start
    Py_ssize_t size


cdef inline Bytes memory_of(const Rows *X, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """Where rows [first, first + count) lie, or nothing where they do not lie in one piece."""
    cdef Bytes memory
    memory.start = NULL
    memory.size = 0
    # Beyond the last row C defines not even the address.
    if first < X.n_rows and X.feature_stride == X.item and (
            X.row_stride == X.item * X.n_features):
        memory.start = X.data + first * X.row_stride
        memory.size = min(count, X.n_rows - first) * X.row_stride
    return memory


# Beyond this, x - mean or its square may overflow, and sums need care.
cdef double HUGE = 1e150


cdef inline void pack_tile(const real *unused, const Rows *X, Py_ssize_t first, Py_ssize_t count,
                           Py_ssize_t tile_rows, double *tile) noexcept nogil:
    """Rows [first, first + count) -> tile[d][row]; `unused` chooses the number type."""
    cdef const char *start = X.data + first * X.row_stride
    cdef Py_ssize_t n_features = X.n_features, row_step = X.row_stride
    cdef Py_ssize_t feature_step = X.feature_stride, row, d
    cdef const char *at
    if row_step == sizeof(real):
        for d in range(n_features):
            at = start + d * feature_step
            for row in range(count):
                tile[d * tile_rows + row] = <double>(<const real *>at)[row] + 0.0
    elif feature_step == sizeof(real):
        for row in range(count):
            at = start + row * row_step
            for d in range(n_features):
                tile[d * tile_rows + row] = <double>(<const real *>at)[d] + 0.0
    else:
        for row in range(count):
            at = start + row * row_step
            for d in range(n_features):
                tile[d * tile_rows + row] = (
                    <double>(<const real *>(at + d * feature_step))[0] + 0.0
                )


cdef Py_ssize_t first_nonfinite(const real *unused, const Rows *X, Py_ssize_t first,
                                Py_ssize_t count) noexcept nogil:
    """The first of these rows (counted from `first`) that holds NaN or inf, or -1."""
    cdef Py_ssize_t row, d
    cdef double value
    for row in range(count):
        for d in range(X.n_features):
            value = (<const real *>(X.data + (first + row) * X.row_stride
                                    + d * X.feature_stride))[0]
            if not value - value == 0.0:
                return row
    return -1


cdef Py_ssize_t SUMMED = 2048  # doubles at least summed at once, while the first-level cache has them


cdef Py_ssize_t pack_block(const Rows *X, Py_ssize_t first, Py_ssize_t count,
                           Py_ssize_t tile_rows, double *tiles, int *huge) noexcept nogil:
    """Pack a block; returns -1, or its first row that holds NaN or inf.

    The last tile is filled up with copies of the last row. `huge` tells that numbers beyond 1e150
    were met.
    """
    cdef Py_ssize_t n_features = X.n_features, at = 0, n, row, d
    cdef double *tile = tiles
    cdef double *summed = tiles  # how far `total` goes
    cdef double total = 0.0
    while at < count:
        n = min(tile_rows, count - at)
        if n == LANES * WIDE and X.feature_stride == X.item:
            pack_rows(X.data + (first + at) * X.row_stride, X.row_stride, n_features, X.item, tile)
        elif X.item == sizeof(double):
            pack_tile[double](NULL, X, first + at, n, tile_rows, tile)
        else:
            pack_tile[float](NULL, X, first + at, n, tile_rows, tile)
        for d in range(n_features if n < tile_rows else 0):
            for row in range(n, tile_rows):
                tile[d * tile_rows + row] = tile[d * tile_rows + n - 1]
        tile += n_features * tile_rows
        at += n
        if tile - summed >= SUMMED or at >= count:
            total += absolute_sum(summed, tile - summed)
            summed = tile
    huge[0] = not total < HUGE
    if not huge[0]:
        return -1
    if X.item == sizeof(double):
        return first_nonfinite[double](NULL, X, first, count)
    return first_nonfinite[float](NULL, X, first, count)
