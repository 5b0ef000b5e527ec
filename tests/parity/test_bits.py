"""The same bits for any thread count, memory order, cut into chunks, and company of a row."""

import numpy as np
import pytest

from gaussmix.kernels import contract
from gaussmix.kernels.contract import (
    FACTOR_FULL,
    FACTOR_SHARED,
    LAYOUT_FULL,
    LAYOUT_POOLED,
    SOFT,
    WANT_LOG_JOINT,
)
from kernel_calls import (
    KINDS,
    THREADS,
    WANTS,
    accumulate,
    combinations,
    equal_bits,
    evaluate,
    make_large,
    make_parameters,
)

EPS = np.finfo(np.float64).eps


@combinations
def test_sums_have_the_same_bits_for_any_thread_count(backend, kind, layout, rule):
    X, weight, parameters, _ = make_large(kind, layout)
    one = accumulate(backend, X, parameters, layout, rule, weight)
    for threads in THREADS[1:]:
        many = accumulate(backend, X, parameters, layout, rule, weight, threads)
        assert equal_bits(one, many), f"{threads} threads"


# Up to four features; rows that are no work to share; full ones that are just enough.
@pytest.mark.parametrize(("n_features", "n_components"), [(3, 17), (6, 5), (5, 16), (8, 32)])
@combinations
def test_sums_of_many_or_few_components_have_the_bits_of_one_thread(
    backend, kind, layout, rule, n_features, n_components
):
    X, weight, parameters, _ = make_large(kind, layout, n_features, n_components, slots=3)
    one = accumulate(backend, X, parameters, layout, rule, weight)
    assert equal_bits(one, accumulate(backend, X, parameters, layout, rule, weight, 2))


def left_over(kind, layout, apart, n_features=31, n_components=15, slots=9):
    """Rows for nine slots, of so many features and components that a team shares a block."""
    X, weight, parameters, plan = make_large(kind, layout, n_features, n_components, slots)
    parameters = parameters._replace(means=parameters.means * apart)
    X += parameters.means[np.arange(len(X)) % n_components]
    return X, weight, parameters, plan.slot_rows


@pytest.mark.parametrize("apart", (0.1, 8.0))
@combinations
def test_slots_that_threads_share_have_the_bits_of_one_thread(backend, kind, layout, rule, apart):
    X, weight, parameters, slot_rows = left_over(kind, layout, apart)
    for slots in range(1, 10):
        n_rows = slots * slot_rows - (321 if slots % 2 else 1000)
        part = X[:n_rows], parameters, layout, rule, weight[:n_rows]
        one = accumulate(backend, *part)
        for threads in (2, 3, 4):
            many = accumulate(backend, *part, threads)
            assert equal_bits(one, many), f"{n_rows} rows, {threads} threads"


# From 16 components on a team shares the rule as well, and each tile has sums of its own.
@pytest.mark.parametrize(("n_features", "n_components"), [(31, 17), (9, 40)])
@combinations
def test_rules_that_threads_share_have_the_bits_of_one_thread(
    backend, kind, layout, rule, n_features, n_components
):
    rows = left_over(kind, layout, 1.0, n_features, n_components, slots=3)
    X, weight, parameters, slot_rows = rows
    for n_rows in (slot_rows + 33, 3 * slot_rows - 321):
        for given in (weight[:n_rows], None):
            part = X[:n_rows], parameters, layout, rule, given
            one = accumulate(backend, *part)
            for threads in (2, 3):
                many = accumulate(backend, *part, threads)
                assert equal_bits(one, many), f"{n_rows} rows, {threads} threads"


@pytest.mark.parametrize("n_components", (15, 17))
@combinations
def test_a_chunk_of_less_than_a_block_has_the_bits_of_one_call(
    backend, kind, layout, rule, n_components
):
    X, weight, parameters, slot_rows = left_over(kind, layout, 1.0, 31, n_components, slots=4)
    n_rows = 3 * slot_rows + 60
    part = X[:n_rows], parameters, layout, rule, weight[:n_rows]
    one = accumulate(backend, *part)
    for cuts in ([3 * slot_rows], [slot_rows, 3 * slot_rows]):
        assert equal_bits(one, accumulate(backend, *part, 2, cuts)), cuts


@pytest.mark.parametrize("slot_rows", (512, 1024, 1536))  # one block, two and three
@pytest.mark.parametrize(
    ("kind", "layout"), [(FACTOR_SHARED, LAYOUT_POOLED), (FACTOR_FULL, LAYOUT_FULL)]
)
def test_blocks_larger_than_planned_have_the_bits_of_one_thread(backend, kind, layout, slot_rows):
    """Rows that are enough work to share in blocks of 512 rows, but not in those of 256."""
    rng = np.random.default_rng(0)
    parameters = make_parameters(rng, kind, 4, 21)
    plan = contract.Plan(512, slot_rows, 64)
    X = rng.normal(size=(3 * slot_rows, 21))
    X += 3.0 * parameters.means[np.arange(len(X)) % 4]
    size = contract.offsets(4, 21, layout).size
    sums = [np.zeros((64, size)) for _ in range(31)]
    for accumulators, threads in zip(sums, [1] + 30 * [2], strict=True):
        arguments = X, None, 0, parameters, layout, SOFT, accumulators, plan
        assert backend.accumulate(*arguments, threads) == -1
    assert all(equal_bits(sums[0], again) for again in sums[1:])


@pytest.mark.parametrize(
    ("kind", "layout"), [(FACTOR_SHARED, LAYOUT_POOLED), (FACTOR_FULL, LAYOUT_FULL)]
)
def test_the_first_bad_row_is_found_in_slots_that_threads_share(backend, kind, layout):
    X, weight, parameters, slot_rows = left_over(kind, layout, 1.0)
    n_rows = 3 * slot_rows - 321
    plan = contract.plan(15, 31, layout)
    size = contract.offsets(15, 31, layout).size
    firsts = (0, slot_rows + 5, plan.block + 2, slot_rows + plan.block + 2)
    for bad in (*firsts, 2 * slot_rows, 2 * slot_rows + 300, n_rows - 1):
        Y = X[:n_rows].copy()
        # In this block, in the next, which may be another thread's, and in the last.
        Y[[bad, min(bad + plan.block, n_rows - 1), n_rows - 1], 3] = np.nan
        for threads in (1, 2, 3, 4):
            accumulators = np.zeros((plan.n_accumulators, size))
            arguments = Y, weight[:n_rows], 0, parameters, layout, SOFT, accumulators, plan
            assert backend.accumulate(*arguments, threads) == bad


@combinations
def test_chunks_cut_at_slots_give_the_bits_of_one_call(backend, kind, layout, rule):
    X, weight, parameters, plan = make_large(kind, layout)
    whole = accumulate(backend, X, parameters, layout, rule, weight, 2)
    cuts = [plan.slot_rows * slots for slots in (1, 3, 4, 9)]
    chunked = accumulate(backend, X, parameters, layout, rule, weight, 2, cuts)
    assert equal_bits(whole, chunked)


@combinations
def test_slot_s_adds_to_accumulator_s_modulo_their_number(backend, kind, layout, rule):
    X, _, parameters, plan = make_large(kind, layout, 1, 2, slots=70)
    assert plan.n_accumulators < 70
    slots = np.arange(len(X)) // plan.slot_rows
    rows = np.bincount(slots % plan.n_accumulators, minlength=plan.n_accumulators)
    sums = accumulate(backend, X, parameters, layout, rule, None, 3)
    assert sums[:, -3].tolist() == rows.tolist()


def memory_orders(X, path):
    """The numbers of X (n, D), laid out in memory in other ways."""
    wide = np.zeros((2 * X.shape[0], 3 * X.shape[1]), dtype=X.dtype)
    wide[::2, 1::3] = X
    frozen = X.copy()
    frozen.flags.writeable = False
    mapped = np.memmap(path, dtype=X.dtype, mode="w+", shape=X.shape)
    mapped[:] = X
    return {
        "F": np.asfortranarray(X),
        "strided": wide[::2, 1::3],
        "backwards": X[::-1].copy()[::-1],
        "columns backwards": X[:, ::-1].copy()[:, ::-1],
        "read-only": frozen,
        "memmap": np.memmap(path, dtype=X.dtype, mode="r", shape=X.shape),
    }


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@combinations
def test_memory_order_does_not_change_a_bit(backend, kind, layout, rule, dtype, tmp_path):
    X, weight, parameters, _ = make_large(kind, layout, n_features=5, slots=3)
    X = X.astype(np.float32).astype(dtype)
    sums = accumulate(backend, X.astype(np.float64), parameters, layout, rule, weight, 2)
    rows = evaluate(backend, X.astype(np.float64), parameters, WANT_LOG_JOINT, 2)
    orders = {"C": X, **memory_orders(X, tmp_path / "X.bin")}
    for name, Y in orders.items():
        assert equal_bits(sums, accumulate(backend, Y, parameters, layout, rule, weight, 2)), name
        assert equal_bits(rows, evaluate(backend, Y, parameters, WANT_LOG_JOINT, 2)), name


def test_rows_of_stride_zero_are_equal_rows(backend):
    X, _, parameters, _ = make_large(FACTOR_FULL, LAYOUT_FULL)
    repeated = np.broadcast_to(X[:1], (200, X.shape[1]))
    sums = accumulate(backend, repeated, parameters, LAYOUT_FULL)
    assert equal_bits(sums, accumulate(backend, repeated.copy(), parameters, LAYOUT_FULL))


@pytest.mark.parametrize("n_features", (1, 2, 3, 4, 5, 7, 8, 16, 33))
@pytest.mark.parametrize("kind", KINDS, ids=KINDS.get)
def test_a_row_alone_has_the_bits_it_has_in_a_batch(backend, kind, n_features):
    rng = np.random.default_rng(n_features)
    parameters = make_parameters(rng, kind, 3, n_features)
    X = rng.normal(size=(307, n_features))
    for want in WANTS:
        batch = evaluate(backend, X, parameters, want, 2)
        for i in (0, 1, 63, 64, 65, 127, 128, 305, 306):
            assert equal_bits(batch[i : i + 1], evaluate(backend, X[i : i + 1], parameters, want))
        assert equal_bits(batch[100:], evaluate(backend, X[100:], parameters, want))


def test_evaluate_has_the_same_bits_for_any_thread_count(backend):
    X, _, parameters, _ = make_large(FACTOR_FULL, LAYOUT_FULL, 8, 7, slots=9)
    for want in WANTS:
        one = evaluate(backend, X, parameters, want)
        for threads in THREADS[1:]:
            assert equal_bits(one, evaluate(backend, X, parameters, want, threads))


@pytest.mark.parametrize("n_features", (3, 6))
@combinations
def test_weights_in_another_unit_scale_every_sum(backend, kind, layout, rule, n_features):
    X, weight, parameters, _ = make_large(kind, layout, n_features=n_features, slots=3)
    sums = accumulate(backend, X, parameters, layout, rule, weight)
    scaled = accumulate(backend, X, parameters, layout, rule, weight * 2.0**40)
    sums[:, :-2] *= 2.0**40  # the last two stand for the labels
    assert equal_bits(sums, scaled)
