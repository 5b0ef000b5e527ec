"""A twentieth of the cases of ``python -m benchmarks.reliability hostile``."""

import numpy as np
import pytest

import gaussmix as gm
from hostile import matrix
from outcomes import CRASHED, WRONG


@pytest.mark.parametrize("case", matrix.sampled(0.05), ids=str)
def test_hostile_cases_end_right_or_named(case):
    outcome, detail = matrix.judged(case)
    assert outcome not in (WRONG, CRASHED), detail


def test_the_oracle_sees_small_errors():
    X = matrix.DATA["A plain"]()
    mixture = gm.fit(X, 3, seed=0).mixture
    parts = (mixture.weights, mixture.means, mixture.covariances)
    assert not matrix.agrees(mixture, X, None, True)
    for changed, factor in ((1, 1 + 1e-5), (2, 1 + 1e-6)):
        other = [part * (factor if i == changed else 1.0) for i, part in enumerate(parts)]
        assert matrix.agrees(gm.Mixture(*other), X, None, True)
    assert matrix._densities(mixture, X, mixture.logpdf(X) + 1e-6)
    assert matrix._densities(mixture, X, np.full(len(X), np.nan))
