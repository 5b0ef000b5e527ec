"""The C interface: its signatures, which only grow, and its functions, called through ctypes."""

import ctypes
import gc
import re
import shutil
import subprocess
from ctypes import CFUNCTYPE, POINTER, byref, c_double, c_int, c_int32, c_int64, c_size_t, c_uint64
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import gaussmix as gm
from gaussmix import backends, c_api

HEADER = Path(gm.get_include(), "gaussmix.h")
PXD = Path(gm.__file__).with_name("__init__.pxd")
SIGNATURES = Path(__file__).with_name("c_api_signatures.txt")
OK, NOT_FINITE, NO_MEMORY, BAD_ARGUMENT, OTHER_MODEL = range(5)

compiled = pytest.mark.skipif(
    backends.active().c_api is None, reason="C programs call the compiled kernels"
)


# ---- Signatures ----


def _promised() -> dict[str, list[str]]:
    found, section = {}, []
    for line in SIGNATURES.read_text("utf-8").splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = found.setdefault(match[1], [])
        elif line and not line.startswith("#"):
            section.append(line)
    return found


def _declarations(text: str) -> list[str]:
    return [re.sub(r"\s+", " ", part).strip() for part in text.split(";") if part.strip()]


def _of_header() -> dict[str, list[str]]:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text("utf-8"), flags=re.DOTALL)
    constants = re.findall(r"^#define (GAUSSMIX_\w+) +(\S.*?) *$", text, re.MULTILINE)
    found = {"constants": [f"{name} {value}" for name, value in constants]}
    for name, body in re.findall(r"^struct (\w+) \{(.*?)^\};", text, re.MULTILINE | re.DOTALL):
        found[name] = _declarations(body)
    return found


def _of_pxd() -> dict[str, list[str]]:
    text = re.sub(r"#.*", "", PXD.read_text("utf-8"))
    found = {"constants": re.findall(r"^    const int (GAUSSMIX_\w+)$", text, re.MULTILINE)}
    blocks = re.split(r"ctypedef struct (\w+):|^cdef ", text, flags=re.MULTILINE)
    for name, body in pairwise(blocks):
        if name and name.startswith("gaussmix_"):
            # A declaration goes on while a parenthesis is open.
            flat = re.sub(r",\s*\n\s*", ", ", body).replace("() noexcept nogil", "(void)")
            flat = re.sub(r"\)\s*noexcept nogil", ")", flat)
            found[name] = [line.strip() for line in flat.splitlines() if line.strip()]
    return found


def test_the_header_declares_what_was_promised():
    assert _of_header() == _promised()


def test_cython_sees_what_c_sees():
    promised, found = _promised(), _of_pxd()
    assert found["gaussmix_model"] == promised["gaussmix_model"]
    assert found["gaussmix_api"] == promised["gaussmix_api"]
    numbers = [line.split()[0] for line in promised["constants"] if '"' not in line]
    assert found["constants"] == numbers


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.parametrize("language", [["-std=c99"], ["-xc++", "-std=c++11"]], ids=["c99", "c++11"])
def test_the_header_is_clean_c_and_c_plus_plus(language, tmp_path):
    source = tmp_path / "includes.c"
    source.write_text("#include <gaussmix.h>\nint main(void) { return GAUSSMIX_OK; }\n")
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
    command = ["cc", *language, *strict, f"-I{gm.get_include()}", str(source)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# ---- Functions ----

Row = POINTER(c_double)
Model = ctypes.c_void_p


class Face(ctypes.Structure):
    _fields_ = (
        ("size", c_size_t),
        ("api", ctypes.c_void_p),
        ("version", c_int32),
        ("covariance_type", c_int32),
        ("n_components", c_int64),
        ("n_features", c_int64),
    )


class Table(ctypes.Structure):
    _fields_ = (
        ("size", c_size_t),
        ("version", CFUNCTYPE(c_int32)),
        ("logpdf", CFUNCTYPE(c_int, Model, Row, Row)),
        (
            "logpdf_many",
            CFUNCTYPE(c_int, Model, Row, c_int64, c_int64, Row, POINTER(c_int64)),
        ),
        ("responsibilities", CFUNCTYPE(c_int, Model, Row, Row)),
        ("predict", CFUNCTYPE(c_int, Model, Row, POINTER(c_int64))),
        ("nearest", CFUNCTYPE(c_int, Model, Row, c_double, POINTER(c_int64))),
        ("sample_one", CFUNCTYPE(c_int, Model, POINTER(c_uint64), Row, POINTER(c_int64))),
    )


_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


@pytest.fixture
def table():
    return Table.from_address(_pointer(c_api.table, b"gaussmix.c_api.table"))


def model_of(scorer) -> int:
    return _pointer(scorer.capsule, b"gaussmix.model")


def at(array):
    return array.ctypes.data_as(Row)


def make(covariance_type="full", n_features=3, n_components=4):
    rng = np.random.default_rng(n_features)
    root = rng.normal(size=(n_components, n_features, n_features))
    full = root @ root.swapaxes(1, 2) + np.eye(n_features)
    covariances = {"full": full, "tied": full[0], "diag": np.einsum("kdd->kd", full)}
    weights = np.arange(n_components) / sum(range(n_components))  # the first one is 0
    means = 4 * rng.normal(size=(n_components, n_features))
    return gm.Mixture(weights, means, covariances[covariance_type], covariance_type)


@compiled
@pytest.mark.parametrize(("covariance_type", "code"), [("diag", 0), ("full", 1), ("tied", 2)])
def test_the_structs_say_what_they_are(table, covariance_type, code):
    assert (table.size, table.version()) == (ctypes.sizeof(Table), 1)
    scorer = make(covariance_type).scorer()
    face = Face.from_address(model_of(scorer))
    assert (face.size, face.version) == (ctypes.sizeof(Face), 1)
    assert face.api == _pointer(c_api.table, b"gaussmix.c_api.table")
    assert (face.covariance_type, face.n_components, face.n_features) == (code, 4, 3)


@compiled
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag"])
def test_results_are_the_mixture_s_bits(table, covariance_type):
    mixture = make(covariance_type)
    scorer = mixture.scorer()
    model = model_of(scorer)
    X = mixture.sample(50, seed=1)[0]
    X[7] = 1e160
    density, label, shares = c_double(), c_int64(), np.empty(4)
    expected = (
        mixture.logpdf(X),
        mixture.predict(X),
        mixture.predict_proba(X),
        mixture.nearest(X, 1.5),
    )
    for row, *wanted in zip(X, *expected, strict=True):
        assert table.logpdf(model, at(row), byref(density)) == OK
        assert density.value == wanted[0]
        assert table.predict(model, at(row), byref(label)) == OK
        assert label.value == wanted[1]
        assert table.responsibilities(model, at(row), at(shares)) == OK
        np.testing.assert_array_equal(shares, wanted[2])
        assert table.nearest(model, at(row), 1.5, byref(label)) == OK
        assert label.value == wanted[3]


@compiled
@pytest.mark.parametrize("n_rows", [0, 1, 9, 50])
def test_many_rows_may_lie_apart(table, n_rows):
    mixture = make()
    scorer = mixture.scorer()
    wide = np.full((50, 5), np.nan)
    wide[:, :3] = X = mixture.sample(50, seed=1)[0]
    out = np.full(51, -7.0)
    bad = c_int64(-7)
    assert table.logpdf_many(model_of(scorer), at(wide), n_rows, 5, at(out), byref(bad)) == OK
    np.testing.assert_array_equal(out[:n_rows], mixture.logpdf(X[:n_rows]))
    np.testing.assert_array_equal(out[n_rows:], -7.0)
    assert bad.value == -7


@compiled
def test_errors_have_codes(table):
    scorer = make().scorer()
    model = model_of(scorer)
    X, out = np.zeros((40, 3)), np.empty(40)
    density, label, bad = c_double(), c_int64(), c_int64()
    X[33, 1] = np.inf
    assert table.logpdf(model, at(X[33]), byref(density)) == NOT_FINITE
    assert table.predict(model, at(np.full(3, np.nan)), byref(label)) == NOT_FINITE
    assert table.logpdf_many(model, at(X), 40, 3, at(out), byref(bad)) == NOT_FINITE
    assert bad.value == 33
    assert table.logpdf_many(model, at(X), 40, 3, at(out), None) == NOT_FINITE
    assert table.logpdf_many(model, at(X), -1, 3, at(out), None) == BAD_ARGUMENT
    for gate in (0.0, -1.0, np.nan):
        assert table.nearest(model, at(X), gate, byref(label)) == BAD_ARGUMENT
    stranger = Face(api=None)
    assert table.logpdf(ctypes.addressof(stranger), at(X), byref(density)) == OTHER_MODEL
    assert table.sample_one(ctypes.addressof(stranger), c_uint64(), at(X), None) == OTHER_MODEL


@compiled
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag"])
def test_samples_follow_the_mixture(table, covariance_type):
    mixture = make(covariance_type)
    scorer = mixture.scorer()
    model, n = model_of(scorer), 4000
    state, label = c_uint64(5), c_int64()
    X, z = np.empty((n, 3)), np.empty(n, int)
    for i in range(n):
        assert table.sample_one(model, byref(state), at(X[i]), byref(label)) == OK
        z[i] = label.value
    assert set(z) == {1, 2, 3}  # the first component has no weight
    # Shares and means within five standard errors; squared distances are chi-square with D = 3.
    shares = np.bincount(z, minlength=4) / n
    error = np.sqrt(mixture.weights * (1 - mixture.weights) / n)
    assert np.all(np.abs(shares - mixture.weights) <= 5 * error)
    whitened = np.stack(
        [np.linalg.solve(np.linalg.cholesky(mixture.dense_covariances()[k]), x - mixture.means[k])
         for k, x in zip(z, X, strict=True)]
    )  # fmt: skip
    assert np.all(np.abs(whitened.mean(axis=0)) <= 5 / np.sqrt(n))
    np.testing.assert_allclose(whitened.T @ whitened / n, np.eye(3), atol=5 * np.sqrt(2 / n))


@compiled
def test_the_same_state_gives_the_same_point(table):
    model = make().scorer()
    a, b = np.empty(3), np.empty(3)
    for out in (a, b):
        assert table.sample_one(model_of(model), byref(c_uint64(3)), at(out), None) == OK
    np.testing.assert_array_equal(a, b)


@compiled
def test_a_capsule_keeps_its_model_alive(table):
    mixture = make()
    capsule = mixture.scorer().capsule
    gc.collect()
    density, row = c_double(), np.zeros(3)
    assert table.logpdf(_pointer(capsule, b"gaussmix.model"), at(row), byref(density)) == OK
    assert density.value == mixture.logpdf(row[None])[0]


def test_without_compiled_kernels_an_error_says_so():
    with backends.use("reference"):
        with pytest.raises(ImportError, match="reference backend"):
            _ = c_api.table
        with pytest.raises(ImportError, match="show_config"):
            _ = make().scorer().capsule


def test_nothing_else_is_there():
    with pytest.raises(AttributeError, match="tables"):
        _ = c_api.tables
