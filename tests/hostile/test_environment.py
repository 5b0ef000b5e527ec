"""L: what importing does not do, and odd surroundings in which everything works."""

import os
import sys

import pytest

from gaussmix import backends

# No assert: -O removes them.
WORK = """
    import numpy as np
    import gaussmix as gm
    X = np.random.default_rng(0).standard_normal((300, 2))
    X[:150] += 8
    result = gm.fit(X, 2, seed=0)
    shape = result.mixture.predict_proba(X).shape
    try:
        gm.fit(np.array([[1.0, np.nan]]), 1)
    except gm.InvalidInputError as error:
        print(result.converged, shape, str(error)[:14])
"""
WORKS = "True (300, 2) X[0, 1] is NaN"


def test_l4_importing_loads_nothing_heavy(run_python):
    code = """
        import sys
        import numpy
        import gaussmix
        heavy = {"sklearn", "scipy", "numba", "matplotlib", "pandas", "dask", "tqdm", "pyarrow"}
        print(sorted(heavy & set(sys.modules)))
    """
    assert run_python(code) == "[]"


def test_l4_importing_adds_only_these_modules_to_those_of_numpy(run_python):
    # Import time is a promise, and a module more is how it is broken: a change here is one of
    # cost. Measure it (benchmarks/bench_startup.py) before this list grows.
    code = """
        import sys
        import numpy
        before = set(sys.modules)
        import gaussmix
        imported = set(sys.modules)
        gaussmix.Mixture
        print(*sorted(imported - before), "then", *sorted(set(sys.modules) - imported))
    """
    at_import = "_build_info backends errors inputs inputs.convert inputs.output "
    at_import += "inputs.parameters inputs.validate threads"
    at_mixture = "covariance covariance.base covariance.dense covariance.diagonal kernels "
    at_mixture += "kernels.contract model model.derived model.exchange model.mixture passes "
    at_mixture += "passes.evaluation statistics stopping"
    imported, more = run_python(code, GAUSSMIX_BACKEND="reference").split("then")
    assert set(imported.split()) == {"__future__", "gaussmix", *own(at_import)}
    assert set(more.split()) == own(at_mixture)


def own(names):
    return {f"gaussmix.{name}" for name in names.split()}


def test_l4_importing_loads_the_base_kernels_alone(run_python):
    if not any(name == "cython" for name, _ in backends.available()):
        pytest.skip("no compiled kernels")
    code = """
        import sys
        import gaussmix
        print([name for name in sys.modules if name.startswith("gaussmix.kernels._cython")])
    """
    only_base = "['gaussmix.kernels._cython_base']"
    assert run_python(code, GAUSSMIX_BACKEND=None, GAUSSMIX_CPU_LEVEL=None) == only_base


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux's /proc")
def test_l4_importing_starts_no_thread_and_changes_nothing_of_the_process(run_python):
    code = """
        import locale, os, signal, sys, threading, warnings
        import numpy as np

        def state():
            return (
                dict(os.environ),
                threading.active_count(),
                len(os.listdir("/proc/self/task")),
                [signal.getsignal(n) for n in range(1, signal.NSIG)],
                np.geterr(),
                np.get_printoptions(),
                list(warnings.filters),
                threading.excepthook, sys.excepthook,
                locale.setlocale(locale.LC_ALL),
                5e-324 * 1.0 > 0.0,
                os.getcwd(),
            )

        before = state()
        import gaussmix
        print([a == b for a, b in zip(before, state())])
    """
    assert run_python(code).count("True") == 12


def test_l4_subnormals_work_after_a_fit(run_python):
    code = (
        WORK
        + """
    print((np.array([5e-324, 2.0**-1000]) * np.array([1.0, 2.0**-50]) > 0).all())
    """
    )
    assert run_python(code).split() == [*WORKS.split(), "True"]


SURROUNDINGS = {
    "PYTHONOPTIMIZE=2": ([], {"PYTHONOPTIMIZE": "2"}),
    "development mode": (["-X", "dev", "-W", "error"], {}),
    "HOME unset": ([], {"HOME": None, "XDG_CACHE_HOME": None}),
    "other locale": ([], {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}),
    "C locale": ([], {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "odd time zone": ([], {"TZ": "Nowhere/Odd+13:37"}),
    "list of threads": ([], {"OMP_NUM_THREADS": "2,1"}),
    "OpenMP settings": (
        [], {"OMP_DYNAMIC": "true", "OMP_PROC_BIND": "true", "OMP_WAIT_POLICY": "active"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SURROUNDINGS)
def test_l6_odd_surroundings_change_nothing(run_python, case):
    options, changes = SURROUNDINGS[case]
    assert run_python(WORK, *options, **changes) == WORKS


@pytest.mark.parametrize("limit", ["1", "2"])
def test_g14_a_team_smaller_than_asked_for_gives_the_same_bits(run_python, limit):
    # OpenMP starts fewer threads than it is asked for; those there do the others' work.
    code = """
        import warnings
        import numpy as np
        import gaussmix as gm
        warnings.simplefilter("ignore")
        X = np.random.default_rng(0).standard_normal((7500, 16))
        X[::3] += 6.0
        for kind in ("full", "tied"):
            bits = set()
            for n_threads in (1, 3, 7):
                mixture = gm.fit(X, 16, covariance_type=kind, seed=0, tol=0.0, max_iter=3,
                                 n_starts=1, n_threads=n_threads).mixture
                posteriors = mixture.predict_proba(X, n_threads=n_threads)
                bits.add(mixture.covariances.tobytes() + posteriors.tobytes())
            print(kind, len(bits))
    """
    assert run_python(code, OMP_THREAD_LIMIT=limit).split() == ["full", "1", "tied", "1"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="others keep the directory")
def test_l6_a_deleted_working_directory_changes_nothing(run_python, tmp_path):
    inside = tmp_path / "gone"
    inside.mkdir()
    code = "    import os\n    os.rmdir(os.getcwd())\n" + WORK.lstrip("\n")
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
    assert run_python(code, cwd=inside, PYTHONPATH=path) == WORKS


@pytest.mark.parametrize("text", ["0", "-3", "abc", "1000000"])
def test_g14_a_bad_number_of_threads_is_one_warning_and_a_fit(run_python, text):
    code = """
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            import numpy as np
            import gaussmix as gm
            X = np.random.default_rng(0).standard_normal((300, 2))
            for _ in range(2):
                gm.fit(X, 1)
        print([str(w.message) for w in caught if w.category is gm.BackendWarning])
    """
    messages = run_python(code, OMP_NUM_THREADS=text, GAUSSMIX_NUM_THREADS=None)
    assert messages.count("OMP_NUM_THREADS is") == 1 and f"'{text}'" in messages
