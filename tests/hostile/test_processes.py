"""G: processes of every kind and many threads on one estimator."""

import os
import sys
import threading
import time

import numpy as np
import pytest

import gaussmix as gm

# A module of its own: processes that start anew have to find the function.
MODULE = """
import warnings

import numpy as np

import gaussmix as gm


def work(_):
    X = np.random.default_rng(0).standard_normal((20_000, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gm.ConvergenceWarning)
        result = gm.fit(X, 2, start=X[:2].copy(), n_threads=2, max_iter=2, tol=0.0)
    return result.mixture.means.tobytes() + result.mixture.logpdf(X, n_threads=2).tobytes()
"""
WAYS = {
    "spawn": "multiprocessing.get_context('spawn').Pool(1).map(work, range(2))",
    "forkserver": "multiprocessing.get_context('forkserver').Pool(1).map(work, range(2))",
    "loky": "joblib.Parallel(2)(joblib.delayed(work)(i) for i in range(2))",
}


@pytest.mark.parametrize("way", WAYS)
def test_g5_processes_started_anew_give_the_same_bits(run_python, tmp_path, way):
    library = "joblib" if way == "loky" else "multiprocessing"
    pytest.importorskip(library)
    (tmp_path / "worked.py").write_text(MODULE)
    code = f"""
        import sys, {library}
        sys.path.insert(0, {str(tmp_path)!r})
        from worked import work
        expected = work(0)
        print(set({WAYS[way]}) == {{expected}})
    """
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    assert run_python(code, "-W", "error", PYTHONPATH=path) == "True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_g3_a_child_forked_in_the_middle_of_a_fit_ends_it_on_one_thread(run_python):
    # It has inherited an object that is to use two threads.
    code = """
        import os, signal, warnings
        import numpy as np
        import gaussmix as gm
        warnings.simplefilter("ignore")
        X = np.random.default_rng(0).standard_normal((100_000, 4))
        child, answers = None, []
        def callback(state):
            global child
            if state.iteration == 2:
                child = os.fork()
                if child == 0:
                    signal.alarm(60)
        result = gm.fit(X, 3, start=X[:3].copy(), n_threads=2, max_iter=4, tol=0, callback=callback)
        if child == 0:
            os._exit(0 if result.n_iter == 4 else 1)
        print(result.n_iter, os.waitpid(child, 0)[1])
    """
    assert run_python(code) == "4 0"


def test_g8_g9_scores_see_one_whole_model_while_two_threads_fit():
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    sets = [rng.standard_normal((400, 2)) + offset for offset in (0.0, 50.0)]
    probe = np.concatenate([rows[:10] for rows in sets])
    estimator = gm.GaussianMixture(2, random_state=0, max_iter=10, tol=1.0)
    whole = {estimator.fit(rows).score_samples(probe).tobytes() for rows in sets}
    found, errors, over = set(), [], threading.Event()

    def fit():
        for turn in range(6):
            try:
                estimator.fit(sets[turn % 2])
            except RuntimeError as error:
                errors.append(str(error))

    def score():
        while not over.is_set():
            found.add(estimator.score_samples(probe).tobytes())
            time.sleep(0.001)

    workers = [threading.Thread(target=work) for work in (fit, fit, score)]
    for worker in workers:
        worker.start()
    for worker in workers[:2]:
        worker.join()
    over.set()
    workers[2].join()
    assert found <= whole
    assert all(error.startswith("fit already running on this object") for error in errors)
