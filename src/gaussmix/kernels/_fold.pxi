# What the pooled layout leaves for the end: the second moments that lie between means.

cdef void fold(const double *pairs, const double *means, Py_ssize_t n_components,
               Py_ssize_t n_features, double *gap, double *second) noexcept nogil:
    """second (lower) += sum_jk pairs[j, k] (mu_j - mu_k)(mu_j - mu_k)^T; O(K^2 D^2)."""
    cdef Py_ssize_t j, k, d, e
    cdef double share, factor
    for j in range(n_components):
        for k in range(j):
            # Far-apart components share no row: most pairs are exactly 0.
            share = pairs[j * n_components + k] + pairs[k * n_components + j]
            if share == 0.0:
                continue
            for d in range(n_features):
                gap[d] = means[j * n_features + d] - means[k * n_features + d]
            for d in range(n_features):
                factor = share * gap[d]
                for e in range(d + 1):
                    second[d * n_features + e] += factor * gap[e]


def fold_pairs(pairs, means, second):
    """Add to `second` what lies between means, as ``kernels.contract`` states."""
    cdef Views views
    cdef Py_buffer *second_buffer
    cdef Py_ssize_t n_components, n_features
    cdef Py_ssize_t[2] shape
    cdef const double *pair_values
    cdef const double *mean_values
    cdef double *gap
    views.n = 0
    try:
        n_components = view(&views, means, "means", 2, "d").shape[0]
        n_features = views.buffers[0].shape[1]
        mean_values = numbers(&views, means, "means", n_components, n_features)
        pair_values = numbers(&views, pairs, "pairs", n_components, n_components)
        shape = [n_features, n_features]
        second_buffer = view(&views, second, "second", 2, "d", True)
        check_contiguous(second_buffer, "second", shape)
        gap = <double *>malloc(<size_t>(n_features + 1) * sizeof(double))
        if gap == NULL:
            raise MemoryError("a row of features does not fit into memory")
        with nogil:
            fold(pair_values, mean_values, n_components, n_features, gap,
                 <double *>second_buffer.buf)
        free(gap)
    finally:
        release(&views)
