# Stage 2, density: tiles of rows -> log joint densities, joint[tile][k][row].

cdef struct Model:  # the mixture; the arrays belong to the caller
    Py_ssize_t n_components
    Py_ssize_t n_features
    Py_ssize_t padded  # n_features rounded up for row-major scratch
    int factor_kind
    const double *coefficients
    const double *means
    const double *factors
    const double *centre
    double *whitened_means  # (K, D), FACTOR_SHARED only
    double *narrow_tiles  # three, scratch of `whiten_means`
    double *padded_means  # (K, padded), for moments by columns only


cdef inline Py_ssize_t padded_features(Py_ssize_t n_features) noexcept nogil:
    return (n_features + COLUMN_STEP - 1) // COLUMN_STEP * COLUMN_STEP


cdef void whiten_means(const Model *model) noexcept nogil:
    """P (mean - centre), once for a call: the means are rows like others."""
    cdef Py_ssize_t n_features = model.n_features, rows = LANES * NARROW, first = 0, row, k, d
    cdef double *tile = model.narrow_tiles
    cdef double *difference = tile + n_features * rows
    cdef double *whitened = difference + n_features * rows
    while first < model.n_components:
        for row in range(rows):
            k = min(first + row, model.n_components - 1)
            for d in range(n_features):
                tile[d * rows + row] = model.means[k * n_features + d]
        whiten(tile, model.centre, model.factors, n_features, difference, whitened, False)
        for row in range(min(rows, model.n_components - first)):
            for d in range(n_features):
                model.whitened_means[(first + row) * n_features + d] = whitened[d * rows + row]
        first += rows


cdef void density_block(const Model *model, const double *tiles, Py_ssize_t n_tiles, int wide,
                        int distances, const Bytes *ahead, double *difference,
                        double *whitened, double *joint) noexcept nogil:
    """Log joint densities of a block; with `distances`, -d2/2 without the coefficients.

    `difference` and `whitened` are scratch of one tile each. Meanwhile `ahead`, the rows that come
    next, are asked for: pack alone would wait for them.
    """
    cdef Py_ssize_t n_features = model.n_features, n_components = model.n_components, tile, k, piece
    cdef Py_ssize_t rows = LANES * (WIDE if wide else NARROW)
    cdef Py_ssize_t tile_size = n_features * rows, joint_size = n_components * rows
    cdef double coefficient
    cdef const double *mean
    if model.factor_kind == FACTOR_SHARED:
        piece = fetched_piece(ahead.size, n_tiles)
        for tile in range(n_tiles):
            fetch_piece(ahead.start, ahead.size, tile * piece, piece)
            whiten(tiles + tile * tile_size, model.centre, model.factors, n_features, difference,
                   whitened, wide)
            for k in range(n_components):
                coefficient = 0.0 if distances else model.coefficients[k]
                density_whitened(whitened, model.whitened_means + k * n_features, coefficient,
                                 n_features, joint + tile * joint_size + k * rows, wide)
        return
    # Component by component: its factor stays in the cache while the tiles pass.
    piece = fetched_piece(ahead.size, n_components)
    for k in range(n_components):
        fetch_piece(ahead.start, ahead.size, k * piece, piece)
        coefficient = 0.0 if distances else model.coefficients[k]
        mean = model.means + k * n_features
        if model.factor_kind == FACTOR_FULL:
            density_full(tiles, tile_size, n_tiles, mean,
                         model.factors + k * n_features * n_features, coefficient, n_features,
                         difference, joint + k * rows, joint_size, wide)
        else:
            density_diag(tiles, tile_size, n_tiles, mean, model.factors + k * n_features,
                         coefficient, n_features, joint + k * rows, joint_size, wide)
