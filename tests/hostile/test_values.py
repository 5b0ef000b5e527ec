"""A: offsets, scales, signs of zero. The model moves and scales with the data."""

import numpy as np
import pytest

import gaussmix as gm

TYPES = ["full", "tied", "diag", "spherical"]
pytestmark = pytest.mark.filterwarnings("ignore::gaussmix.errors.ConvergenceWarning")
FIXED = {"tol": 0.0, "max_iter": 15}  # the same number of iterations whatever the rounding


def _fit(X, covariance_type, start="kmeans", **options):
    with np.errstate(all="raise"):
        return gm.fit(
            X, 2, covariance_type=covariance_type, start=start, seed=0, **{**FIXED, **options}
        )


@pytest.fixture(scope="module")
def plain(grid_clusters):
    """The reference: the same rows, well placed and scaled, for each covariance type."""
    X = grid_clusters()
    return X, {name: _fit(X, name) for name in TYPES}


def _assert_moved(result, reference, offset, scale, tolerance):
    """Equal up to x -> scale (x + offset), relative to the covariances' size."""
    model, expected = result.mixture, reference.mixture
    np.testing.assert_allclose(model.weights, expected.weights, rtol=tolerance)
    deviation = np.sqrt(expected.dense_covariances().max())
    means = model.means / scale - offset
    np.testing.assert_allclose(means, expected.means, atol=tolerance * deviation, rtol=0)
    covariances = model.covariances / scale / scale
    size = np.abs(expected.covariances).max()
    np.testing.assert_allclose(covariances, expected.covariances, atol=tolerance * size, rtol=0)


OFFSETS = {
    "A1": (1e6, 1e-9),
    "A1 negative": (-1e6, 1e-9),
    "A2": (1e7, 1e-8),
    "A3 3e7": (3e7, 1e-7),
    "A3": (1e8, 1e-7),
}


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("case", OFFSETS)
def test_an_offset_moves_the_model(plain, case, covariance_type):
    X, reference = plain
    offset, tolerance = OFFSETS[case]
    assert np.array_equal((X + offset) - offset, X)
    result = _fit(X + offset, covariance_type)
    _assert_moved(result, reference[covariance_type], offset, 1.0, tolerance)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a5_unix_time_in_milliseconds(grid_clusters, covariance_type):
    X = np.round(grid_clusters() * 1e6)  # hours around a day of this century
    offset = 1.7e12
    _assert_moved(
        _fit(X + offset, covariance_type), _fit(X, covariance_type), offset, 1.0, tolerance=1e-8
    )


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("offset", [100.0, 1000.0])
def test_a7_a8_float32_is_read_as_the_numbers_it_holds(grid_clusters, covariance_type, offset):
    X = (grid_clusters(bits=8) + offset).astype(np.float32)
    single, double = (_fit(given, covariance_type) for given in (X, X.astype(np.float64)))
    assert single.mixture == double.mixture
    np.testing.assert_array_equal(single.log_likelihood, double.log_likelihood)


SCALES = {
    "A11": 1e-3,
    "A12": 1e-4,
    "A12 small": 1e-12,
    "A12 tiny": 1e-150,
    "A14": 1e150,
    "A14 large": 1e12,
}


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("case", SCALES)
def test_a_scale_scales_the_model(plain, case, covariance_type):
    X, reference = plain
    scale = SCALES[case]
    result = _fit(X * scale, covariance_type)
    _assert_moved(result, reference[covariance_type], 0.0, scale, 1e-9)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("power", [-400, -30, -1, 3, 60, 480])
def test_a18_a_power_of_two_scales_the_model_and_keeps_the_labels(plain, power, covariance_type):
    X, reference = plain
    scale = 2.0**power
    result, expected = _fit(X * scale, covariance_type), reference[covariance_type]
    _assert_moved(result, expected, 0.0, scale, 1e-9)
    np.testing.assert_array_equal(result.mixture.predict(X * scale), expected.mixture.predict(X))


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("scale", [1e-320, 1e-308, 1e-200, 1e154, 1e200, 1e300, 1e307])
def test_a13_a15_squares_outside_float64_are_rescaled_or_refused(plain, scale, covariance_type):
    X, reference = plain
    try:
        result = _fit(X * scale, covariance_type)
    except gm.InvalidInputError as error:
        assert "column " in str(error) and "spans" in str(error) and "rescale" in str(error)
    else:
        _assert_moved(result, reference[covariance_type], 0.0, scale, 1e-9)


def test_a15_one_column_outside_float64_is_the_one_named(plain):
    X = plain[0].copy()
    X[:, 1] *= 1e250
    with pytest.raises(gm.InvalidInputError, match=r"column 1 of X spans 9.19e\+250"):
        _fit(X, "full")


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a15_columns_of_very_different_units(plain, covariance_type):
    X, reference = plain
    scale = np.array([1e-90, 1.0, 1e90])
    result = _fit(X * scale, covariance_type)
    if covariance_type == "spherical":  # one variance for all: the largest unit decides
        assert np.isfinite(result.mixture.covariances).all()
        return
    factor = scale**2 if covariance_type == "diag" else scale[:, None] * scale
    expected = reference[covariance_type].mixture
    size = np.abs(expected.covariances).max()
    np.testing.assert_allclose(
        result.mixture.covariances / factor, expected.covariances, atol=1e-9 * size, rtol=0
    )


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a16_squares_outside_float32_do_not_matter(grid_clusters, covariance_type):
    X = grid_clusters(bits=8).astype(np.float32)
    scale = np.float32(2.0**63)
    result, expected = (_fit(given, covariance_type) for given in (X * scale, X))
    _assert_moved(result, expected, 0.0, float(scale), 1e-9)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a19_negative_zero_is_zero(grid_clusters, covariance_type):
    X = grid_clusters(bits=1)
    assert (X == 0).any()
    negative = np.where(X == 0, -0.0, X)
    results = [_fit(given, covariance_type) for given in (np.abs(X) * np.sign(X), negative)]
    assert results[0].mixture == results[1].mixture
    np.testing.assert_array_equal(results[0].mixture.logpdf(X), results[1].mixture.logpdf(negative))


@pytest.mark.parametrize("offset", [1e13, 1e15])
def test_an_offset_that_leaves_few_digits_is_told(grid_clusters, offset):
    X = grid_clusters(n_features=1, bits=1) + offset
    with pytest.warns(gm.PrecisionWarning, match=r"column 0 of X has mean"):
        result = _fit(X, "diag")
    assert np.isfinite(result.mixture.covariances).all()


@pytest.mark.filterwarnings("ignore::gaussmix.errors.GaussmixWarning")
@pytest.mark.parametrize("covariance_type", TYPES)
def test_no_call_raises_what_numpy_is_told_to_raise(grid_clusters, covariance_type):
    """Squares of small numbers and densities far out underflow to 0, which is right."""
    X = grid_clusters()
    with np.errstate(all="raise"):
        for scale in (1.0, 2.0**-480):
            mixture = _fit(X * scale, covariance_type).mixture
            assert mixture.pdf(X[:1] * 1e4 * scale) == 0.0
            assert gm.Mixture([1.0], [0.0], [1e-308], "spherical").pdf([0.0, 1.0])[1] == 0.0
            assert gm.Mixture([1.0], [[0.0] * 3], [1e-300], "spherical").pdf([[0.0] * 3]) == np.inf
            mixture.hills(X * scale)
            mixture.modes()
            mixture.entropy(100, seed=0)
            mixture.kl(mixture, 100, seed=0)
            mixture.regress(X[:, :1] * scale, [0])
            gm.merge(mixture)
            gm.select(X * scale, (1, 2), covariance_types=covariance_type, seed=0)
            stream = gm.OnlineMixture(2, covariance_type=covariance_type, seed=0)
            for batch in np.array_split(np.tile(X * scale, (4, 1)), 8):
                stream.update(batch)
            assert np.isfinite(stream.mixture.means).all()
