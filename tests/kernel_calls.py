"""Calls of a kernel backend, and mixtures for them; what the tests of kernels share."""

from itertools import pairwise

import numpy as np
import pytest

from gaussmix.kernels import contract
from gaussmix.kernels.contract import (
    FACTOR_DIAG,
    FACTOR_FULL,
    FACTOR_SHARED,
    HARD,
    LAYOUT_DIAG,
    LAYOUT_FULL,
    LAYOUT_POOLED,
    LAYOUT_SPHERICAL,
    RULE_STOCHASTIC,
    RULE_TEMPERED,
    SOFT,
    WANT_LABELS,
    WANT_LOG_JOINT,
    WANT_LOGPDF,
    WANT_MAHALANOBIS,
    WANT_RESPONSIBILITIES,
    Parameters,
    RuleCall,
)

KINDS = {FACTOR_DIAG: "diag", FACTOR_FULL: "full", FACTOR_SHARED: "shared"}
LAYOUT_NAMES = {code: name for name, code in contract.LAYOUTS.items()}
RULES = {SOFT: "soft", HARD: "hard"}
WANTS = (WANT_LOG_JOINT, WANT_LOGPDF, WANT_RESPONSIBILITIES, WANT_LABELS, WANT_MAHALANOBIS)
THREADS = (1, 2, 3, 7)


COMBINATIONS = [
    (FACTOR_FULL, LAYOUT_FULL, SOFT),
    (FACTOR_SHARED, LAYOUT_POOLED, SOFT),
    (FACTOR_DIAG, LAYOUT_DIAG, SOFT),
    (FACTOR_DIAG, LAYOUT_SPHERICAL, HARD),
    (FACTOR_SHARED, LAYOUT_POOLED, RuleCall(RULE_STOCHASTIC, seed=2**64 - 1, iteration=3)),
    (FACTOR_FULL, LAYOUT_FULL, RuleCall(RULE_TEMPERED, beta=0.3)),
]
COMBINATION_NAMES = ["full", "tied", "diag", "hard-spherical", "drawn-tied", "tempered-full"]
combinations = pytest.mark.parametrize(
    ("kind", "layout", "rule"), COMBINATIONS, ids=COMBINATION_NAMES
)


def make_parameters(rng, kind, n_components, n_features, offset=0.0, spread=1.0):
    factors = np.tril(rng.normal(size=(n_components, n_features, n_features))) * spread
    factors /= np.sqrt(n_features)
    factors += np.eye(n_features) * (0.5 + rng.random((n_components, 1, 1)))
    stored = {
        FACTOR_DIAG: np.einsum("kdd->kd", factors),
        FACTOR_FULL: factors,
        FACTOR_SHARED: factors[0],
    }[kind]
    means = offset + rng.normal(size=(n_components, n_features))
    coefficients = rng.normal(size=n_components)
    return Parameters(kind, coefficients, means, np.ascontiguousarray(stored), means.mean(axis=0))


def make_large(kind, layout, n_features=3, n_components=4, slots=15):
    rng = np.random.default_rng(5)
    parameters = make_parameters(rng, kind, n_components, n_features)
    plan = contract.plan(n_components, n_features, layout)
    n_rows = slots * plan.slot_rows - 321
    return rng.normal(size=(n_rows, n_features)), rng.random(n_rows), parameters, plan


def accumulate(backend, X, parameters, layout, rule=SOFT, weight=None, threads=1, cuts=()):
    """Fresh accumulators after one call, or after one for each chunk between `cuts`."""
    n_components, n_features = parameters.means.shape
    plan = contract.plan(n_components, n_features, layout)
    size = contract.offsets(n_components, n_features, layout).size
    accumulators = np.zeros((plan.n_accumulators, size))
    edges = [0, *cuts, len(X)]
    for start, stop in pairwise(edges):
        part = None if weight is None else weight[start:stop]
        arguments = (X[start:stop], part, start, parameters, layout, rule, accumulators, plan)
        assert backend.accumulate(*arguments, threads) == -1
    return accumulators


def evaluate(backend, X, parameters, want, threads=1):
    out = new_out(len(X), len(parameters.means), want)
    assert backend.evaluate(X, parameters, want, out, threads) == -1
    return out


def new_out(n_rows, n_components, want):
    shape = (n_rows,) if want in (WANT_LOGPDF, WANT_LABELS) else (n_rows, n_components)
    return np.empty(shape, dtype=np.int64 if want == WANT_LABELS else np.float64)


def equal_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
