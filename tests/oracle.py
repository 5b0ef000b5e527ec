"""Gaussian mixtures from the textbook, in long double, as plain loops over components and features.

Nothing here knows gaussmix: tests compare it with this. Rows are vectorised, sums over features are
loops, and densities come from covariances by a Cholesky factor of our own. On platforms whose long
double is a float64 the tolerances of the tests still hold: they allow for rounding on both sides.
"""

import numpy as np

LONG = np.longdouble
LOG_2PI = np.log(2 * LONG("3.14159265358979323846264338327950288"))


def cholesky(matrix):
    """Lower triangular L with L L^T = matrix (D, D)."""
    matrix = np.asarray(matrix, dtype=LONG)
    size = len(matrix)
    lower = np.zeros((size, size), dtype=LONG)
    for i in range(size):
        for j in range(i + 1):
            rest = matrix[i, j] - sum((lower[i, m] * lower[j, m] for m in range(j)), LONG(0))
            lower[i, j] = np.sqrt(rest) if i == j else rest / lower[j, j]
    return lower


def precision_factor(matrix):
    """Lower triangular P with P matrix P^T = I: the inverse of the Cholesky factor."""
    lower = cholesky(matrix)
    size = len(lower)
    inverse = np.zeros_like(lower)
    for j in range(size):
        for i in range(j, size):
            known = sum((lower[i, m] * inverse[m, j] for m in range(j, i)), LONG(0))
            inverse[i, j] = (LONG(i == j) - known) / lower[i, i]
    return inverse


def dense_covariance(covariances, covariance_type, k, n_features):
    """Covariance matrix (D, D) of component k from an array in scikit-learn's shape."""
    covariances = np.asarray(covariances, dtype=LONG)
    if covariance_type == "full":
        return covariances[k]
    if covariance_type == "tied":
        return covariances
    if covariance_type == "diag":
        return np.diag(covariances[k])
    return np.diag(np.full(n_features, covariances[k]))


def squared_distances(X, means, factors):
    """|P_k (x - mean_k)|^2 for lower factors (K, D, D): (N, K)."""
    X, means, factors = (np.asarray(a, dtype=LONG) for a in (X, means, factors))
    squared = np.zeros((len(X), len(means)), dtype=LONG)
    for k in range(len(means)):
        for d in range(X.shape[1]):
            z = np.zeros(len(X), dtype=LONG)
            for e in range(d + 1):
                z += factors[k, d, e] * (X[:, e] - means[k, e])
            squared[:, k] += z * z
    return squared


def log_joint(X, weights, means, covariances, covariance_type):
    """log w_k + log N(x; mean_k, covariance_k) in nats: (N, K)."""
    means = np.asarray(means, dtype=LONG)
    n_components, n_features = means.shape
    factors = np.array(
        [
            precision_factor(dense_covariance(covariances, covariance_type, k, n_features))
            for k in range(n_components)
        ]
    )
    squared = squared_distances(X, means, factors)
    with np.errstate(divide="ignore"):
        log_weights = np.log(np.asarray(weights, dtype=LONG))
    for k in range(n_components):
        log_determinant = sum((np.log(factors[k, d, d]) for d in range(n_features)), LONG(0))
        constant = log_weights[k] + log_determinant - n_features * LOG_2PI / 2
        squared[:, k] = constant - squared[:, k] / 2
    return squared


def logpdf(joint):
    """log sum_k exp(joint) of each row."""
    largest = joint.max(axis=1)
    total = np.zeros(len(joint), dtype=LONG)
    for k in range(joint.shape[1]):
        total += np.exp(joint[:, k] - largest)
    return largest + np.log(total)


def responsibilities(joint, rule="soft"):
    """Posterior probabilities (N, K), or 1 for the lowest most probable component if "hard"."""
    if rule == "soft":
        return np.exp(joint - logpdf(joint)[:, None])
    one_hot = np.zeros_like(joint)
    for i, row in enumerate(joint):
        one_hot[i, max(range(len(row)), key=lambda k: (row[k], -k))] = 1
    return one_hot


def row_entropies(resp):
    """-sum_k r log r of each row, in nats."""
    total = np.zeros(len(resp), dtype=LONG)
    for k in range(resp.shape[1]):
        positive = resp[:, k] > 0
        total[positive] -= resp[positive, k] * np.log(resp[positive, k])
    return total


def log_likelihood(X, weights, means, covariances, covariance_type, sample_weight=None):
    """Total log-likelihood in nats."""
    rows = logpdf(log_joint(X, weights, means, covariances, covariance_type))
    return rows.sum() if sample_weight is None else (rows * sample_weight).sum()


def statistics(X, resp, shift, layout, sample_weight=None):
    """(mass (K,), first (K, D), second) around `shift` (K, D), in the shape of `layout`."""
    X, shift = np.asarray(X, dtype=LONG), np.asarray(shift, dtype=LONG)
    n_components, n_features = shift.shape
    weighted = resp if sample_weight is None else resp * np.asarray(sample_weight, LONG)[:, None]
    mass = weighted.sum(axis=0)
    first = np.zeros((n_components, n_features), dtype=LONG)
    full = np.zeros((n_components, n_features, n_features), dtype=LONG)
    for k in range(n_components):
        delta = X - shift[k]
        for d in range(n_features):
            first[k, d] = (weighted[:, k] * delta[:, d]).sum()
            for e in range(d + 1):
                full[k, d, e] = (weighted[:, k] * delta[:, d] * delta[:, e]).sum()
                full[k, e, d] = full[k, d, e]
    second = {
        "full": full,
        "pooled": full.sum(axis=0),
        "diag": np.einsum("kdd->kd", full),
        "spherical": np.einsum("kdd->k", full),
    }[layout]
    return mass, first, second


def of_type(dense, covariance_type):
    """Covariances of a type, of dense ones (K, D, D): the first one where all share one."""
    return {
        "full": dense,
        "tied": dense[0],
        "diag": np.einsum("kdd->kd", dense),
        "spherical": dense[:, 0, 0],
    }[covariance_type]


def em_step(X, weights, means, covariances, covariance_type, sample_weight=None):
    """(weights, means, covariances) after one EM iteration without any floor."""
    joint = log_joint(X, weights, means, covariances, covariance_type)
    resp = responsibilities(joint)
    n_features = np.shape(X)[1]
    mass, first, _ = statistics(X, resp, means, "full", sample_weight)
    new_means = np.asarray(means, dtype=LONG) + first / mass[:, None]
    # A second pass around the new means: nothing is subtracted from a second moment.
    second = statistics(X, resp, new_means, "full", sample_weight)[2]
    each = second / mass[:, None, None]
    new_covariances = {
        "full": each,
        "tied": second.sum(axis=0) / mass.sum(),
        "diag": np.einsum("kdd->kd", each),
        "spherical": np.einsum("kdd->k", each) / n_features,
    }[covariance_type]
    return mass / mass.sum(), new_means, new_covariances


def slopes(weights, means, covariances, X):
    """Gradient (N, D) and Hessian (N, D, D) of the log density at rows X, by the formulas."""
    precisions = np.linalg.inv(covariances)
    gap = means - X[:, None]
    pull = np.einsum("kde,nke->nkd", precisions, gap)
    log_joint = np.log(weights) + 0.5 * np.linalg.slogdet(precisions)[1]
    log_joint = log_joint - 0.5 * np.einsum("nkd,nkd->nk", gap, pull)
    share = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    gradient = np.einsum("nk,nkd->nd", share, pull)
    hessian = np.einsum("nk,nkd,nke->nde", share, pull, pull)
    hessian -= np.einsum("nk,kde->nde", share, precisions)
    return gradient, hessian - gradient[:, :, None] * gradient[:, None]


def ascend(weights, means, covariances, X, n_steps=4000, tol=1e-11):
    """Where rows X climb to, by the fixed-point iteration of Carreira-Perpinan (2000)."""
    precisions = np.linalg.inv(covariances)
    log_height = np.log(weights) + 0.5 * np.linalg.slogdet(precisions)[1]
    X = np.array(X, dtype=float)
    for _ in range(n_steps):
        gap = means - X[:, None]
        log_joint = log_height - 0.5 * np.einsum("nkd,kde,nke->nk", gap, precisions, gap)
        share = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        stiffness = np.einsum("nk,kde->nde", share, precisions)
        pull = np.einsum("nk,kde,ke->nd", share, precisions, means)
        before, X = X, np.linalg.solve(stiffness, pull[:, :, None])[:, :, 0]
        if np.abs(X - before).max() <= tol * np.abs(X).max():
            break
    return X


def flow(weights, means, covariances, X, part=0.05, n_steps=200):
    """Where the flow along the steps of `ascend` takes rows X, by Euler's method.

    After ``n_steps * part`` units of time, ten by default, full steps lead to the end.
    """
    X = np.array(X, dtype=float)
    for _ in range(n_steps):
        X += part * (ascend(weights, means, covariances, X, n_steps=1) - X)
    return ascend(weights, means, covariances, X)
