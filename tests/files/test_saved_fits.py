"""Fits, selections and streams in model files: all of them back, and nothing believed."""

import json
import warnings

import numpy as np
import pytest

import gaussmix as gm
import model_files
from gaussmix import ModelFileError
from model_files import changed, frame, parts

X = gm.datasets.load("faithful").X


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gmix"


def refuse(path, match):
    with pytest.raises(ModelFileError, match=match) as caught:
        gm.load(path)
    assert str(path) in str(caught.value)


def fitted(algorithm="em", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gm.fit(X, 3, algorithm=algorithm, seed=0, max_iter=30, **options)


def reported(path, change):
    """Save the file with the report that `change` has altered."""
    content = path.read_bytes()
    report = change(bytes(model_files.read(content)[2]["report"]))
    path.write_bytes(changed(content, report=np.frombuffer(report, np.uint8)))


def same_fit(a, b):
    assert a.mixture == b.mixture and repr(a) == repr(b)
    for name in ("log_likelihood", "classification"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name in gm.SufficientStatistics.__slots__:
        np.testing.assert_array_equal(getattr(a.statistics, name), getattr(b.statistics, name))
    for name in ("n_iter", "converged", "stop_reason", "repairs", "config", "timings"):
        assert getattr(a, name) == getattr(b, name)
    assert repr(a.starts) == repr(b.starts)  # NaN is not equal to itself
    assert len(a.stages) == len(b.stages)
    for one, other in zip(a.stages, b.stages, strict=True):
        for name, value in vars(one).items():
            np.testing.assert_array_equal(value, getattr(other, name))


@pytest.mark.parametrize("algorithm", ["em", "hard", "stochastic", "annealed"])
def test_a_fit_comes_back_whole(path, algorithm):
    result = fitted(algorithm)
    result.save(path)
    same_fit(gm.load(path), result)


def test_a_fit_with_repairs_and_failed_starts_comes_back(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = gm.fit([[0.0], [0.0], [1.0], [1.0]], 3, seed=0, n_starts=3)
    assert result.repairs
    result.save(path)
    same_fit(gm.load(path), result)


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"log_likelihood": np.zeros(3)}, "log_likelihood has shape"),
        ({"start_log_likelihoods": np.zeros(7)}, r"start_log_likelihoods is \(7,\) for"),
        ({"mixture.weights": None}, "the array 'weights' is missing"),
        ({"mixture.weights": np.array([1.0, 1.0, 1.0])}, "weights sum to 3"),
        ({"statistics.mass": np.array([1.0, 1.0])}, "mass has shape"),
        ({"stages.0.betas": np.zeros(2)}, r"stages.0.betas is float64 \(2,\)"),
        ({"stages.7.betas": np.zeros(2)}, "the array 'stages.7.betas' is unknown"),
        ({"stages.0.alphas": np.zeros(2)}, "the array 'stages.0.alphas' is unknown"),
        ({"forest.tree": np.zeros(2)}, "the array 'forest.tree' is unknown"),
    ],
)
def test_wrong_arrays_of_a_fit_are_named(path, arrays, match):
    fitted().save(path)
    path.write_bytes(changed(path.read_bytes(), **arrays))
    refuse(path, match)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b'"n_iter":', b'"m_iter":', "m_iter' is unknown"),
        (b'"converged":', b'"converged":1,"x":', "unknown"),
        (b'"stop_reason":"', b'"stop_reason":"\\u001b[31m', "stop_reason is .*printable"),
        (b'"stop_reason":"', b'"stop_reason":"' + b"x" * 5000, "a text of up to 4096"),
        (b'"starts":[{"kind":', b'"starts":[{"sort":', r"starts\[0\]: 'sort' is unknown"),
        (b'"repairs":[', b'"repairs":[1', r"repairs\[0\] is 1, no object"),
        (b'"config":{', b'"config":{"x":{},', "config or timings: x is dict"),
        (b'"stages":[', b'"stages":[[', "is not JSON|nested"),
        (b'"timings":{', b'"timings":[],"t":{', "unknown"),
        (
            b'"timings":{',
            b'"timings":{"\\u001b[31m":1,',
            "a key of config or timings is .*printable",
        ),
        (b'"config":{', b'"config":{"' + b"x" * 5000 + b'":1,', "a key of config or timings is"),
        (b'"begin":0', b'"begin":-5', r"stages\[0\] goes from -5"),
        (b'"begin":0', b'"begin":1000', r"stages\[0\] goes from 1000"),
        (b'"best":null', b'"best":1000', r"stages\[0\]: best is 1000"),
    ],
)
def test_wrong_reports_of_a_fit_are_named(path, old, new, match):
    fitted().save(path)
    reported(path, lambda report: report.replace(old, new, 1))
    refuse(path, match)


@pytest.fixture(scope="module")
def selection():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gm.select(np.round(X[:40]), [1, 2, 9], ["full", "diag"], seed=0, n_starts=1)


def test_a_selection_comes_back_whole(path, selection):
    selection.save(path)
    loaded = gm.load(path)
    assert loaded.table.dtype == selection.table.dtype
    assert repr(loaded.table) == repr(selection.table)
    assert repr(loaded) == repr(selection) and loaded.notes == selection.notes
    assert (loaded.criterion, loaded.chosen) == (selection.criterion, selection.chosen)
    assert not loaded.table.flags.writeable
    for a, b in zip(loaded.results, selection.results, strict=True):
        assert a is b is None or same_fit(a, b) is None
    assert loaded.mixture == selection.mixture


def test_a_selection_with_a_candidate_that_failed_comes_back(path, selection):
    results = [*selection.results[:-1], None]
    failed = gm.Selection(
        selection.table, selection.criterion, selection.chosen, results, selection.notes
    )
    failed.save(path)
    assert gm.load(path).results[-1] is None


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"bic": np.zeros(2)}, r"bic has shape \(2,\)"),
        ({"bic": None}, "the array 'bic' is missing"),
        ({"converged": np.full(6, 2, np.uint8)}, "converged holds 2, which is neither 0 nor 1"),
        ({"n_components": np.arange(6)}, r"results\[0\] is full, K = 1; the table differs"),
        ({"result_sizes": np.zeros(6, "<i8")}, "result_sizes sum to 0"),
        ({"result_sizes": np.array([-1, 1, 0, 0, 0, 0])}, "result_sizes are not a size"),
        ({"results": np.zeros((2, 2), np.uint8)}, "result_sizes are not a size"),
        ({"result_sizes": np.array([2**63 - 1, 2**63 - 1, 0, 0, 0, 2])}, "result_sizes sum to"),
        (
            {"results": np.zeros(600, np.uint8), "result_sizes": np.full(6, 100)},
            r"results\[0\] is not a model file",
        ),
    ],
)
def test_wrong_arrays_of_a_selection_are_named(path, selection, arrays, match):
    selection.save(path)
    path.write_bytes(changed(path.read_bytes(), **arrays))
    refuse(path, match)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"chosen": 6}, "chosen is 6"),
        ({"chosen": -1}, "chosen is -1"),
        ({"chosen": True}, "the field chosen is True"),
        ({"criterion": "dic"}, "criterion is 'dic'"),
    ],
)
def test_wrong_fields_of_a_selection_are_named(path, selection, fields, match):
    selection.save(path)
    header, payload = parts(path.read_bytes())
    header["fields"] |= fields
    path.write_bytes(frame(header, payload))
    refuse(path, match)


def test_notes_that_would_make_a_huge_table_are_refused(path, selection):
    # Every candidate takes the room of the longest notes: 1 MB in the file, 6 GB in memory.
    selection.save(path)
    n_candidates = 1500
    arrays = {
        entry["name"]: np.zeros(n_candidates, entry["dtype"])
        for entry in parts(path.read_bytes())[0]["arrays"]
    }
    notes = [["x" * 4096] * 256] + [[]] * (n_candidates - 1)
    report = json.dumps({"covariance_types": ["full"] * n_candidates, "notes": notes})
    arrays |= {"report": np.frombuffer(report.encode(), np.uint8), "results": np.zeros(0, "|u1")}
    path.write_bytes(changed(path.read_bytes(), **arrays))
    refuse(path, "1500 candidates with up to .* characters")


STREAMS = [
    {},
    {"covariance_type": "spherical", "average": True},
    {"covariance_type": "tied", "half_life": 500.0, "n_threads": 1},
    {"covariance_type": "diag", "start": [[2, 50], [4, 80]], "step_rows": 20},
    {"start": gm.Mixture([0.5, 0.5], [[2, 50], [4, 80]], [1.0, 1.0], "spherical")},
]


@pytest.mark.parametrize("options", STREAMS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_stream_goes_on_from_its_file_to_the_bit(path, options, dtype):
    if isinstance(options.get("start"), gm.Mixture):
        options = options | {"covariance_type": "spherical"}
    here = gm.OnlineMixture(2, start_rows=100, seed=1, **options)
    there = gm.OnlineMixture(2, start_rows=100, seed=1, **options)
    rows = X.astype(dtype)
    for begin in range(0, 240, 30):
        there.save(path)
        there = gm.load(path)
        weight = np.linspace(0.0, 2.0, 30) if begin % 60 else None
        here.update(rows[begin : begin + 30], weight)
        there.update(rows[begin : begin + 30], weight)
        assert there.mixture == here.mixture and repr(there) == repr(here)
        assert there.repairs == here.repairs
        assert there.n_updates == here.n_updates
    if here.statistics is not None:
        for name in gm.SufficientStatistics.__slots__:
            a, b = getattr(here.statistics, name), getattr(there.statistics, name)
            np.testing.assert_array_equal(a, b)


def test_a_stream_that_began_with_a_fit_comes_back(path):
    online = gm.OnlineMixture(3, start=fitted(), seed=0)
    online.save(path)
    assert gm.load(path).update(X[:50]).mixture == online.update(X[:50]).mixture


@pytest.fixture
def stream(path):
    online = gm.OnlineMixture(2, start_rows=100, seed=1, average=True).update(X[:150])
    online.update(X[150:]).save(path)
    return path


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"steps": np.zeros(3)}, "steps has shape"),
        ({"steps": np.array([0.2, 2.0, np.nan, 1e-6])}, "alpha is 0.2"),
        ({"steps": np.array([0.7, 2.0, 500.0, 1e-6])}, "average=True"),
        ({"steps": np.array([0.7, np.inf, np.nan, 1e-6])}, "t0 is inf"),
        ({"seed": np.array(-1)}, "seed is -1"),
        ({"recursion.marks": np.array([0, 9])}, r"marks are \[0, 9\]"),
        ({"recursion.rates": np.array([1.0, -1.0, 0.0])}, "rates are"),
        ({"recursion.sums": np.zeros(3)}, "sums has shape"),
        ({"recursion.sums": np.full(20, np.nan)}, "sums"),
        ({"recursion.floor": np.array([1e-6, 1.0, 0.0])}, "floor is"),
        ({"recursion.floor": np.array([1e-6, 1.0])}, "floor has shape"),
        ({"recursion.average_weights": np.array([1.0, 1.0])}, "weights sum to 2"),
        ({"recursion.average_weight": np.array(-1.0)}, "average does not fit"),
        ({"recursion.average_weight": None}, "'average_weight' is missing"),
        ({"recursion.mixture.means": np.zeros((3, 2))}, "weights has shape"),
        ({"recursion.mixture.extra": np.zeros((3, 2))}, "the array 'extra' is unknown"),
        ({"first.rows": np.zeros((3, 2))}, "the array 'first.rows' is unknown"),
    ],
)
def test_wrong_arrays_of_a_stream_are_named(stream, arrays, match):
    stream.write_bytes(changed(stream.read_bytes(), **arrays))
    refuse(stream, match)


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"first.rows": np.full((3, 2), np.inf)}, "holds NaN or infinities"),
        ({"first.rows": np.zeros(3)}, "rows has shape"),
        ({"first.weight": np.array(-1.0)}, "weight is -1"),
        ({"first.weights": -np.ones(10)}, "weights has -1"),
        ({"first.weights": np.ones(9)}, "weights has shape"),
    ],
)
def test_wrong_rows_of_a_start_are_named(path, arrays, match):
    gm.OnlineMixture(2).update(X[:10], np.ones(10)).save(path)
    path.write_bytes(changed(path.read_bytes(), **arrays))
    refuse(path, match)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"n_components": 3}, "does not fit its options"),
        ({"covariance_type": "diag"}, "does not fit its options"),
        ({"n_rows": -1}, "n_rows is -1"),
        ({"n_threads": 0}, "n_threads"),
        ({"start": "forest"}, "start is 'forest'"),
        ({"extra": 1}, "'extra' is unknown"),
        ({"recursion": 1}, "recursion"),
    ],
)
def test_wrong_fields_of_a_stream_are_named(stream, fields, match):
    header, payload = parts(stream.read_bytes())
    header["fields"] |= fields
    stream.write_bytes(frame(header, payload))
    refuse(stream, match)


def test_a_stream_inside_an_estimator_is_not_saved_apart(path):
    online = gm.OnlineMixture(2)
    # As the estimator sets it.
    online._stream = online._stream._replace(adapt=lambda mixture: mixture)
    with pytest.raises(gm.InvalidInputError, match="pickle the estimator"):
        online.save(path)
