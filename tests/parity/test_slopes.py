"""The compiled steps and slopes of a density against NumPy's, on every backend that has them."""

import numpy as np
import pytest

import gaussmix as gm
from gaussmix import backends
from gaussmix.hills.landscape import CONCAVE, Landscape

EPS = np.finfo(float).eps
SHAPES = [(1, 2), (3, 2), (7, 5), (30, 8), (4, 33)]  # K, D


@pytest.fixture(autouse=True)
def _needs_a_kernel(backend):
    if backend.ascend is None:
        pytest.skip("this backend leaves steps and slopes to NumPy")


def make(n_components, n_features):
    """A landscape of unlike components, and rows all over it; one component has no share."""
    rng = np.random.default_rng(n_components + 10 * n_features)
    root = rng.normal(size=(n_components, n_features, n_features)) / np.sqrt(n_features)
    covariances = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(n_features)
    means = rng.normal(size=(n_components, n_features))
    means[-1] += 1e3 * (n_components > 1)
    weights = rng.dirichlet(np.full(n_components, 5.0))
    mixture = gm.Mixture(weights, means, covariances)
    landscape = Landscape(mixture.kernel_parameters, mixture.weights, mixture.covariances)
    spread = rng.normal(size=(19, n_features))
    rows = landscape.means[rng.integers(max(1, n_components - 1), size=19)] + spread
    return landscape, np.concatenate([rows, landscape.means])


def by_formula(landscape, Z):
    with backends.use("reference"):
        return landscape.step(Z), landscape.slope(Z)


@pytest.mark.parametrize(("n_components", "n_features"), SHAPES)
def test_steps_and_slopes_are_those_of_numpy(n_components, n_features):
    landscape, Z = make(n_components, n_features)
    (step, length), slope = landscape.step(Z), landscape.slope(Z)
    (expected, expected_length), other = by_formula(landscape, Z)
    # Sums over K of products with D terms; systems lose digits by their condition.
    size = np.abs(landscape._table).max() * (1 + np.abs(Z).max())
    few = 16 * (n_components + n_features) * EPS
    condition = np.linalg.cond(other.precision).max()
    np.testing.assert_allclose(step, expected, rtol=0, atol=few * condition * (1 + np.abs(Z).max()))
    np.testing.assert_allclose(length, expected_length, atol=few * condition * np.sqrt(size))
    np.testing.assert_allclose(slope.precision, other.precision, atol=few * size)
    np.testing.assert_allclose(slope.gradient, other.gradient, atol=few * size)
    np.testing.assert_allclose(slope.curvature, other.curvature, atol=few * size**2)
    np.testing.assert_array_equal(slope.curvature, slope.curvature.transpose(0, 2, 1))
    # Eigenvalues are at most the smallest pivot; that of a full matrix may be far above them.
    assert (slope.concave | ~other.concave).all()
    values = np.linalg.eigvalsh(other.curvature)[:, 0]
    assert (values[slope.concave] > 0.0).all() and slope.concave.any()
    rows = np.flatnonzero(values > 1e3 * CONCAVE * np.trace(other.precision, axis1=1, axis2=2))
    left = np.einsum("mde,me->md", slope.curvature, slope.newton) - slope.gradient
    assert slope.concave[rows].all()
    np.testing.assert_allclose(left[rows], 0.0, atol=few * size**2)


@pytest.mark.parametrize(("n_components", "n_features"), SHAPES)
def test_a_row_does_not_depend_on_the_rows_beside_it(n_components, n_features):
    landscape, Z = make(n_components, n_features)
    step, length = landscape.step(Z)
    slope = landscape.slope(Z)
    for i in (0, 8, len(Z) - 1):
        alone, alone_length = landscape.step(Z[i : i + 1])
        np.testing.assert_array_equal(alone[:, 0], step[:, i])
        assert alone_length[0] == length[i]
        for name, values in landscape.slope(Z[i : i + 1])._asdict().items():
            np.testing.assert_array_equal(values[0], getattr(slope, name)[i])


def test_arrays_that_do_not_fit_are_refused():
    landscape, Z = make(3, 2)
    kernels, shares, n = backends.active(), landscape.shares(Z), len(Z)
    calls = {
        "shares": (Z, shares[:, :2], landscape._table, np.empty((n, 2)), np.empty(n)),
        "table": (Z, shares, landscape._table[:, :4], np.empty((n, 2)), np.empty(n)),
        "steps": (Z, shares, landscape._table, np.empty((n, 3)), np.empty(n)),
        "lengths": (Z, shares, landscape._table, np.empty((n, 2)), np.empty(n - 1)),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=name):
            kernels.ascend(*call)
    factors = landscape.parameters.factors
    square = np.empty((n, 2, 2))
    arrays = [np.empty((n, 2)), square, square.copy(), np.empty((n, 2)), np.empty(n)]
    given = (Z, landscape.means, factors, landscape._table, shares)
    assert kernels.slopes(*given, *arrays) is None
    names = ("gradients", "curvatures", "precisions", "newtons", "concave")
    for i, name in enumerate(names):
        wrong = [*arrays[:i], arrays[i][:-1], *arrays[i + 1 :]]
        with pytest.raises(ValueError, match=name):
            kernels.slopes(*given, *wrong)
