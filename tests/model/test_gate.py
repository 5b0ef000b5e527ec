"""The nearest component of a row, and the gate beyond which there is none."""

import math

import numpy as np
import pytest

import gaussmix as gm
import oracle
from mixtures import TYPES, random_mixture

METRICS = ("mahalanobis", "euclidean")


def distances(mixture, X):
    """Squared Mahalanobis and Euclidean distances (N, K), in long double."""
    factors = np.array([oracle.precision_factor(c) for c in mixture.dense_covariances()])
    plain = np.array([np.eye(mixture.n_features)] * mixture.n_components)
    return (
        oracle.squared_distances(X, mixture.means, factors),
        oracle.squared_distances(X, mixture.means, plain),
    )


@pytest.fixture(params=TYPES)
def mixture(request):
    return random_mixture(request.param, n_components=5)


@pytest.fixture
def X(mixture):
    # Wider than the mixture, so that the gate has work.
    return 1.5 * mixture.sample(700, seed=3)[0]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("gate", [0.7, 2.5, None])
def test_it_is_the_component_at_the_smallest_distance_below_the_gate(mixture, X, metric, gate):
    own, plain = distances(mixture, X)
    expected = (own if metric == "mahalanobis" else plain).argmin(axis=1)
    if gate is not None:
        expected[own[np.arange(len(X)), expected] >= gate * gate] = -1
        assert 0 < np.count_nonzero(expected < 0) < len(X)
    found = mixture.nearest(X, gate, metric)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)


def test_in_one_dimension_the_gate_is_a_number_of_standard_deviations():
    mixture = gm.Mixture([0.5, 0.5], [0.0, 10.0], [1.0, 4.0], "spherical")
    x = np.array([-2.5, np.nextafter(-2.5, 0), 2.5, 5.0, np.nextafter(5.0, 6), 15.0, 14.99])
    np.testing.assert_array_equal(mixture.nearest(x), [-1, 0, -1, -1, 1, -1, 1])


def test_the_gate_itself_is_outside():
    mixture = gm.Mixture([1.0], [[0.0, 0.0]], [[[1.0, 0.0], [0.0, 1.0]]])
    rows = [[3.0, 4.0]]
    assert mixture.nearest(rows, gate=5.0)[0] == -1
    assert mixture.nearest(rows, gate=np.nextafter(5.0, 6.0))[0] == 0


def test_metrics_differ_where_a_wide_component_reaches_past_a_narrow_ones_mean():
    mixture = gm.Mixture([0.5, 0.5], [0.0, 3.0], [9.0, 0.25], "spherical")
    x = [1.8]  # 0.6 standard deviations from the wide one, 2.4 from the narrow one
    assert mixture.nearest(x) == 0
    assert mixture.nearest(x, metric="euclidean") == 1
    # The textbook rule rejects what the nearest mean does not reach, whatever the other one says.
    assert mixture.nearest([1.7], metric="euclidean") == -1


@pytest.mark.parametrize("metric", METRICS)
def test_ties_go_to_the_lowest_index(metric):
    mixture = gm.Mixture([0.1, 0.3, 0.6], [[2.0], [-2.0], [2.0]], [1.0, 1.0, 1.0], "spherical")
    np.testing.assert_array_equal(mixture.nearest([0.0, 2.0, -2.0], metric=metric), [0, 0, 1])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_component_of_weight_zero_does_not_exist(metric, covariance_type):
    whole = random_mixture(covariance_type, n_components=4)
    weights = np.array([0.0, 0.5, 0.0, 0.5])
    reduced = gm.Mixture(weights, whole.means, whole.covariances, covariance_type)
    labels = reduced.nearest(whole.means, gate=None, metric=metric)
    assert set(labels.tolist()) <= {1, 3}
    assert labels[1] == 1 and labels[3] == 3
    kept = whole.covariances if covariance_type == "tied" else whole.covariances[[1, 3]]
    alone = gm.Mixture([0.5, 0.5], whole.means[[1, 3]], kept, covariance_type)
    X = whole.sample(300, seed=1)[0]
    renamed = np.array([1, 3, -1])[alone.nearest(X, 1.5, metric)]
    np.testing.assert_array_equal(reduced.nearest(X, 1.5, metric), renamed)


def test_weights_do_not_matter(mixture, X):
    other = gm.Mixture(
        np.roll(mixture.weights, 1), mixture.means, mixture.covariances, mixture.covariance_type
    )
    np.testing.assert_array_equal(mixture.nearest(X), other.nearest(X))


@pytest.mark.parametrize("n_features", [1, 2, 5, 10])
def test_a_calibrated_gate_rejects_the_same_share_in_every_dimension(n_features):
    n_rows = 20_000
    mixture = gm.Mixture([1.0], np.zeros((1, n_features)), [1.0], "spherical")
    X = mixture.sample(n_rows, seed=n_features)[0]
    share = math.erfc(2.5 / math.sqrt(2))
    bound = 4.5 * math.sqrt(share * (1 - share) / n_rows)  # of a binomial share
    assert abs((mixture.nearest(X, calibrated=True) < 0).mean() - share) < bound
    fixed = {1: 0.01242, 2: 0.04394, 5: 0.28265, 10: 0.79384}[n_features]
    bound = 4.5 * math.sqrt(fixed * (1 - fixed) / n_rows) + 1e-5
    assert abs((mixture.nearest(X) < 0).mean() - fixed) < bound


def test_batches_threads_and_memory_order_change_nothing(mixture, X):
    whole = mixture.nearest(X, n_threads=1)
    np.testing.assert_array_equal(mixture.nearest(X, n_threads=3), whole)
    np.testing.assert_array_equal(mixture.nearest(np.asfortranarray(X)), whole)
    parts = [mixture.nearest(X[i : i + 97]) for i in range(0, len(X), 97)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_more_rows_than_a_block_and_float32():
    mixture = random_mixture("diag", n_features=3)
    X = mixture.sample(100_000, seed=0)[0].astype(np.float32)
    d = mixture.mahalanobis(X)
    # The kernels compare squares; where two distances differ by rounding either may be first.
    clear = np.diff(np.sort(d, axis=1)[:, :2], axis=1)[:, 0] > 1e-12
    expected = np.where(d.min(axis=1) < 2.5, d.argmin(axis=1), -1)
    np.testing.assert_array_equal(mixture.nearest(X)[clear], expected[clear])
    assert clear.mean() > 0.999


@pytest.mark.parametrize("factor", [2.0**-200, 2.0**200])
def test_units_change_nothing(factor):
    mixture = random_mixture("full")
    X = 1.5 * mixture.sample(300, seed=3)[0]
    scaled = gm.Mixture(mixture.weights, factor * mixture.means, factor**2 * mixture.covariances)
    np.testing.assert_array_equal(scaled.nearest(factor * X), mixture.nearest(X))


def test_rows_out_of_the_range_of_distances_are_outside():
    mixture = gm.Mixture([0.0, 1.0], [[0.0, 0.0], [1.0, 0.0]], [np.eye(2)] * 2)
    far = [[1e200, 1e200], [-1.7e308, 1.7e308]]
    np.testing.assert_array_equal(mixture.nearest(far), [-1, -1])
    np.testing.assert_array_equal(mixture.nearest(far, gate=None), [1, 1])


def test_labels_can_be_written_into_an_array(X, mixture):
    out = np.empty(len(X), dtype=np.int64)
    assert mixture.nearest(X, out=out) is out
    np.testing.assert_array_equal(out, mixture.nearest(X))
    with pytest.raises(gm.InvalidInputError, match="out has type float64"):
        mixture.nearest(X, out=np.empty(len(X)))


def test_no_rows_give_no_labels(mixture):
    assert mixture.nearest(np.empty((0, 4))).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"gate": 0.0}, "gate is 0.0, out of range"),
        ({"gate": -1}, "gate is -1"),
        ({"calibrated": "no"}, "calibrated is 'no'"),
        ({"gate": float("nan")}, "gate is nan, out of range; pass a number > 0"),
        ({"gate": "2.5"}, "not a real number"),
        ({"metric": "cosine"}, "'mahalanobis', 'euclidean'"),
    ],
)
def test_what_is_no_gate_is_refused(mixture, X, arguments, match):
    with pytest.raises(gm.InvalidInputError, match=match):
        mixture.nearest(X, **arguments)


def test_rows_with_nan_are_refused_by_their_place(mixture, X):
    X[5, 2] = np.nan
    with pytest.raises(gm.InvalidInputError, match=r"X\[5, 2\] is NaN"):
        mixture.nearest(X)
