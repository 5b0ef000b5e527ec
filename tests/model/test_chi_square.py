"""The chi-square distribution against SciPy's."""

import math

import numpy as np
import pytest
from scipy import special

from gaussmix.model.chi_square import log_tails, radius, rejected_share

# A distance r depends on its tail's logarithm with a relative sensitivity of at most 1 here; both
# sides compute that from a few roundings of terms of order 10.
RTOL = 64 * np.finfo(float).eps
DIMENSIONS = [*range(1, 61), 64, 100, 128, 255, 256, 500, 999, 1000, 1500, 2000]


@pytest.mark.parametrize("gate", [0.01, 0.5, 1.0, 2.5, 4.0, 8.0])
def test_the_radius_is_scipys_for_1_to_2000_dimensions(gate):
    share, kept = special.erfc(gate / math.sqrt(2)), special.erf(gate / math.sqrt(2))
    for n_features in DIMENSIONS:
        a = n_features / 2
        half = special.gammainccinv(a, share) if share < 0.5 else special.gammaincinv(a, kept)
        assert radius(gate, n_features) == pytest.approx(math.sqrt(2 * half), rel=RTOL)


def test_tails_are_scipys_on_both_sides_of_the_mean():
    for n_features in DIMENSIONS:
        for distance in math.sqrt(n_features) * np.array([0.3, 0.9, 1.0, 1.1, 1.5]):
            lower, upper = log_tails(distance, n_features)
            a, x = n_features / 2, distance * distance / 2
            for found, expected in (
                (lower, special.gammainc(a, x)),
                (upper, special.gammaincc(a, x)),
            ):
                if expected > 1e-290:
                    # Logarithms of both; SciPy's relative error grows with the exponent's size.
                    assert found == pytest.approx(math.log(expected), rel=RTOL, abs=1e-12)


def test_in_one_dimension_the_radius_is_the_gate_itself():
    assert radius(2.5, 1) == 2.5
    assert rejected_share(2.5, 1) == pytest.approx(math.erfc(2.5 / math.sqrt(2)), rel=RTOL)


def test_in_two_dimensions_the_radius_has_a_closed_form():
    for gate in (1e-3, 0.5, 2.5, 10.0, 30.0):
        share, kept = math.erfc(gate / math.sqrt(2)), math.erf(gate / math.sqrt(2))
        expected = math.sqrt(-2 * (math.log(share) if share < 0.5 else math.log1p(-kept)))
        assert radius(gate, 2) == pytest.approx(expected, rel=RTOL)


def test_the_docstring_of_nearest_holds_the_true_shares_and_radii():
    from gaussmix import Mixture

    lines = [line.split() for line in Mixture.nearest.__doc__.splitlines()]
    rows = {line[0]: line for line in lines if line and line[0] in ("D", "rejected", "calibrated")}
    dimensions = [int(cell) for cell in rows["D"][1:]]
    shares = [float(cell) / 100 for cell in rows["rejected"][3::2]]
    radii = [float(cell) for cell in rows["calibrated"][2:]]
    assert dimensions == [1, 2, 3, 5, 10, 20, 50]
    for n_features, share, distance in zip(dimensions, shares, radii, strict=True):
        exact = rejected_share(2.5, n_features)
        assert abs(share - exact) <= 0.5e-2 if 0.05 < exact < 0.99 else 0.5e-3
        assert distance == pytest.approx(radius(2.5, n_features), abs=0.5e-3)


@pytest.mark.parametrize("n_features", [2, 3, 50, 2000])
def test_gates_whose_tails_underflow_have_a_radius(n_features):
    for gate in (50.0, 1e3, 1e8, 1e200):
        found = radius(gate, n_features)
        # The tail of a chi with D degrees is r^(D - 2) exp(-r^2 / 2) beside constants.
        assert gate <= found <= gate + 2 * n_features * (1 + math.log(gate)) / gate + 1e-15 * gate
    small = radius(1e-200, n_features)
    a = n_features / 2
    log_kept = math.log(1e-200) + 0.5 * math.log(2 / math.pi)
    expected = math.exp((log_kept + math.lgamma(a + 1) + a * math.log(2)) / n_features)
    if expected < 1e-3:  # where the series is its first term
        assert small == pytest.approx(expected, rel=1e-6)
    assert math.isinf(radius(math.inf, n_features))
    assert rejected_share(math.inf, n_features) == 0.0


def test_the_radius_rises_with_gate_and_dimension():
    gates = np.geomspace(1e-3, 1e3, 61)
    table = np.array([[radius(gate, n) for gate in gates] for n in (1, 2, 3, 5, 10, 100)])
    assert (np.diff(table, axis=0) > 0).all()
    assert (np.diff(table, axis=1) > 0).all()
