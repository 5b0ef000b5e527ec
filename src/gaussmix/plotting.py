"""Pictures of mixtures. Needs matplotlib; never touches pyplot, a display or global settings.

Every function draws into a `matplotlib.figure.Figure` of its own, or into the axes given, and
returns the figure: save it with ``figure.savefig("mixture.png")``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _validate
from ._panels import PALETTE, RULE_GREY, View, legend_beside, tidy
from .errors import InvalidInputError
from .mixture import Mixture


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
        figure = _figure((7.0, 5.6))
        view.draw_panel(figure.subplots(), view.features)
    else:
        figure, _ = _corner(view)
    return figure


def plot_criterion(
    n_components: Sequence[int],
    values: Sequence[float],
    *,
    chosen: int | None = None,
    ax: Any = None,
    name: str = "BIC",
) -> Any:
    """Figure of a criterion against the number of components; lower is better.

    Parameters
    ----------
    n_components : sequence of int
        Numbers of components that were fitted.
    values : sequence of float
        The criterion for each; one that is not finite is left out.
    chosen : int, optional
        Number of components to mark; the one with the lowest value by default.
    ax : matplotlib Axes, optional
        Where to draw; a new figure otherwise.
    name : str
        What the values are.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or the one that `ax` belongs to.

    Raises
    ------
    InvalidInputError
        If lengths differ, no value is finite, or `chosen` is not among `n_components`.
    """
    counts, heights, chosen = _checked_criterion(n_components, values, chosen)
    if ax is None:
        ax = _figure((4.6, 3.4)).subplots()
    ax.plot(counts, heights, "-o", color=RULE_GREY, markersize=3.5, linewidth=1.1)
    best = heights[list(counts).index(chosen)]
    ax.plot([chosen], [best], "o", color=PALETTE[1], markersize=7.5, zorder=3)
    ax.annotate(
        f"K = {chosen}",
        (chosen, best),
        xytext=(0, -9),
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=9,
        color=PALETTE[1],
    )
    ax.margins(x=0.1, y=0.18)
    ax.set_xlabel("components K", fontsize=9)
    ax.set_ylabel(f"{name} (lower is better)", fontsize=9)
    ax.xaxis.get_major_locator().set_params(integer=True)
    tidy(ax)
    return ax.figure


def _checked_criterion(
    n_components: Sequence[int], values: Sequence[float], chosen: int | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Numbers of components and values, the finite ones only, and the number to mark."""
    counts = np.array([_validate.integer("n_components", k, 1) for k in n_components], dtype=int)
    heights = np.array([float(value) for value in values])
    if len(counts) != len(heights) or not np.isfinite(heights).any():
        raise InvalidInputError(
            f"values has {len(heights)} entries, {np.isfinite(heights).sum()} of them finite, for "
            f"{len(counts)} numbers of components. Give one value for each."
        )
    counts, heights = counts[np.isfinite(heights)], heights[np.isfinite(heights)]
    if chosen is None:
        chosen = int(counts[np.argmin(heights)])
    if chosen not in counts:
        raise InvalidInputError(f"chosen={chosen!r} is not in n_components. Use one of {counts}.")
    return counts, heights, chosen


def plot_fit(
    mixture: Mixture,
    X: Any,
    *,
    n_components: Sequence[int] | None = None,
    bic: Sequence[float] | None = None,
    feature_names: Sequence[str] | None = None,
    title: str | None = None,
) -> Any:
    """Figure of a fit: the mixture over its data and, if a range was fitted, the BIC curve.

    Parameters
    ----------
    mixture : Mixture
        The chosen mixture.
    X : array_like (N, D)
        Its data.
    n_components, bic : sequences, optional
        What `plot_criterion` draws; left out if fewer than two.
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
        As `plot_mixture` and `plot_criterion`.
    """
    view = View(mixture, X, feature_names, None)
    n_shown = len(view.features)
    with_curve = n_components is not None and len(n_components) > 1
    if n_shown > 2:
        figure, room = _corner(view)
        curve = figure.add_axes(room) if with_curve else None
    elif with_curve:
        figure = _figure((9.6, 5.2))
        grid = figure.add_gridspec(2, 2, width_ratios=(2.3, 1))
        view.draw_panel(figure.add_subplot(grid[:, 0]), view.features, legend=False)
        curve = figure.add_subplot(grid[0, 1])
        legend_beside(view, figure.add_subplot(grid[1, 1]))
    else:
        figure = _figure((7.0, 5.6))
        view.draw_panel(figure.subplots(), view.features)
    if with_curve:
        plot_criterion(n_components, bic, chosen=mixture.n_components, ax=curve)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def _corner(view: View) -> tuple[Any, tuple[float, float, float, float]]:
    """A figure with a corner of panels and a legend, and the room left for a curve in it."""
    n_shown = len(view.features)
    figure = _figure((2.3 * n_shown + 0.8,) * 2, layout=None)
    view.draw_corner(figure)
    # The corner leaves its upper right half free: a legend, then a curve in the corner itself.
    panel = 0.905 / n_shown
    legend_beside(view, figure.add_axes((0.10 + panel, 0.94 - panel, panel, panel)))
    width = max(panel - 0.03, 0.25)
    return figure, (0.985 - width, 0.93 - 0.8 * width, width, 0.8 * width)


def _figure(size: tuple[float, float], layout: str | None = "constrained") -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidInputError(
            'Plots need matplotlib. Install it: pip install "gaussmix[plot]".'
        ) from error
    return Figure(figsize=size, layout=layout)


def file_types() -> list[str]:
    """Suffixes that figures can be saved under, without the dot."""
    return sorted(_figure((1, 1)).canvas.get_supported_filetypes())
