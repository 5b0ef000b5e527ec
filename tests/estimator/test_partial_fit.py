"""GaussianMixture.partial_fit: scikit-learn's conventions over OnlineMixture."""

import copy
import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import gaussmix as gm
from gaussmix.estimator.gaussian_mixture import GaussianMixture

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
TRUTH = gm.Mixture([0.3, 0.7], [[0, 0], [5, 1]], [1.0, 2.0], "spherical")


@pytest.fixture(scope="module")
def X():
    return TRUTH.sample(6000, seed=0)[0]


def fed(model, X, size=200):
    for begin in range(0, len(X), size):
        assert model.partial_fit(X[begin : begin + size]) is model
    return model


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_pass_comes_close_to_a_fit(X, covariance_type):
    options = {"covariance_type": covariance_type, "random_state": 0}
    online = fed(GaussianMixture(2, **options), X)
    assert online.score(X) > GaussianMixture(2, **options).fit(X).score(X) - 0.01
    assert online.n_samples_seen_ == len(X) and online.n_features_in_ == 2


def test_it_is_the_stream_of_the_same_options(X):
    model = fed(GaussianMixture(2, random_state=np.random.default_rng(3)), X)
    stream = gm.OnlineMixture(2, seed=np.random.default_rng(3))
    for begin in range(0, len(X), 200):
        stream.update(X[begin : begin + 200])
    assert model.mixture_ == stream.mixture


def test_one_small_batch_is_a_fit(X):
    options = {"tol": 1e-9, "max_iter": 1000, "random_state": 0}  # seeds end in one optimum
    model = GaussianMixture(2, **options).partial_fit(X[:100])
    expected = GaussianMixture(2, **options).fit(X[:100])
    assert model.score(X) == pytest.approx(expected.score(X), abs=1e-6)


@pytest.mark.filterwarnings("ignore::gaussmix.DegenerateComponentWarning")
def test_fewer_rows_than_components_are_not_a_model_yet(X):
    model = GaussianMixture(3, random_state=0).partial_fit(X[:2])
    with pytest.raises(NotFittedError):
        model.predict(X)
    assert not hasattr(model, "means_") and model.n_samples_seen_ == 2
    model.partial_fit(X[2:10])
    assert model.predict(X).shape == (len(X),)


def test_it_goes_on_from_a_fit(X):
    model = GaussianMixture(2, random_state=0).fit(X[:3000])
    fitted = model.mixture_
    model.partial_fit(X[3000:3100])
    assert model.n_samples_seen_ == 3100
    assert np.abs(model.means_ - fitted.means).max() < 0.1
    assert model.mixture_ != fitted
    with pytest.raises(AttributeError, match="partial_fit has no iterations"):
        _ = model.lower_bound_


def test_it_goes_on_from_assigned_parameters(X):
    model = GaussianMixture(2)
    model.mixture_ = TRUTH_FULL = gm.fit(X, 2, seed=0).mixture
    model.partial_fit(X[:50])
    assert model.mixture_ == TRUTH_FULL  # too few rows for a step
    fed(model, X)
    assert model.mixture_ != TRUTH_FULL


def test_a_fit_begins_anew(X):
    model = fed(GaussianMixture(2, random_state=0), X)
    model.fit(X[:500])
    expected = GaussianMixture(2, random_state=0).fit(X[:500])
    assert model.mixture_ == expected.mixture_ and model.n_samples_seen_ == 500
    np.testing.assert_array_equal(model.lower_bounds_, expected.lower_bounds_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_warm_fit_goes_on_from_the_stream(X):
    model = fed(GaussianMixture(2, random_state=0, warm_start=True), X)
    online = model.mixture_
    model.set_params(max_iter=1, tol=1e9).fit(X)
    assert np.abs(model.means_ - online.means).max() < 0.05


def test_weights_count_rows(X):
    weight = np.random.default_rng(0).integers(0, 3, len(X))
    weighted, repeated = (GaussianMixture(2, random_state=0).fit(X[:2000]) for _ in range(2))
    for begin in range(2000, len(X), 200):
        rows = slice(begin, begin + 200)
        weighted.partial_fit(X[rows], sample_weight=weight[rows])
        repeated.partial_fit(np.repeat(X[rows], weight[rows], axis=0))
    np.testing.assert_allclose(weighted.means_, repeated.means_, rtol=1e-9)


@pytest.mark.parametrize(
    "given",
    [
        {"means_init": [[0, 0], [5, 1]]},
        {"weights_init": [0.3, 0.7]},
        {
            "means_init": [[0, 0], [5, 1]],
            "weights_init": [0.3, 0.7],
            "precisions_init": np.tile(np.eye(2), (2, 1, 1)),
        },
    ],
)
def test_given_parameters_start_the_stream(X, given):
    model = fed(GaussianMixture(2, random_state=0, **given), X)
    np.testing.assert_allclose(model.weights_, TRUTH.weights, atol=0.03)
    np.testing.assert_allclose(model.means_, TRUTH.means, atol=0.2)


def test_feature_names_are_those_of_the_first_call(X):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X[:600], columns=["a", "b"])
    model = GaussianMixture(2, random_state=0).partial_fit(frame)
    assert list(model.feature_names_in_) == ["a", "b"]
    model.partial_fit(frame)
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(frame.rename(columns={"a": "c"}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.partial_fit(X[:100])
    assert list(model.feature_names_in_) == ["a", "b"] and model.n_samples_seen_ == 1300


@pytest.mark.parametrize("n_before", [0, 100, 6000])
def test_a_bad_batch_changes_nothing(X, n_before):
    model = fed(GaussianMixture(2, random_state=0), X[:n_before])
    before = dict(vars(model))
    bad = X[:10].copy()
    bad[3, 1] = np.inf
    for wrong in (bad, X[0], "text", [X[:5], X[5:9]]):
        with pytest.raises(gm.InvalidInputError):
            model.partial_fit(wrong)
    if n_before:
        with pytest.raises(ValueError, match="X has 1 features, but GaussianMixture is expecting"):
            model.partial_fit(X[:, :1])
        with pytest.raises(ValueError, match="goes on with 2 components"):
            model.set_params(n_components=3).partial_fit(X[:10])
        model.set_params(n_components=2)
    assert vars(model) == before


@pytest.mark.parametrize("n_before", [0, 100, 6000])
def test_a_batch_without_rows_changes_nothing(X, n_before):
    model = fed(GaussianMixture(2, random_state=0), X[:n_before])
    before = set(vars(model))
    assert model.partial_fit(X[:0]) is model
    assert set(vars(model)) == before
    fed(model, X[n_before:8000])
    plain = fed(fed(GaussianMixture(2, random_state=0), X[:n_before]), X[n_before:8000])
    np.testing.assert_array_equal(model.means_, plain.means_)


def test_partial_fit_says_that_it_knows_one_algorithm(X):
    with pytest.raises(gm.InvalidInputError, match=r"algorithm='hard' is for fit.*'em'"):
        GaussianMixture(2, algorithm="hard").partial_fit(X)


def test_chunks_are_refused_with_what_takes_them(X, tmp_path):
    for chunks in ([X[:5], X[5:11]], lambda: [X[:5]], iter([X[:5]])):
        with pytest.raises(
            gm.InvalidInputError, match=r"chunks.*gaussmix.fit, or call partial_fit"
        ):
            GaussianMixture(2).fit(chunks)
        with pytest.raises(gm.InvalidInputError, match=r"chunks.*one chunk after the other"):
            gm.OnlineMixture(2).update(chunks)
        with pytest.raises(gm.InvalidInputError, match=r"chunks.*memory-mapped"):
            gm.select(chunks, 2)
    np.save(tmp_path / "x.npy", X[:500])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    by_map = GaussianMixture(2, random_state=0).fit(mapped)
    np.testing.assert_array_equal(
        by_map.means_, GaussianMixture(2, random_state=0).fit(X[:500]).means_
    )


def test_a_model_that_predicts_is_not_changed_by_the_next_batch(X):
    model = fed(GaussianMixture(2, random_state=0), X[:2000])
    shallow, mixture = copy.copy(model), model.mixture_
    model.partial_fit(X[2000:2200])
    assert shallow.mixture_ is mixture and model.mixture_ is not mixture


@pytest.mark.parametrize("n_before", [1, 100, 2000])
def test_a_pickled_model_goes_on(X, n_before):
    model = fed(GaussianMixture(2, random_state=0), X[:n_before])
    again = pickle.loads(pickle.dumps(model))
    for each in (model, again):
        fed(each, X[n_before : n_before + 1000])
    np.testing.assert_allclose(again.means_, model.means_, rtol=1e-10)
    assert again.n_samples_seen_ == model.n_samples_seen_
    assert not hasattr(clone(model), "n_features_in_")


def test_wrong_parameters_are_found_at_the_first_batch(X):
    for wrong in ({"max_iter": -1}, {"tol": -1.0}, {"reg_covar": -1.0}, {"n_init": 0}):
        with pytest.raises(gm.InvalidInputError, match=next(iter(wrong)).replace("n_init", "n_")):
            GaussianMixture(2, **wrong).partial_fit(X[:10])


def test_no_warning_says_that_a_stream_has_not_converged(X):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fed(GaussianMixture(2, random_state=0, max_iter=1), X[:2000])
