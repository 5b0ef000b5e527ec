"""Sufficient statistics: they add up, move exactly, and say when they do not fit together."""

import copy
import pickle

import numpy as np
import pytest

import gaussmix as gm
from mixtures import TYPES, random_mixture

RTOL_SUM = 1e-12  # n eps, for the few thousand terms summed here


def numbers(statistics):
    return {
        name: getattr(statistics, name)
        for name in (
            "mass",
            "first",
            "second",
            "log_likelihood",
            "classification",
            "entropy",
            "weight",
        )
    }


def assert_same(left, right, rtol=RTOL_SUM):
    for name, value in numbers(left).items():
        scale = np.abs(value).max() + 1e-300
        np.testing.assert_allclose(
            np.asarray(value) / scale, np.asarray(getattr(right, name)) / scale, atol=rtol
        )
    assert left.n_rows == right.n_rows


@pytest.fixture(params=TYPES)
def mixture(request):
    return random_mixture(request.param)


@pytest.fixture
def X():
    return 3.0 * np.random.default_rng(1).normal(size=(3001, 4))


def test_adding_chunks_equals_one_pass(mixture, X):
    parts = [mixture.statistics(part) for part in np.array_split(X, 7)]
    assert_same(sum(parts), mixture.statistics(X))


def test_statistics_are_the_weighted_moments(mixture, X):
    weight = np.random.default_rng(2).uniform(size=len(X))
    r = weight[:, None] * mixture.predict_proba(X)
    gap = X[:, None, :] - mixture.means
    second = {
        "full": np.einsum("nk,nkd,nke->kde", r, gap, gap),
        "pooled": np.einsum("nk,nkd,nke->de", r, gap, gap),
        "diag": np.einsum("nk,nkd->kd", r, gap**2),
        "spherical": np.einsum("nk,nkd->k", r, gap**2),
    }
    statistics = mixture.statistics(X, weight)
    np.testing.assert_allclose(statistics.mass, r.sum(axis=0), rtol=RTOL_SUM)
    first = np.einsum("nk,nkd->kd", r, gap)
    np.testing.assert_allclose(statistics.first, first, atol=RTOL_SUM * np.abs(gap).sum())
    np.testing.assert_allclose(
        statistics.second, second[statistics.layout], rtol=1e-11, atol=1e-11 * len(X)
    )
    assert statistics.weight == pytest.approx(weight.sum(), rel=RTOL_SUM)
    assert statistics.log_likelihood == pytest.approx((weight * mixture.logpdf(X)).sum())


def test_recentring_equals_gathering_around_the_new_points(mixture, X):
    statistics = mixture.statistics(X)
    shift = mixture.means + 0.7
    moved = statistics.recentred(shift)
    np.testing.assert_array_equal(moved.shift, shift)
    r = mixture.predict_proba(X)
    gap = X[:, None, :] - shift
    np.testing.assert_allclose(moved.first, np.einsum("nk,nkd->kd", r, gap), rtol=1e-10, atol=1e-9)
    full = np.einsum("nk,nkd,nke->kde", r, gap, gap)
    expected = {
        "full": full,
        "pooled": full.sum(axis=0),
        "diag": np.diagonal(full, axis1=1, axis2=2),
        "spherical": np.trace(full, axis1=1, axis2=2),
    }[statistics.layout]
    np.testing.assert_allclose(moved.second, expected, rtol=1e-10, atol=1e-9)
    assert_same(moved.recentred(statistics.shift), statistics, rtol=1e-11)


def test_a_factor_forgets(mixture, X):
    statistics = mixture.statistics(X)
    half = 0.5 * statistics
    np.testing.assert_array_equal(half.second, 0.5 * statistics.second)
    assert half.weight == 0.5 * statistics.weight
    assert half.n_rows == statistics.n_rows
    with pytest.raises(gm.InvalidInputError, match="factor is -1"):
        statistics * -1.0


def test_what_vanishes_is_0_also_where_the_caller_has_numpy_raise(mixture, X):
    statistics = mixture.statistics(X)
    with np.errstate(all="raise"):
        small = statistics * 1e-300 * 1e-12
        moved = small.recentred(small.shift + 1e-3)
        both = moved + moved
    np.testing.assert_array_equal(both.mass, 2.0 * small.mass)
    assert 0.0 < small.mass.max() < np.finfo(float).tiny


def test_what_does_not_add_up_is_named(X):
    full = random_mixture("full").statistics(X)
    with pytest.raises(gm.InvalidInputError, match="layouts 'full' and 'diag'"):
        full + random_mixture("diag").statistics(X)
    with pytest.raises(gm.InvalidInputError, match="recentred"):
        full + random_mixture("full", seed=5).statistics(X)
    with pytest.raises(TypeError):
        full + 1


def test_wrong_shapes_are_named():
    with pytest.raises(gm.InvalidInputError, match=r"mass has shape \(3,\)"):
        gm.SufficientStatistics(
            np.zeros((2, 1)), np.zeros(3), np.zeros((2, 1)), np.zeros((2, 1)), "diag"
        )


def test_statistics_are_read_only_and_travel(mixture, X):
    statistics = mixture.statistics(X)
    with pytest.raises(ValueError, match="read-only"):
        statistics.mass[0] = 1.0
    for twin in (pickle.loads(pickle.dumps(statistics)), copy.copy(statistics)):
        assert_same(twin, statistics, rtol=0.0)
