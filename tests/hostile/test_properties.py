"""Arrays that hypothesis makes up: a valid mixture comes of them, or a named error.

``GAUSSMIX_EXAMPLES`` is how many each property tries; the same ones in every run.
"""

import os

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import gaussmix as gm
from hostile.matrix import TYPES, valid
from outcomes import observe

PROFILE = settings(
    max_examples=int(os.environ.get("GAUSSMIX_EXAMPLES", "15")),
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SHAPES = st.tuples(st.integers(0, 12), st.integers(1, 4))
NUMBERS = st.one_of(
    st.integers(-3, 3).map(float),
    st.floats(-1e3, 1e3, width=32),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e-310, 1e154, 1e308, 1e-160, 2.0**40]),
)
ROWS = SHAPES.flatmap(lambda shape: arrays.arrays(np.float64, shape, elements=NUMBERS))


def outcome(call):
    """The value, or None after a named error; fails for any other."""
    seen = observe(call)
    if seen.error is not None:
        assert isinstance(seen.error, gm.GaussmixError), repr(seen.error)
    assert all(issubclass(w.category, gm.GaussmixWarning) for w in seen.warnings)
    return seen.value


@PROFILE
@given(ROWS, st.integers(1, 4), st.sampled_from(TYPES), st.sampled_from(["em", "hard"]))
def test_any_rows_give_a_valid_mixture_or_a_named_error(X, n_components, kind, algorithm):
    options = {"covariance_type": kind, "algorithm": algorithm, "seed": 0}
    result = outcome(lambda: gm.fit(X, n_components, **options))
    if result is None:
        return
    assert not valid(result.mixture)
    assert np.isfinite(result.log_likelihood).all()
    shares = result.mixture.predict_proba(X)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-13)
    again = gm.Mixture(*(getattr(result.mixture, name) for name in
                         ("weights", "means", "covariances", "covariance_type")))  # fmt: skip
    assert again == result.mixture


@PROFILE
@given(ROWS, st.lists(st.sampled_from([0.0, 1.0, 2.0, 1e-200, 1e90]), min_size=12, max_size=12),
       st.sampled_from(TYPES))  # fmt: skip
def test_any_weights_give_a_valid_mixture_or_a_named_error(X, weights, kind):
    weight = np.array(weights[: len(X)])
    result = outcome(lambda: gm.fit(X, 2, covariance_type=kind, sample_weight=weight, seed=0))
    assert result is None or not valid(result.mixture)


@PROFILE
@given(st.lists(ROWS, max_size=4), st.sampled_from(TYPES))
def test_any_stream_leaves_a_valid_mixture_or_named_errors(batches, kind):
    online = gm.OnlineMixture(2, covariance_type=kind, start_rows=4, seed=0)
    for X in batches:
        outcome(lambda X=X: online.update(X))
        if online.ready:
            mixture = outcome(lambda: online.mixture)
            assert mixture is None or not valid(mixture)


@PROFILE
@given(ROWS, st.sampled_from(TYPES))
def test_any_rows_are_scored(X, kind):
    n_features = X.shape[1]
    shape = {"full": np.eye(n_features)[None], "tied": np.eye(n_features),
             "diag": np.ones((1, n_features)), "spherical": np.ones(1)}[kind]  # fmt: skip
    second = shape if kind == "tied" else np.concatenate([shape, 4.0 * shape])
    mixture = gm.Mixture([0.25, 0.75], [[0.0] * n_features, [3.0] * n_features], second, kind)
    densities, labels = mixture.logpdf(X), mixture.nearest(X, gate=2.0)
    assert not np.isnan(densities).any() and ((labels >= -1) & (labels < 2)).all()
    np.testing.assert_allclose(mixture.predict_proba(X).sum(axis=1), 1.0, rtol=1e-13)
    for i, row in enumerate(X):
        assert mixture.logpdf(row[None])[0] == densities[i]
