"""A few cases of ``python -m benchmarks.reliability transformations``."""

import numpy as np
import pytest

import gaussmix as gm
from laws.calls import CALLS
from laws.datasets import on_grid
from laws.transformations import (
    LAWS,
    TYPES,
    Case,
    Move,
    judged,
    law_outcome,
    of_gaussmix,
)  # fmt: skip
from outcomes import RIGHT, WARNED


@pytest.fixture(scope="module")
def faithful():
    return on_grid(gm.datasets.load("faithful").X)


MOVES = {
    "shift 2^40": Move(np.full(2, 2.0**40), np.ones(2)),
    "shift -2^30": Move(np.full(2, -(2.0**30)), np.ones(2)),
    "shifts 2^20, 0": Move(np.array([2.0**20, 0.0]), np.ones(2)),
    "scale 2^500": Move(np.zeros(2), np.full(2, 2.0**500)),
    "scale 2^-500": Move(np.zeros(2), np.full(2, 2.0**-500)),
    "shift and scale": Move(np.full(2, 2.0**35), np.full(2, 2.0**-300)),
}


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("name", MOVES)
def test_a_default_fit_moves_with_the_data(faithful, covariance_type, name):
    case = Case("faithful", faithful, 3, covariance_type, MOVES[name], name)
    outcome, detail = judged(case, of_gaussmix)
    # Of means near 2^40 too few digits are left for the sixth one of posteriors.
    assert outcome == RIGHT or (outcome == WARNED and "posteriors" in detail), detail


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("call", CALLS)
def test_what_else_there_is_moves_with_the_data(faithful, covariance_type, call):
    for name in ("shift 2^40", "shift and scale"):
        outcome, detail = law_outcome(CALLS[call], faithful[::2], covariance_type, MOVES[name])
        assert outcome == RIGHT, detail


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("law", [law for law in LAWS if "threads" not in law])
def test_the_model_follows_from_the_rows_alone(faithful, covariance_type, law):
    if "full" in law and covariance_type != "full":
        pytest.skip("only full covariances turn with the data")
    rng = np.random.default_rng(0)
    outcome, detail = law_outcome(LAWS[law], faithful, covariance_type, rng)
    assert outcome in (RIGHT, WARNED), detail


@pytest.fixture(scope="module")
def apart():
    """Four clusters far apart: runs from several starts all end in one optimum."""
    rng = np.random.default_rng(1)
    centres = np.repeat(rng.uniform(-40.0, 40.0, (4, 3)), 75, axis=0)
    return on_grid(centres + rng.normal(size=centres.shape))


APART = {
    "scale 2^-150": Move(np.zeros(3), np.full(3, 2.0**-150)),
    "scale 2^7": Move(np.zeros(3), np.full(3, 2.0**7)),
    "shift 2^10": Move(np.full(3, 2.0**10), np.ones(3)),
    "shift 2^21": Move(np.full(3, 2.0**21), np.ones(3)),
    "scales": Move(np.zeros(3), np.array([2.0**5, 2.0**-7, 1.0])),
}


@pytest.mark.parametrize("name", APART)
@pytest.mark.parametrize("covariance_type", ("full", "tied", "diag"))
def test_rounding_does_not_choose_among_runs_to_one_optimum(apart, covariance_type, name):
    moved = APART[name].data(apart)
    for seed in range(3):
        plain, other = (
            gm.fit(X, 4, covariance_type=covariance_type, n_starts=6, seed=seed).mixture.predict(X)
            for X in (apart, moved)
        )
        np.testing.assert_array_equal(plain, other)
        plain, other = (
            gm.select(X, (3, 4), covariance_types=covariance_type, seed=seed).mixture.predict(X)
            for X in (apart, moved)
        )
        np.testing.assert_array_equal(plain, other)


def test_of_equal_models_the_first_type_is_chosen(apart):
    """In one dimension a full, a diagonal and a spherical covariance are one model."""
    types = ("spherical", "full", "diag")
    for exponent in (-40, -3, 0, 1, 5, 33):
        chosen = gm.select(apart[:, :1] * 2.0**exponent, 1, covariance_types=types, seed=0)
        assert chosen.mixture.covariance_type == "spherical"


@pytest.mark.filterwarnings("ignore::gaussmix.DegenerateComponentWarning")
@pytest.mark.parametrize("shape", [(8, 30), (12, 20), (20, 19), (30, 40)])
@pytest.mark.parametrize("covariance_type", ["full", "tied"])
@pytest.mark.parametrize(
    "how",
    [{"start": "k-means++"}, {"n_starts": 5}, {"n_starts": 3, "algorithm": "hard"}],
    ids=["k-means++", "five", "hard"],
)
def test_starts_of_few_rows_in_many_features_move_with_the_data(shape, covariance_type, how):
    """By the covariance of at most D + 1 rows all are equally far apart, but for rounding."""
    X = on_grid(np.random.default_rng(7).standard_normal(shape))
    for n_components in (2, 5):
        found = [
            gm.fit(X + shift, n_components, covariance_type=covariance_type, seed=1, **how)
            for shift in (0.0, 2.0, 2.0**6, 2.0**9, 2.0**13)
        ]
        for shift, fit in zip((2.0, 2.0**6, 2.0**9, 2.0**13), found[1:], strict=True):
            np.testing.assert_allclose(
                fit.mixture.means - shift, found[0].mixture.means, rtol=0, atol=1e-6
            )


@pytest.mark.filterwarnings("ignore::gaussmix.DegenerateComponentWarning")
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("start", ["kmeans", "k-means++", "random_from_data"])
def test_one_hot_rows_that_are_as_near_to_one_centre_as_to_another_move(covariance_type, start):
    """With an offset the columns' standard deviations differ by rounding, and must not tell."""
    X = np.eye(6)
    for n_components in (3, 5):
        plain, *moved = (
            gm.fit(X + c, n_components, covariance_type=covariance_type, start=start, seed=5)
            for c in (0.0, 2.0, 2.0**6, 2.0**13)
        )
        for shift, fit in zip((2.0, 2.0**6, 2.0**13), moved, strict=True):
            np.testing.assert_allclose(
                fit.mixture.means - shift, plain.mixture.means, rtol=0, atol=1e-6
            )
