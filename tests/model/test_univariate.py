"""Distribution function and quantiles in one dimension."""

import math

import numpy as np
import pytest
from scipy import special, stats

import gaussmix as gm

EPS = np.finfo(float).eps


def random_line(seed, n_components=4):
    rng = np.random.default_rng(seed)
    deviations = 10.0 ** rng.uniform(-2, 1, n_components)
    means = 5.0 * rng.normal(size=n_components)
    weights = rng.dirichlet(np.ones(n_components))
    return gm.Mixture(weights, means, deviations**2, "spherical")


def relative_bound(mixture, x):
    """What rounding may do to a tail at x: its logarithm's slope is at most z / sd."""
    z = (
        np.abs(x[:, None] - mixture.means[:, 0]) + np.abs(x)[:, None]
    ) / mixture.standard_deviations[:, 0]
    return EPS * (16 + 4 * (z * (1 + z)).max(axis=1))


@pytest.fixture(params=range(6))
def mixture(request):
    return random_line(request.param)


@pytest.mark.parametrize("upper", [False, True])
def test_both_tails_are_scipys(mixture, upper):
    x = np.linspace(-60, 60, 801)
    parts = (stats.norm.sf if upper else stats.norm.cdf)(
        x[:, None], mixture.means[:, 0], mixture.standard_deviations[:, 0]
    )
    expected = parts @ mixture.weights
    normal = expected > 1e-300
    found = mixture.cdf(x, upper=upper)
    error = np.abs(found[normal] / expected[normal] - 1)
    assert (error <= relative_bound(mixture, x[normal])).all()
    assert (found[~normal] <= 2e-300).all()


def test_the_distribution_function_is_the_integral_of_the_density():
    mixture = random_line(1)
    x = np.linspace(-4, 3, 200_001)
    density = mixture.pdf(x)
    # Simpson's rule: h^4 / 180 times the fourth derivative, which is below 1e9 here, times 7.
    h = x[1] - x[0]
    integral = h / 3 * (density[:-2:2] + 4 * density[1::2] + density[2::2]).sum()
    assert mixture.cdf(3.0) - mixture.cdf(-4.0) == pytest.approx(integral, abs=7e9 * h**4 / 180)


def test_any_covariance_type_and_a_marginal_have_the_same_distribution():
    x = np.linspace(-3, 9, 25)
    line = gm.Mixture([0.4, 0.6], [0.0, 5.0], [2.0, 2.0], "spherical")
    for covariance_type, covariances in (("full", [2.0, 2.0]), ("diag", [2.0, 2.0]), ("tied", 2.0)):
        same = gm.Mixture([0.4, 0.6], [0.0, 5.0], covariances, covariance_type)
        np.testing.assert_array_equal(same.cdf(x), line.cdf(x))
    plane = gm.Mixture([0.4, 0.6], [[0.0, 1.0], [5.0, 1.0]], [[2.0, 3.0]] * 2, "diag")
    np.testing.assert_array_equal(plane.marginal(0).cdf(x), line.cdf(x))


def test_the_distribution_function_rises_from_0_to_1(mixture):
    x = np.sort(np.random.default_rng(0).uniform(-100, 100, 5000))
    values = mixture.cdf(x)
    # Sums of erfc, each faithful to one unit in the last place.
    assert (np.diff(values) >= -8 * EPS).all()
    assert mixture.cdf(-math.inf) == 0.0 and mixture.cdf(math.inf) == 1.0
    assert mixture.cdf(-math.inf, upper=True) == 1.0 and mixture.cdf(math.inf, upper=True) == 0.0


@pytest.mark.parametrize("upper", [False, True])
def test_quantiles_invert_the_distribution_function(mixture, upper):
    p = np.concatenate([10.0 ** -np.arange(1, 300, 7), np.linspace(0.001, 0.999, 333)])
    x = mixture.quantile(p, upper=upper)
    error = np.abs(mixture.cdf(x, upper=upper) / p - 1)
    assert (error <= relative_bound(mixture, x) / np.minimum(p, 1)).all()
    # Relative to p itself where that is small.
    tail = p < 0.05
    assert (error[tail] <= relative_bound(mixture, x[tail]) * 4).all()


def test_quantiles_of_one_gaussian_are_scipys():
    mixture = gm.Mixture([1.0], [3.0], [4.0], "spherical")
    p = np.concatenate([10.0 ** -np.arange(1, 300, 7), np.linspace(0.001, 0.999, 333)])
    expected = 3.0 + 2.0 * special.ndtri(p)
    np.testing.assert_allclose(mixture.quantile(p), expected, rtol=16 * EPS, atol=16 * EPS)
    mirrored = mixture.quantile(p, upper=True)
    np.testing.assert_allclose(mirrored, 6.0 - expected, rtol=16 * EPS, atol=16 * EPS)


def test_between_far_components_a_quantile_is_found_from_their_tails():
    # By symmetry; the distribution function is 1/2 to the last bit over a range of 14.
    mixture = gm.Mixture([0.5, 0.5], [0.0, 30.0], [1.0, 1.0], "spherical")
    assert mixture.quantile(0.5) == pytest.approx(15.0, rel=4 * EPS)
    # Unlike the share, the tail beyond it is a number of its own: 2^-53 of the upper component.
    above = mixture.quantile(0.5 + 2.0**-52)
    assert above == pytest.approx(30.0 + special.ndtri(2.0**-51), rel=1e-13)
    below = mixture.quantile(0.5 - 2.0**-53)
    assert below == pytest.approx(-special.ndtri(2.0**-52), rel=1e-13)


def test_widths_300_orders_of_magnitude_apart_are_no_trouble():
    mixture = gm.Mixture([0.5, 0.5], [0.0, 0.0], [1e-300, 1e300], "spherical")
    p = [0.4, 0.2501, 0.5, 1e-5]
    x = mixture.quantile(p)
    # Where the narrow one has half of itself, the wide one has half as well.
    assert x[0] == pytest.approx(1e-150 * special.ndtri(2 * (0.4 - 0.25)), rel=1e-12)
    assert abs(x[2]) < 1e-164
    assert x[3] == pytest.approx(1e150 * special.ndtri(2e-5), rel=1e-12)


def test_offsets_and_units_move_and_scale_quantiles(mixture):
    p = np.linspace(0.01, 0.99, 99)
    x = mixture.quantile(p)
    scaled = gm.Mixture(
        mixture.weights, mixture.means * 2.0**70, mixture.covariances * 2.0**140, "spherical"
    )
    np.testing.assert_allclose(scaled.quantile(p), x * 2.0**70, rtol=1e-13, atol=2.0**70 * 1e-13)
    moved = gm.Mixture(mixture.weights, mixture.means + 2.0**20, mixture.covariances, "spherical")
    np.testing.assert_allclose(moved.quantile(p), x + 2.0**20, rtol=8 * EPS)


def test_quantiles_rise_with_p_and_end_at_infinities(mixture):
    x = mixture.quantile(np.linspace(0, 1, 1001))
    assert x[0] == -math.inf and x[-1] == math.inf
    assert (np.diff(x) > 0).all()
    assert mixture.quantile(1.0, upper=True) == -math.inf


def test_components_of_weight_zero_change_nothing():
    with_zero = gm.Mixture([0.4, 0.0, 0.6], [0.0, 99.0, 5.0], [1.0, 1.0, 2.0], "spherical")
    without = gm.Mixture([0.4, 0.6], [0.0, 5.0], [1.0, 2.0], "spherical")
    p = np.linspace(0.1, 0.9, 9)
    np.testing.assert_array_equal(with_zero.quantile(p), without.quantile(p))
    np.testing.assert_array_equal(with_zero.cdf(p), without.cdf(p))


def test_a_number_gives_a_number_and_rows_give_rows(mixture):
    for method in (mixture.cdf, mixture.quantile):
        assert type(method(0.25)) is float
        assert method([0.25, 0.5]).shape == (2,)
        assert method(np.array([[0.25], [0.5]])).shape == (2,)
        assert method([]).shape == (0,)
        assert method([0.5, 0.25])[1] == method(0.25)


def test_thousands_of_components():
    rng = np.random.default_rng(0)
    mixture = gm.Mixture(np.full(3000, 1 / 3000), rng.normal(size=3000), 0.01, "tied")
    p = np.linspace(0.01, 0.99, 50)
    np.testing.assert_allclose(mixture.cdf(mixture.quantile(p)), p, rtol=3000 * EPS)


def test_what_does_not_fit_is_refused():
    mixture = random_line(0)
    plane = gm.Mixture([1.0], [[0.0, 0.0]], [1.0], "spherical")
    with pytest.raises(gm.InvalidInputError, match=r"mixture.marginal\(0\).cdf"):
        plane.cdf(0.0)
    with pytest.raises(gm.InvalidInputError, match=r"mixture.marginal\(0\).quantile"):
        plane.quantile(0.5)
    with pytest.raises(gm.InvalidInputError, match=r"p\[1\] is 1.5"):
        mixture.quantile([0.5, 1.5])
    with pytest.raises(gm.InvalidInputError, match=r"p is -0\.1"):
        mixture.quantile(-0.1)
    with pytest.raises(gm.InvalidInputError, match="p is NaN"):
        mixture.quantile(math.nan)
    with pytest.raises(gm.InvalidInputError, match=r"x\[1, 0\] is NaN"):
        mixture.cdf([0.0, math.nan])
    with pytest.raises(gm.InvalidInputError, match="x"):
        mixture.cdf([[0.0, 1.0]])
    with pytest.raises(gm.InvalidInputError, match=r"^x is NaN. Drop such points"):
        mixture.cdf(np.float64("nan"))
    assert mixture.cdf(np.array(3.0)) == mixture.cdf(3.0)


def test_upper_is_true_or_false():
    mixture = gm.Mixture([1.0], [0.0], [1.0], "spherical")
    for method in (mixture.cdf, mixture.quantile):
        with pytest.raises(gm.InvalidInputError, match="upper is 'no'; pass True or False"):
            method(0.5, upper="no")


@pytest.mark.parametrize("upper", [False, True])
def test_a_tail_has_the_digits_that_its_distance_leaves(upper):
    """Against the normal tail in 40 digits."""
    mpmath = pytest.importorskip("mpmath")
    rng = np.random.default_rng(0)
    with mpmath.workdps(40):
        for z in (2.0, 6.0, 12.0, 24.0, 37.0):
            mean, deviation = 10.0 * rng.normal(size=50), np.exp(2.0 * rng.normal(size=50))
            for m, sd in zip(mean.tolist(), deviation.tolist(), strict=True):
                mixture = gm.Mixture([1.0], [m], [sd**2], "spherical")
                x = m + z * sd if upper else m - z * sd
                way = abs(mpmath.mpf(x) - m) / mpmath.sqrt(mixture.covariances[0])
                expected = mpmath.ncdf(-way)
                error = abs(mixture.cdf(x, upper=upper) - expected) / expected
                assert error <= 2.0 * (1.0 + z * z) * EPS
