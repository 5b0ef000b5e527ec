"""A20: no public call changes how the processor rounds, or what it does with subnormals."""

import contextlib
import ctypes
import importlib.util
import inspect
import os
import sys
import threading

import numpy as np
import pytest

import gaussmix as gm
from gaussmix import backends

pytestmark = [
    pytest.mark.skipif(
        not sys.platform.startswith("linux") or os.uname().machine != "x86_64",
        reason="the layout of fenv_t is that of glibc on x86-64",
    ),
    pytest.mark.filterwarnings("ignore::gaussmix.errors.GaussmixWarning"),
]

EXCEPTIONS = 0x3F  # of MXCSR: flags that arithmetic raises; all else is the mode
FLUSH, ZEROS = 0x8000, 0x0040  # FTZ and DAZ
LIBRARIES = {
    "plotting": "matplotlib",
    "Selection.plot": "matplotlib",
    "GaussianMixture": "sklearn",
    "Mixture.to_sklearn": "sklearn",
    "Mixture.from_sklearn": "sklearn",
    "Mixture.to_onnx": "onnx",
}


def get_mode():
    """The x87 control word and MXCSR of the calling thread, by the C library's fegetenv."""
    words = (ctypes.c_uint32 * 8)()
    ctypes.CDLL(None).fegetenv(words)
    return words[0] & 0xFFFF, words[7] & ~EXCEPTIONS


def set_mode(mode):
    words = (ctypes.c_uint32 * 8)()
    ctypes.CDLL(None).fegetenv(words)
    words[0] = words[0] & ~0xFFFF | mode[0]
    words[7] = mode[1]
    ctypes.CDLL(None).fesetenv(words)


def has_team():
    """Whether OpenMP's threads keep a mode of their own.

    Clang's OpenMP, which has kmp_ functions, gives them the caller's in each parallel region.
    """
    if backends.active().name != "cython" or openmp_module().OPENMP == 0:
        return False
    return not hasattr(ctypes.CDLL(openmp_module().__file__), "kmp_set_blocktime")


def openmp_module():
    return sys.modules[backends.active().accumulate.__module__]


def in_team(work):
    """``work(thread)`` on the two OpenMP threads that kernel calls of this Python thread run on."""
    library = ctypes.CDLL(openmp_module().__file__)

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    def called(_):
        work(library.omp_get_thread_num())

    # What GCC calls for `omp parallel`.
    library.GOMP_parallel(called, None, 2, 0)


def modes_of_team():
    found = {}
    in_team(lambda thread: found.update({thread: get_mode()}))
    return found


# ---- All public calls ----


def _missing(name):
    library = LIBRARIES.get(name, LIBRARIES.get(name.split(".")[0]))
    return library is not None and importlib.util.find_spec(library) is None


def _methods(cls):
    """Those of its own and of the bases that are gaussmix's, constructors and operators aside."""
    return {
        name
        for base in cls.__mro__
        if base.__module__.startswith("gaussmix")
        for name, value in vars(base).items()
        if inspect.isroutine(value) and not name.startswith("_")
        if not name.endswith("_request")  # scikit-learn's
    }


def _functions(module):
    for name in getattr(module, "__all__", vars(module)):
        value = getattr(module, name)
        if inspect.isfunction(value) and not name.startswith("_"):
            if hasattr(module, "__all__") or value.__module__ == module.__name__:
                yield name


def public_calls():
    """Their names: ``"fit"``, ``"Mixture.logpdf"``, ``"criteria.bic"``, ..."""
    for name in gm.__all__:
        if _missing(name):
            continue
        value = getattr(gm, name)
        if name == "errors":  # exceptions, which no call computes
            continue
        if inspect.ismodule(value):
            yield from (f"{name}.{function}" for function in _functions(value))
        elif not inspect.isclass(value):
            yield name
        elif not issubclass(value, Exception):
            yield from (f"{name}.{method}" for method in _methods(value))


def _read(value):
    """All public attributes of an object; some are computed when they are read."""
    for name in dir(type(value)):
        if not name.startswith("_"):
            with contextlib.suppress(ImportError):  # Scorer.capsule, of compiled kernels alone
                getattr(value, name)


def _under_a_limit(call):
    with gm.thread_limit(2):
        call()


def _fits(X, few, model, path):
    """Calls of ``fit``, by what is particular to each."""
    for covariance_type in ("full", "tied", "diag", "spherical"):
        yield lambda kind=covariance_type: gm.fit(few, 2, covariance_type=kind, seed=0)
    for algorithm in ("hard", "stochastic", "annealed"):
        yield lambda how=algorithm: gm.fit(few, 2, algorithm=how, seed=0, tol=1e-2)
    yield lambda: gm.fit(X, 2, start=model, n_threads=2, tol=1.0)
    yield lambda: gm.fit(X.astype(np.float32), 2, start=model, n_threads=2, tol=1.0)
    yield lambda: gm.fit(few, 2, seed=0, n_starts=3, sample_weight=np.ones(len(few)))
    yield lambda: gm.fit(few, 2, seed=0, callback=lambda state: None, max_seconds=60.0)
    yield lambda: gm.fit(few, 2, seed=0, checkpoint=path / "fit.gmix")


def _calls_of_mixture(X, few, model, path):
    for method in ("log_joint", "logpdf", "pdf", "predict_proba", "predict", "mahalanobis"):
        yield method, lambda method=method: getattr(model, method)(X, n_threads=2)
        yield method, lambda method=method: getattr(model, method)(X[:1])
    for method in ("score", "statistics", "aic", "bic", "icl", "nearest"):
        yield method, lambda method=method: getattr(model, method)(X, n_threads=2)
    line = model.marginal([0])
    yield "nearest", lambda: model.nearest(few, metric="euclidean")
    yield "hills", lambda: model.hills(X[:2000], n_threads=2)
    yield "modes", lambda: model.modes()
    yield "sample", lambda: model.sample(1000, seed=0)
    yield "scorer", lambda: model.scorer()
    yield "as_arrays", lambda: model.as_arrays()
    yield "dense_covariances", lambda: model.dense_covariances()
    yield "marginal", lambda: model.marginal([0, 2])
    yield "condition", lambda: model.condition([0], [0.5])
    yield "regress", lambda: model.regress(X[:, :2], [0, 1], n_threads=2)
    yield "entropy", lambda: model.entropy(20_000, seed=0, n_threads=2)
    yield "kl", lambda: model.kl(model, 20_000, seed=0, n_threads=2)
    yield "cdf", lambda: line.cdf([0.0, 40.0])
    yield "quantile", lambda: line.quantile([0.1, 0.9])
    yield "save", lambda: model.save(path / "model.gmix")
    yield "to_json", lambda: model.to_json()
    yield "from_json", lambda: gm.Mixture.from_json(model.to_json())
    mclust = np.array([0.5, 0.5]), np.array([[0.0, 1.0]]), np.ones((1, 1, 2))
    yield "from_arrays", lambda: gm.Mixture.from_arrays(*mclust)
    yield "to_c", lambda: model.to_c()
    yield "to_onnx", lambda: model.to_onnx()
    yield "to_sklearn", lambda: model.to_sklearn()
    yield "from_sklearn", lambda: gm.Mixture.from_sklearn(model.to_sklearn())
    yield "its attributes", lambda: _read(model)


def _calls_of_estimator(X, few, path):
    fitted = gm.GaussianMixture(2, random_state=0).fit(few)
    yield "fit", lambda: gm.GaussianMixture(2, random_state=0).fit(few)
    yield "fit_predict", lambda: gm.GaussianMixture(2, random_state=0).fit_predict(few)
    yield "partial_fit", lambda: gm.GaussianMixture(2, random_state=0).partial_fit(few)
    for method in ("predict", "predict_proba", "score_samples", "score", "aic", "bic"):
        yield method, lambda method=method: getattr(fitted, method)(X)
    yield "sample", lambda: fitted.sample(1000)
    yield "its attributes", lambda: _read(fitted)


def _calls_of_the_rest(X, few, model, path):
    out, one = np.empty((len(X), 2)), X[0].copy()
    scorer, online = model.scorer(), gm.OnlineMixture(2, seed=0).update(few)
    for method in ("logpdf", "predict", "predict_proba", "nearest"):
        yield f"Scorer.{method}", lambda method=method: getattr(scorer, method)(one)
    yield "Scorer.responsibilities_into", lambda: scorer.responsibilities_into(X, out)
    yield "Scorer's attributes", lambda: _read(scorer)
    yield "OnlineMixture.update", lambda: gm.OnlineMixture(2, seed=0).update(X[:2000]).mixture
    yield "OnlineMixture.update", lambda: online.update(X).mixture
    yield "OnlineMixture.step_size", lambda: online.step_size(100.0)
    yield "OnlineMixture.save", lambda: online.save(path / "online.gmix")
    yield "OnlineMixture's attributes", lambda: _read(online)
    result, chosen = gm.fit(few, 2, seed=0), gm.select(few, [1, 2], n_starts=1, seed=0)
    yield "FitResult.save", lambda: result.save(path / "result.gmix")
    yield "Selection.save", lambda: chosen.save(path / "selection.gmix")
    yield "Selection.plot", lambda: chosen.plot()
    yield "Selection's attributes", lambda: _read(chosen)
    clusters = gm.merge(model)
    for method in ("logpdf", "predict", "predict_proba"):
        yield f"Clusters.{method}", lambda method=method: getattr(clusters, method)(X, n_threads=2)
    yield "Clusters' attributes", lambda: _read(clusters)
    sums = model.statistics(few)
    yield "SufficientStatistics.recentred", lambda: 0.5 * sums.recentred(sums.shift + 1.0)
    yield "SufficientStatistics.save", lambda: (sums + sums).save(path / "sums.gmix")
    yield "SufficientStatistics' attributes", lambda: _read(sums)
    for name, more in {"aic": (), "bic": (300,), "icl": (300, 10.0), "aicc": (300,)}.items():
        yield (
            f"criteria.{name}",
            lambda name=name, more=more: getattr(gm.criteria, name)(-9.0, 5, *more),
        )
    yield "datasets.names", lambda: gm.datasets.names()
    yield "datasets.load", lambda: gm.datasets.load(gm.datasets.names()[0])
    yield "rules.algorithms", lambda: gm.rules.algorithms(gm.rules.Annealed(n_iter=5))
    yield "plotting.file_types", lambda: gm.plotting.file_types()
    yield "plotting.fit_figure", lambda: gm.plotting.fit_figure(model, few)
    yield "plotting.plot_hills", lambda: gm.plotting.plot_hills(model.marginal([0, 1]), few[:, :2])
    yield "plotting.plot_mixture", lambda: gm.plotting.plot_mixture(model, few)
    yield "plotting.plot_selection", lambda: gm.plotting.plot_selection(chosen)
    yield "plotting.plot_trace", lambda: gm.plotting.plot_trace(result)


def _all_calls(path):
    """(name, call) of every public call, some in several ways."""
    X = np.random.default_rng(0).standard_normal((30_000, 3))
    few = X[:300]
    model = gm.fit(few, 2, seed=0).mixture
    model.save(path / "kept.gmix")
    yield from (("fit", call) for call in _fits(X, few, model, path))
    yield "select", lambda: gm.select(few, [1, 2], n_starts=1, seed=0)
    yield "merge", lambda: gm.merge(model)
    yield "save", lambda: gm.save(model, path / "saved.gmix")
    yield "load", lambda: gm.load(path / "kept.gmix")
    yield "config", lambda: gm.config()
    yield "show_config", lambda: gm.show_config()
    yield "get_include", lambda: gm.get_include()
    yield "thread_limit", lambda: _under_a_limit(lambda: model.logpdf(X))
    for name, call in _calls_of_mixture(X, few, model, path):
        yield f"Mixture.{name}", call
    if not _missing("GaussianMixture"):
        for name, call in _calls_of_estimator(X, few, path):
            yield f"GaussianMixture.{name}", call
    yield from _calls_of_the_rest(X, few, model, path)


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    found = _all_calls(tmp_path_factory.mktemp("models"))
    return [(name, call) for name, call in found if not _missing(name)]


def test_a20_every_public_call_is_among_those_tried(calls):
    tried = {name for name, _ in calls}
    assert not [name for name in public_calls() if name not in tried and not _missing(name)]


# ---- The mode before and after ----


def _changed(calls, flush):
    """The calls that left another mode behind, in this thread or in OpenMP's that it uses."""
    before = get_mode()
    mode = before[0], before[1] | flush
    changed = []
    set_mode(mode)
    try:
        team = modes_of_team() if has_team() else None
        for name, call in calls:
            set_mode(mode)
            call()
            if get_mode() != mode or (has_team() and modes_of_team() != team):
                changed.append(name)
    finally:
        set_mode(before)
    return changed


def _changed_in_another_thread(calls, flush):
    found = []
    worker = threading.Thread(target=lambda: found.extend(_changed(calls, flush) or ["none"]))
    worker.start()
    worker.join()
    return found


@pytest.mark.parametrize("flush", [0, FLUSH | ZEROS], ids=["subnormals", "flushed to zero"])
def test_a20_no_public_call_changes_the_floating_point_mode(calls, flush):
    assert _changed(calls, flush) == []


@pytest.mark.parametrize("flush", [0, FLUSH | ZEROS], ids=["subnormals", "flushed to zero"])
def test_a20_nor_does_one_in_another_thread(calls, flush):
    assert _changed_in_another_thread(calls, flush) == ["none"]


@pytest.mark.skipif(not has_team(), reason="asks threads of GCC's OpenMP")
def test_a20_a_changed_mode_of_a_thread_of_openmp_would_be_seen():
    def spoil(thread):
        mode = get_mode()
        set_mode((mode[0], mode[1] | (FLUSH if thread == 1 else 0)))

    # In a thread that ends, and its team with it.
    assert _changed_in_another_thread([("spoil", lambda: in_team(spoil))], 0) == ["spoil"]


# ---- Without subnormal numbers ----


@pytest.fixture
def flushed():
    mode = get_mode()
    set_mode((mode[0], mode[1] | FLUSH | ZEROS))
    yield
    set_mode(mode)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("exponent", [-484, 0, 450])
def test_a20_a_fit_needs_no_subnormal_numbers(flushed, covariance_type, exponent):
    rng = np.random.default_rng(0)
    X = np.round(1024 * rng.standard_normal((300, 2))) / 1024
    X[:100] += 6.0
    plain, moved = (
        gm.fit(X * 2.0**e, 2, covariance_type=covariance_type, seed=0, n_threads=1).mixture
        for e in (0, exponent)
    )
    np.testing.assert_allclose(
        moved.predict_proba(X * 2.0**exponent), plain.predict_proba(X), rtol=1e-9, atol=1e-9
    )


def test_a20_where_it_would_need_them_it_says_so(flushed):
    X = np.random.default_rng(0).standard_normal((300, 2)) * 2.0**-500
    with pytest.raises(gm.InvalidInputError, match=r"column 0 .* which this thread flushes to 0"):
        gm.fit(X, 2, seed=0)
