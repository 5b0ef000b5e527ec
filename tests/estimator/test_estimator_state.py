"""GaussianMixture as an object: failed fits, threads, assignment, input, integration."""

import copy
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn.mixture
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gaussmix.errors import DegenerateComponentWarning, DegenerateFitError, InvalidInputError
from gaussmix.estimator import gaussian_mixture as estimator_module
from gaussmix.estimator.gaussian_mixture import GaussianMixture
from gaussmix.fitting import fit as fitting
from gaussmix.model.mixture import Mixture

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")


def blobs(n=400):
    """Three groups in three features."""
    rng = np.random.default_rng(0)
    z = rng.integers(3, size=n)
    centres = 4.0 * rng.standard_normal((3, 3))
    shapes = rng.standard_normal((3, 3, 3)) / 2 + np.eye(3)
    return centres[z] + np.einsum("nij,nj->ni", shapes[z], rng.standard_normal((n, 3)))


@pytest.fixture
def fitted():
    X = blobs()
    return GaussianMixture(3, random_state=0).fit(X), X


# -- state


def state_of(model):
    return dict(vars(model))


def call_in_fit(monkeypatch, callback):
    """Make every fit of an estimator call `callback` after each iteration."""
    run = fitting.run
    monkeypatch.setattr(
        estimator_module, "run", lambda *a, **k: run(*a, **{**k, "callback": callback})
    )


def bomb(error):
    """A callback that raises in iteration 2."""

    def explode(state):
        if state.iteration == 2:
            raise error

    return explode


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), ValueError("inside")])
@pytest.mark.parametrize("method", ["fit", "fit_predict"])
def test_broken_off_fit_changes_nothing(fitted, monkeypatch, error, method):
    model, X = fitted
    call_in_fit(monkeypatch, bomb(error))
    before, score = state_of(model), model.score(X)
    with pytest.raises(type(error)):
        getattr(model, method)(X[:, :2] * 3)
    assert state_of(model) == before
    assert model.score(X) == score and model.n_features_in_ == 3


def test_broken_off_first_fit_leaves_it_unfitted(monkeypatch):
    X = blobs()
    model = GaussianMixture(3, random_state=0)
    call_in_fit(monkeypatch, bomb(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert not hasattr(model, "n_features_in_")
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_failed_fit_keeps_the_feature_names(fitted):
    pandas = pytest.importorskip("pandas")
    model, X = fitted
    frame = pandas.DataFrame(X, columns=list("abc"))
    model.fit(frame)
    frame.loc[3, "b"] = np.nan
    with pytest.raises(InvalidInputError):
        model.fit(frame.rename(columns={"a": "z"}))
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    model.fit(X)
    assert not hasattr(model, "feature_names_in_")


def test_degenerate_fit_says_what_scikit_learn_says_and_where():
    X = np.repeat(np.eye(2), 5, axis=0)
    with pytest.raises(DegenerateFitError, match="ill-defined empirical covariance"):
        GaussianMixture(4, reg_covar=0, random_state=0).fit(X)


def test_second_thread_fitting_the_same_object_is_refused(monkeypatch):
    X = blobs()
    model = GaussianMixture(3, random_state=0)
    inside, go_on, errors = threading.Event(), threading.Event(), []

    def wait(state):
        inside.set()
        go_on.wait(10)

    call_in_fit(monkeypatch, wait)
    first = threading.Thread(target=model.fit, args=(X,))
    first.start()
    assert inside.wait(10)
    try:
        with pytest.raises(RuntimeError, match="fit already running on this object"):
            model.fit(X)
        # Copies made meanwhile are free.
        monkeypatch.undo()
        for other in (clone(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            other.fit(X)
    except BaseException as error:  # the first thread must end whatever happens
        errors.append(error)
    finally:
        go_on.set()
        first.join()
    assert errors == []
    model.fit(X)


def test_predicting_during_a_fit_uses_the_old_model(fitted, monkeypatch):
    model, X = fitted
    expected = model.predict_proba(X)
    seen = []

    def look(state):
        seen.append(np.array_equal(model.predict_proba(X), expected))

    call_in_fit(monkeypatch, look)
    model.set_params(n_components=2).fit(X)
    assert seen and all(seen)
    assert model.predict_proba(X).shape == (len(X), 2)


def test_changed_parameters_do_not_touch_the_fitted_model(fitted):
    model, X = fitted
    before = model.score(X), model.bic(X), model._n_parameters()
    model.set_params(n_components=7, covariance_type="diag", reg_covar=1.0)
    assert (model.score(X), model.bic(X), model._n_parameters()) == before


# -- assigned parameters


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("last", ["covariances_", "precisions_", "precisions_cholesky_"])
def test_assigned_parameters_make_a_working_estimator(covariance_type, last):
    X = blobs()
    source = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    model = GaussianMixture(3, covariance_type=covariance_type)
    for name in ("weights_", "means_"):
        setattr(model, name, getattr(source, name))
        np.testing.assert_array_equal(getattr(model, name), getattr(source, name))
        with pytest.raises(NotFittedError):
            model.predict(X)
    setattr(model, last, getattr(source, last))
    np.testing.assert_allclose(model.score_samples(X), source.score_samples(X), rtol=1e-10)
    assert model.n_features_in_ == 3
    for attribute in ("lower_bound_", "n_iter_", "converged_", "fit_result_"):
        with pytest.raises(AttributeError, match="assigned, not fitted"):
            getattr(model, attribute)


def test_scikit_learns_way_of_loading_parameters_works():
    X = blobs()
    source = sklearn.mixture.GaussianMixture(3, random_state=0).fit(X)
    model = GaussianMixture(3)
    model.weights_ = source.weights_
    model.means_ = source.means_
    model.covariances_ = source.covariances_
    model.precisions_cholesky_ = source.precisions_cholesky_
    np.testing.assert_allclose(model.score_samples(X), source.score_samples(X), rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights_", [-0.5, 1.0, 0.5], "min value -0.5"),
        ("weights_", [1.0, 0.5, 0.5], r"sum\(weights_\) = 2"),
        ("weights_", [0.5, 0.5], r"shape of \(3,\)"),
        ("means_", np.full((3, 3), np.inf), r"means_\[0, 0\] is inf"),
        ("means_", np.zeros((3, 2)), r"shape of \(3, 3\)"),
        ("covariances_", -np.tile(np.eye(3), (3, 1, 1)), "component 0"),
        ("precisions_", np.zeros((3, 3, 3)), "component 0"),
        ("precisions_cholesky_", np.zeros((3, 3, 3)), "singular"),
        ("mixture_", 3, "mixture_ is 3"),
    ],
)
def test_wrong_assignment_is_refused_at_once(fitted, name, value, message):
    model, _ = fitted
    before = state_of(model)
    with pytest.raises(InvalidInputError, match=message):
        setattr(model, name, value)
    assert state_of(model) == before
    if name != "mixture_" and "shape" not in message:
        with pytest.raises(InvalidInputError, match=message):
            setattr(GaussianMixture(3), name, value)


def test_parameters_are_read_only(fitted):
    model, _ = fitted
    with pytest.raises(ValueError, match="read-only"):
        model.means_[0, 0] = 1.0


def test_mixture_can_be_assigned():
    mixture = Mixture([0.5, 0.5], [[0.0], [5.0]], [1.0, 2.0], "spherical")
    model = GaussianMixture(2)
    model.mixture_ = mixture
    assert model.predict([[0.0], [6.0]]).tolist() == [0, 1]


def test_fit_after_assignment_starts_anew():
    X = blobs()
    model = GaussianMixture(3, random_state=0)
    model.weights_ = [0.1, 0.2, 0.7]
    model.fit(X)
    assert model.mixture_ == clone(model).fit(X).mixture_


# -- input


def test_no_rows_give_empty_results(fitted):
    model, X = fitted
    assert model.predict(X[:0]).shape == (0,)
    assert model.predict_proba(X[:0].astype(object)).shape == (0, 3)
    assert model.score_samples(X[:0]).shape == (0,)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "score"])
def test_scoring_checks_its_input(fitted, method):
    model, X = fitted
    call = getattr(model, method)
    X = X.copy()
    X[5, 1] = np.nan
    with pytest.raises(InvalidInputError, match=r"X\[5, 1\] is NaN"):
        call(X)
    with pytest.raises(InvalidInputError, match=r"2 features.*expecting 3 features"):
        call(np.zeros((4, 2)))
    with pytest.raises(InvalidInputError, match=r"(?s)Reshape your data.*reshape"):
        call(np.zeros(3))
    with pytest.raises(InvalidInputError, match="dimensions"):
        call(np.zeros((2, 3, 3)))


@pytest.mark.parametrize(
    "convert",
    [
        lambda X: X.tolist(),
        np.asfortranarray,
        lambda X: np.repeat(X, 2, axis=0)[::2],
        lambda X: X.astype(">f8"),
        lambda X: np.longdouble(X),
        lambda X: X.astype(object),
    ],
)
def test_every_form_of_input_gives_the_same_bits(fitted, convert):
    model, X = fitted
    np.testing.assert_array_equal(model.predict_proba(convert(X)), model.predict_proba(X))
    np.testing.assert_array_equal(model.predict_proba(X[7:8]), model.predict_proba(X)[7:8])
    refitted = clone(model).fit(convert(X))
    np.testing.assert_array_equal(refitted.means_, model.means_)


def test_feature_names_are_checked(fitted):
    pandas = pytest.importorskip("pandas")
    model, X = fitted
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    model = clone(model).fit(frame)
    np.testing.assert_array_equal(model.predict(frame), fitted[0].predict(X))
    with pytest.raises(InvalidInputError, match="feature names"):
        model.predict(frame[["b", "a", "c"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)


# -- integration


def test_pickle_scores_the_same_bits(fitted):
    model, X = fitted
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    assert again.lower_bound_ == model.lower_bound_ and again.n_iter_ == model.n_iter_


def test_clone_is_unfitted(fitted):
    with pytest.raises(NotFittedError):
        clone(fitted[0]).predict(fitted[1])


def test_pipeline_and_set_output(fitted):
    pandas = pytest.importorskip("pandas")
    X = fitted[1]
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(3, random_state=0))
    pipeline.set_output(transform="pandas").fit(frame)
    assert pipeline[-1].feature_names_in_.tolist() == ["a", "b", "c"]
    assert pipeline.predict(frame).shape == (len(X),)
    assert np.isfinite(pipeline.score(frame))


def test_grid_search_selects_by_likelihood():
    X = blobs(n=300)
    search = GridSearchCV(
        GaussianMixture(random_state=0, max_iter=500), {"n_components": [1, 3]}, cv=3
    ).fit(X)
    assert search.best_params_ == {"n_components": 3}


def test_sample_weight_is_routed_through_a_pipeline():
    X = blobs()
    weight = np.random.default_rng(0).integers(1, 4, len(X)).astype(float)
    with config_context(enable_metadata_routing=True):
        model = GaussianMixture(3, random_state=0)
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), model)
        pipeline.fit(X, sample_weight=weight)
        score = pipeline.score(X, sample_weight=weight)
    scaled = pipeline[0].transform(X)
    np.testing.assert_allclose(score, pipeline[-1].lower_bound_, rtol=1e-12)
    direct = clone(model).fit(scaled, sample_weight=weight)
    assert direct.mixture_ == pipeline[-1].mixture_


def test_html_shows_fitted_attributes(fitted):
    assert "GaussianMixture" in fitted[0]._repr_html_()


@pytest.mark.parametrize(("verbose", "shown"), [(1, "Iteration 2"), (2, "ll change")])
def test_verbose_prints_progress(capsys, verbose, shown):
    X = blobs()
    GaussianMixture(3, verbose=verbose, verbose_interval=2, means_init=X[:3]).fit(X)
    text = capsys.readouterr().out
    assert "Initialization 0" in text and "converged" in text and shown in text


def test_sample_depends_on_random_state_only(fitted):
    model, _ = fitted
    np.testing.assert_array_equal(model.sample(50)[0], model.sample(50)[0])
    model.random_state = np.random.RandomState(0)
    assert not np.array_equal(model.sample(50)[0], model.sample(50)[0])
    X, y = model.sample(20000)
    for k in range(3):
        np.testing.assert_allclose(X[y == k].mean(axis=0), model.means_[k], atol=0.15)
    assert (np.diff(y) < 0).any()  # not grouped
    with pytest.raises(InvalidInputError, match="Invalid value for 'n_samples': 0"):
        model.sample(0)


def test_equal_rows_warn_and_report_fewer_effective_components():
    X = np.repeat([[0.0, 1.0], [3.0, 4.0], [8.0, -1.0]], 20, axis=0)
    with pytest.warns(DegenerateComponentWarning):
        model = GaussianMixture(5, random_state=0).fit(X)
    assert model.n_components_effective_ == 3
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0, rtol=1e-14)


# -- without scikit-learn


def python(code):
    """Run `code` in a fresh interpreter; standard output."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_gaussmix_does_not_import_scikit_learn():
    assert python("import sys, gaussmix; print('sklearn' in sys.modules)") == "False"


def test_without_scikit_learn_the_class_says_what_to_install():
    text = python(
        "import sys; sys.modules['sklearn'] = None\n"
        "import gaussmix\n"
        "try: gaussmix.GaussianMixture\n"
        "except ImportError as error: print(error)"
    )
    assert 'pip install "gaussmix[sklearn]"' in text


# -- subclasses, user arrays


def test_subclass_may_validate_its_data_first(fitted):
    from sklearn.utils.validation import validate_data

    class Careful(GaussianMixture):
        def fit(self, X, y=None):
            return super().fit(validate_data(self, X))

    model, X = fitted
    careful = Careful(3, random_state=0).fit(X).fit(X[:, :2]).fit(X)
    assert careful.mixture_ == model.mixture_


def test_users_arrays_stay_their_own(fitted):
    model, X = fitted
    init = {
        "weights_init": np.full(3, 1 / 3),
        "means_init": X[:3].copy(),
        "precisions_init": np.tile(np.eye(3), (3, 1, 1)),
    }
    GaussianMixture(3, max_iter=0, **init).fit(X)
    weights = np.array([0.2, 0.3, 0.5])
    model.weights_ = weights
    weights[0] = 0.9
    assert model.weights_[0] == 0.2
    assert all(value.flags.writeable for value in init.values())
