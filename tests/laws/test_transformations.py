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
