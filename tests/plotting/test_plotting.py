"""Pictures say what the mixture says: ellipses, contours, colours; and leave no trace behind."""

import io
import subprocess
import sys

import numpy as np
import pytest

import gaussmix
from gaussmix import InvalidInputError, Mixture, Selection, datasets

pytest.importorskip("matplotlib")

import matplotlib
from matplotlib.figure import Figure

from gaussmix import plotting
from gaussmix.plotting.drawing import component_colours
from gaussmix.plotting.panels import SIGMAS

RTOL_VERTICES = 1e-9


def make(n_components, n_features, seed=0):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n_components, n_features, n_features))
    return Mixture(
        rng.dirichlet(np.full(n_components, 5.0)),
        4 * rng.normal(size=(n_components, n_features)),
        A @ A.transpose(0, 2, 1) + 0.2 * np.eye(n_features),
    )


def selected(n_components, bic, chosen=0):
    table = np.zeros(
        len(bic),
        [("covariance_type", "U4"), ("n_components", int), ("bic", float), ("degenerate", bool)],
    )
    table["covariance_type"], table["n_components"], table["bic"] = "full", n_components, bic
    return Selection(table, "bic", chosen, [None] * len(bic), [[]] * len(bic))


def pixels(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="rgba", dpi=50)
    width, height = np.round(figure.get_size_inches() * 50).astype(int)
    return np.frombuffer(stream.getvalue(), np.uint8).reshape(height, width, 4)


def colours_used(figure):
    return len(np.unique(pixels(figure).reshape(-1, 4), axis=0))


def ellipses(ax):
    return {patch.get_gid(): patch for patch in ax.patches if patch.get_gid()}


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_ellipses_lie_at_their_sigma(covariance_type):
    dense = make(2, 2)
    covariances = {
        "full": dense.covariances,
        "tied": dense.covariances[0],
        "diag": np.array([[1.0, 4.0], [9.0, 0.1]]),
        "spherical": np.array([1.0, 4.0]),
    }[covariance_type]
    mixture = Mixture(dense.weights, dense.means, covariances, covariance_type)
    ax = plotting.plot_mixture(mixture)
    for k in range(2):
        for sigma in SIGMAS:
            patch = ellipses(ax)[f"component {k} at {sigma:g} sigma"]
            vertices = patch.get_patch_transform().transform(
                [[np.cos(t), np.sin(t)] for t in np.linspace(0, 6, 13)]
            )
            np.testing.assert_allclose(
                mixture.mahalanobis(vertices)[:, k], sigma, rtol=RTOL_VERTICES
            )


def test_ellipses_of_more_features_are_those_of_the_marginal():
    mixture = make(3, 5)
    axes = plotting.plot_mixture(mixture, feature_names=list("abcde"))
    checked = 0
    for ax in axes.flat:
        if ax.get_xlabel() and ax.get_ylabel():
            i, j = ("abcde".index(name) for name in (ax.get_xlabel(), ax.get_ylabel()))
            pair = Mixture(
                mixture.weights,
                mixture.means[:, [i, j]],
                mixture.covariances[:, [i, j]][:, :, [i, j]],
            )
            patch = ellipses(ax)["component 1 at 2 sigma"]
            vertices = patch.get_patch_transform().transform([[1, 0], [0, 1], [0.6, 0.8]])
            np.testing.assert_allclose(pair.mahalanobis(vertices)[:, 1], 2, rtol=RTOL_VERTICES)
            checked += 1
    assert checked


def test_contours_follow_the_density():
    mixture = make(2, 2)
    ax = plotting.plot_mixture(mixture)
    lines = [c for c in ax.collections if hasattr(c, "get_paths") and not c.get_fill()]
    spreads = [
        np.ptp(mixture.logpdf(path.vertices[path.codes != 79]))
        for collection in lines
        for path in collection.get_paths()
        if len(path.vertices)
    ]
    # One path per level: along it the log density varies by no more than the grid's coarseness.
    assert len(spreads) >= 4
    assert max(spreads) < 0.1


def test_one_feature_shows_the_components_and_their_sum():
    mixture = Mixture([0.4, 0.6], [0.0, 5.0], [1.0, 2.0], "spherical")
    ax = plotting.plot_mixture(mixture, mixture.sample(300, 0)[0])
    total, *parts = (line.get_ydata() for line in ax.lines)
    np.testing.assert_allclose(np.sum(parts, axis=0), total, rtol=1e-12)
    np.testing.assert_allclose(total, mixture.pdf(ax.lines[0].get_xdata()), rtol=1e-12)


def test_a_component_far_narrower_than_the_axis_is_not_missed():
    mixture = Mixture([0.5, 0.5], [0.0, 100.0], [1e-8, 100.0], "spherical")
    ax = plotting.plot_mixture(mixture)
    peak = max(line.get_ydata().max() for line in ax.lines)
    np.testing.assert_allclose(peak, mixture.pdf([0.0]), rtol=1e-6)


def test_points_have_the_mixed_colours_of_their_probabilities():
    mixture = make(2, 2)
    X = mixture.sample(50, 0)[0]
    ax = plotting.plot_mixture(mixture, X)
    (points,) = [c for c in ax.collections if len(c.get_offsets()) == len(X)]
    expected = mixture.predict_proba(X) @ component_colours(2)
    np.testing.assert_allclose(points.get_facecolors()[:, :3], expected, atol=1e-12)


def test_labels_replace_the_probabilities():
    mixture = make(1, 2)
    X = mixture.sample(40, 0)[0]
    labels = np.arange(40) % 3
    ax = plotting.plot_mixture(mixture, X, labels=labels)
    (points,) = [c for c in ax.collections if len(c.get_offsets()) == len(X)]
    np.testing.assert_allclose(points.get_facecolors()[:, :3], component_colours(3)[labels])


def test_many_rows_become_an_image():
    mixture = make(3, 2)
    ax = plotting.plot_mixture(mixture, mixture.sample(30_000, 0)[0])
    (image,) = ax.images
    assert (image.get_array()[..., 3] > 0).sum() > 300
    assert not any(len(c.get_offsets()) > 1 for c in ax.collections)


@pytest.mark.parametrize(("n_components", "n_features"), [(1, 1), (1, 2), (3, 3), (20, 2), (4, 6)])
def test_figures_are_not_blank(n_components, n_features):
    mixture = make(n_components, n_features)
    X = mixture.sample(200, 1)[0]
    figure = plotting.fit_figure(mixture, X, selection=selected([n_components, 30], [1.0, 2.0]))
    assert colours_used(figure) > 30


@pytest.mark.parametrize("scale", [1e-150, 1e-12, 1e12, 1e150])
def test_units_do_not_matter(scale):
    mixture = make(2, 2)
    scaled = Mixture(mixture.weights, mixture.means * scale, mixture.covariances * scale**2)
    assert colours_used(plotting.plot_mixture(scaled, mixture.sample(60, 0)[0] * scale).figure) > 30


def test_a_far_outlier_and_a_constant_feature_can_be_drawn():
    mixture = make(2, 2)
    X = mixture.sample(60, 0)[0]
    X[0] = 1e6
    assert colours_used(plotting.plot_mixture(mixture, X).figure) > 10
    X[:] = 3.0
    assert colours_used(plotting.plot_mixture(mixture, X).figure) > 10


def test_a_selection_marks_what_was_chosen():
    ax = plotting.plot_selection(selected([1, 2, 3], [5.0, np.nan, 4.0], 2))
    assert ax.lines[0].get_xdata().tolist() == [1, 3]
    assert ax.lines[1].get_xdata().tolist() == [3] and ax.texts[0].get_text() == "K = 3"
    assert "lower is better" in ax.get_ylabel()


def test_degenerate_candidates_are_hollow_and_stand_alone():
    given = selected([1, 2, 3], [5.0, 3.0, 4.0], 2)
    given.table["degenerate"][1] = True
    ax = plotting.plot_selection(given)
    assert ax.lines[0].get_xdata().tolist() == [1, 3]
    assert ax.lines[1].get_xdata().tolist() == [2]
    assert ax.lines[1].get_markerfacecolor() == "white"


def test_far_worse_candidates_leave_the_picture():
    ax = plotting.plot_selection(selected([1, 2, 3, 4], [1e6, 6.0, 5.0, 4.0], 3))
    assert ax.get_ylim()[1] < 20


def test_a_trace_ends_at_the_log_likelihood():
    results = [gaussmix.fit(np.r_[0.0, 1, 5, 6, 7, 0.5], k, seed=0) for k in (1, 2)]
    ax = plotting.plot_trace(results)
    for i, result in enumerate(results):
        assert ax.lines[2 * i].get_ydata().tolist() == result.log_likelihood.tolist()
    assert all(tick % 1 == 0 for tick in ax.get_xticks())


def test_a_trace_names_algorithms_other_than_em_and_not_too_many():
    x = np.r_[0.0, 1, 5, 6, 7, 0.5]
    plain = gaussmix.fit(x, 2, seed=0)
    hard = gaussmix.fit(x, 2, algorithm="hard", seed=0)
    texts = [t.get_text() for t in plotting.plot_trace([plain, hard]).get_legend().get_texts()]
    assert texts[0].startswith("full, K = 2: ")
    assert texts[1].startswith("full, K = 2, hard: ")
    legend = plotting.plot_trace([plain] * 20).get_legend()
    assert [text.get_text() for text in legend.get_texts()][8:] == ["and 12 more"]


FOUR = [
    lambda ax: plotting.plot_mixture(make(2, 3), make(2, 3).sample(50, 0)[0], ax=ax),
    lambda ax: plotting.plot_hills(make(2, 2), make(2, 2).sample(50, 0)[0], ax=ax),
    lambda ax: plotting.plot_selection(selected([1, 2], [2.0, 1.0], 1), ax=ax),
    lambda ax: plotting.plot_trace(gaussmix.fit(np.r_[0.0, 1, 5, 6, 7], 1), ax=ax),
]
each_function = pytest.mark.parametrize(
    "draw", FOUR, ids=["mixture", "hills", "selection", "trace"]
)


@each_function
def test_axes_that_are_given_are_drawn_into_and_come_back(draw):
    ax = Figure().subplots()
    assert draw(ax) is ax
    assert ax.has_data() and ax.get_xlabel() and ax.get_ylabel()
    assert ax.spines["top"].get_visible()  # the looks of the user's axes are the user's
    assert ax.figure.axes == [ax]


@each_function
def test_settings_and_other_axes_stay_as_they_were(draw):
    before = matplotlib.rcParams.copy()
    ax, other = Figure().subplots(1, 2)
    draw(ax)
    assert not other.has_data()
    assert matplotlib.rcParams.copy() == before


@each_function
@pytest.mark.parametrize(
    ("make_ax", "match"),
    [
        (Figure, r"ax is a Figure, not a matplotlib Axes\. Give what figure\.subplots"),
        (lambda: 1, "ax is a int, not a matplotlib Axes"),
        (lambda: (Figure(), Figure().subplots()), "ax .*shape"),
        (lambda: Figure().subplots(1, 3), r"ax .*shape \(3,\)"),
        (lambda: Figure().subplots(subplot_kw={"projection": "polar"}), "projection 'polar'"),
    ],
    ids=["figure", "number", "figure and axes", "row of axes", "polar"],
)
def test_what_is_no_axes_is_refused(draw, make_ax, match):
    with pytest.raises(InvalidInputError, match=match):
        draw(make_ax())


def test_a_corner_fills_the_axes_that_are_given():
    mixture, axes = make(3, 4), Figure().subplots(3, 3)
    X = mixture.sample(50, 0)[0]
    drawn = plotting.plot_mixture(mixture, X, ax=axes, features=[3, 0, 1], feature_names="abcd")
    assert drawn.tolist() == axes.tolist()
    assert [ax.get_xlabel() for ax in axes[2]] == ["d", "a", "b"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["", "a", "b"]
    assert [[ax.axison for ax in row] for row in axes] == np.tri(3, dtype=bool).tolist()


@pytest.mark.parametrize(
    ("n_features", "make_ax", "match"),
    [
        (
            3,
            lambda: Figure().subplots(4, 4),
            r"shape \(4, 4\); give one Axes, or a square of 2 to 3",
        ),
        (3, lambda: Figure().subplots(2, 3), r"shape \(2, 3\)"),
        (1, lambda: Figure().subplots(2, 2), r"give one Axes, e\.g\. figure\.subplots\(\)"),
        (2, lambda: [[1, 2], [3, 4]], r"ax\[0, 0\] is a int, not a matplotlib Axes"),
    ],
)
def test_axes_that_hold_no_corner_are_refused(n_features, make_ax, match):
    with pytest.raises(InvalidInputError, match=match):
        plotting.plot_mixture(make(2, n_features), ax=make_ax())


def test_features_may_be_chosen():
    mixture = make(2, 4)
    ax = plotting.plot_mixture(mixture, features=[2, 0], feature_names="abcd")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("c", "a")
    assert plotting.plot_mixture(mixture, features=[1]).get_ylabel() == "density"
    assert plotting.plot_mixture(mixture, features=[2, 0, 1]).shape == (3, 3)
    with pytest.raises(InvalidInputError, match="features holds 3, and ax is one Axes"):
        plotting.plot_mixture(mixture, features=[2, 0, 1], ax=Figure().subplots())


def test_rows_are_drawn_in_the_style_that_is_asked_for():
    mixture = make(2, 2)
    X = mixture.sample(50, 0)[0]
    for ax in (plotting.plot_mixture(mixture, X, s=3.0), plotting.plot_hills(mixture, X, s=3.0)):
        (points,) = [c for c in ax.collections if len(c.get_offsets()) == len(X)]
        assert points.get_sizes().tolist() == [3.0]
    ax = plotting.plot_mixture(make(2, 1), make(2, 1).sample(50, 0)[0], bins=7)
    assert sum(not patch.get_gid() for patch in ax.patches) == 7


def test_a_style_is_checked_where_it_changes_little_or_nothing():
    mixture = make(2, 2)
    X = mixture.sample(30_000, 0)[0]
    (image,) = plotting.plot_mixture(mixture, X, s=3.0, alpha=0.4).images
    assert image.get_alpha() == 0.4
    with pytest.raises(AttributeError, match="sise"):
        plotting.plot_mixture(mixture, X, sise=3.0)
    for plot in (plotting.plot_mixture, plotting.plot_hills):
        with pytest.raises(InvalidInputError, match="label is for the drawing of rows"):
            plot(mixture, label="a")


def test_lines_are_drawn_in_the_style_that_is_asked_for():
    given = selected([1, 2, 3], [5.0, 3.0, 4.0], 2)
    ax = plotting.plot_selection(given, colors=["red"], linewidth=3.0, linestyle="--", legend=False)
    assert ax.lines[0].get_linewidth() == 3.0 and ax.lines[0].get_linestyle() == "--"
    assert matplotlib.colors.same_color(ax.lines[0].get_color(), "red")
    assert ax.get_legend() is None
    ax = plotting.plot_trace(gaussmix.fit(np.r_[0.0, 1, 5, 6, 7], 1), color="red", label="mine")
    assert [line.get_color() for line in ax.lines] == ["red", "red"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["mine"]


def test_colours_may_be_given():
    mixture = make(3, 2)
    X = mixture.sample(40, 0)[0]
    ax = plotting.plot_mixture(mixture, X, colors=["red", "#00ff00", (0, 0, 1)])
    (points,) = [c for c in ax.collections if len(c.get_offsets()) == len(X)]
    np.testing.assert_allclose(points.get_facecolors()[:, :3], mixture.predict_proba(X), atol=1e-12)
    for colors in (["red", "bleu"], [], [4]):
        with pytest.raises(InvalidInputError, match="colors"):
            plotting.plot_mixture(mixture, X, colors=colors)


def test_a_title_stands_clear_of_the_legend():
    figure = Figure()
    ax = plotting.plot_mixture(make(12, 2), ax=figure.subplots())
    ax.set_title("a title")
    figure.draw_without_rendering()
    assert ax.title.get_window_extent().y0 >= ax.get_legend().get_window_extent().y1
    ax.get_legend().remove()
    figure.draw_without_rendering()
    assert ax.title.get_window_extent().y0 < ax.get_window_extent().y1 + 20


def test_a_legend_stands_clear_of_a_multiplier():
    figure = Figure()
    ax = figure.subplots()
    plotting.plot_mixture(Mixture([1.0], [[0.0, 0.0]], [[1.0, 1e-12]], "diag"), ax=ax)
    figure.draw_without_rendering()
    multiplier = ax.yaxis.get_offset_text()
    assert multiplier.get_text()
    assert not multiplier.get_window_extent().overlaps(ax.get_legend().get_window_extent())


def test_names_in_a_new_corner_are_not_cut_off():
    mixture = Mixture(np.full(2, 0.5), [[0.0] * 3, [2e4] * 3], np.ones(2), "spherical")
    grid = plotting.plot_mixture(mixture)
    grid[0, 0].figure.draw_without_rendering()
    assert min(ax.yaxis.label.get_window_extent().x0 for ax in grid[1:, 0]) > 0


@pytest.mark.parametrize("n_components", [2, 20])
def test_a_legend_is_no_wider_than_its_axes(n_components):
    for plot in (plotting.plot_mixture, plotting.plot_hills):
        for ax in Figure(figsize=(12, 4)).subplots(1, 3)[:2]:
            plot(make(n_components, 2), ax=ax)
            legend = ax.get_legend().get_window_extent()
            assert legend.x1 <= ax.get_window_extent().x1 + 1


def test_numbers_do_not_cover_each_other():
    mixture = Mixture(np.full(4, 0.25), np.zeros((4, 2)), np.arange(1.0, 5.0), "spherical")
    ax = plotting.plot_mixture(mixture)
    places = np.array([text.get_position() for text in ax.texts])
    distances = np.hypot(*(places[:, None] - places).transpose(2, 0, 1))[np.triu_indices(4, 1)]
    assert distances.min() > 11  # points; a number with its disc is 12 wide
    assert all(tuple(text.xy) == (0, 0) for text in ax.texts)


def test_short_names_of_keywords_are_known():
    mixture = make(2, 2)
    X = mixture.sample(50, 0)[0]
    ax = plotting.plot_mixture(mixture, X, lw=2, color="red")
    (points,) = [c for c in ax.collections if len(c.get_offsets()) == len(X)]
    assert points.get_linewidths().tolist() == [2]
    ax = plotting.plot_trace(gaussmix.fit(np.r_[0.0, 1, 5, 6, 7], 1), lw=3)
    assert ax.lines[0].get_linewidth() == 3
    plotting.plot_mixture(make(2, 1), make(2, 1).sample(50, 0)[0], lw=1, ec="red")


def test_figures_are_known_to_pyplot_where_it_is_used(run_python):
    assert (
        run_python(
            """
        import matplotlib
        matplotlib.use("agg")
        from gaussmix import Mixture, plotting
        import matplotlib.pyplot as plt
        m = Mixture([1], [[0, 0]], [1], "spherical")
        ax = plotting.plot_mixture(m)
        print(plt.get_fignums() == [ax.figure.number], plt.gcf() is ax.figure)
        """
        )
        == "True True"
    )


def test_columns_of_a_data_frame_name_the_axes():
    pandas = pytest.importorskip("pandas")
    X = make(1, 2).sample(20, 0)[0]
    for plot in (plotting.plot_mixture, plotting.plot_hills):
        ax = plot(make(1, 2), pandas.DataFrame(X, columns=["length", "width"]))
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("length", "width")
        assert plot(make(1, 2), pandas.DataFrame(X)).get_xlabel() == "x1"


def test_names_stand_at_the_axes():
    dataset = datasets.load("faithful")
    ax = plotting.plot_mixture(make(1, 2), dataset.X, feature_names=dataset.feature_names)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("eruptions", "waiting")


def test_the_features_that_differ_most_are_shown():
    means = np.zeros((2, 6))
    means[1, [1, 2, 4, 5]] = 5.0
    mixture = Mixture([0.5, 0.5], means, np.ones((2, 6)), "diag")
    axes = plotting.plot_mixture(mixture, feature_names=list("abcdef"))
    assert "".join(ax.get_xlabel() for ax in axes[-1]) == "bcef"


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda m, X: plotting.plot_mixture("m"), "is a str, not a Mixture"),
        (lambda m, X: plotting.plot_mixture(m, X[:, :1]), "2 "),
        (lambda m, X: plotting.plot_mixture(m, X, feature_names=["a"]), "holds 1 names"),
        (lambda m, X: plotting.plot_mixture(m, X, labels=[0]), "labels has shape"),
        (lambda m, X: plotting.plot_mixture(m, X, labels=[-2] * len(X)), "labels has"),
        (lambda m, X: plotting.plot_mixture(m, labels=[0]), "labels needs X"),
        (lambda m, X: plotting.plot_mixture(m, legend="x"), "legend is 'x'"),
        (lambda m, X: plotting.plot_hills(m, legend="x"), "legend is 'x'"),
        (lambda m, X: plotting.plot_selection([1, 2]), "is a list, not a Selection"),
        (lambda m, X: plotting.plot_selection(selected([1], [np.nan])), "finite bic"),
        (lambda m, X: plotting.plot_selection(selected([1], [1.0]), criterion="dic"), "dic"),
        (lambda m, X: plotting.plot_trace(m), "is a Mixture, not a FitResult"),
        (lambda m, X: plotting.plot_trace([]), "empty list"),
    ],
)
def test_what_does_not_fit_is_refused(call, match):
    mixture = make(2, 2)
    with pytest.raises(InvalidInputError, match=match):
        call(mixture, mixture.sample(5, 0)[0])


def test_without_matplotlib_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for plot in (plotting.plot_mixture, plotting.plot_hills):
        with pytest.raises(InvalidInputError, match=r'pip install "gaussmix\[plot\]"'):
            plot(make(1, 2))


def test_drawing_never_imports_pyplot():
    code = (
        "import io, sys; from gaussmix import Mixture, plotting; "
        "m = Mixture([1], [[0, 0]], [1], 'spherical'); "
        "plotting.plot_mixture(m).figure.savefig(io.BytesIO()); "
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_rows_of_one_colour_can_be_drawn():
    # Probabilities whose sum is above 1 by rounding made a red of more than 1.
    X = datasets.load("faithful").X
    mixture = gaussmix.fit(X, 3, seed=0).mixture
    ax = plotting.plot_mixture(mixture, X, colors=["red"])
    (points,) = [c for c in ax.collections if len(c.get_offsets()) == len(X)]
    red = np.tile([1.0, 0.0, 0.0], (len(X), 1))
    np.testing.assert_allclose(points.get_facecolors()[:, :3], red, atol=1e-12)


def test_rows_outside_the_gate_are_grey():
    mixture = make(2, 2)
    X = mixture.sample(100, seed=0)[0]
    labels = mixture.nearest(X, 1.0)
    assert (labels < 0).any() and (labels >= 0).any()
    ax = plotting.plot_mixture(mixture, X, labels=labels)
    colours = np.concatenate(
        [c.get_facecolors() for c in ax.collections if len(c.get_offsets()) > 9]
    )
    grey = (np.ptp(colours[:, :3], axis=1) == 0.0) & (colours[:, 0] < 1.0)
    assert grey.any() and not grey.all()
