"""Mixtures in other forms: JSON, the parameters of mclust and scikit-learn, C, ONNX."""

import ctypes
import json
import math
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import gaussmix as gm
import oracle
from gaussmix import InvalidInputError, Mixture, ModelFileError

TYPES = ("full", "tied", "diag", "spherical")
EPS = np.finfo(float).eps
# A log density is a sum of about D^2 / 2 + D terms, D = 3, each with a rounding or two; its size
# is that of its largest term unless these cancel, so that the tolerance is also absolute.
TOLERANCE = 64 * EPS
COMPILER = shutil.which("gcc") or shutil.which("cc")


def mixture_of(covariance_type, weights=(0.2, 0.5, 0.3)):
    rng = np.random.default_rng(5)
    n_components = len(weights)
    root = rng.normal(size=(n_components, 3, 3))
    full = root @ root.transpose(0, 2, 1) + 0.5 * np.eye(3)
    covariances = oracle.of_type(full, covariance_type)
    return Mixture(weights, 2.0 * rng.normal(size=(n_components, 3)), covariances, covariance_type)


@pytest.fixture(params=TYPES)
def mixture(request):
    return mixture_of(request.param)


@pytest.fixture
def rows(mixture):
    near = mixture.sample(200, seed=1)[0]
    return np.concatenate([near, 100.0 * near[:20], mixture.means])


def close(a, b, tolerance=TOLERANCE):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# -- JSON


def test_json_gives_the_same_bits(mixture):
    text = mixture.to_json(feature_names=["a", "b", 'ç "d"'])
    assert Mixture.from_json(text) == mixture
    assert Mixture.from_json(text.encode()) == mixture
    content = json.loads(text)
    assert content["feature_names"] == ["a", "b", 'ç "d"']
    for name in ("weights", "means", "covariances"):
        assert content[name] == getattr(mixture, name).tolist()


def test_json_has_a_line_for_each_row():
    text = mixture_of("tied").to_json()
    assert max(map(len, text.splitlines())) < 100
    assert len(text.splitlines()) == 1 + 3 + 5 + 5 + 1


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c: c | {"format": "gaussmix mixture 2"}, "format is 'gaussmix mixture 2'"),
        (lambda c: c | {"extra": 1}, "'extra' is unknown"),
        (lambda c: {k: v for k, v in c.items() if k != "means"}, "means is missing"),
        (lambda c: c | {"covariance_type": "round"}, "covariance_type"),
        (lambda c: c | {"weights": [0.5, 0.5]}, "weights has shape"),
        (lambda c: c | {"weights": [1.0, 0.5, 0.3]}, "weights sum to 1.8"),
        (lambda c: c | {"weights": [1, "0", 0]}, "weights holds '0', no number"),
        (lambda c: c | {"weights": [True, 0, 0]}, "weights holds True, no number"),
        (lambda c: c | {"weights": "abc"}, "weights is 'abc'"),
        (lambda c: c | {"means": [1.0, 2.0, 3.0]}, "means has shape"),
        (lambda c: c | {"means": [[1.0], [2.0, 3.0], [1.0]]}, "means"),
        (lambda c: c | {"covariances": [1.0, 2.0]}, "covariances has shape"),
        (lambda c: c | {"covariances": [1.0, 2.0, -3.0]}, r"covariances\[2\] is -3"),
        (lambda c: c | {"feature_names": ["a"]}, "feature_names holds 1 names"),
    ],
)
def test_wrong_json_is_named(change, match):
    content = json.loads(mixture_of("spherical").to_json())
    with pytest.raises(ModelFileError, match=match):
        Mixture.from_json(json.dumps(change(content)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        '{"weights": NaN}',
        '{"a": 1, "a": 2}',
        "[" * 10**5,
        '{"a": "\\ud800"}',
        "\ud800",
    ],
)
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ModelFileError, match="the JSON"):
        Mixture.from_json(text)


def test_from_json_takes_text_alone():
    with pytest.raises(InvalidInputError, match="pass a str or bytes"):
        Mixture.from_json({})


# -- mclust


def test_arrays_of_mclust_give_the_mixture(mixture):
    sigma = np.moveaxis(mixture.dense_covariances(), 0, -1)
    found = Mixture.from_arrays(mixture.weights, mixture.means.T, sigma, mixture.covariance_type)
    assert found == mixture


def test_arrays_of_one_feature_may_be_flat():
    expected = Mixture([0.4, 0.6], [0.0, 5.0], [1.0, 2.0], "full")
    assert Mixture.from_arrays([0.4, 0.6], [0.0, 5.0], [1.0, 2.0]) == expected
    equal = Mixture.from_arrays([0.4, 0.6], [0.0, 5.0], 2.0, "tied")
    assert equal == Mixture([0.4, 0.6], [0.0, 5.0], [[2.0]], "tied")


def test_a_single_component_may_have_a_flat_mean():
    found = Mixture.from_arrays([1.0], [1.0, 2.0, 3.0], np.eye(3))
    assert found == Mixture([1.0], [[1.0, 2.0, 3.0]], np.eye(3)[None])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([0.5, 0.5], np.zeros((3, 3)), np.ones((3, 3, 2))), r"mean has shape \(3, 3\)"),
        (([0.5, 0.5], np.zeros((3, 2)), np.ones((2, 3, 3))), r"sigma has shape \(2, 3, 3\)"),
        (([[0.5, 0.5]], np.zeros((3, 2)), np.ones((3, 3, 2))), "pro has shape"),
        (([0.5, 0.6], np.zeros((3, 2)), np.eye(3)), "weights sum to 1.1"),
        (([0.5, 0.5], np.zeros((3, 2)), np.full((3, 3), np.nan)), r"sigma\[0, 0\] is nan"),
        (([0.5, 0.5], np.zeros((3, 2)), np.eye(3) + 0.5, "diag"), r"sigma\[0, 1, 0\] is 0.5"),
        (([0.5, 0.5], np.zeros((2, 2)), np.diag([1, 2.0]), "spherical"), r"sigma\[1, 1, 0\] is 2"),
        (([1.0], [0.0], [1.0], "round"), "covariance_type"),
    ],
)
def test_wrong_arrays_are_named(arguments, match):
    with pytest.raises(InvalidInputError, match=match):
        Mixture.from_arrays(*arguments)


def test_matrices_that_differ_are_not_tied():
    sigma = np.moveaxis(mixture_of("full").dense_covariances(), 0, -1)
    with pytest.raises(InvalidInputError, match=r"sigma\[0, 0, 1\] is .* tied covariances has"):
        Mixture.from_arrays([0.2, 0.5, 0.3], np.zeros((3, 3)), sigma, "tied")


# -- scikit-learn


def test_scikit_learn_scores_as_the_mixture_does(mixture, rows):
    estimator = mixture.to_sklearn()
    # scikit-learn subtracts P mu from P x, where far rows and means cancel.
    np.testing.assert_allclose(estimator.score_samples(rows), mixture.logpdf(rows), rtol=1e-11)
    np.testing.assert_array_equal(estimator.predict(rows), mixture.predict(rows))
    np.testing.assert_allclose(
        estimator.predict_proba(rows), mixture.predict_proba(rows), atol=1e-9
    )
    precisions = np.linalg.inv(mixture.dense_covariances())
    found = estimator.precisions_
    if mixture.covariance_type == "diag":
        precisions = np.einsum("kdd->kd", precisions)
    elif mixture.covariance_type == "spherical":
        precisions = precisions[:, 0, 0]
    elif mixture.covariance_type == "tied":
        precisions = precisions[0]
    np.testing.assert_allclose(found, precisions, rtol=1e-10, atol=1e-10)
    assert estimator.sample(10)[0].shape == (10, 3)
    assert estimator.bic(rows) == pytest.approx(mixture.bic(rows), rel=1e-10)


def test_scikit_learn_and_back_is_the_same_mixture(mixture):
    assert Mixture.from_sklearn(mixture.to_sklearn()) == mixture


@pytest.mark.parametrize("name", ["GaussianMixture", "BayesianGaussianMixture"])
def test_a_fit_of_scikit_learn_becomes_a_mixture(name):
    import sklearn.mixture

    X = gm.datasets.load("faithful").X
    estimator = getattr(sklearn.mixture, name)(n_components=2, random_state=0).fit(X)
    mixture = Mixture.from_sklearn(estimator)
    np.testing.assert_array_equal(mixture.means, estimator.means_)
    np.testing.assert_array_equal(mixture.covariances, estimator.covariances_)
    if name == "GaussianMixture":  # the other one predicts by more than its means
        np.testing.assert_array_equal(mixture.predict(X), estimator.predict(X))


def test_an_estimator_without_parameters_is_refused():
    import sklearn.mixture

    for estimator in (sklearn.mixture.GaussianMixture(), 3):
        with pytest.raises(InvalidInputError, match="has no weights_; pass a fitted"):
            Mixture.from_sklearn(estimator)


# -- C


class CModel:
    """The compiled code of a mixture, called a row at a time."""

    def __init__(self, mixture, folder, name="model", dtype="float64"):
        source, library = folder / "model.c", folder / f"{name}-{dtype}.so"
        source.write_text(mixture.to_c(name, dtype))
        flags = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-Wmissing-prototypes"]
        if dtype == "float32":
            flags.append("-Wdouble-promotion")  # no double anywhere
        subprocess.run(
            [COMPILER, *flags, "-O2", "-shared", "-fPIC", "-o", library, source, "-lm"], check=True
        )
        self.library, self.name, self.dtype = ctypes.CDLL(str(library)), name, dtype
        self.real = ctypes.c_double if dtype == "float64" else ctypes.c_float
        self.n_components = mixture.n_components

    def __call__(self, function, X, *extra):
        call = getattr(self.library, f"{self.name}_{function}")
        integers = function in ("predict", "nearest")
        call.restype = ctypes.c_int if integers else self.real
        results = []
        for row in np.ascontiguousarray(X, self.dtype):
            pointer = row.ctypes.data_as(ctypes.c_void_p)
            if function == "responsibilities":
                out = np.empty(self.n_components, self.dtype)
                call.restype = None
                call(pointer, out.ctypes.data_as(ctypes.c_void_p))
                results.append(out)
            else:
                results.append(call(pointer, *extra))
        return np.array(results)


needs_compiler = pytest.mark.skipif(COMPILER is None, reason="a C compiler")


@needs_compiler
def test_the_c_code_does_what_the_mixture_does(mixture, rows, tmp_path):
    model = CModel(mixture, tmp_path)
    close(model("logpdf", rows), mixture.logpdf(rows))
    # An exponent of 1e4 is known to 1e4 eps.
    close(model("responsibilities", rows), mixture.predict_proba(rows), 1e4 * TOLERANCE)
    np.testing.assert_array_equal(model("predict", rows), mixture.predict(rows))
    for gate in (0.5, 2.5):
        found = model("nearest", rows, ctypes.c_double(gate))
        np.testing.assert_array_equal(found, mixture.nearest(rows, gate))
    found = model("nearest", rows, ctypes.c_double(math.inf))
    np.testing.assert_array_equal(found, mixture.nearest(rows, None))


@needs_compiler
def test_the_c_code_in_float32_does_so_to_its_precision(mixture, rows, tmp_path):
    model = CModel(mixture, tmp_path, "single", "float32")
    near = rows[:200]
    tolerance = 64 * np.finfo(np.float32).eps
    np.testing.assert_allclose(
        model("logpdf", near), mixture.logpdf(near), rtol=tolerance, atol=tolerance
    )
    close(model("responsibilities", near), mixture.predict_proba(near), 10 * tolerance)
    assert np.mean(model("predict", near) == mixture.predict(near)) > 0.99


@needs_compiler
def test_the_c_code_knows_empty_components_far_rows_and_bad_numbers(tmp_path):
    mixture = mixture_of("full", weights=(0.0, 0.4, 0.6))
    model = CModel(mixture, tmp_path)
    rows = np.array([mixture.means[0], mixture.means[1], [1e200, 0, 0], [-1e170, 1e170, 3]])
    np.testing.assert_array_equal(model("predict", rows), mixture.predict(rows))
    close(model("logpdf", rows), mixture.logpdf(rows))
    close(model("responsibilities", rows), mixture.predict_proba(rows))
    bad = np.array([[np.nan, 0, 0], [0, np.inf, 0], [0, 0, -np.inf]])
    assert np.isnan(model("logpdf", bad)).all()
    assert np.isnan(model("responsibilities", bad)).all()
    assert (model("predict", bad) == -1).all()
    assert (model("nearest", bad, ctypes.c_double(math.inf)) == -1).all()


@needs_compiler
def test_two_mixtures_live_in_one_program(tmp_path):
    source = tmp_path / "both.c"
    first, second = mixture_of("full").to_c("first"), mixture_of("diag").to_c("second", "float32")
    source.write_text(first + second)
    command = [COMPILER, "-std=c99", "-Wall", "-Werror", "-c", "-o", tmp_path / "both.o", source]
    subprocess.run(command, check=True)


def test_the_numbers_in_the_c_code_are_exact(mixture):
    code = mixture.to_c("model")
    numbers = {float.fromhex(text) for text in re.findall(r"-?0x[0-9a-f.]+p[+-]\d+", code)}
    if mixture.covariance_type != "tied":  # whose means are whitened
        assert set(mixture.means.ravel().tolist()) <= numbers
    lower = np.tril(mixture.precision_factors) if mixture.precision_factors.ndim > 2 else ()
    assert {v for v in np.ravel(lower).tolist() if v} <= numbers


@pytest.mark.parametrize("name", ["", "1a", "a b", "a-b", "ä", "_a", "a" * 41, "a;", None, "a\n"])
def test_a_name_that_c_does_not_know_is_refused(name):
    with pytest.raises(InvalidInputError, match="name is"):
        mixture_of("full").to_c(name)


@pytest.mark.parametrize("export", ["to_c", "to_onnx"])
def test_float32_far_from_the_origin_warns_and_float64_does_not(export):
    mixture = gm.Mixture([0.5, 0.5], [[0.0, 1e8], [3.0, 0.0]], [1.0, 2.0], "spherical")
    with pytest.warns(gm.PrecisionWarning, match=r"component 0 spreads by 0\.125 .* column 1"):
        getattr(mixture, export)(dtype="float32")
    getattr(mixture, export)()


def test_an_onnx_graph_in_float32_holds_no_infinity_for_a_large_number():
    mixture = gm.Mixture([1.0], [[1e100]], [1e200], "spherical")
    with pytest.raises(gm.InvalidInputError, match=r"means of the mixture hold 1e\+100"):
        mixture.to_onnx("float32")


def test_numbers_that_float32_does_not_hold_are_named():
    mixture = Mixture([1.0], [[0.0]], [[1e-90]], "diag")
    with pytest.raises(InvalidInputError, match=r"factors of the mixture hold 1e\+45, which"):
        mixture.to_c("model", "float32")
    with pytest.raises(InvalidInputError, match="dtype is 'half'"):
        mixture.to_c("model", "half")


# -- ONNX


def run_onnx(model, X):
    import onnx
    import onnxruntime

    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return dict(
        zip(
            [output.name for output in session.get_outputs()],
            session.run(None, {"X": X}),
            strict=True,
        )
    )


def test_the_onnx_graph_does_what_the_mixture_does(mixture, rows):
    pytest.importorskip("onnxruntime")
    found = run_onnx(mixture.to_onnx(), rows)
    np.testing.assert_allclose(found["log_density"], mixture.logpdf(rows), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        found["responsibilities"], mixture.predict_proba(rows), rtol=1e-9, atol=1e-12
    )
    np.testing.assert_array_equal(found["label"], mixture.predict(rows))
    assert found["label"].dtype == np.int64 and found["log_density"].shape == (len(rows),)


def test_the_onnx_graph_takes_one_row_and_none(mixture):
    pytest.importorskip("onnxruntime")
    model = mixture.to_onnx()
    for n_rows in (0, 1):
        found = run_onnx(model, mixture.means[:n_rows])
        assert found["responsibilities"].shape == (n_rows, 3)
        assert found["label"].shape == (n_rows,)


def test_the_onnx_graph_in_float32_and_with_an_empty_component():
    pytest.importorskip("onnxruntime")
    mixture = mixture_of("tied", weights=(0.0, 0.4, 0.6))
    rows = mixture.means.astype(np.float32)
    found = run_onnx(mixture.to_onnx("float32"), rows)
    assert found["log_density"].dtype == np.float32
    np.testing.assert_allclose(found["log_density"], mixture.logpdf(rows), rtol=1e-5)
    assert (found["responsibilities"][:, 0] == 0.0).all()


def test_to_sklearn_without_scikit_learn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    with pytest.raises(ImportError, match=r"pip install \"gaussmix\[sklearn\]\""):
        mixture_of("full").to_sklearn()
