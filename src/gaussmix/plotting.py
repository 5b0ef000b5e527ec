"""Pictures of mixtures. Needs matplotlib; never touches pyplot, a display or global settings.

Every function draws into a `matplotlib.figure.Figure` of its own, or into the axes given, and
returns the figure: save it with ``figure.savefig("mixture.png")``. `plot_hills` returns the axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._curves import plot_selection, plot_trace
from ._hill_plot import plot_hills
from ._panels import View, legend_beside, new_figure
from .mixture import Mixture

__all__ = ["file_types", "plot_fit", "plot_hills", "plot_mixture", "plot_selection", "plot_trace"]


def plot_mixture(
    mixture: Mixture,
    X: Any = None,
    *,
    ax: Any = None,
    feature_names: Sequence[str] | None = None,
    labels: Any = None,
) -> Any:
    """Figure of a mixture, with the data if given.

    One feature: histogram, weighted components and their sum. Two: the data in the colours of
    their most probable components (mixed where they are in doubt), ellipses at 1, 2 and 2.5
    standard deviations, contours of the density, and a number at each mean. More: a corner of
    the four features that tell the components apart best, each panel with the marginal mixture
    of its features; or, with `ax`, a panel of the best two.

    Parameters
    ----------
    mixture : Mixture
        K components in D features.
    X : array_like (N, D), optional
        Data to draw; above 20,000 rows as a shaded density, above 500,000 of evenly spaced rows.
    ax : matplotlib Axes, optional
        Where to draw; a new figure otherwise.
    feature_names : sequence of D str, optional
        Labels of the axes; "x1", "x2", ... by default.
    labels : array_like (N,) of int, optional
        Colours the rows by these instead of by the mixture's posterior probabilities.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or the one that `ax` belongs to.

    Raises
    ------
    InvalidInputError
        If X, labels or names do not fit the mixture, or matplotlib is not installed.
    """
    view = View(mixture, X, feature_names, labels)
    if ax is not None:
        view.draw_panel(ax, view.features[:2])
        return ax.figure
    n_shown = len(view.features)
    if n_shown < 3:
        figure = new_figure((7.0, 5.6))
        view.draw_panel(figure.subplots(), view.features)
    else:
        figure, _ = _corner(view)
    return figure


def plot_fit(
    mixture: Mixture,
    X: Any,
    *,
    selection: Any = None,
    feature_names: Sequence[str] | None = None,
    title: str | None = None,
) -> Any:
    """Figure of a fit: the mixture over its data and, if it was selected, the criterion.

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

    Raises
    ------
    InvalidInputError
        As `plot_mixture` and `plot_selection`.
    """
    view = View(mixture, X, feature_names, None)
    n_shown = len(view.features)
    with_curve = selection is not None and len(selection.table) > 1
    if n_shown > 2:
        figure, room = _corner(view)
        curve = figure.add_axes(room) if with_curve else None
    elif with_curve:
        figure = new_figure((9.6, 5.2))
        grid = figure.add_gridspec(2, 2, width_ratios=(2.3, 1))
        view.draw_panel(figure.add_subplot(grid[:, 0]), view.features, legend=False)
        curve = figure.add_subplot(grid[0, 1])
        legend_beside(view, figure.add_subplot(grid[1, 1]))
    else:
        figure = new_figure((7.0, 5.6))
        view.draw_panel(figure.subplots(), view.features)
    if with_curve:
        plot_selection(selection, ax=curve)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def _corner(view: View) -> tuple[Any, tuple[float, float, float, float]]:
    """A figure with a corner of panels and a legend, and the room left for a curve in it."""
    n_shown = len(view.features)
    figure = new_figure((2.3 * n_shown + 0.8,) * 2, layout=None)
    view.draw_corner(figure)
    # The corner leaves its upper right half free: a legend, then a curve in the corner itself.
    panel = 0.905 / n_shown
    legend_beside(view, figure.add_axes((0.10 + panel, 0.94 - panel, panel, panel)))
    width = max(panel - 0.03, 0.25)
    return figure, (0.985 - width, 0.93 - 0.8 * width, width, 0.8 * width)


def file_types() -> list[str]:
    """Suffixes that figures can be saved under, without the dot."""
    return sorted(new_figure((1, 1)).canvas.get_supported_filetypes())
