# What the pooled layout leaves for the end: the second moments that lie between means.

cdef enum:
    FOLD_ROWS = 64  # pairs at a time, whose rows stay in the first-level cache


cdef void carve_fold(Carver *carver, Py_ssize_t padded, FoldScratch *scratch) noexcept nogil:
    scratch.first = carve(carver, padded)
    scratch.roots = carve(carver, FOLD_ROWS + LANES)
    scratch.panels = carve(carver, padded * FOLD_ROWS)
    scratch.rows = <int32_t *>carve(carver, FOLD_ROWS)


cdef void fold(const double *pairs, const Model *model, const FoldScratch *scratch, double *second,
               int part, int n_parts) noexcept nogil:
    """second (lower) += sum_jk pairs[j, k] (mu_j - mu_k)(mu_j - mu_k)^T; O(K^2 D^2).

    As the moments of gathered rows: the other means around each, weighted by what they share. A
    part has some bands of the rows of `second`.
    """
    cdef Py_ssize_t n_components = model.n_components, n_features = model.n_features
    cdef Py_ssize_t padded = model.padded, panel = FOLD_ROWS * LANES, filled = 0, j, k, n
    cdef const double *means = model.padded_means
    cdef double share
    for j in range(n_components):
        k = 0
        while k < j:
            n = 0
            while k < j and filled + n < FOLD_ROWS:
                # Far-apart components share no row: most pairs are exactly 0.
                share = pairs[j * n_components + k] + pairs[k * n_components + j]
                scratch.rows[n] = <int32_t>k
                scratch.roots[n] = share
                n += share != 0.0
                k += 1
            root_gathered(scratch.roots, n)
            scale_rows(means, padded, scratch.rows, scratch.roots, n, means + j * padded,
                       scratch.panels + filled * LANES, panel, scratch.first)
            filled += n
            if filled == FOLD_ROWS:
                add_product(scratch.panels, panel, filled, n_features, second, part, n_parts)
                filled = 0
    if filled % 2:
        scratch.rows[0], scratch.roots[0] = 0, 0.0  # the row more has weight 0
        scale_rows(means, padded, scratch.rows, scratch.roots, 1, means,
                   scratch.panels + filled * LANES, panel, scratch.first)
        filled += 1
    if filled > 0:
        add_product(scratch.panels, panel, filled, n_features, second, part, n_parts)
