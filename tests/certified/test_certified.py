"""Values certified with 50 digits: as many of them are right as the inputs determine, up to 11."""

import numpy as np
import pytest

import gaussmix as gm
from certified.digits import (
    digits,
    entries,
    moments_of_gaussmix,
    nist,
    of_gaussmix,
    required,
)
from certified.problems import NIST

ENTRIES = entries()


@pytest.mark.parametrize(
    "problem, values, limits",
    [pytest.param(*entry, id=f"{entry[0].name}, {entry[0].covariance_type}") for entry in ENTRIES],
)
def test_certified_digits(problem, values, limits):
    found = digits(problem, values, of_gaussmix(problem))
    short = {name: (n, limits[name]) for name, n in found.items() if n < required(limits[name])}
    assert not short


@pytest.mark.parametrize("name", NIST)
def test_one_component_has_nists_mean_and_standard_deviation(name):
    # What float64 rows are of the decimal ones leaves so many digits of the deviation.
    rows, _, deviation = NIST[name]
    left = -np.log10(max(np.spacing(max(rows)) / 2 / deviation, 1e-16))
    found = nist(moments_of_gaussmix)[name]
    assert found[0] >= 15.0 and found[1] >= min(14.0, left - 0.3)


@pytest.mark.parametrize("name", NIST)
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_one_component_is_exactly_the_mean_and_variance_of_the_rows(name, covariance_type):
    X = np.array(NIST[name][0])[:, None]
    # The rows as float64 has them, in integers of their last place: no rounding at all.
    unit = float(np.spacing(np.abs(X).min()))
    whole = [int(value) for value in (X[:, 0] / unit)]
    count, total = len(whole), sum(whole)
    squares = count * sum(value * value for value in whole) - total * total
    mixture = gm.fit(X, 1, covariance_type=covariance_type).mixture
    assert abs(mixture.means[0, 0] - total / count * unit) <= np.spacing(X.max())
    variance = squares / count**2 * unit * unit
    np.testing.assert_allclose(float(mixture.covariances.ravel()[0]), variance, rtol=1e-13)
