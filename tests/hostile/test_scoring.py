"""F and G: scoring and sampling far out, in parts, on threads, and after a fork."""

import os
import threading

import numpy as np
import pytest

import gaussmix as gm
import oracle

TYPES = ["full", "tied", "diag", "spherical"]
SHAPES = {"full": (3, 4, 4), "tied": (4, 4), "diag": (3, 4), "spherical": (3,)}
EPS = np.finfo(float).eps


def model(covariance_type, n_components=3, n_features=4, seed=0):
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((n_components, n_features, n_features))
    dense = factor @ factor.transpose(0, 2, 1) + n_features * np.eye(n_features)
    covariances = oracle.of_type(dense, covariance_type)
    weights = rng.dirichlet(np.full(n_components, 5.0))
    means = 3.0 * rng.standard_normal((n_components, n_features))
    return gm.Mixture(weights, means, covariances, covariance_type)


METHODS = ["logpdf", "log_joint", "predict_proba", "predict", "mahalanobis"]


@pytest.mark.parametrize("covariance_type", TYPES)
def test_f1_an_offset_of_1e8_costs_no_more_than_the_offsets_own_digits(covariance_type):
    mixture = model(covariance_type)
    grid = 2.0**-20
    means = np.round(mixture.means / grid) * grid
    X = np.round(mixture.sample(500, seed=0)[0] / grid) * grid
    near = gm.Mixture(mixture.weights, means, mixture.covariances, covariance_type)
    far = gm.Mixture(mixture.weights, means + 1e8, mixture.covariances, covariance_type)
    np.testing.assert_allclose(far.log_joint(X + 1e8), near.log_joint(X), rtol=1e-7)
    np.testing.assert_array_equal(far.predict(X + 1e8), near.predict(X))


@pytest.mark.parametrize("distance", [1e3, 1e9, 1e100, 1e150])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_f3_rows_far_from_every_component_have_the_right_log_density(covariance_type, distance):
    mixture = model(covariance_type)
    X = np.eye(4) * distance
    log_joint = mixture.log_joint(X)
    assert np.isfinite(log_joint).all()
    expected = []
    for x in X.astype(np.longdouble):
        row = []
        dense = mixture.dense_covariances()
        for k in range(3):
            gap = (x - mixture.means[k]).astype(np.longdouble)
            inverse = np.linalg.inv(dense[k]).astype(np.longdouble)
            row.append(-0.5 * gap @ inverse @ gap)
        expected.append(max(row))
    # What is not the distance is below 1e2, and the inverse in double has condition times eps.
    np.testing.assert_allclose(mixture.logpdf(X), np.array(expected, float), rtol=1e-11, atol=1e2)
    probabilities = mixture.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=4 * EPS)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_f3_rows_whose_distance_overflows_are_minus_infinity_and_never_nan(covariance_type):
    mixture = model(covariance_type)
    X = np.array([[1e200, 0, 0, 0], [-1.7e308, 1.7e308, 0, 0], [0.0, 0, 0, 0]])
    logpdf, probabilities = mixture.logpdf(X), mixture.predict_proba(X)
    assert (logpdf[:2] == -np.inf).all() and np.isfinite(logpdf[2])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=4 * EPS)
    assert ((mixture.predict(X) >= 0) & (mixture.predict(X) < 3)).all()
    assert not np.isnan(mixture.log_joint(X)).any()


@pytest.mark.parametrize("n_components", [1, 2, 7, 50])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_f4_posteriors_sum_to_one(covariance_type, n_components):
    mixture = model(covariance_type, n_components)
    X = np.random.default_rng(0).standard_normal((2000, 4)) * np.logspace(-3, 12, 2000)[:, None]
    probabilities = mixture.predict_proba(X)
    assert (probabilities >= 0).all() and (probabilities <= 1).all()
    assert np.abs(probabilities.sum(axis=1) - 1).max() <= (n_components + 2) * EPS


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("covariance_type", TYPES)
def test_f6_cutting_the_batch_anywhere_changes_no_bit(covariance_type, method):
    mixture = model(covariance_type)
    X = np.random.default_rng(1).standard_normal((1031, 4)) * 5
    call = getattr(mixture, method)
    whole = call(X)
    for size in (1, 7, 64, 100, 513, 1030):
        parts = [call(X[i : i + size]) for i in range(0, len(X) if size > 1 else 70, size)]
        joined = np.concatenate(parts)
        np.testing.assert_array_equal(joined, whole[: len(joined)])


@pytest.mark.parametrize("covariance_type", TYPES)
def test_f8_many_features_neither_underflow_nor_overflow(covariance_type):
    n_features = 2000 if covariance_type in ("diag", "spherical") else 500
    rng = np.random.default_rng(0)
    deviations = np.full(n_features, 1e-3)  # the determinant is 10^-3000 or less
    X = deviations * rng.standard_normal((3, n_features))
    shape = {
        "full": np.diag(deviations**2)[None],
        "tied": np.diag(deviations**2),
        "diag": deviations[None] ** 2,
        "spherical": deviations[:1] ** 2,
    }[covariance_type]
    mixture = gm.Mixture([1.0], np.zeros((1, n_features)), shape, covariance_type)
    squared = ((X / deviations) ** 2).sum(axis=1)
    expected = -0.5 * squared - np.log(deviations).sum() - 0.5 * n_features * np.log(2 * np.pi)
    np.testing.assert_allclose(mixture.logpdf(X), expected, rtol=1e-12)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_f10_a_sample_is_shuffled_and_follows_the_mixture(covariance_type):
    mixture = model(covariance_type)
    X, z = mixture.sample(20_000, seed=0)
    changes = np.count_nonzero(np.diff(z))
    assert changes > 0.3 * len(z)  # grouped by component there would be two
    assert X.shape == (20_000, 4) and z.dtype == np.int64
    for k in range(3):
        count = np.count_nonzero(z == k)
        # Five standard errors.
        assert abs(count / 20_000 - mixture.weights[k]) < 5 * np.sqrt(0.25 / 20_000)
        error = np.sqrt(np.diag(mixture.dense_covariances()[k]) / count)
        assert (np.abs(X[z == k].mean(axis=0) - mixture.means[k]) < 5 * error).all()


# Rows enough for every one of 64 threads to get a slot of its own.
N_ROWS = 70_000


@pytest.mark.filterwarnings("ignore::gaussmix.errors.ConvergenceWarning")
@pytest.mark.parametrize("covariance_type", TYPES)
def test_g1_the_number_of_threads_changes_no_bit(covariance_type):
    mixture = model(covariance_type)
    X, _ = mixture.sample(N_ROWS, seed=0)
    results = [
        gm.fit(
            X, 3, covariance_type=covariance_type, start=mixture, n_threads=n, max_iter=3, tol=0.0
        )
        for n in (1, 2, 3, 7, 64)
    ]
    for result in results[1:]:
        assert result.mixture == results[0].mixture
        np.testing.assert_array_equal(result.log_likelihood, results[0].log_likelihood)
    for method in METHODS:
        call = getattr(mixture, method)
        np.testing.assert_array_equal(call(X, n_threads=7), call(X, n_threads=1))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_g3_fit_fork_fit_works_with_one_warning(run_python):
    code = """
        import os, warnings
        import numpy as np
        import gaussmix as gm
        X = np.random.default_rng(0).standard_normal((200_000, 4))
        start = X[:3].copy()
        fit = lambda: gm.fit(X, 3, start=start, n_threads=2, max_iter=2, tol=0).mixture
        warnings.simplefilter("ignore", gm.ConvergenceWarning)
        expected = fit()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                same = fit() == expected and fit() == expected
                gm.Mixture.logpdf(expected, X)
            names = [type(w.message).__name__ for w in caught]
            text = f"{same} {names.count('BackendWarning')}"
            os.write(writer, text.encode())
            os._exit(0)
        os.waitpid(child, 0)
        print(os.read(reader, 100).decode(), fit() == expected)
    """
    assert run_python(code) == "True 1 True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_g4_a_fork_while_another_thread_fits_leaves_a_child_that_works(run_python):
    code = """
        import os, signal, threading, time, warnings
        import numpy as np
        import gaussmix as gm
        warnings.simplefilter("ignore")
        X = np.random.default_rng(0).standard_normal((100_000, 4))
        start = X[:3].copy()
        fit = lambda: gm.fit(X, 3, start=start, n_threads=2, max_iter=3, tol=0).mixture
        expected = fit()
        done = threading.Event()
        def work():
            while not done.is_set():
                fit()
        thread = threading.Thread(target=work)
        thread.start()
        answers = []
        for i in range(4):
            time.sleep(0.003 * i)
            child = os.fork()
            if child == 0:
                signal.alarm(60)  # a child that hangs is ended by it
                os._exit(0 if fit() == expected else 1)
            answers.append(os.waitpid(child, 0)[1])
        done.set()
        thread.join()
        print(answers)
    """
    assert run_python(code) == str([0] * 4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_g4_a_fork_in_any_pass_of_another_threads_fit_takes_no_lock_along(run_python):
    code = """
        import os, signal, threading, warnings
        import numpy as np
        import gaussmix as gm
        from gaussmix.passes.expectation import Expectation

        warnings.simplefilter("ignore")
        X = np.random.default_rng(0).standard_normal((500, 3))
        fit = lambda: gm.fit(X, 2, seed=0, n_starts=3, max_iter=2, tol=0).mixture
        expected = fit()
        inside, go, over = threading.Semaphore(0), threading.Semaphore(0), threading.Event()

        def stopping(original):
            def stop(*arguments):
                if threading.current_thread() is not threading.main_thread():
                    inside.release()
                    go.acquire()
                return original(*arguments)
            return stop

        def work():
            try:
                fit()
            finally:
                over.set()
                inside.release()

        Expectation.__call__ = stopping(Expectation.__call__)
        Expectation.iterate = stopping(Expectation.iterate)
        threading.Thread(target=work, daemon=True).start()
        answers = []
        # No time limit here: on a busy machine a pass may begin whenever it likes.
        while inside.acquire() and not over.is_set() and not any(answers):
            child = os.fork()
            if child == 0:
                signal.alarm(60)  # a child that hangs is ended by it
                os._exit(0 if fit() == expected else 1)
            answers.append(os.waitpid(child, 0)[1])
            go.release()
        print(len(answers) > 3, set(answers))
    """
    assert run_python(code) == "True {0}"


def test_g7_many_threads_score_one_model():
    mixture = model("full")
    X = np.random.default_rng(0).standard_normal((50, 4))
    expected = mixture.logpdf(X)
    wrong = []

    def work():
        for _ in range(50):
            if not np.array_equal(mixture.logpdf(X), expected):
                wrong.append(threading.get_ident())

    workers = [threading.Thread(target=work) for _ in range(16)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_g8_g9_fits_in_several_threads_at_once_do_not_disturb_each_other():
    X = model("full").sample(3000, seed=0)[0]
    expected = [gm.fit(X, k, seed=0) for k in (2, 3)]
    found = {}
    threads = [
        threading.Thread(target=lambda k=k: found.update({k: gm.fit(X, k, seed=0)})) for k in (2, 3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, result in zip((2, 3), expected, strict=True):
        assert found[k].mixture == result.mixture


def test_f5_the_score_of_ten_million_rows_has_all_digits():
    mixture = gm.Mixture([1.0], [0.3], [1.7], "spherical")
    rows = np.broadcast_to(np.array([[1.234567]]), (10_000_000, 1))
    expected = mixture.logpdf(rows[:1])[0]
    np.testing.assert_allclose(mixture.score(rows), expected, rtol=4.0 * np.finfo(float).eps)
