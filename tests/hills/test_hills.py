"""Hills: each row's is the one it climbs, whatever the batch, the memory order and the threads."""

import numpy as np
import pytest
from scipy import ndimage

import gaussmix as gm
import oracle
from gaussmix.hills.modes import DEFAULT_TOL, survey
from mixtures import TYPES, as_type, overlapping_mixture, parameters

BORDER = 0.02  # means and deviations are about one


def nearest_mode(mixture, X):
    positions = mixture.modes().positions
    return np.linalg.norm(X[:, None] - positions, axis=2).argmin(axis=1)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_rows_go_where_the_flow_goes(covariance_type):
    for n_features in (2, 3):
        mixture = overlapping_mixture(covariance_type, 6, n_features, n_features, spread=1.5)
        X = mixture.sample(80, 0)[0]
        # Both follow the flow in steps: rows this close to a border may fall on either side.
        around = BORDER * np.concatenate([np.eye(n_features), -np.eye(n_features)])
        stars = np.concatenate([X[None], X + around[:, None]])
        ends = oracle.flow(*parameters(mixture), stars.reshape(-1, n_features))
        hills = nearest_mode(mixture, ends).reshape(len(stars), -1)
        clear = (hills == hills[0]).all(axis=0)
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(mixture.hills(X)[clear], hills[0][clear])


def test_no_row_jumps_over_a_peak():
    mixture = gm.Mixture([0.5, 0.5], [[0, 0], [1, 1]], [[1, 0.05], [0.05, 1]], "diag")
    # One step of the textbook's iteration leads from here to the far side of the peak between.
    middle = 0
    np.testing.assert_allclose(mixture.modes().positions[middle], [20 / 21, 1 / 21])
    assert mixture.hills([[2.5, 0.0], [1.0, -1.5]]).tolist() == [middle, middle]
    for half_width in (3.0, 6.0):
        axis = 0.5 + np.linspace(-half_width, half_width, 120)
        grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        hills = mixture.hills(grid).reshape(120, 120)
        assert [ndimage.label(hills == m, np.ones((3, 3)))[1] for m in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("n_features", [2, 30])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_from_inside_a_ball_all_climbs_end_at_its_mode(covariance_type, n_features):
    mixture = overlapping_mixture(covariance_type, 5, n_features, 1, spread=1.0)
    found = survey(mixture, DEFAULT_TOL)
    rng = np.random.default_rng(0)
    for m, radius in enumerate(found.basins.radii):
        direction = rng.normal(size=(40, n_features))
        direction *= 0.999 * radius / np.linalg.norm(direction, axis=1, keepdims=True)
        z = (
            found.basins.shape.means[m]
            + np.linalg.solve(found.basins.shape.factors[m], direction.T).T
        )
        assert (found.basins.of(z) == m).all()
        X = found.landscape.positions(z)
        ends = oracle.ascend(*parameters(mixture), X)
        np.testing.assert_array_equal(nearest_mode(mixture, ends), found.order[m])


def test_in_one_dimension_hills_meet_in_the_valleys():
    mixture = gm.Mixture([0.3, 0.5, 0.2], [0.0, 4.0, 9.0], [1.0, 2.0, 0.5], "spherical")
    grid = np.linspace(-3, 12, 30001)
    height = mixture.logpdf(grid)
    hills = mixture.hills(grid)
    valleys = 1 + np.flatnonzero((height[1:-1] < height[:-2]) & (height[1:-1] < height[2:]))
    borders = np.flatnonzero(np.diff(hills))
    assert len(borders) == len(valleys) == 2
    assert np.abs(borders - valleys).max() <= 1
    np.testing.assert_array_equal(mixture.hills(mixture.modes().positions), [0, 1, 2])


@pytest.mark.parametrize("covariance_type", TYPES)
def test_two_components_one_standard_deviation_apart_are_one_hill(covariance_type):
    mixture = gm.Mixture(
        [0.5, 0.5], [[0, 0], [1, 0]], as_type(covariance_type, 1.0, 2, 2), covariance_type
    )
    assert not mixture.hills(mixture.sample(500, 0)[0]).any()


@pytest.mark.parametrize("n_features", [1, 2, 8, 30])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_rows_hill_does_not_depend_on_the_batch(covariance_type, n_features):
    mixture = overlapping_mixture(covariance_type, 5, n_features, 2, spread=0.8)
    X = mixture.sample(120, 0)[0]
    together = mixture.hills(X)
    one_by_one = np.concatenate([mixture.hills(row[None]) for row in X[:15]])
    np.testing.assert_array_equal(one_by_one, together[:15])
    np.testing.assert_array_equal(mixture.hills(X[::-1]), together[::-1])
    np.testing.assert_array_equal(mixture.hills(np.asfortranarray(X)), together)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_not_even_where_a_row_stops_depends_on_the_batch(covariance_type):
    mixture = overlapping_mixture(covariance_type, 6, 3, 4, spread=0.8)
    landscape = survey(mixture, DEFAULT_TOL).landscape
    basins = survey(mixture, DEFAULT_TOL).basins._replace(
        radii=np.full(len(mixture.modes()), 1e-30)
    )
    z = landscape.coordinates(mixture.sample(70, 0)[0])
    _, together = landscape.climb(z, basins, 40)
    for rows in (slice(0, 1), slice(3, 5), slice(5, 22), slice(22, 70)):
        np.testing.assert_array_equal(landscape.climb(z[rows], basins, 40)[1], together[rows])


def test_threads_do_not_change_the_answer():
    mixture = overlapping_mixture("full", 6, 2, 0, spread=1.5)
    X = mixture.sample(20_000, 0)[0]
    one = mixture.hills(X, n_threads=1)
    for n_threads in (2, 3, 7):
        np.testing.assert_array_equal(mixture.hills(X, n_threads=n_threads), one)


def test_float32_rows_are_taken_as_the_numbers_they_are():
    mixture = overlapping_mixture("full", 6, 3, 0, spread=1.5)
    X = mixture.sample(200, 0)[0].astype(np.float32)
    np.testing.assert_array_equal(mixture.hills(X), mixture.hills(X.astype(float)))


@pytest.mark.parametrize("n_features", [1, 2])
def test_by_component_each_row_has_the_hill_of_its_component(n_features):
    mixture = overlapping_mixture("full", 6, n_features, 1)
    X = mixture.sample(300, 0)[0]
    expected = mixture.modes().component_mode[mixture.predict(X)]
    np.testing.assert_array_equal(mixture.hills(X, method="component"), expected)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_units_do_not_matter(covariance_type, scale):
    mixture = overlapping_mixture(covariance_type, 5, 2, 3)
    scaled = gm.Mixture(
        mixture.weights, mixture.means * scale, mixture.covariances * scale**2, covariance_type
    )
    X = mixture.sample(300, 0)[0]
    np.testing.assert_array_equal(scaled.hills(X * scale), mixture.hills(X))


@pytest.mark.parametrize("n_features", [1, 3])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_rows_far_out_have_a_hill(covariance_type, n_features):
    mixture = overlapping_mixture(covariance_type, 4, n_features, 3)
    X = np.full((4, n_features), 1.0) * np.array([[1e10], [1e160], [-1e300], [1.7e308]])
    hills = mixture.hills(X)
    assert ((hills >= 0) & (hills < len(mixture.modes()))).all()


def test_a_row_on_a_saddle_has_a_hill():
    mixture = gm.Mixture([0.5, 0.5], [[0.0, 0.0], [4.0, 0.0]], [1.0, 1.0], "spherical")
    assert mixture.hills([[2.0, 0.0], [2.0, 3.0], [1.999, 0.0], [2.001, 0.0]])[2:].tolist() == (
        mixture.modes().component_mode.tolist()
    )


@pytest.mark.parametrize("method", ["ascent", "component"])
@pytest.mark.parametrize("n_features", [1, 3])
def test_no_rows_have_no_hills(n_features, method):
    hills = overlapping_mixture("full", 3, n_features, 0).hills(np.empty((0, n_features)), method)
    assert hills.shape == (0,)
    assert hills.dtype == np.int64


@pytest.mark.parametrize(
    ("X", "arguments", "match"),
    [
        ([[0.0, np.nan]], {}, r"X\[0, 1\] is NaN"),
        ([[0.0, 0.0], [np.inf, 0.0]], {}, r"X\[1, 0\] is inf"),
        ([[0.0]], {}, "expects 2 columns"),
        ([[0.0, 0.0]], {"method": "descent"}, "method is 'descent'"),
        ([[0.0, 0.0]], {"n_threads": 0}, "n_threads is 0"),
    ],
)
def test_what_cannot_be_used_is_named(X, arguments, match):
    with pytest.raises(gm.InvalidInputError, match=match):
        overlapping_mixture("full", 3, 2, 0).hills(X, **arguments)
