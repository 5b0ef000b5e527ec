"""Bad rows, rows far away, rows of weight zero, and calls that are wrong; for every backend."""

import numpy as np
import pytest

from gaussmix.kernels import contract
from gaussmix.kernels.contract import (
    FACTOR_DIAG,
    FACTOR_FULL,
    HARD,
    LAYOUT_DIAG,
    LAYOUT_FULL,
    LAYOUT_SPHERICAL,
    RULE_SOFT,
    RULE_TEMPERED,
    SOFT,
    WANT_LABELS,
    WANT_LOG_JOINT,
    WANT_LOGPDF,
    WANT_MAHALANOBIS,
    WANT_RESPONSIBILITIES,
    Parameters,
)
from kernel_calls import (
    COMBINATIONS,
    KINDS,
    WANTS,
    accumulate,
    combinations,
    evaluate,
    make_large,
    make_parameters,
    new_out,
)

EPS = np.finfo(np.float64).eps


@pytest.mark.parametrize(
    ("dtype", "value"), [(np.float32, np.nan), (np.float64, np.inf), (np.float64, -np.inf)]
)
@pytest.mark.parametrize("positions", ((0,), (1025, 1024), (9000, 14000, 3000), (-1,)))
def test_the_first_bad_row_is_reported(backend, positions, dtype, value):
    X, weight, parameters, plan = make_large(FACTOR_FULL, LAYOUT_FULL)
    X = X.astype(dtype)
    X[list(positions), [i % 3 for i in range(len(positions))]] = value
    first = min(i % len(X) for i in positions)
    size = contract.offsets(4, 3, LAYOUT_FULL).size
    for threads in (1, 3):
        accumulators = np.zeros((plan.n_accumulators, size))
        arguments = (X, weight, 0, parameters, LAYOUT_FULL, SOFT, accumulators, plan, threads)
        assert backend.accumulate(*arguments) == first
        out = new_out(len(X), 4, WANT_LOGPDF)
        assert backend.evaluate(X, parameters, WANT_LOGPDF, out, threads) == first


def test_a_bad_row_is_counted_from_the_start_of_its_chunk(backend):
    X, _, parameters, plan = make_large(FACTOR_FULL, LAYOUT_FULL)
    X[5 * plan.slot_rows + 7, 1] = np.nan
    chunk = X[4 * plan.slot_rows :]
    accumulators = np.zeros((plan.n_accumulators, contract.offsets(4, 3, LAYOUT_FULL).size))
    arguments = (chunk, None, 4 * plan.slot_rows, parameters, LAYOUT_FULL, SOFT)
    assert backend.accumulate(*arguments, accumulators, plan, 2) == plan.slot_rows + 7


def test_no_rows_change_nothing(backend):
    parameters = make_large(FACTOR_FULL, LAYOUT_FULL)[2]
    assert not accumulate(backend, np.empty((0, 3)), parameters, LAYOUT_FULL, threads=3).any()
    for want in WANTS:
        assert len(evaluate(backend, np.empty((0, 3), np.float32), parameters, want, 3)) == 0


@pytest.mark.parametrize("kind", KINDS, ids=KINDS.get)
def test_rows_far_from_all_components_have_finite_log_densities(backend, kind):
    rng = np.random.default_rng(3)
    parameters = make_parameters(rng, kind, 3, 4)
    X = 1e9 * rng.choice([-1.0, 1.0], size=(70, 4))
    logpdf = evaluate(backend, X, parameters, WANT_LOGPDF)
    resp = evaluate(backend, X, parameters, WANT_RESPONSIBILITIES)
    assert np.isfinite(logpdf).all()
    assert (logpdf < -1e15).all()
    assert np.abs(resp.sum(axis=1) - 1).max() <= 4 * EPS
    total = accumulate(backend, X, parameters, LAYOUT_FULL).sum(axis=0)
    assert np.isfinite(total).all()


@pytest.mark.parametrize("value", (1e160, -1e308))
@pytest.mark.parametrize("kind", KINDS, ids=KINDS.get)
def test_rows_whose_distances_overflow_are_shared_evenly(backend, kind, value):
    rng = np.random.default_rng(4)
    # Large factors of both signs: inf - inf on the way.
    parameters = make_parameters(rng, kind, 3, 4, spread=50.0)
    X = np.full((5, 4), value) * [1.0, -1.0, 1.0, -1.0]
    assert (evaluate(backend, X, parameters, WANT_MAHALANOBIS) == np.inf).all()
    assert (evaluate(backend, X, parameters, WANT_LOG_JOINT) == -np.inf).all()
    assert (evaluate(backend, X, parameters, WANT_LOGPDF) == -np.inf).all()
    assert (evaluate(backend, X, parameters, WANT_LABELS) == 0).all()
    resp = evaluate(backend, X, parameters, WANT_RESPONSIBILITIES)
    np.testing.assert_allclose(resp, 1 / 3, rtol=2 * EPS)
    weight = np.array([1.0, 0.0, 2.0, 1.0, 0.5])
    total = accumulate(backend, X, parameters, LAYOUT_SPHERICAL, weight=weight).sum(axis=0)
    np.testing.assert_allclose(total[:3], weight.sum() / 3, rtol=8 * EPS)
    log_likelihood, classification, entropy, mass = total[-6:-2]
    assert log_likelihood == classification == -np.inf
    np.testing.assert_allclose([entropy, mass], [4.5 * np.log(3), 4.5], rtol=16 * EPS)


@pytest.mark.parametrize("absent", ((0,), (1, 2), (3,)))
@pytest.mark.parametrize("kind", KINDS, ids=KINDS.get)
def test_rows_that_overflow_are_shared_by_components_of_positive_weight(backend, kind, absent):
    parameters = make_parameters(np.random.default_rng(4), kind, 4, 3)
    parameters.log_coefficients[list(absent)] = -np.inf
    present = np.setdiff1d(np.arange(4), absent)
    X = np.random.default_rng(5).normal(size=(70, 3))
    X[::3] = 1e200
    resp = evaluate(backend, X, parameters, WANT_RESPONSIBILITIES)
    assert (resp[:, list(absent)] == 0).all()
    np.testing.assert_allclose(resp[::3, present], 1 / len(present), rtol=2 * EPS)
    labels = evaluate(backend, X, parameters, WANT_LABELS)
    assert (labels[::3] == present[0]).all()
    np.testing.assert_array_equal(labels, resp.argmax(axis=1))
    assert (evaluate(backend, X, parameters, WANT_LOGPDF)[::3] == -np.inf).all()
    assert np.isfinite(evaluate(backend, X, parameters, WANT_LOGPDF)[1::3]).all()


@pytest.mark.parametrize("weighted", (False, True))
@pytest.mark.parametrize("rule", [SOFT, HARD, *(case[2] for case in COMBINATIONS[4:])])
def test_no_rule_gives_a_row_that_overflows_to_a_component_of_weight_zero(backend, rule, weighted):
    parameters = make_parameters(np.random.default_rng(4), FACTOR_DIAG, 4, 3)
    parameters.log_coefficients[[0, 2]] = -np.inf
    X = np.full((700, 3), 1e200)
    weight = np.full(700, 2.0) if weighted else None
    total = accumulate(backend, X, parameters, LAYOUT_SPHERICAL, rule, weight).sum(axis=0)
    unit = 2.0 if weighted else 1.0
    assert total[[0, 2]].tolist() == [0.0, 0.0]
    assert total[[1, 3]].sum() == 700 * unit
    log_likelihood, classification, entropy = total[-6:-3]
    assert log_likelihood == classification == -np.inf
    shared = rule.code in (RULE_SOFT, RULE_TEMPERED)
    if shared:
        assert total[1] == total[3]
    elif rule is HARD:
        assert total[1] == 700 * unit
    np.testing.assert_allclose(entropy, shared * 700 * unit * np.log(2), rtol=700 * EPS)


@combinations
def test_rows_of_weight_zero_add_nothing_even_when_they_overflow(backend, kind, layout, rule):
    X, _, parameters, _ = make_large(kind, layout, slots=1)
    weight = np.ones(len(X))
    weight[::2] = 0.0
    X[::2] = 1e308
    total = accumulate(backend, X, parameters, layout, rule, weight).sum(axis=0)
    assert np.isfinite(total).all()
    assert total[-3] == weight.sum()


def test_a_component_of_weight_zero_takes_part_in_nothing(backend):
    X, _, parameters, _ = make_large(FACTOR_FULL, LAYOUT_FULL, slots=1)
    parameters.log_coefficients[2] = -np.inf
    assert (evaluate(backend, X, parameters, WANT_RESPONSIBILITIES)[:, 2] == 0).all()
    total = accumulate(backend, X, parameters, LAYOUT_FULL).sum(axis=0)
    assert total[2] == 0
    assert np.isfinite(total).all()


def test_hard_ties_go_to_the_lowest_index(backend):
    parameters = make_parameters(np.random.default_rng(6), FACTOR_DIAG, 1, 2)
    twice = Parameters(
        FACTOR_DIAG, *(np.repeat(array, 3, axis=0) for array in parameters[1:4]), parameters.centre
    )
    X = np.random.default_rng(7).normal(size=(90, 2))
    total = accumulate(backend, X, twice, LAYOUT_DIAG, HARD).sum(axis=0)
    assert total[:3].tolist() == [90.0, 0.0, 0.0]
    assert (evaluate(backend, X, twice, WANT_LABELS) == 0).all()


def test_wrong_shapes_are_errors(backend):
    X, weight, parameters, plan = make_large(FACTOR_FULL, LAYOUT_FULL, slots=1)
    good = np.zeros((plan.n_accumulators, contract.offsets(4, 3, LAYOUT_FULL).size))
    model = (0, parameters, LAYOUT_FULL, SOFT)
    for arguments in (
        (X[:, :2], weight, *model, good, plan, 1),
        (X, weight[:-1], *model, good, plan, 1),
        (X, weight, *model, good[:, :-1].copy(), plan, 1),
        (X, weight, *model, good[1:], plan, 1),
    ):
        with pytest.raises((ValueError, TypeError)):
            backend.accumulate(*arguments)
    with pytest.raises((ValueError, TypeError)):
        backend.evaluate(X, parameters, WANT_LOG_JOINT, np.empty((len(X), 3)), 1)
