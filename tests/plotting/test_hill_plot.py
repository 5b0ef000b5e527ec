"""The picture of hills shows what modes() and hills() say, in one dimension and in more."""

import io

import numpy as np
import pytest

import gaussmix as gm
from mixtures import overlapping_mixture

pytest.importorskip("matplotlib")

from gaussmix import plotting
from gaussmix.plotting.drawing import component_colours


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    """A few of the points: climbs from the whole grid take seconds without a compiler."""
    for module in ("drawing", "hill_plot"):
        monkeypatch.setattr(f"gaussmix.plotting.{module}.GRID", 60)


def peaks(ax):
    """The numbers on the peaks: number -> (x, y)."""
    return {int(t.get_text()): t.xy for t in ax.texts if t.get_gid()}


def colours_used(ax):
    stream = io.BytesIO()
    ax.figure.savefig(stream, format="rgba", dpi=50)
    return len(np.unique(np.frombuffer(stream.getvalue(), np.uint8).reshape(-1, 4), axis=0))


@pytest.mark.parametrize("n_features", [1, 2, 4])
def test_a_number_stands_at_each_peak(n_features):
    mixture = overlapping_mixture("full", 5, n_features, 1)
    modes = mixture.modes()
    features = list(range(min(n_features, 2)))
    ax = plotting.plot_hills(mixture, features=features)
    drawn = np.array([peaks(ax)[m] for m in range(len(modes))])
    np.testing.assert_allclose(drawn[:, 0], modes.positions[:, 0])
    expected = modes.positions[:, 1] if n_features > 1 else np.exp(modes.logpdf)
    np.testing.assert_allclose(drawn[:, 1], expected)


def test_rows_have_the_colours_of_their_hills():
    mixture = overlapping_mixture("full", 5, 2, 1)
    X = mixture.sample(100, 0)[0]
    ax = plotting.plot_hills(mixture, X)
    (points,) = [c for c in ax.collections if len(c.get_offsets()) == len(X)]
    expected = component_colours(len(mixture.modes()))[mixture.hills(X)]
    np.testing.assert_allclose(points.get_facecolors()[:, :3], expected)


def test_features_may_be_drawn_in_either_order():
    mixture = overlapping_mixture("full", 4, 2, 1)
    ax = plotting.plot_hills(mixture, features=[1, 0], feature_names=["a", "b"])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("b", "a")
    (tint,) = ax.images
    low_x, high_x, low_y, high_y = tint.get_extent()
    image = tint.get_array()
    n = len(image)
    for m, (x, y) in peaks(ax).items():
        column = int((x - low_x) / (high_x - low_x) * n)
        row = int((y - low_y) / (high_y - low_y) * n)
        np.testing.assert_allclose(image[row, column, :3], component_colours(m + 1)[m])


def test_in_one_dimension_hills_are_cut_at_the_valleys():
    mixture = gm.Mixture([0.3, 0.5, 0.2], [0.0, 4.0, 9.0], [1.0, 2.0, 0.5], "spherical")
    ax = plotting.plot_hills(mixture, mixture.sample(200, 0)[0])
    (lines,) = [c for c in ax.collections if c.get_label() == "valleys"]
    at = [segment[0, 0] for segment in lines.get_segments()]
    for x in at:
        left, right = mixture.hills([x - 1e-6, x + 1e-6])
        assert left != right
    assert len(at) == 2


def test_many_rows_become_an_image():
    mixture = overlapping_mixture("full", 5, 2, 1)
    ax = plotting.plot_hills(mixture, mixture.sample(30_000, 0)[0])
    assert len(ax.images) == 2
    assert not any(len(c.get_offsets()) > 1 for c in ax.collections)


@pytest.mark.parametrize("with_rows", [False, True])
@pytest.mark.parametrize(("n_components", "n_features"), [(1, 1), (20, 1), (1, 2), (20, 2)])
def test_pictures_are_not_blank(n_components, n_features, with_rows):
    mixture = overlapping_mixture("spherical", n_components, n_features, 2, spread=4.0)
    X = mixture.sample(200, 0)[0] if with_rows else None
    assert colours_used(plotting.plot_hills(mixture, X)) > 20


@pytest.mark.parametrize("scale", [1e-150, 1e150])
@pytest.mark.parametrize("n_features", [1, 2])
def test_units_do_not_matter(n_features, scale):
    mixture = overlapping_mixture("full", 3, n_features, 2)
    scaled = gm.Mixture(mixture.weights, mixture.means * scale, mixture.covariances * scale**2)
    assert colours_used(plotting.plot_hills(scaled, mixture.sample(50, 0)[0] * scale)) > 20


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"X": [[1.0]]}, "expects 3 columns"),
        ({"features": [0]}, r"features holds \[0\]"),
        ({"features": [1, 1]}, r"features holds \[1, 1\]"),
        ({"features": [0, 3]}, "features is 3"),
        ({"feature_names": ["a"]}, "holds 1 names"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, match):
    with pytest.raises(gm.InvalidInputError, match=match):
        plotting.plot_hills(overlapping_mixture("full", 3, 3, 0), **arguments)
