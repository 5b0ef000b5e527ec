"""Chunked fits: the same bits as in memory wherever chunks end; errors that name the chunk."""

import tracemalloc
import warnings

import numpy as np
import pytest

import gaussmix as gm
from gaussmix.kernels import contract
from gaussmix.passes import sources

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
N_ROWS = 3 * 1024 + 517
TRUTH = gm.Mixture([0.2, 0.3, 0.5], [[0, 0], [4, 0], [0, 5]], [1.0, 0.5, 2.0], "spherical")


@pytest.fixture(scope="module")
def X():
    return TRUTH.sample(N_ROWS, seed=0)[0]


def cut(X, edges):
    """The rows of X as a list of chunks that end at `edges`."""
    return np.split(X, edges)


EDGES = {
    "at slots": [1024, 3072],
    "anywhere": [1, 2, 700, 2000, 2000, 2001, 3100],
    "one chunk": [],
    "tiny": list(range(7, N_ROWS, 7)),
}


def assert_same(result, expected):
    assert result.mixture == expected.mixture
    np.testing.assert_array_equal(result.log_likelihood, expected.log_likelihood)
    assert result.n_iter == expected.n_iter and result.stop_reason == expected.stop_reason


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_chunked_fit_has_the_bits_of_the_fit_in_memory(X, covariance_type, edges):
    options = {"covariance_type": covariance_type, "seed": 1, "n_threads": 2}
    chunks = cut(X, EDGES[edges])
    expected = gm.fit(X, 3, **options)
    assert_same(gm.fit(chunks, 3, **options), expected)
    assert_same(gm.fit(lambda: iter(chunks), 3, **options), expected)


def labels(X):
    return (X[:, 0] > 2).astype(int) + 2 * (X[:, 1] > 3)


@pytest.mark.filterwarnings("ignore::gaussmix.DegenerateComponentWarning")
@pytest.mark.parametrize(
    "start",
    ["k-means++", "random", "random_from_data", [[0, 0], [1, 1], [2, 2]], labels, "proba"],
)
def test_every_start_is_that_of_the_rows_in_memory(X, start):
    if start is labels:
        start = np.minimum(labels(X), 2)
    elif start == "proba":
        start = TRUTH.predict_proba(X)
    chunks = cut(X, EDGES["anywhere"])
    assert_same(gm.fit(chunks, 3, start=start, seed=3), gm.fit(X, 3, start=start, seed=3))


def test_several_starts_are_those_of_the_rows_in_memory(X):
    options = {"n_starts": 4, "seed": 2, "max_iter": 10}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gm.ConvergenceWarning)
        expected = gm.fit(X, 3, **options)
        assert_same(gm.fit(cut(X, EDGES["anywhere"]), 3, **options), expected)


def test_more_rows_than_a_start_looks_at_give_the_same_sample(X):
    rows = np.tile(X, (8, 1))  # k-means sees 20,000 of 28,712
    assert_same(gm.fit(cut(rows, [5000, 9999]), 3, seed=0), gm.fit(rows, 3, seed=0))


def test_chunks_may_differ_in_type_and_order_in_memory(X):
    rows = X.astype(np.float32)
    a, b, c = cut(rows, [1000, 2500])
    chunks = [a, np.asfortranarray(b.astype(float)), c[::-1].copy()[::-1]]
    assert_same(gm.fit(chunks, 3, seed=0), gm.fit(rows.astype(float), 3, seed=0))


@pytest.mark.parametrize("form", ["one array", "chunks", "function"])
def test_weights_count_as_in_memory(X, form):
    weight = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    chunks, parts = cut(X, EDGES["anywhere"]), cut(weight, EDGES["anywhere"])
    given = {"one array": weight, "chunks": parts, "function": lambda: iter(parts)}[form]
    expected = gm.fit(X, 3, seed=0, sample_weight=weight)
    assert_same(gm.fit(chunks, 3, seed=0, sample_weight=given), expected)


def test_a_component_is_re_seeded_as_in_memory(X):
    far = gm.Mixture([0.3, 0.3, 0.4], [[0, 0], [4, 0], [1e4, 1e4]], np.ones(3), "spherical")
    options = {"covariance_type": "spherical", "start": far}
    with pytest.warns(gm.DegenerateComponentWarning, match="re-seeded"):
        expected = gm.fit(X, 3, **options)
    with pytest.warns(gm.DegenerateComponentWarning, match="re-seeded"):
        assert_same(gm.fit(cut(X, EDGES["anywhere"]), 3, **options), expected)


def test_a_constant_column_is_found_in_chunks(X):
    rows = np.column_stack([X, np.full(len(X), 5.1)])
    with pytest.warns(gm.DegenerateComponentWarning, match="column 2 of X is constant"):
        expected = gm.fit(rows, 2, seed=0)
    with pytest.warns(gm.DegenerateComponentWarning, match="column 2 of X is constant"):
        assert_same(gm.fit(cut(rows, EDGES["anywhere"]), 2, seed=0), expected)


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<i2"])
def test_a_memory_mapped_file_is_fitted_as_its_rows(X, tmp_path, dtype):
    rows = (100 * X).astype(dtype)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    expected = gm.fit(rows.astype(np.dtype(dtype).newbyteorder("=")), 3, seed=0)
    assert_same(gm.fit(mapped, 3, seed=0), expected)
    assert isinstance(sources.open_rows(mapped, None)[0], sources.Source) == (dtype in ">f8 <i2")


def test_data_frames_come_in_chunks(X, tmp_path):
    pandas = pytest.importorskip("pandas")
    file = tmp_path / "rows.csv"
    pandas.DataFrame(X, columns=["a", "b"]).to_csv(file, index=False, float_format="%.17g")
    result = gm.fit(lambda: pandas.read_csv(file, chunksize=500), 3, seed=0)
    assert_same(result, gm.fit(pandas.read_csv(file).to_numpy(), 3, seed=0))


def test_a_buffer_may_be_filled_again_for_each_chunk(X):
    def chunks():
        buffer = np.empty((300, 2))
        for begin in range(0, len(X), 300):
            rows = X[begin : begin + 300]
            buffer[: len(rows)] = rows
            yield buffer[: len(rows)]

    assert_same(gm.fit(chunks, 3, seed=0), gm.fit(X, 3, seed=0))


def test_a_function_may_return_one_array(X):
    assert_same(gm.fit(lambda: X, 3, seed=0), gm.fit(X, 3, seed=0))


def test_pieces_are_cut_at_multiples_of_the_unit_and_no_longer_than_allowed(X):
    source = sources.Source(cut(X, EDGES["anywhere"]))
    first = 0
    for begin, rows in source.pieces(256, 512):
        assert begin == first and begin % 256 == 0 and 0 < len(rows) <= 512
        np.testing.assert_array_equal(rows, X[begin : begin + len(rows)])
        first += len(rows)
    assert first == len(X)


def test_rows_inside_a_chunk_are_not_copied(X):
    source = sources.Source([X])
    unit = contract.plan(3, 2, contract.LAYOUT_FULL).slot_rows
    whole = [rows for _, rows in source.pieces(unit, unit)][:-1]
    assert all(np.shares_memory(rows, X) for rows in whole)


# -- what cannot be used


def test_nan_is_reported_with_its_chunk_and_row(X):
    chunks = [part.copy() for part in cut(X, [1000, 2500])]
    chunks[2][17, 1] = np.nan
    with pytest.raises(gm.InvalidInputError, match=r"chunk 2 of X: \[17, 1\] is NaN \(the only"):
        gm.fit(chunks, 3, seed=0)


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([np.ones((3, 2)), np.ones((3, 4))], r"chunk 1 of X has shape \(3, 4\), but chunk 0 has 2"),
        (lambda: [np.ones(3)], "chunk 0 of X is one-dimensional"),
        (lambda: [[1.0, 2.0], [3.0, 4.0]], "chunk 0 of X is one-dimensional"),
        (lambda: [np.ones((2, 2, 2))], "chunk 0 of X has 3 dimensions"),
        (lambda: 3, r"X\(\) returned 3 \(int\), not an iterable"),
        (lambda: None, r"X\(\) returned None"),
        (lambda: [], "X has 0 chunks and no rows"),
        ([np.ones((0, 2))], "X has 1 chunks and no rows"),
        ((row for row in np.ones((3, 2))), "generator .* read only once"),
    ],
)
def test_what_is_no_source_is_refused_with_a_remedy(chunks, message):
    with pytest.raises(gm.InvalidInputError, match=message):
        gm.fit(chunks, 1)


def test_an_iterator_that_is_used_up_is_noticed(X):
    once = iter(cut(X, [1000]))
    with pytest.raises(gm.InvalidInputError, match="fresh iterable of the same chunks each time"):
        gm.fit(lambda: once, 3, seed=0)


def test_chunks_that_change_between_passes_are_noticed(X):
    passes = []

    def chunks():
        passes.append(None)
        return cut(X, [1000 + len(passes)])

    with pytest.raises(gm.InvalidInputError, match=r"chunk 0 has shape \(1002, 2\) now"):
        gm.fit(chunks, 3, seed=0)


def test_other_columns_in_a_later_chunk_are_noticed():
    pandas = pytest.importorskip("pandas")
    a = pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    with pytest.raises(gm.InvalidInputError, match="chunk 1 of X has the columns"):
        gm.fit([a, a[["b", "a"]]], 1)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([np.ones(2), np.ones(3)], "chunk 0 of sample_weight has 2 values"),
        ([np.ones(3)], "sample_weight has 1 chunks, but X has 2"),
        (np.ones(4), "sample_weight has shape"),
        (lambda: None, r"sample_weight\(\) returned None \(NoneType\), not an iterable"),
    ],
)
def test_weights_must_fit_the_chunks(weights, message):
    chunks = [np.arange(6.0).reshape(3, 2), np.arange(4.0).reshape(2, 2)]
    with pytest.raises(gm.InvalidInputError, match=message):
        gm.fit(chunks, 1, sample_weight=weights)


def test_an_error_while_reading_reaches_the_user(X):
    def chunks():
        yield X[:100]
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        gm.fit(chunks, 2)


def test_rows_of_weight_are_counted_across_pieces():
    rng = np.random.default_rng(0)
    weight = np.where(rng.random(3 * sources.SCAN_ROWS + 5) < 0.4, 0.0, 1.0)
    weight[sources.SCAN_ROWS : 2 * sources.SCAN_ROWS] = 0.0
    ranks = np.sort(rng.integers(np.count_nonzero(weight), size=1_000))
    assert np.array_equal(sources.weighted_rows(weight, ranks), np.flatnonzero(weight)[ranks])


@pytest.mark.parametrize("zeros", [False, True])
def test_weights_add_no_memory_that_grows_with_the_rows(zeros):
    peaks = []
    for n_rows in (1_000, 2 * sources.SCAN_ROWS, 4 * sources.SCAN_ROWS):  # the first imports
        X = np.random.default_rng(0).standard_normal((n_rows, 1))
        weight = np.ones(n_rows)
        weight[::3] = 0.0 if zeros else 2.0
        tracemalloc.start()
        gm.fit(X, 2, start="random_from_data", sample_weight=weight, seed=0, max_iter=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] - peaks[1] < 2 * sources.SCAN_ROWS // 8  # less than a bit for a further row
