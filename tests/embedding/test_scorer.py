"""Scorer: forms of input and output, errors, and what a frozen object promises."""

import array
import copy
import pickle
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import gaussmix as gm

N, D, K = 7, 3, 4
RNG = np.random.default_rng(0)
MIXTURE = gm.Mixture(np.full(K, 1 / K), RNG.normal(size=(K, D)), 0.5 + RNG.random((K, D)), "diag")
SCORER = MIXTURE.scorer()
METHODS = ("logpdf", "predict", "predict_proba", "nearest")
compiled = pytest.mark.skipif(
    gm.config()["backend"] != "cython", reason="a promise of the compiled scorer"
)


@pytest.fixture
def X():
    return np.random.default_rng(1).normal(size=(N, D))


def test_a_row_gives_python_numbers_and_rows_give_arrays(X):
    assert type(SCORER.logpdf(X[0])) is float
    assert type(SCORER.predict(X[0])) is int
    assert type(SCORER.nearest(X[0])) is int
    assert SCORER.predict_proba(X[0]).shape == (K,)
    assert SCORER.logpdf(X[:1]).shape == SCORER.predict(X[:1]).shape == (1,)
    assert SCORER.predict_proba(X[:1]).shape == (1, K)
    assert SCORER.predict_proba(X[:0]).shape == (0, K)


def test_with_one_feature_an_array_is_rows_and_a_number_is_a_row():
    mixture = gm.Mixture([0.5, 0.5], [0.0, 4.0], [1.0, 2.0], "spherical")
    scorer = mixture.scorer()
    x = np.array([0.0, 1.0, 5.0])
    np.testing.assert_array_equal(scorer.logpdf(x), mixture.logpdf(x))
    np.testing.assert_array_equal(scorer.logpdf(x[:, None]), mixture.logpdf(x))
    np.testing.assert_array_equal(scorer.predict(x[:1]), [0])
    assert scorer.logpdf(5.0) == mixture.logpdf(x)[2]
    assert scorer.predict(x[2]) == 1


@pytest.mark.parametrize("method", METHODS)
def test_any_form_of_the_same_numbers_gives_the_same_bits(method, X):
    call, expected = getattr(SCORER, method), getattr(MIXTURE, method)(X)
    single = X.astype(np.float32)
    wide = np.repeat(X, 2, axis=1)
    forms = {
        "fortran": np.asfortranarray(X),
        "strided": wide[:, ::2],
        "reversed": X[::-1].copy()[::-1],
        "view": np.vstack([X, X])[:N],
        "lists": X.tolist(),
        "big-endian": X.astype(">f8"),
        "memoryview": memoryview(X),
    }
    for name, form in forms.items():
        np.testing.assert_array_equal(call(form), expected, err_msg=name)
    np.testing.assert_array_equal(call(single), getattr(MIXTURE, method)(single))
    for row in (X[2].tolist(), array.array("d", X[2]), memoryview(X[2]), np.asfortranarray(X)[2]):
        np.testing.assert_array_equal(call(row), expected[2])


@pytest.mark.parametrize("method", METHODS)
def test_out_is_filled_and_comes_back(method, X):
    call, expected = getattr(SCORER, method), getattr(MIXTURE, method)(X)
    out = np.full_like(expected, -7)
    assert call(X, out=out) is out
    np.testing.assert_array_equal(out, expected)
    row = np.full(expected.shape[1:], -7, expected.dtype)
    assert call(X[0], out=row) is row
    np.testing.assert_array_equal(row, expected[0])


def test_responsibilities_go_into_the_array_given(X):
    out = np.empty((N, K))
    assert SCORER.responsibilities_into(X, out) is None
    np.testing.assert_array_equal(out, MIXTURE.predict_proba(X))
    SCORER.responsibilities_into(X[1], out[0])
    np.testing.assert_array_equal(out[0], out[1])


BAD = [
    (np.zeros((2, D + 1)), gm.InvalidInputError, "expects 3 columns, got 4"),
    (np.zeros(D + 1), gm.InvalidInputError, "expects 3 columns, got 4"),
    ([0.0, np.nan, 0.0], gm.InvalidInputError, r"X\[0, 1\] is NaN"),
    (np.array([[0.0] * D, [0.0, 0.0, -np.inf]]), gm.InvalidInputError, r"X\[1, 2\] is -inf"),
    (np.float32([0.0, 0.0, np.inf]), gm.InvalidInputError, r"X\[0, 2\] is inf"),
    (np.zeros((1, 1, D)), gm.InvalidInputError, "3 dimensions"),
    (1.0, gm.InvalidInputError, "single value"),
    ("text", gm.InvalidTypeError, "not an array"),
    (None, gm.InvalidTypeError, "None"),
    (np.zeros(D, complex), gm.InvalidTypeError, "complex"),
    (b"\0" * 8 * D, gm.InvalidTypeError, "X"),
    (as_strided(np.zeros(D), (2, D), (1 << 60, 8)), gm.InvalidInputError, "outside the memory"),
    (as_strided(np.zeros(D), (1 << 40, D), (8 * D, 8)), gm.InvalidInputError, "outside the"),
    (as_strided(np.zeros(1), (D,), (8,)), gm.InvalidInputError, "outside the memory"),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("x", "error", "message"), BAD, ids=range(len(BAD)))
def test_bad_rows_raise_what_the_mixture_raises(method, x, error, message):
    with pytest.raises(error, match=message):
        getattr(SCORER, method)(x)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty((N, K + 1)), r"out has shape \(7, 5\)"),
        (np.empty((N, K), np.float32), "float32"),
        (np.empty((K, N)).T, "not C-contiguous"),
        (np.broadcast_to(np.empty(K), (N, K)), "read-only"),
        (np.empty(8 * N * K + 1, np.uint8)[1:].view(float).reshape(N, K), "not aligned"),
        ([0.0] * K, "not an array"),
    ],
    ids=["columns", "float32", "fortran", "broadcast", "unaligned", "list"],
)
def test_an_out_that_does_not_fit_raises_and_stays(out, message, X):
    before = np.array(out)
    with pytest.raises(gm.InvalidInputError, match=message):
        SCORER.predict_proba(X, out=out)
    with pytest.raises(gm.InvalidInputError, match=message):
        SCORER.responsibilities_into(X, out)
    np.testing.assert_array_equal(out, before)


def test_an_out_beyond_its_memory_raises_and_stays(X):
    memory = np.zeros(K)
    out = as_strided(memory, (N, K), (8 * K, 8))
    with pytest.raises(gm.InvalidInputError, match="out"):
        SCORER.predict_proba(X, out=out)
    with pytest.raises(gm.InvalidInputError, match="out"):
        SCORER.responsibilities_into(X, out)
    np.testing.assert_array_equal(memory, 0.0)


def test_an_out_whose_memory_has_been_resized_away_raises_and_stays(X):
    memory = np.zeros(60)
    out = memory[60 - N :]
    memory.resize(60 - N + 1, refcheck=False)
    with pytest.raises(gm.InvalidInputError, match="out has strides"):
        SCORER.logpdf(X, out=out)
    np.testing.assert_array_equal(memory, 0.0)


def test_rows_whose_memory_has_been_resized_away_are_not_read():
    memory = np.zeros(60)
    x = memory[-D:]
    memory.resize(60 - D + 1, refcheck=False)
    with pytest.raises(gm.InvalidInputError, match="X has strides"):
        SCORER.logpdf(x)


def test_out_must_be_apart_from_x():
    square = gm.Mixture([0.2, 0.3, 0.5], np.eye(3), np.ones(3), "spherical").scorer()
    x = np.zeros((N, 3))
    with pytest.raises(gm.InvalidInputError, match="shares memory"):
        square.predict_proba(x, out=x)
    np.testing.assert_array_equal(x, 0.0)


def test_none_is_no_place_for_responsibilities(X):
    with pytest.raises(gm.InvalidTypeError, match="None"):
        SCORER.responsibilities_into(X, None)


@pytest.mark.parametrize("gate", [0.0, -1.0, np.nan, "wide"])
def test_a_gate_must_be_positive(gate, X):
    with pytest.raises(gm.InvalidInputError, match="gate"):
        SCORER.nearest(X, gate)


def test_it_is_a_scorer_that_knows_its_mixture():
    assert isinstance(SCORER, gm.Scorer)
    assert SCORER.mixture is MIXTURE
    assert (SCORER.n_components, SCORER.n_features) == (K, D)
    assert repr(SCORER) == "Scorer of a Mixture of 4 Gaussians in 3 dimensions, diag"


def test_it_cannot_be_changed():
    with pytest.raises(AttributeError):
        SCORER.mixture = None
    with pytest.raises(AttributeError):
        SCORER.n_components = 1


def test_copies_are_itself_and_pickles_score_alike(X):
    assert copy.copy(SCORER) is SCORER
    assert copy.deepcopy(SCORER) is SCORER
    other = pickle.loads(pickle.dumps(SCORER))
    assert type(other) is type(SCORER)
    assert other.mixture == MIXTURE
    np.testing.assert_array_equal(other.logpdf(X), SCORER.logpdf(X))


def test_it_outlives_the_name_of_its_mixture(X):
    scorer = gm.Mixture(MIXTURE.weights, MIXTURE.means, MIXTURE.covariances, "diag").scorer()
    np.testing.assert_array_equal(scorer.logpdf(X), MIXTURE.logpdf(X))


def test_threads_share_one(X):
    many = np.random.default_rng(2).normal(size=(200, D))
    expected = MIXTURE.predict_proba(many)
    wrong = []

    def score():
        out = np.empty((len(many), K))
        for _ in range(5):
            for row, place in zip(many, out, strict=True):
                SCORER.predict_proba(row, out=place)
            if not np.array_equal(out, expected):
                wrong.append(True)
            SCORER.predict_proba(many, out=out)
            if not np.array_equal(out, expected):
                wrong.append(True)

    threads = [threading.Thread(target=score) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@compiled
@pytest.mark.parametrize("shape", [(400, 3), (2, 3000), (40, 300)])
def test_scratch_beyond_the_stack_gives_the_same_bits(shape):
    n_features, n_components = shape
    rng = np.random.default_rng(3)
    means = rng.normal(size=(n_components, n_features))
    mixture = gm.Mixture(np.full(n_components, 1 / n_components), means, np.eye(n_features), "tied")
    X = rng.normal(size=(20, n_features))
    for rows in (X[0], X[:3], X):
        expected = mixture.predict_proba(np.atleast_2d(rows)).reshape(*rows.shape[:-1], -1)
        np.testing.assert_array_equal(mixture.scorer().predict_proba(rows), expected)


@compiled
def test_a_row_into_out_allocates_nothing():
    scorer = gm.Mixture(np.full(64, 1 / 64), np.eye(64), np.eye(64), "tied").scorer()
    row, out = np.zeros(64), np.empty(64)
    tracemalloc.start()
    try:
        for _ in range(3):  # NumPy keeps what the buffer protocol needs with the array
            scorer.predict_proba(row, out=out)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        scorer.predict_proba(row, out=out)
        scorer.responsibilities_into(row, out)
        scorer.predict(row)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - before < out.nbytes / 2  # bound methods and the like


@compiled
def test_no_call_keeps_a_reference(X):
    row, out = X[0].copy(), np.empty(K)
    calls = (
        lambda: SCORER.predict(row),
        lambda: SCORER.predict_proba(row, out=out),
        lambda: SCORER.responsibilities_into(row, out),
        lambda: SCORER.capsule,
    )
    counted = (SCORER, row, out)
    for call in calls:
        call()
        before = [sys.getrefcount(item) for item in counted]
        for _ in range(10):
            call()
        assert [sys.getrefcount(item) for item in counted] == before
