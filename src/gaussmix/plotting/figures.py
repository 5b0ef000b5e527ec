"""A mixture with its data, and the figure of a whole fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InvalidInputError
from ..inputs import validate
from ..model.mixture import Mixture
from .curves import plot_selection
from .drawing import axes_or_new, checked_grid, is_grid, new_figure, own_figure, tidy
from .panels import CORNER_FEATURES, Panels

_SIZE = (7.0, 5.6)


def plot_mixture(
    mixture: Mixture,
    X: Any = None,
    *,
    ax: Any = None,
    features: Sequence[int] | None = None,
    feature_names: Sequence[str] | None = None,
    labels: Any = None,
    colors: Any = None,
    legend: bool = True,
    **style: Any,
) -> Any:
    """Axes with a mixture, and the data if given.

    One feature: histogram, weighted components and their sum. Two: the data in the colours of
    their most probable components (mixed where they are in doubt), ellipses at 1, 2 and 2.5
    standard deviations, contours of the density, and a number at each mean. More: a corner of
    the four features that tell the components apart best, each panel with the marginal mixture
    of its features; or, in a single `ax`, a panel of the best two.

    Parameters
    ----------
    mixture : Mixture
        K components in D features.
    X : array_like (N, D), optional
        Data to draw; above 20,000 rows as a shaded density, above 300,000 of evenly spaced rows.
    ax : matplotlib Axes, or array of Axes (S, S), optional
        Where to draw: a panel, or a corner of S features (2 to D). A new figure otherwise.
    features : sequence of int, optional
        Which to draw and in which order: one or two for a panel, S for a corner. By default those
        that tell the components apart best.
    feature_names : sequence of D str, optional
        Labels of the axes; by default the columns of a data frame X, else "x1", "x2", ....
    labels : array_like (N,) of int, optional
        Colours the rows by these instead of by the mixture's posterior probabilities; those of the
        label -1, as `Mixture.nearest` gives outside its gate, are grey.
    colors : sequence of matplotlib colours, optional
        Of the components, over again where they are fewer. By default told apart by colour-blind
        readers.
    legend : bool
        Whether weights and lines are explained, above the panel.
    **style
        How rows are drawn, e.g. ``s=4, alpha=0.2``: passed to `Axes.scatter`, or with one feature
        to `Axes.hist`. Of a shaded density only `alpha` and `zorder` can be changed.

    Returns
    -------
    matplotlib.axes.Axes or ndarray (S, S) of Axes
        `ax`, or what was made in its place. Above the diagonal of a corner the Axes are switched
        off.

    Raises
    ------
    InvalidInputError
        If X, labels, names or axes do not fit the mixture, or matplotlib is not installed.
    """
    legend = validate.flag("legend", legend)
    view = Panels(mixture, X, feature_names, labels, colors, style)
    grid = checked_grid(ax, mixture.n_features) if is_grid(ax) else None
    count = CORNER_FEATURES if ax is None else 2 if grid is None else len(grid)
    if features is None:
        shown = view.features(count)
    else:
        shown = validate.features("features", features, mixture.n_features)
        _require_room(ax, grid, shown)
    if grid is None and len(shown) < 3:
        ax = axes_or_new(ax, _SIZE)
        view.draw(ax, shown, legend)
        return ax
    if grid is None:
        grid = _corner_axes(own_figure(_corner_size(len(shown)), layout=None), len(shown))
    view.draw_corner(grid, shown)
    if ax is None:
        _make_room_for_names(grid)
    if legend:
        view.legend_beside(grid[0, 1], len(shown))
    return grid


def _require_room(ax: Any, grid: np.ndarray | None, features: list[int]) -> None:
    """Raise if the axes given do not hold a picture of these features."""
    if ax is None or (len(features) < 3 if grid is None else len(features) == len(grid)):
        return
    raise InvalidInputError(
        f"features holds {len(features)}, and ax "
        + ("is one Axes" if grid is None else f"has shape {grid.shape}")
        + f". Give {'one or two' if grid is None else len(grid)} features, or other axes."
    )


def fit_figure(
    mixture: Mixture,
    X: Any,
    *,
    selection: Any = None,
    feature_names: Sequence[str] | None = None,
    title: str | None = None,
) -> Any:
    """Figure of a fit: the mixture over its data and, if it was selected, the criterion.

    What ``gaussmix fit --plot`` saves.

    Parameters
    ----------
    mixture : Mixture
        The chosen mixture.
    X : array_like (N, D)
        Its data.
    selection : Selection, optional
        What `plot_selection` draws; left out if it holds fewer than two candidates.
    feature_names : sequence of D str, optional
        Labels of the axes.
    title : str, optional
        Heading of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Not known to pyplot.

    Raises
    ------
    InvalidInputError
        As `plot_mixture` and `plot_selection`.
    """
    view = Panels(mixture, X, feature_names)
    shown = view.features(CORNER_FEATURES)
    with_curve = selection is not None and len(selection.table) > 1
    curve = None
    if len(shown) > 2:
        figure = new_figure(_corner_size(len(shown)), layout=None)
        axes = _corner_axes(figure, len(shown))
        view.draw_corner(axes, shown)
        _make_room_for_names(axes)
        view.legend_beside(axes[0, 1], len(shown))
        if with_curve:
            # In the corner that the panels leave free, to the right of the legend.
            width = max(axes[0, 0].get_position().width - 0.03, 0.25)
            curve = figure.add_axes((0.985 - width, 0.93 - 0.8 * width, width, 0.8 * width))
    elif with_curve:
        figure = new_figure((9.6, 5.2))
        grid = figure.add_gridspec(2, 2, width_ratios=(2.3, 1))
        panel = figure.add_subplot(grid[:, 0])
        view.draw(panel, shown, legend=False)
        tidy(panel)
        curve = figure.add_subplot(grid[0, 1])
        view.legend_beside(figure.add_subplot(grid[1, 1]), len(shown))
    else:
        figure = new_figure(_SIZE)
        panel = figure.subplots()
        view.draw(panel, shown)
        tidy(panel)
    if curve is not None:
        plot_selection(selection, ax=curve)
        tidy(curve, label_size=9)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def _corner_size(n_shown: int) -> tuple[float, float]:
    return (2.3 * n_shown + 0.8,) * 2


def _corner_axes(figure: Any, n_shown: int) -> np.ndarray:
    axes = figure.subplots(n_shown, n_shown)
    figure.subplots_adjust(left=0.08, right=0.985, bottom=0.07, top=0.94, wspace=0.1, hspace=0.1)
    for ax in axes.flat:
        tidy(ax)
    return axes


def _make_room_for_names(axes: np.ndarray) -> None:
    """Widen the left margin where names beside long tick labels would be cut off."""
    figure, left = axes[0, 0].figure, axes[1:, 0]
    figure.align_ylabels(left)
    missing = 6.0 - min(ax.get_tightbbox().x0 for ax in left)
    if missing > 0.0:
        margin = axes[0, 0].get_position().x0 + missing / figure.bbox.width
        figure.subplots_adjust(left=min(margin, 0.3))


def file_types() -> list[str]:
    """Suffixes that figures can be saved under, without the dot."""
    return sorted(new_figure((1, 1)).canvas.get_supported_filetypes())
