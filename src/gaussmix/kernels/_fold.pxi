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

