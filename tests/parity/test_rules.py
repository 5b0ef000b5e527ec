"""The rules of every backend: known answers of the draws, labels, sums of labels, temperatures."""

import numpy as np
import pytest

import oracle
from gaussmix.kernels import contract, reference
from gaussmix.kernels.contract import (
    FACTOR_DIAG,
    FACTOR_FULL,
    HARD,
    LAYOUT_DIAG,
    LAYOUT_FULL,
    RULE_STOCHASTIC,
    RULE_TEMPERED,
    SOFT,
    WANT_LABELS,
    WANT_LOG_JOINT,
    RuleCall,
)
from kernel_calls import accumulate, equal_bits, evaluate, make_large, make_parameters

EPS = np.finfo(np.float64).eps
ALL_BITS = (1 << 64) - 1
# Of the reference implementation (Vigna, splitmix64.c), seeded with 1234567.
KNOWN = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]


def splitmix(seed, n):
    """Output n of SplitMix64, in Python's integers."""
    z = (seed + (n + 1) * 0x9E3779B97F4A7C15) & ALL_BITS
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & ALL_BITS
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & ALL_BITS
    return z ^ (z >> 31)


def uniforms(rule, n_rows, first=0):
    key = splitmix(rule.seed, rule.iteration)
    return np.array([(splitmix(key, first + n) >> 12) * 2.0**-52 for n in range(n_rows)])


def label_sum(labels, weight, first=0):
    """Of the rows of positive weight, in Python's integers."""
    counted = np.flatnonzero(weight).tolist()
    return sum(splitmix(int(labels[i]), first + i) for i in counted) & ALL_BITS


def sums_of(accumulators, parts):
    """Mass (K,) and label sum of all accumulators."""
    total = accumulators.sum(axis=0)
    low, high = total[parts.scalars + 4 : parts.size]
    return total[: parts.first], (int(low) + (int(high) << 32)) & ALL_BITS


def drawn(joint, rule, first=0):
    """Labels as the contract states them, and how far each uniform is from a border."""
    shares = oracle.responsibilities(joint).astype(np.float64)
    cumulative = np.cumsum(shares, axis=1)
    u = uniforms(rule, len(joint), first)
    return (cumulative[:, :-1] <= u[:, None]).sum(axis=1), np.abs(cumulative - u[:, None]).min()


@pytest.fixture
def case():
    rng = np.random.default_rng(11)
    X = rng.normal(size=(3000, 3))
    weight = rng.integers(0, 3, size=len(X)).astype(float)
    return X, weight, make_parameters(rng, FACTOR_DIAG, 5, 3)


def test_the_generator_gives_the_known_answers():
    found = reference.splitmix64(1234567, np.arange(4, dtype=np.uint64))
    assert found.tolist() == KNOWN
    assert [splitmix(1234567, n) for n in range(4)] == KNOWN


@pytest.mark.parametrize("rule", [HARD, RuleCall(RULE_STOCHASTIC, 1.0, 77, 5)])
def test_labels_and_their_sum_are_those_of_the_contract(backend, case, rule):
    X, weight, parameters = case
    joint = evaluate(backend, X, parameters, WANT_LOG_JOINT)
    if rule is HARD:
        labels = evaluate(backend, X, parameters, WANT_LABELS)
    else:
        labels, distance = drawn(joint, rule)
        assert distance > 1e3 * EPS  # so that no rounding decides
    parts = contract.offsets(5, 3, LAYOUT_DIAG)
    mass, found = sums_of(accumulate(backend, X, parameters, LAYOUT_DIAG, rule, weight), parts)
    np.testing.assert_array_equal(mass, np.bincount(labels, weight, 5))
    assert found == (label_sum(labels, weight) if rule is HARD else 0)


def test_draws_follow_the_global_number_of_a_row(backend, case):
    """Half of the rows, in a call of their own that says where they stand."""
    X, weight, parameters = case
    rule = RuleCall(RULE_STOCHASTIC, 1.0, ALL_BITS, ALL_BITS)
    plan, parts = contract.plan(5, 3, LAYOUT_DIAG), contract.offsets(5, 3, LAYOUT_DIAG)
    first = plan.slot_rows * plan.n_accumulators * 10**10  # beyond 2^32, and 2^53 as a product
    sums = np.zeros((plan.n_accumulators, parts.size))
    arguments = (X, weight, first, parameters, LAYOUT_DIAG, rule, sums, plan, 1)
    assert backend.accumulate(*arguments) == -1
    labels, distance = drawn(evaluate(backend, X, parameters, WANT_LOG_JOINT), rule, first)
    assert distance > 1e3 * EPS
    np.testing.assert_array_equal(sums_of(sums, parts)[0], np.bincount(labels, weight, 5))
    labels = evaluate(backend, X, parameters, WANT_LABELS)
    arguments = (X, weight, first, parameters, LAYOUT_DIAG, HARD, sums, plan, 1)
    sums[:] = 0.0
    assert backend.accumulate(*arguments) == -1
    assert sums_of(sums, parts)[1] == label_sum(labels, weight, first)


def test_draws_are_in_proportion_to_the_posterior_probabilities(backend):
    """Chi-square of 200 x 500 draws of equal rows, each row number a fresh one."""
    parameters = make_parameters(np.random.default_rng(1), FACTOR_DIAG, 4, 1)
    X = np.full((500, 1), 0.3)
    parts = contract.offsets(4, 1, LAYOUT_DIAG)
    counts = np.zeros(4)
    for iteration in range(200):
        rule = RuleCall(RULE_STOCHASTIC, 1.0, 3, iteration)
        counts += sums_of(accumulate(backend, X, parameters, LAYOUT_DIAG, rule), parts)[0]
    joint = evaluate(backend, X[:1], parameters, WANT_LOG_JOINT)
    expected = counts.sum() * oracle.responsibilities(joint)[0].astype(float)
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert statistic < 16.27  # 3 degrees of freedom, 0.1 %


def test_rows_that_no_component_reaches_are_drawn_evenly(backend):
    parameters = make_parameters(np.random.default_rng(1), FACTOR_DIAG, 4, 1)
    X = np.full((4000, 1), 1e200)
    rule = RuleCall(RULE_STOCHASTIC, 1.0, 3, 0)
    sums = accumulate(backend, X, parameters, LAYOUT_DIAG, rule)
    mass, _ = sums_of(sums, contract.offsets(4, 1, LAYOUT_DIAG))
    expected = np.bincount((4 * uniforms(rule, 4000)).astype(int), minlength=4)
    np.testing.assert_array_equal(mass, expected)


def test_a_component_of_weight_zero_is_never_drawn(backend, case):
    X, _, parameters = case
    for k in (0, 4):
        parameters.log_coefficients[k] = -np.inf
    rule = RuleCall(RULE_STOCHASTIC, 1.0, 3, 0)
    mass, _ = sums_of(
        accumulate(backend, X, parameters, LAYOUT_DIAG, rule), contract.offsets(5, 3, LAYOUT_DIAG)
    )
    assert mass[0] == mass[4] == 0.0
    assert mass.sum() == len(X)


@pytest.mark.parametrize("beta", [1.0, 0.3, 1e-3])
def test_tempered_sums_are_those_of_powers_of_the_posterior(backend, beta):
    X, weight, parameters, _ = make_large(FACTOR_FULL, LAYOUT_FULL, slots=2)
    parts = contract.offsets(4, 3, LAYOUT_FULL)
    total = accumulate(
        backend, X, parameters, LAYOUT_FULL, RuleCall(RULE_TEMPERED, beta), weight
    ).sum(axis=0)
    joint = evaluate(backend, X, parameters, WANT_LOG_JOINT).astype(oracle.LONG)
    shares = oracle.responsibilities(beta * joint)
    # A bound for all sums of N terms with a few roundings in each.
    rtol = len(X) * EPS
    np.testing.assert_allclose(total[:4], (weight[:, None] * shares).sum(axis=0), rtol=rtol)
    scalars = total[parts.scalars :]
    rows = (oracle.logpdf(joint), joint.max(axis=1), oracle.row_entropies(shares), 1.0)
    for found, row in zip(scalars, rows, strict=False):
        np.testing.assert_allclose(found, float((weight * row).sum()), rtol=rtol)
    assert scalars[4:].tolist() == [0.0, 0.0]


def test_a_temperature_of_one_is_the_soft_rule(backend, case):
    X, weight, parameters = case
    soft = accumulate(backend, X, parameters, LAYOUT_DIAG, SOFT, weight).sum(axis=0)
    rule = RuleCall(RULE_TEMPERED, 1.0)
    tempered = accumulate(backend, X, parameters, LAYOUT_DIAG, rule, weight).sum(axis=0)
    np.testing.assert_allclose(tempered, soft, rtol=len(X) * EPS, atol=len(X) * EPS)


@pytest.mark.parametrize("rule", [SOFT, RuleCall(RULE_TEMPERED, 0.5)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("constant", [-1e6, 1.9e5, 1e6])
def test_a_constant_in_all_log_densities_changes_no_share(backend, case, rule, weighted, constant):
    """Such as the logarithm of data's unit: D = 1000 in a unit of 1e-100 adds 2.3e5 nats."""
    X, weight, parameters = case
    weight = weight if weighted else None
    moved = parameters._replace(log_coefficients=parameters.log_coefficients + constant)
    scalars = contract.offsets(5, 3, LAYOUT_DIAG).scalars
    sums, found = (
        accumulate(backend, X, of, LAYOUT_DIAG, rule, weight).sum(axis=0)
        for of in (parameters, moved)
    )
    # A log density is rounded to the constant's digits, twice in a difference of two.
    rtol = len(X) * EPS + 2.0 * EPS * abs(constant)
    atol = rtol * np.abs(sums[:scalars]).max()
    np.testing.assert_allclose(found[:scalars], sums[:scalars], rtol=0.0, atol=atol)
    # A row's entropy changes by at most 2 log K times what its log densities change by.
    atol = 2.0 * np.log(5) * rtol * sums[scalars + 3]
    np.testing.assert_allclose(found[scalars + 2], sums[scalars + 2], rtol=0.0, atol=atol)


def test_an_unknown_rule_is_refused(backend, case):
    X, _, parameters = case
    with pytest.raises(ValueError, match=r"rule is .*RULE_"):
        accumulate(backend, X, parameters, LAYOUT_DIAG, RuleCall(4))


def test_the_sum_of_labels_tells_one_changed_label(backend, case):
    X, _, parameters = case
    moved = X.copy()
    moved[7] = parameters.means[3]
    one, other, again = (
        accumulate(backend, rows, parameters, LAYOUT_DIAG, HARD)[:, -2:] for rows in (X, moved, X)
    )
    assert equal_bits(one, again)
    assert not equal_bits(one, other)
