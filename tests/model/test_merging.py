"""Clusters of components: by modes and by entropy; the density stays."""

import itertools
import pickle

import numpy as np
import pytest

import gaussmix as gm
from gaussmix.model.merging import elbow
from mixtures import overlapping_mixture

RTOL = 1e-10  # some thousand summands of one sign


@pytest.fixture
def mixture():
    """A cross of two components, a pair one standard deviation apart, and one alone."""
    means = [[0, 0], [0, 0], [8, 8], [9, 8], [0, 10]]
    variances = [[4, 0.1], [0.1, 4], [1, 1], [1, 1], [1, 1]]
    return gm.Mixture(np.full(5, 0.2), means, variances, "diag")


def entropy(posteriors):
    p = posteriors[posteriors > 0]
    return -(p * np.log(p)).sum()


def summed(posteriors, groups):
    return np.stack([posteriors[:, group].sum(axis=1) for group in groups], axis=1)


def test_by_modes_components_on_one_hill_are_one_cluster(mixture):
    clusters = gm.merge(mixture)
    assert clusters.groups == [[0, 1], [2, 3], [4]]
    np.testing.assert_allclose(clusters.weights, [0.4, 0.4, 0.2])
    np.testing.assert_array_equal(clusters.component_cluster, mixture.modes().component_mode)
    assert clusters.entropies is None


def test_a_mode_to_which_no_mean_climbs_is_no_cluster():
    mixture = gm.Mixture([0.5, 0.5], [[0, 0], [1, 1]], [[1, 0.05], [0.05, 1]], "diag")
    assert len(mixture.modes()) == 3
    assert gm.merge(mixture).n_clusters == 2


def test_by_entropy_each_merge_is_the_one_that_lowers_it_most():
    mixture = overlapping_mixture("full", 6, 2, 3, spread=1.5)
    X = mixture.sample(400, 0)[0]
    posteriors = mixture.predict_proba(X)
    groups = [[k] for k in range(6)]
    entropies = [entropy(posteriors)]
    for n_clusters in range(5, 0, -1):
        options = []
        for a, b in itertools.combinations(range(len(groups)), 2):
            rest = [group for i, group in enumerate(groups) if i not in (a, b)]
            merged = sorted([*rest, sorted(groups[a] + groups[b])])
            options.append((entropy(summed(posteriors, merged)), merged))
        lowest, groups = min(options, key=lambda option: option[0])
        entropies.append(lowest)
        found = gm.merge(mixture, by="entropy", X=X, n_clusters=n_clusters)
        assert found.groups == groups
    np.testing.assert_allclose(found.entropies, entropies[::-1], rtol=RTOL, atol=1e-9)
    assert found.entropies[0] == 0.0


def test_the_number_of_clusters_is_where_two_lines_break():
    values = np.array([0.0, 1.0, 2.0, 10.0, 18.0, 26.0])
    assert elbow(values) == 3
    errors = []
    for c in range(2, 6):
        parts = [(np.arange(1, c + 1), values[:c]), (np.arange(c, 7), values[c - 1 :])]
        fits = [np.polynomial.Polynomial.fit(x, y, 1) for x, y in parts]
        errors.append(sum(((f(x) - y) ** 2).sum() for f, (x, y) in zip(fits, parts, strict=True)))
    assert elbow(values) == 2 + int(np.argmin(errors))
    assert [elbow(values[:n]) for n in (1, 2, 3)] == [1, 2, 2]


def test_chunks_of_rows_do_not_change_the_merges(mixture, monkeypatch):
    X = mixture.sample(1000, 0)[0]
    whole = gm.merge(mixture, by="entropy", X=X)
    monkeypatch.setattr("gaussmix.passes.posteriors.CHUNK_VALUES", 500)
    parts = gm.merge(mixture, by="entropy", X=X)
    assert parts.groups == whole.groups
    np.testing.assert_allclose(parts.entropies, whole.entropies, rtol=RTOL, atol=1e-9)
    np.testing.assert_array_equal(parts.predict_proba(X), whole.predict_proba(X))


def test_without_data_the_mixture_is_sampled(mixture):
    clusters = gm.merge(mixture, by="entropy", n_clusters=4)
    assert clusters.groups == [[0], [1], [2, 3], [4]]
    again = gm.merge(mixture, by="entropy", n_clusters=4)
    np.testing.assert_array_equal(again.entropies, clusters.entropies)


@pytest.mark.parametrize("by", ["modes", "entropy"])
def test_clusters_predict_and_keep_the_density(mixture, by):
    clusters = gm.merge(mixture, by=by)
    X = mixture.sample(300, 1)[0]
    np.testing.assert_array_equal(clusters.logpdf(X), mixture.logpdf(X))
    expected = summed(mixture.predict_proba(X), clusters.groups)
    np.testing.assert_allclose(clusters.predict_proba(X), expected, rtol=RTOL)
    np.testing.assert_array_equal(clusters.predict(X), expected.argmax(axis=1))
    assert clusters.predict(X[:0]).shape == (0,)
    assert clusters.predict_proba(X[:0]).shape == (0, clusters.n_clusters)


@pytest.mark.parametrize("by", ["modes", "entropy"])
def test_a_component_of_weight_zero_belongs_to_no_cluster(by):
    mixture = gm.Mixture([0.6, 0.0, 0.4], [0.0, 5.0, 9.0], [1.0, 1.0, 1.0], "spherical")
    clusters = gm.merge(mixture, by=by)
    assert clusters.groups == [[0], [2]]
    assert clusters.component_cluster.tolist() == [0, -1, 1]


@pytest.mark.parametrize("n_components", [1, 2])
def test_with_one_or_two_components_there_is_no_elbow(n_components):
    mixture = gm.Mixture(
        np.full(n_components, 1 / n_components),
        np.arange(n_components),
        np.ones(n_components),
        "spherical",
    )
    assert gm.merge(mixture, by="entropy").n_clusters == n_components


def test_clusters_are_a_value(mixture):
    clusters = gm.merge(mixture, by="entropy", n_clusters=3)
    twin = pickle.loads(pickle.dumps(clusters))
    assert twin.groups == clusters.groups
    assert twin.mixture == mixture
    with pytest.raises(AttributeError, match="immutable"):
        clusters.weights = None
    with pytest.raises(ValueError, match="read-only"):
        clusters.weights[0] = 1.0
    assert repr(clusters).splitlines()[0] == "3 clusters of 5 components"
    assert isinstance(clusters, gm.Clusters)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"by": "size"}, "by is 'size'"),
        ({"n_clusters": 2}, "n_clusters has no use with by='modes'"),
        ({"X": [[0.0, 0.0]]}, "X has no use with by='modes'"),
        ({"by": "entropy", "n_clusters": 6}, "n_clusters is 6"),
        ({"by": "entropy", "n_clusters": 0}, "n_clusters is 0"),
        ({"by": "entropy", "X": [[0.0]]}, "expects 2 columns"),
        ({"by": "entropy", "X": [[0.0, 1.0], [0.0, np.nan]]}, r"X\[1, 1\] is NaN"),
    ],
)
def test_what_cannot_be_used_is_named(mixture, arguments, match):
    with pytest.raises(gm.InvalidInputError, match=match):
        gm.merge(mixture, **arguments)


def test_only_mixtures_are_merged():
    with pytest.raises(gm.InvalidInputError, match="is a str, not a Mixture"):
        gm.merge("mixture")
