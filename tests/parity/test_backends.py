"""Every backend against the long-double oracle: values within derived error bounds."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

import oracle
from gaussmix.kernels import contract
from gaussmix.kernels.contract import (
    FACTOR_DIAG,
    FACTOR_SHARED,
    HARD,
    LAYOUT_DIAG,
    LAYOUT_FULL,
    LAYOUT_POOLED,
    LAYOUT_SPHERICAL,
    SOFT,
    WANT_LABELS,
    WANT_LOG_JOINT,
    WANT_LOGPDF,
    WANT_MAHALANOBIS,
    WANT_RESPONSIBILITIES,
    Parameters,
)
from kernel_calls import (
    KINDS,
    LAYOUT_NAMES,
    RULES,
    accumulate,
    evaluate,
    make_large,
    make_parameters,
)

LONG = np.longdouble
EPS = np.finfo(np.float64).eps
TINY = 1e-300  # responsibilities below it may be taken as 0
ALL_D = (1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 40)
ALL_K = (1, 2, 3, 7, 20)


@dataclass(frozen=True)
class Case:
    n_features: int
    n_components: int
    kind: int
    layout: int
    rule: contract.RuleCall
    dtype: str
    weights: str  # "none", "random", "zeros": some are 0
    offset: float
    n_rows: int
    empty: bool  # one component has weight 0

    def __str__(self):
        parts = (
            KINDS[self.kind],
            LAYOUT_NAMES[self.layout],
            RULES[self.rule],
            self.dtype,
        )
        shape = f"D{self.n_features}K{self.n_components}N{self.n_rows}"
        return "-".join((*parts, self.weights, f"{self.offset:g}", shape))


def make_cases():
    """Every factor kind x layout x D once; the other properties dealt out evenly by a seed."""
    rng = np.random.default_rng(20240607)
    cases = []
    for kind in KINDS:
        for layout in LAYOUT_NAMES:
            # Each list is a shuffled repetition, so each value occurs equally often.
            deals = [
                rng.permutation(np.resize(np.arange(n), len(ALL_D))) for n in (5, 2, 2, 3, 2, 4, 2)
            ]
            for d, n_features in enumerate(ALL_D):
                k, rule, dtype, weights, offset, rows, empty = (int(deal[d]) for deal in deals)
                n_components = ALL_K[k]
                small = n_components * n_features <= 24
                cases.append(
                    Case(
                        n_features,
                        n_components,
                        kind,
                        layout,
                        (SOFT, HARD)[rule],
                        ("float32", "float64")[dtype],
                        ("none", "random", "zeros")[weights],
                        (0.0, 1e8)[offset],
                        # 1 row, a part of a block, some blocks, some slots.
                        (1, 77, 301, 2077 if small else 173)[rows],
                        bool(empty) and n_components > 2,
                    )
                )
    return cases


CASES = make_cases()


def dense_factors(parameters):
    """Lower factors (K, D, D) of any kind."""
    n_components, n_features = parameters.means.shape
    if parameters.factor_kind == FACTOR_DIAG:
        return np.einsum("kd,de->kde", parameters.factors, np.eye(n_features))
    if parameters.factor_kind == FACTOR_SHARED:
        return np.broadcast_to(parameters.factors, (n_components, n_features, n_features))
    return parameters.factors


@dataclass(frozen=True)
class Expected:
    """The oracle's numbers for a case, and bounds on a kernel's rounding errors."""

    X: np.ndarray
    weight: np.ndarray | None
    parameters: Parameters
    squared: np.ndarray
    squared_error: np.ndarray
    joint: np.ndarray
    joint_error: np.ndarray


@cache
def expect(case):
    rng = np.random.default_rng(CASES.index(case))
    n_components, n_features = case.n_components, case.n_features
    parameters = make_parameters(rng, case.kind, n_components, n_features, case.offset)
    if case.empty:
        parameters.log_coefficients[1] = -np.inf
    labels = rng.integers(0, n_components, case.n_rows)
    X = parameters.means[labels] + rng.normal(size=(case.n_rows, n_features))
    X = X.astype(case.dtype)
    weight = None
    if case.weights != "none":
        weight = rng.random(case.n_rows) + 0.1
        if case.weights == "zeros":
            weight[::3] = 0.0
    factors = dense_factors(parameters)
    squared = oracle.squared_distances(X, parameters.means, factors)
    joint = parameters.log_coefficients.astype(LONG) - squared / 2
    squared_error = distance_error(X, parameters, factors, squared)
    joint_error = squared_error / 2 + 2 * EPS * (np.abs(joint) + squared)
    joint_error[~np.isfinite(joint)] = 0
    return Expected(X, weight, parameters, squared, squared_error, joint, joint_error)


def distance_error(X, parameters, factors, squared):
    """Bound on the error of |z|^2, z = P (x - mean): each product and sum rounds once.

    z_d sums at most D products of rounded differences: its error is (D + 2) eps times the sum of
    their sizes a_d, so that of |z|^2 is 2 |z| (D + 2) eps a + (D + 2) eps |z|^2 (and eps^2 a^2).
    With a shared factor z is the difference of two such sums.
    """
    X = X.astype(np.float64)
    n_features = X.shape[1]
    unit = (n_features + 2) * EPS
    error = np.empty(squared.shape)
    for k, mean in enumerate(parameters.means):
        size = np.abs(X - mean)
        if parameters.factor_kind == FACTOR_SHARED:
            size = np.abs(X - parameters.centre) + np.abs(mean - parameters.centre)
        a = size @ np.abs(factors[k]).T
        z = np.abs((X - mean) @ np.tril(factors[k]).T) + unit * a
        error[:, k] = ((2 * z + unit * a) * unit * a).sum(axis=1)
    return error + unit * squared


def assert_within(found, expected, error):
    """|found - expected| <= error everywhere, and equal where the expectation is infinite."""
    expected = np.asarray(expected)
    finite = np.isfinite(expected)
    assert np.array_equal(found[~finite], expected[~finite].astype(np.float64))
    excess = (
        np.abs(found[finite] - expected[finite]) - np.broadcast_to(error, expected.shape)[finite]
    )
    assert excess.size == 0 or excess.max() <= 0, f"outside the bound by {excess.max()}"


def row_errors(expected):
    """Per row: bound on errors of log joint densities, and on relative ones of responsibilities.

    A responsibility is exp(joint - largest) / sum: twice the error of a log joint density, the
    rounding of the difference (eps times it), and 1 or 2 ulp for each of exp, sum and quotient.
    """
    n_components = expected.joint.shape[1]
    absolute = expected.joint_error.max(axis=1)
    depth = np.where(np.isfinite(expected.joint), np.abs(expected.joint), 0)
    largest = expected.joint.max(axis=1)
    spread = np.minimum(depth.max(axis=1) + np.abs(largest), 800)
    relative = np.expm1((2 * absolute + EPS * (spread + n_components + 8)).astype(np.float64))
    return absolute, relative


@pytest.mark.parametrize("case", CASES[::4], ids=str)
def test_evaluate_equals_the_oracle(backend, case):
    e = expect(case)
    n_components = case.n_components
    absolute, relative = row_errors(e)
    logpdf = oracle.logpdf(e.joint)
    resp = oracle.responsibilities(e.joint)

    def found(want):
        return evaluate(backend, e.X, e.parameters, want, threads=2)

    assert_within(found(WANT_LOG_JOINT), e.joint, e.joint_error)
    assert_within(found(WANT_LOGPDF), logpdf, absolute + EPS * (np.abs(logpdf) + n_components + 8))
    assert_within(found(WANT_RESPONSIBILITIES), resp, relative[:, None] * resp + TINY)
    distance = np.sqrt(e.squared)
    # sqrt halves a relative error; close to 0 it is at most the root of the error.
    error = np.minimum(e.squared_error / np.maximum(distance, TINY), np.sqrt(e.squared_error))
    assert_within(found(WANT_MAHALANOBIS), distance, error + EPS * distance)
    margin = (
        e.joint.max(axis=1)
        - np.take_along_axis(e.joint, found(WANT_LABELS)[:, None], axis=1).ravel()
    )
    assert (margin <= 2 * absolute).all()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_accumulate_equals_the_oracle(backend, case):
    e = expect(case)
    parts = contract.offsets(case.n_components, case.n_features, case.layout)
    accumulators = accumulate(
        backend, e.X, e.parameters, case.layout, case.rule, e.weight, threads=2
    )
    total = contract.combine(accumulators, e.parameters.means, case.layout)
    resp = oracle.responsibilities(e.joint, RULES[case.rule])
    absolute, relative = row_errors(e)
    weight = np.ones(case.n_rows) if e.weight is None else e.weight
    shift = e.parameters.means
    layout = LAYOUT_NAMES[case.layout]
    mass, first, second = oracle.statistics(e.X, resp, shift, layout, weight)

    # Each term of a sum has the error of its responsibility and 4 roundings, then n - 1 additions.
    unit = (case.n_rows + case.n_components + 4) * EPS
    resp_error = resp * (unit + (relative[:, None] if case.rule == SOFT else 0)) + TINY
    bounds = size_statistics(e.X, resp_error, shift, case.layout, weight)
    assert_within(total[: parts.first], mass, bounds[0])
    assert_within(total[parts.first : parts.second], first.ravel(), bounds[1].ravel())
    stored = total[parts.second : parts.pairs].reshape(second.shape)
    if case.layout in (LAYOUT_FULL, LAYOUT_POOLED):
        stored, second, bounds = np.tril(stored), np.tril(second), (*bounds[:2], np.tril(bounds[2]))
    assert_within(stored, second, bounds[2])

    logpdf, largest = oracle.logpdf(e.joint), e.joint.max(axis=1)
    soft = oracle.responsibilities(e.joint)
    surprise = np.where(soft > 0, soft * np.abs(np.log(np.maximum(soft, TINY))), 0).sum(axis=1)
    entropy = oracle.row_entropies(resp)
    entropy_error = (relative + unit) * (1 + 2 * surprise) if case.rule == SOFT else 0 * weight
    for i, (rows, error) in enumerate(
        (
            (logpdf, absolute + unit * (np.abs(logpdf) + 1)),
            (largest, absolute + unit * np.abs(largest)),
            (entropy, entropy_error),
            (np.ones(case.n_rows), np.full(case.n_rows, unit)),
        )
    ):
        assert_within(
            total[parts.scalars + i : parts.scalars + i + 1],
            [(weight * rows).sum()],
            (weight * error).sum(),
        )


def size_statistics(X, resp_error, shift, layout, weight):
    """Statistics of absolute values with `resp_error` for responsibilities: the error bounds.

    Pooled sums are made of x - mu_j and mu_j - mu_k for the row's label j, which can both be larger
    than x - mu_k; the largest difference of a feature bounds each.
    """
    delta = np.abs(X.astype(np.float64)[:, None, :] - shift)
    weighted = weight[:, None] * resp_error.astype(np.float64)
    mass, first = weighted.sum(axis=0), np.einsum("nk,nkd->kd", weighted, delta)
    if layout == LAYOUT_POOLED:
        widest = delta.max(axis=1) + np.abs(shift[:, None] - shift).max(axis=(0, 1))
        return mass, first, 4 * np.einsum("nk,nd,ne->de", weighted, widest, widest)
    equation = {
        LAYOUT_SPHERICAL: "nk,nkd,nkd->k",
        LAYOUT_DIAG: "nk,nkd,nkd->kd",
        LAYOUT_FULL: "nk,nkd,nke->kde",
    }[layout]
    return (
        mass,
        first,
        (1 + X.shape[1] * (layout == LAYOUT_SPHERICAL))
        * np.einsum(equation, weighted, delta, delta, optimize=True),
    )


def test_pair_weights_are_those_of_other_components(backend):
    X, weight, parameters, _ = make_large(FACTOR_SHARED, LAYOUT_POOLED, n_features=6)
    sums = accumulate(backend, X, parameters, LAYOUT_POOLED, SOFT, weight).sum(axis=0)
    parts = contract.offsets(4, 6, LAYOUT_POOLED)
    pairs = sums[parts.pairs : parts.scalars].reshape(4, 4)
    resp = evaluate(backend, X, parameters, WANT_RESPONSIBILITIES)
    expected = np.array([(weight * (resp.argmax(axis=1) == j)) @ resp for j in range(4)])
    np.fill_diagonal(expected, 0.0)
    assert (np.diag(pairs) == 0).all()
    np.testing.assert_allclose(pairs, expected, rtol=len(X) * EPS)
