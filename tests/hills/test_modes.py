"""Modes: all of them, at the right places, each a maximum; whatever the units."""

import pickle

import numpy as np
import pytest
from scipy.optimize import minimize

import gaussmix as gm
import oracle
from mixtures import TYPES, as_type, overlapping_mixture, parameters

# Newton's method ends at steps below 1e-10 standard deviations; positions are then rounded.
ATOL_POSITION = 1e-9


def triangle(sigma, covariance_type="spherical"):
    """Three equal round components at the corners of a triangle in the unit circle."""
    angle = 2 * np.pi * np.arange(3) / 3
    means = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return gm.Mixture(
        np.full(3, 1 / 3), means, as_type(covariance_type, sigma**2, 3, 2), covariance_type
    )


def test_two_components_can_have_three_modes():
    mixture = gm.Mixture([0.5, 0.5], [[0, 0], [1, 1]], [[1, 0.05], [0.05, 1]], "diag")
    modes = mixture.modes()
    assert len(modes) == 3
    np.testing.assert_allclose(modes.positions[0], [20 / 21, 1 / 21], atol=ATOL_POSITION)
    assert sorted(modes.component_mode.tolist()) == [1, 2]  # no mean climbs to the one between


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize(("sigma", "count"), [(0.7, 3), (0.725, 4), (0.75, 1)])
def test_three_components_have_three_four_or_one_mode(sigma, count, covariance_type):
    modes = triangle(sigma, covariance_type).modes()
    assert len(modes) == count
    at_centre = np.linalg.norm(modes.positions, axis=1) < ATOL_POSITION
    assert at_centre.sum() == (count != 3)
    assert len(set(modes.component_mode.tolist())) == min(count, 3)


@pytest.mark.parametrize("n_features", [1, 2, 5])
def test_two_components_one_standard_deviation_apart_are_one_hill(n_features):
    means = np.zeros((2, n_features))
    means[1, 0] = 1.0
    modes = gm.Mixture([0.5, 0.5], means, [1.0, 1.0], "spherical").modes()
    np.testing.assert_allclose(modes.positions, means.mean(axis=0)[None], atol=ATOL_POSITION)
    assert modes.component_mode.tolist() == [0, 0]


@pytest.mark.parametrize("n_features", [1, 3])
@pytest.mark.parametrize(("distance", "count"), [(1.999, 1), (2.0, 1), (2.001, 2), (2.1, 2)])
def test_equal_components_part_at_two_standard_deviations(distance, count, n_features):
    means = np.zeros((2, n_features))
    means[1, 0] = distance
    modes = gm.Mixture([0.5, 0.5], means, [1.0, 1.0], "spherical").modes()
    assert len(modes) == count
    # At 2.0 the peak has no curvature: the density is that of the peak to rounding within the
    # fourth root of eps, 1e-4.
    np.testing.assert_allclose(modes.positions.mean(axis=0), means.mean(axis=0), atol=1e-4)


def test_in_one_dimension_no_mode_is_missed():
    rng = np.random.default_rng(0)
    found_many = 0
    for case in range(1000):
        n_components = int(rng.integers(1, 12))
        weights = rng.dirichlet(np.ones(n_components))
        means = rng.choice([1, 3, 10]) * rng.normal(size=n_components)
        deviations = np.exp(rng.choice([0.2, 1, 1.5]) * rng.normal(size=n_components))
        covariance_type = TYPES[case % 4]
        if covariance_type == "tied":
            deviations[:] = deviations[0]
        variances = deviations[:1] ** 2 if covariance_type == "tied" else deviations**2
        found = gm.Mixture(weights, means, variances, covariance_type).modes()
        # The dense grid: even steps, and steps of a twentieth of each standard deviation.
        near = (means + deviations * np.linspace(-4, 4, 161)[:, None]).ravel()
        even = np.linspace(means.min() - 0.1, means.max() + 0.1, 2001)
        grid = np.unique(np.concatenate([near, even]))
        u = (grid[:, None] - means) / deviations
        log_joint = np.log(weights / deviations) - 0.5 * u * u
        joint = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
        rising = (joint * u / deviations).sum(axis=1) < 0
        (peaks,) = np.nonzero(rising[:-1] & ~rising[1:])
        positions = np.sort(found.positions[:, 0])
        rounding = 8 * np.spacing(np.abs(means).max())
        inside = positions >= grid[peaks][:, None] - rounding
        inside &= positions <= grid[peaks + 1][:, None] + rounding
        assert inside.any(axis=1).all(), case
        assert len(peaks) <= len(found) <= n_components, case
        found_many += len(found) > 3
    assert found_many > 50


@pytest.mark.parametrize("covariance_type", TYPES)
def test_in_the_plane_no_mode_is_missed(covariance_type):
    for seed in range(8):
        mixture = overlapping_mixture(covariance_type, 3 + seed % 4, 2, seed, spread=1.5)
        modes = mixture.modes()
        axes = [np.linspace(m.min() - 0.5, m.max() + 0.5, 150) for m in mixture.means.T]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        height = mixture.logpdf(grid.reshape(-1, 2)).reshape(150, 150)
        inner = height[1:-1, 1:-1]
        peak = np.ones_like(inner, dtype=bool)
        for i in (-1, 0, 1):
            for j in (-1, 0, 1):
                if i or j:
                    peak &= inner > height[1 + i : 149 + i, 1 + j : 149 + j]
        for start in grid[1:-1, 1:-1][peak]:
            end = minimize(
                lambda x, m=mixture: -m.logpdf(x[None])[0],
                start,
                jac=lambda x, m=mixture: -oracle.slopes(*parameters(m), x[None])[0][0],
                method="BFGS",
            ).x
            # BFGS stops at a gradient of 1e-5; curvatures here are above 1e-3.
            assert np.linalg.norm(modes.positions - end, axis=1).min() < 1e-2


@pytest.mark.parametrize("n_features", [1, 2, 4, 30])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_each_mode_is_a_maximum(covariance_type, n_features):
    for seed in range(1 if n_features == 30 else 4):
        mixture = overlapping_mixture(covariance_type, 8, n_features, seed, spread=1.0)
        modes = mixture.modes()
        gradient, hessian = oracle.slopes(*parameters(mixture), modes.positions)
        curvature = np.linalg.eigvalsh(hessian)
        assert (curvature < 0.0).all()
        assert np.linalg.norm(np.linalg.solve(hessian, gradient[:, :, None]), axis=1).max() < 1e-8
        np.testing.assert_array_equal(modes.logpdf, mixture.logpdf(modes.positions))
        assert (np.diff(modes.logpdf) <= 1e-9).all()


@pytest.mark.parametrize("covariance_type", TYPES)
def test_component_mode_is_where_the_mean_climbs_to(covariance_type):
    for seed in range(5):
        mixture = overlapping_mixture(covariance_type, 9, 2 + seed % 2, seed, spread=1.2)
        modes = mixture.modes()
        ends = oracle.ascend(*parameters(mixture), mixture.means)
        distance = np.linalg.norm(ends[:, None] - modes.positions, axis=2)
        np.testing.assert_array_equal(distance.argmin(axis=1), modes.component_mode)
        assert distance.min(axis=1).max() < 1e-4


@pytest.mark.parametrize("scale", [2.0**-490, 1e-150, 1e-9, 1e9, 1e150])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_units_do_not_matter(covariance_type, scale):
    mixture = overlapping_mixture(covariance_type, 5, 2, 3)
    scaled = gm.Mixture(
        mixture.weights, mixture.means * scale, mixture.covariances * scale**2, covariance_type
    )
    modes, same = mixture.modes(), scaled.modes()
    np.testing.assert_allclose(same.positions / scale, modes.positions, atol=ATOL_POSITION)
    np.testing.assert_array_equal(same.component_mode, modes.component_mode)


@pytest.mark.parametrize("shift", [1e8, -1e8])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_an_offset_costs_no_more_than_its_own_rounding(covariance_type, shift):
    mixture = overlapping_mixture(covariance_type, 5, 3, 3)
    moved = gm.Mixture(mixture.weights, mixture.means + shift, mixture.covariances, covariance_type)
    gap = moved.modes().positions - shift - mixture.modes().positions
    # The means are rounded to 1.5e-8, and so is the answer; narrow components sway wide ones.
    assert np.abs(gap).max() < 10 * np.spacing(abs(shift))


def test_features_in_different_units_do_not_mix():
    mixture = overlapping_mixture("full", 5, 2, 1)
    units = np.array([1e-120, 1e120])
    scaled = gm.Mixture(
        mixture.weights, mixture.means * units, mixture.covariances * units[:, None] * units
    )
    np.testing.assert_allclose(
        scaled.modes().positions / units, mixture.modes().positions, atol=ATOL_POSITION
    )


@pytest.mark.parametrize("n_features", [1, 2])
def test_a_component_of_weight_zero_has_no_mode(n_features):
    means = np.repeat([[0.0], [5.0], [9.0]], n_features, axis=1)
    modes = gm.Mixture([0.6, 0.0, 0.4], means, [1.0, 1.0, 1.0], "spherical").modes()
    assert modes.component_mode.tolist() == [0, -1, 1]
    assert len(modes) == 2


def test_equal_components_are_one_mode():
    modes = gm.Mixture([0.2, 0.3, 0.5], np.full((3, 2), 7.0), [1.0, 4.0, 1.0], "spherical").modes()
    np.testing.assert_allclose(modes.positions, [[7.0, 7.0]], atol=ATOL_POSITION)


@pytest.mark.parametrize("n_features", [1, 2])
def test_modes_closer_than_tol_are_one(n_features):
    means = np.zeros((2, n_features))
    means[1, 0] = 2.5
    mixture = gm.Mixture([0.55, 0.45], means, [1.0, 1.0], "spherical")
    assert len(mixture.modes()) == 2
    merged = mixture.modes(tol=2.4)
    assert len(merged) == 1
    assert merged.component_mode.tolist() == [0, 0]


@pytest.mark.parametrize("n_features", [1, 2])
def test_of_modes_closer_than_tol_the_highest_stays(n_features):
    means = np.zeros((2, n_features))
    means[1, 0] = 4.0
    mixture = gm.Mixture([0.3, 0.7], means, [1.0, 1.0], "spherical")
    highest = mixture.modes()
    merged = mixture.modes(tol=10.0)
    np.testing.assert_allclose(merged.positions, highest.positions[:1], atol=ATOL_POSITION)
    assert merged.component_mode.tolist() == [0, 0]


def test_a_far_gap_and_a_needle_are_no_obstacle():
    mixture = gm.Mixture([0.5, 0.3, 0.2], [0.0, 1e9, 3.0], [1.0, 1e6, 1e-16], "spherical")
    np.testing.assert_allclose(np.sort(mixture.modes().positions[:, 0]), [0, 3, 1e9], atol=1e-6)


def test_modes_are_a_value():
    modes = triangle(0.7).modes()
    twin = pickle.loads(pickle.dumps(modes))
    for name in ("positions", "logpdf", "component_mode"):
        np.testing.assert_array_equal(getattr(twin, name), getattr(modes, name))
        with pytest.raises(ValueError, match="read-only"):
            getattr(modes, name)[0] = 0
    with pytest.raises(AttributeError, match="immutable"):
        modes.logpdf = np.zeros(3)
    assert isinstance(modes, gm.Modes)
    lines = repr(modes).splitlines()
    assert lines[0] == "3 modes of 3 components in 2 dimensions"
    assert [line[-12:] for line in lines[1:]] == [f"components {k}" for k in range(3)]


@pytest.mark.parametrize("tol", [0.0, -1.0, float("nan"), "small"])
def test_tol_must_be_positive(tol):
    with pytest.raises(gm.InvalidInputError, match="tol is"):
        triangle(0.7).modes(tol)
