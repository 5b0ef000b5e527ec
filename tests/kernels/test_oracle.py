"""The oracle against closed forms and scikit-learn; the live backend against the oracle's EM step.

How close a kernel comes to the oracle for every backend, layout and shape: parity/test_backends.py.
"""

import math

import numpy as np
import pytest

import oracle
from gaussmix import backends
from gaussmix.kernels import contract
from kernel_calls import accumulate

EPS = np.finfo(np.float64).eps
TYPES = ("full", "tied", "diag", "spherical")
LAYOUTS = {"full": "full", "tied": "pooled", "diag": "diag", "spherical": "spherical"}
N_ROWS, N_COMPONENTS, N_FEATURES = 150, 3, 4


def make_problem(covariance_type, seed=0):
    """(X, sample_weight, weights, means, covariances) with overlapping components."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N_ROWS, N_FEATURES)) + rng.integers(0, 3, size=(N_ROWS, 1))
    means = X[rng.choice(N_ROWS, N_COMPONENTS, replace=False)]
    roots = rng.normal(size=(N_COMPONENTS, N_FEATURES, N_FEATURES)) / 2
    dense = roots @ roots.transpose(0, 2, 1) + np.eye(N_FEATURES)
    covariances = {
        "full": dense,
        "tied": dense[0],
        "diag": np.einsum("kdd->kd", dense),
        "spherical": np.einsum("kdd->k", dense) / N_FEATURES,
    }[covariance_type]
    return X, rng.random(N_ROWS) + 0.5, rng.dirichlet(np.ones(N_COMPONENTS)), means, covariances


def kernel_parameters(weights, means, covariances, covariance_type):
    """contract.Parameters of a mixture, factors from the oracle."""
    n_components, n_features = means.shape
    dense = [
        oracle.dense_covariance(covariances, covariance_type, k, n_features)
        for k in range(n_components)
    ]
    factors = np.array([oracle.precision_factor(matrix) for matrix in dense])
    diagonals = np.einsum("kdd->kd", factors)
    coefficients = np.log(np.asarray(weights, dtype=oracle.LONG)) + np.log(diagonals).sum(axis=1)
    kind, stored = {
        "full": (contract.FACTOR_FULL, factors),
        "tied": (contract.FACTOR_SHARED, factors[0]),
    }.get(covariance_type, (contract.FACTOR_DIAG, diagonals))
    return contract.Parameters(
        kind,
        np.ascontiguousarray(coefficients - n_features * oracle.LOG_2PI / 2, dtype=np.float64),
        means,
        np.ascontiguousarray(stored, dtype=np.float64),
        means.mean(axis=0),
    )


def kernel_em_step(X, sample_weight, mixture, covariance_type):
    """One EM iteration from the live backend's sums."""
    parameters = kernel_parameters(*mixture, covariance_type)
    n_components, n_features = parameters.means.shape
    layout = contract.LAYOUTS[LAYOUTS[covariance_type]]
    parts = contract.offsets(n_components, n_features, layout)
    accumulators = accumulate(
        backends.active(), X, parameters, layout, weight=sample_weight, threads=2
    )
    total = contract.combine(accumulators, parameters.means, layout)
    mass = total[: parts.first]
    first = total[parts.first : parts.second].reshape(n_components, n_features)
    second = total[parts.second : parts.pairs]
    d = first / mass[:, None]
    products = np.einsum("kd,ke->kde", d, d)
    if covariance_type == "full":
        covariances = second.reshape(products.shape) / mass[:, None, None] - products
    elif covariance_type == "tied":
        between = np.einsum("k,kde->de", mass, products)
        pooled = second.reshape(n_features, n_features) - between
        covariances = pooled / mass.sum()
    elif covariance_type == "diag":
        covariances = second.reshape(d.shape) / mass[:, None] - d * d
    else:
        covariances = (second / mass - (d * d).sum(axis=1)) / n_features
    return mass / mass.sum(), parameters.means + d, covariances


def test_oracle_density_in_one_dimension_is_the_normal_density():
    joint = oracle.log_joint([[1.5]], [1.0], [[0.5]], [4.0], "spherical")
    expected = -0.5 * math.log(2 * math.pi * 4.0) - 1.0 / 8.0
    assert abs(float(joint[0, 0]) - expected) <= 4 * EPS * abs(expected)


def test_oracle_responsibilities_sum_to_one():
    X, _, *mixture = make_problem("full")
    resp = oracle.responsibilities(oracle.log_joint(X, *mixture, "full"))
    assert np.abs(resp.sum(axis=1) - 1).max() <= N_COMPONENTS * EPS


def test_oracle_entropy_of_even_responsibilities_is_log_k():
    entropy = oracle.row_entropies(np.full((2, 5), oracle.LONG(1) / 5))
    assert np.abs(entropy - math.log(5)).max() <= 5 * EPS


def test_oracle_hard_responsibilities_break_ties_to_the_lowest_index():
    resp = oracle.responsibilities(np.array([[-2.0, -1.0, -1.0]], dtype=oracle.LONG), "hard")
    assert resp.tolist() == [[0.0, 1.0, 0.0]]


@pytest.mark.parametrize("covariance_type", TYPES)
def test_oracle_em_step_raises_the_log_likelihood(covariance_type):
    X, sample_weight, *mixture = make_problem(covariance_type)
    before = oracle.log_likelihood(X, *mixture, covariance_type, sample_weight)
    mixture = oracle.em_step(X, *mixture, covariance_type, sample_weight)
    assert oracle.log_likelihood(X, *mixture, covariance_type, sample_weight) > before


@pytest.mark.parametrize("covariance_type", TYPES)
def test_oracle_density_equals_scikit_learn(covariance_type):
    peer = pytest.importorskip("sklearn.mixture").GaussianMixture(
        N_COMPONENTS, covariance_type=covariance_type
    )
    X, _, weights, means, covariances = make_problem(covariance_type)
    dense = [
        oracle.dense_covariance(covariances, covariance_type, k, N_FEATURES)
        for k in range(N_COMPONENTS)
    ]
    factors = np.array([oracle.precision_factor(m) for m in dense], dtype=np.float64)
    peer.weights_, peer.means_, peer.covariances_ = weights, means, covariances
    peer.precisions_cholesky_ = {
        "full": factors.transpose(0, 2, 1),
        "tied": factors[0].T,
        "diag": np.einsum("kdd->kd", factors),
        "spherical": factors[:, 0, 0],
    }[covariance_type]
    ours = oracle.logpdf(oracle.log_joint(X, weights, means, covariances, covariance_type))
    # scikit-learn expands (x - mu)^2 for diag and spherical, so squares of the data set the scale.
    largest = (np.abs(X).max() * factors.max() * N_FEATURES) ** 2
    atol = 8 * N_FEATURES * EPS * largest
    np.testing.assert_allclose(peer.score_samples(X), ours.astype(np.float64), rtol=0, atol=atol)


@pytest.mark.parametrize("weighted", (False, True))
@pytest.mark.parametrize("covariance_type", TYPES)
def test_em_step_of_the_live_backend_equals_the_oracle(covariance_type, weighted):
    X, sample_weight, *mixture = make_problem(covariance_type, seed=1)
    sample_weight = sample_weight if weighted else None
    expected = oracle.em_step(X, *mixture, covariance_type, sample_weight)
    found = kernel_em_step(X, sample_weight, mixture, covariance_type)
    # Sums of N_ROWS terms; factors and data of order one; the largest term of a covariance is the
    # squared spread of the data.
    atol = 4 * N_ROWS * EPS * float(np.ptp(X)) ** 2
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.astype(np.float64), rtol=0, atol=atol)
