# Stage 4, moments: weighted responsibilities -> mass, first and second moments around the means.

from libc.string cimport memset

cdef struct MomentScratch:
    double *rows  # the block, row-major: block * padded
    int32_t *gathered  # row numbers: block + 1
    double *weights  # of the gathered rows: block + LANES + 1
    double *column_first  # padded
    double *column_second  # padded, and FEW * FEW
    Py_ssize_t panel  # doubles from one panel of LANES columns to the next
    double *panels  # of scaled rows: (rows, padded), gathered
    double *scaled  # where lanes are rows: BAND features, each a run of doubles
    Py_ssize_t run
    Place *all_places  # block / LANES
    Place *places  # likewise, of one component
    double *delta  # pooled only: D runs
    double *half  # pooled only: D runs
    int32_t *active  # pooled only: K
    int32_t *labels  # pooled only: block
    int32_t *n_active  # pooled only: of each tile of the block


cdef struct Part:  # of a block's work, for one of the threads that share it
    Py_ssize_t begin  # its tiles
    Py_ssize_t end
    Py_ssize_t parts  # that a component is cut into
    Py_ssize_t *next_piece  # that nobody has begun; NULL: one thread does all


# Vectors of rows as they lie, or gathered rows: the former where at least a third of their rows has
# a share, and more than a few dozen, which pay for the sums across lanes. Sapphire Rapids, full,
# ms per pass at a third, a half and nearly all: d8k16, overlapping 26 39 38, d16k32 63 71 84,
# d32k16 104 102 115; well separated 28 28 37, 51 47 49, 62 61 62.
cdef Py_ssize_t DENSE_ROWS = 3
cdef Py_ssize_t DENSE_COST = 64


cdef void moments_block(const Model *model, int layout, const double *tiles, Py_ssize_t n_tiles,
                        const double *weight, const double *joint, int huge, const Part *part,
                        MomentScratch *scratch, Sums *sums) noexcept nogil:
    """Add a block to an accumulator; `joint` holds weight * responsibility.

    Threads that share a block take its pieces in turn, which add to different sums.
    """
    if model.n_features <= FEW:
        few_moments(model, layout, tiles, n_tiles, joint, huge, scratch, sums)
    elif layout == LAYOUT_POOLED:
        pooled_moments(model, tiles, n_tiles, weight, joint, huge, scratch, sums)
    else:
        many_moments(model, layout, tiles, n_tiles, joint, huge, part, scratch, sums)


cdef void few_moments(const Model *model, int layout, const double *tiles, Py_ssize_t n_tiles,
                      const double *joint, int huge, MomentScratch *scratch,
                      Sums *sums) noexcept nogil:
    """Up to FEW features: a component's sums stay in registers over the block.

    So few that the pooled layout, too, takes each component's own: nothing is cheaper.
    """
    cdef Py_ssize_t n_features = model.n_features, step = model.n_components * LANES * WIDE, k, d
    cdef bint matrix = layout == LAYOUT_FULL or layout == LAYOUT_POOLED
    cdef bint apart = layout == LAYOUT_SPHERICAL or layout == LAYOUT_POOLED
    cdef Py_ssize_t second_size = n_features * n_features if matrix else n_features
    cdef double *second
    for k in range(model.n_components):
        second = sums.second + k * second_size
        if apart:
            second = scratch.column_second
            for d in range(second_size):
                second[d] = 0.0
        moments_few_features(tiles, joint + k * LANES * WIDE, step, n_tiles,
                             model.means + k * n_features, n_features, matrix, huge,
                             sums.mass + k, sums.first + k * n_features, second)
        if layout == LAYOUT_SPHERICAL:
            for d in range(n_features):
                sums.second[k] += second[d]
        elif layout == LAYOUT_POOLED:
            for d in range(second_size):
                sums.second[d] += second[d]


cdef void many_moments(const Model *model, int layout, const double *tiles, Py_ssize_t n_tiles,
                       const double *joint, int huge, const Part *part,
                       MomentScratch *scratch, Sums *sums) noexcept nogil:
    """More features: a component with a share in most rows takes vectors of rows as they lie.

    Of another, the rows are gathered and the lanes are features: a row without a share costs
    nothing, and no sum runs across lanes.
    """
    cdef Py_ssize_t k, number, own = 0, step = model.n_components * LANES * WIDE
    cdef const double *weight
    cdef Share share
    cdef bint turned = False
    all_places(step, model.n_features, n_tiles, scratch.all_places)
    while True:
        number = take_next(part.next_piece, &own)
        k = number // part.parts
        number -= k * part.parts  # of the parts of component k
        if k >= model.n_components:
            return
        weight = joint + k * LANES * WIDE
        share = share_of(weight, step, n_tiles)
        if share.rows == 0:
            continue
        if number == 0:
            sums.mass[k] += share.mass
        # Beyond 1e150, x - mean of a row without a share may be infinite.
        if not huge and DENSE_ROWS * share.rows >= LANES * share.vectors + DENSE_COST:
            vector_moments(model, layout, k, number, part.parts, tiles, weight, n_tiles, &share,
                           scratch, sums)
            continue
        if number > 0:
            continue
        if not turned:
            turn_tiles(tiles, n_tiles, model.n_features, model.padded, scratch.rows)
            turned = True
        column_moments(model, layout, k, n_tiles, weight, step, scratch, sums)


cdef void vector_moments(const Model *model, int layout, Py_ssize_t k, Py_ssize_t number,
                         Py_ssize_t parts, const double *tiles, const double *weight,
                         Py_ssize_t n_tiles, const Share *share, MomentScratch *scratch,
                         Sums *sums) noexcept nogil:
    """Component k, or a part of it, from the used vectors of rows; `weight` is its first tile's."""
    cdef Py_ssize_t n_features = model.n_features, n_used = share.vectors, d
    cdef const double *mean = model.means + k * n_features
    cdef double *first = sums.first + k * n_features
    cdef double *second = scratch.column_second
    cdef const Place *places = used_places(weight, share, scratch.all_places, n_tiles * WIDE,
                                           scratch.places)
    if layout == LAYOUT_FULL:
        multiply_vectors(tiles, n_features, weight, places, n_used, mean,
                         scratch.scaled, scratch.run, first,
                         sums.second + k * n_features * n_features, number, parts)
        return
    if layout == LAYOUT_DIAG:
        second = sums.second + k * n_features
    else:
        for d in range(n_features):
            second[d] = 0.0
    square_vectors(tiles, n_features, weight, places, n_used, mean, first, second)
    if layout == LAYOUT_SPHERICAL:
        for d in range(n_features):
            sums.second[k] += second[d]


cdef void column_moments(const Model *model, int layout, Py_ssize_t k, Py_ssize_t n_tiles,
                         const double *weight, Py_ssize_t step, MomentScratch *scratch,
                         Sums *sums) noexcept nogil:
    """Component k from gathered rows, which stand in scratch.rows."""
    cdef Py_ssize_t n_features = model.n_features, padded = model.padded, d
    cdef Py_ssize_t n = gather_rows(weight, step, n_tiles, scratch.gathered, scratch.weights)
    cdef const double *mean = model.padded_means + k * padded
    if layout == LAYOUT_FULL:
        n += n % 2  # the row more has weight 0
        root_gathered(scratch.weights, n)
        scale_rows(scratch.rows, padded, scratch.gathered, scratch.weights, n, mean,
                   scratch.panels, scratch.panel, scratch.column_first)
        add_product(scratch.panels, scratch.panel, n, n_features,
                    sums.second + k * n_features * n_features, 0, 1)
    else:
        square_rows(scratch.rows, padded, scratch.gathered, scratch.weights, n, mean,
                    scratch.column_first, scratch.column_second)
        if layout == LAYOUT_DIAG:
            for d in range(n_features):
                sums.second[k * n_features + d] += scratch.column_second[d]
        else:
            for d in range(n_features):
                sums.second[k] += scratch.column_second[d]
    for d in range(n_features):
        sums.first[k * n_features + d] += scratch.column_first[d]


cdef void add_product(const double *scaled, Py_ssize_t panel, Py_ssize_t n,
                      Py_ssize_t n_features, double *second, int part,
                      int n_parts) noexcept nogil:
    """second += scaled^T scaled, lower triangle: register tiles along each band of four rows.

    A part has every so manyth of the bands.
    """
    cdef Py_ssize_t i = part * PRODUCT_ROWS, j, vectors, pieces, size
    while i < n_features:
        j = 0
        vectors = min(i + PRODUCT_ROWS - 1, n_features - 1) // LANES + 1
        pieces = (vectors + PRODUCT_VECTORS - 1) // PRODUCT_VECTORS
        while pieces > 0:  # of about equal sizes: a tile of one vector waits for its own sums
            size = (vectors + pieces - 1) // pieces
            product_rows(scaled, panel, n, n_features, i, j, second, <int>size)
            j += size * LANES
            vectors -= size
            pieces -= 1
        i += n_parts * PRODUCT_ROWS


cdef void pooled_moments(const Model *model, const double *tiles, Py_ssize_t n_tiles,
                         const double *weight, const double *joint, int huge,
                         MomentScratch *scratch, Sums *sums) noexcept nogil:
    """One second moment for all components, at D^2 + K D per row and without cancellation.

    With j a row's most probable component, delta = x - mean_j and s = sum_k r_k (x - mean_k):
    sum_k r_k (x - mean_k)(x - mean_k)^T = delta s^T + s delta^T - w delta delta^T
    + sum_k r_k (mean_j - mean_k)(mean_j - mean_k)^T. The last part needs the masses per (j, k)
    only: `pairs`, folded in when the accumulators are combined.
    """
    cdef Py_ssize_t n_features = model.n_features, n_components = model.n_components, i = 0, k
    cdef Py_ssize_t tile_rows = LANES * WIDE, step = n_components * tile_rows, tile
    pool_rows(model, tiles, n_tiles, weight, joint, huge, scratch)
    while i < n_features:
        multiply_twins(scratch.delta, scratch.half, scratch.run, n_tiles * tile_rows, n_features,
                       i, sums.second)
        i += TWIN_BAND
    all_places(step, n_features, n_tiles, scratch.all_places)
    for k in range(n_components):
        pooled_first(model, k, tiles, n_tiles, joint, huge, scratch, sums)
    for tile in range(n_tiles):
        if scratch.n_active[tile] > 1:
            pool_pairs(joint + tile * step, n_components, scratch.labels + tile * tile_rows,
                       sums.pairs)
    for k in range(n_components):
        sums.pairs[k * n_components + k] = 0.0


cdef void pool_rows(const Model *model, const double *tiles, Py_ssize_t n_tiles,
                    const double *weight, const double *joint, int huge,
                    MomentScratch *scratch) noexcept nogil:
    """What each row needs: its label, delta, and half of the twin product."""
    cdef Py_ssize_t n_features = model.n_features, n_components = model.n_components
    cdef Py_ssize_t tile_rows = LANES * WIDE, step = n_components * tile_rows, run = scratch.run
    cdef Py_ssize_t tile, row
    cdef const double *shares
    for tile in range(n_tiles):
        label_tile(joint + tile * step, n_components, model.coefficients, WIDE, scratch.weights)
        for row in range(tile_rows):
            scratch.labels[tile * tile_rows + row] = <int32_t>scratch.weights[row]
    pool_deltas(tiles, n_tiles, n_features, weight, scratch.labels, model.padded_means,
                model.padded, scratch.delta, run, huge)
    for tile in range(n_tiles):
        shares, row = joint + tile * step, tile * tile_rows
        scratch.n_active[tile] = <int32_t>active_components(shares, n_components, scratch.active)
        pool_halves(tiles + row * n_features, n_features, shares, scratch.active,
                    scratch.n_active[tile], model.means, weight + row, scratch.delta + row,
                    scratch.half + row, run, huge)


cdef void pooled_first(const Model *model, Py_ssize_t k, const double *tiles, Py_ssize_t n_tiles,
                       const double *joint, int huge, MomentScratch *scratch,
                       Sums *sums) noexcept nogil:
    """Mass and first moments of component k."""
    cdef Py_ssize_t n_features = model.n_features, step = model.n_components * LANES * WIDE
    cdef const double *shares = joint + k * LANES * WIDE
    cdef const Place *places
    cdef Share share = share_of(shares, step, n_tiles)
    if share.rows > 0:
        sums.mass[k] += share.mass
        places = used_places(shares, &share, scratch.all_places, n_tiles * WIDE, scratch.places)
        first_vectors(tiles, n_features, shares, places, share.vectors,
                      model.means + k * n_features, sums.first + k * n_features, huge)
