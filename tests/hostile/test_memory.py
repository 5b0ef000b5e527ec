"""H: memory beyond the data and the result does not grow with the number of rows."""

import re
import sys

import numpy as np
import pytest

import gaussmix as gm
from gaussmix import backends

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss in kB is Linux's"),
]
LIMIT_MB = 64
# N x K numbers take 488 MB; plain NumPy would need minutes, and 73 MB are too many as well.
MOST_ROWS = 300_000 if backends.active().name == "reference" else 2_000_000
FEWER_ROWS = min(MOST_ROWS, 500_000)

MEASURE = """
    import resource, warnings
    import numpy as np
    import gaussmix as gm

    warnings.simplefilter("ignore", gm.ConvergenceWarning)
    rng = np.random.default_rng(0)
    K, D = 32, 8
    means = 3.0 * rng.standard_normal((K, D))
    start = gm.Mixture(np.full(K, 1 / K), means, np.tile(np.eye(D), (K, 1, 1)))
    small = start.sample(5000, seed=0)[0]

    def fit(X, start):
        return gm.fit(X, K, start=start, max_iter=2, tol=0, seed=0)

    def score(X, method):
        return getattr(start, method)(X)

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    {call}(small, {argument})  # kernels loaded and compiled, thread pool started
    X = np.empty(({n_rows}, D), {dtype})
    block = start.sample(50_000, seed=0)[0]
    for begin in range(0, len(X), len(block)):  # no temporary of X's size before measuring
        X[begin : begin + len(block)] = block + 0.1 * rng.standard_normal(D)
    before = peak()
    result = {call}(X, {argument})
    print(peak() - before)
"""

# call, argument, dtype, N, bytes of a row of the result itself.
CASES = {
    "H2 fit from a mixture": ("fit", "start", "np.float64", MOST_ROWS, 0),
    "H2 fit from k-means": ("fit", "'kmeans'", "np.float64", MOST_ROWS, 0),
    "H2 fit from a mixture, float32": ("fit", "start", "np.float32", FEWER_ROWS, 0),
    "H2 fit from random responsibilities": ("fit", "'random'", "np.float64", FEWER_ROWS, 0),
    "H2 fit from random rows": ("fit", "'random_from_data'", "np.float64", FEWER_ROWS, 0),
    "H1 predict": ("score", "'predict'", "np.float64", MOST_ROWS, 8),
    "H1 score": ("score", "'score'", "np.float64", MOST_ROWS, 0),
    "H1 bic": ("score", "'bic'", "np.float64", FEWER_ROWS, 0),
}


@pytest.mark.parametrize("case", CASES)
def test_extra_memory_stays_below_64_mb(run_python, case):
    call, argument, dtype, n_rows, row_bytes = CASES[case]
    code = MEASURE.format(call=call, argument=argument, dtype=dtype, n_rows=n_rows)
    extra = float(run_python(code))
    assert extra < LIMIT_MB + row_bytes * n_rows / 2**20, f"{extra:.0f} MB"


def test_a_fit_of_chunks_holds_a_few_chunks_only(run_python):
    call = "fit"
    code = MEASURE.format(call=call, argument="start", dtype="np.float64", n_rows=1)
    code = (
        code.split("    X = np.empty")[0]
        + f"""
    rows = np.random.default_rng(1).standard_normal((50_000, D))

    def chunks():
        for _ in range({MOST_ROWS} // 50_000):
            yield rows.copy()

    before = peak()
    fit(chunks, start)
    print(peak() - before)
    """
    )
    extra = float(run_python(code))
    assert extra < LIMIT_MB, f"{extra:.0f} MB"


def test_h6_many_fits_and_scores_leak_nothing(run_python):
    code = """
        import resource
        import numpy as np
        import gaussmix as gm

        X = np.random.default_rng(0).standard_normal((200, 3))
        model = gm.fit(X, 2, seed=0, max_iter=500).mixture

        def work(count):
            for _ in range(count):
                gm.fit(X, 2, start=model, max_iter=0)
                model.predict_proba(X)

        work(300)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        work(3000)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    """
    assert float(run_python(code)) < 1.0


MODEL = gm.Mixture([1.0], [0.0], [1.0], "spherical")
HUNDRED = gm.Mixture(np.full(100, 0.01), np.arange(100.0), np.ones(100), "spherical")


def _rows(n_rows, n_columns):
    return np.broadcast_to(np.ones((1, n_columns)), (n_rows, n_columns))


TOO_LARGE = {
    "K = 10^9": (lambda: gm.fit(_rows(2 * 10**9, 1), 10**9), "n_components=1000000000"),
    "D = 10^6, full": (lambda: gm.fit(_rows(10, 10**6), 1), "1000000 features"),
    "D = 10^6, tied": (lambda: gm.fit(_rows(10, 10**6), 1, covariance_type="tied"), "'tied'"),
    "10^17 rows": (lambda: HUNDRED.log_joint(_rows(10**17, 1)), "8e+19 bytes"),
    "10^17 rows to label": (lambda: HUNDRED.predict(_rows(10**17, 1)), "711. PiB"),
    "10^17 rows within a gate": (lambda: HUNDRED.nearest(_rows(10**17, 1)), "711. PiB"),
    "10^17 rows on hills": (lambda: HUNDRED.hills(_rows(10**17, 1)), "711. PiB"),
    "10^12 draws": (lambda: MODEL.sample(10**12), "7.28 TiB"),
    "10^30 draws": (lambda: MODEL.sample(10**30), "8e+30 bytes"),
    "10^400 draws": (lambda: MODEL.sample(10**400), "over 1e300 bytes"),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_h4_what_cannot_fit_into_memory_is_refused_with_its_size(case):
    call, says = TOO_LARGE[case]
    with pytest.raises((gm.InvalidInputError, MemoryError), match=re.escape(says)) as caught:
        call()
    assert re.search(r"\d\.? ?(bytes|[TPE]iB)", str(caught.value))


@pytest.mark.parametrize("covariance_type", ["diag", "spherical"])
def test_h2_threads_without_a_component_of_their_own_get_no_scratch(covariance_type, run_python):
    if backends.active().maximise is None:
        pytest.skip("this backend leaves M-steps to NumPy")
    # Two matrices of 3000 features for each of 64 threads would be 9 GB.
    code = f"""
        import resource
        import numpy as np
        from gaussmix import Mixture, backends
        from gaussmix.algorithms.maximisation import Maximiser, flat_state
        from gaussmix.covariance import Floor

        X = np.random.default_rng(0).normal(size=(128, 3000))
        wide = np.full((64, 3000) if "{covariance_type}" == "diag" else 64, 1e4)
        mixture = Mixture(np.full(64, 1 / 64), X[:64], wide, "{covariance_type}")
        plan = Maximiser(Floor(X.std(axis=0), 1e-6)).plan(mixture)
        state = flat_state(mixture, mixture.statistics(X), plan)
        then = np.empty_like(state)
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        print(backends.active().maximise(state, plan, then, 64))
    """
    assert run_python(code, OMP_NUM_THREADS="2") == "True"
