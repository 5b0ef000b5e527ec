"""The picture of a mixture's hills, as `gaussmix.plotting` offers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InvalidInputError
from ..hills.modes import DEFAULT_TOL, Modes, survey
from ..inputs import validate
from ..model.mixture import Mixture
from .drawing import (
    GRID,
    RULE_GREY,
    axes_or_new,
    component_colours,
    draw_contours,
    draw_histogram,
    draw_numbers,
    draw_rows,
    heights,
    legend_above,
    levels_enclosing,
    line_grid,
)
from .panels import View

_SHARES = (0.98, 0.9, 0.75, 0.55, 0.35, 0.15)  # of the probability inside a contour
# Far out, where no rows are, the borders between hills are of no interest, and many.
_BORDERS_SHARE = 0.9995


def plot_hills(
    mixture: Mixture,
    X: Any = None,
    *,
    ax: Any = None,
    features: Sequence[int] | None = None,
    feature_names: Sequence[str] | None = None,
    colors: Any = None,
    legend: bool = True,
    n_threads: int | None = None,
    **style: Any,
) -> Any:
    """Axes with the hills of a mixture's density: their extent, their peaks and their rows.

    One feature: the density, coloured by hill between the valleys, over a histogram of X. Two:
    contours of the density, rows in the colour of the hill that they climb, and the borders
    between hills. More: the same along two features, without borders, which no plane holds. A
    number marks each peak, a cross each component's mean, and a line leads from one to the other.

    Parameters
    ----------
    mixture : Mixture
        K components in D features.
    X : array_like (N, D), optional
        Rows to draw; above 20,000 as a density, above 300,000 of evenly spaced rows.
    ax : matplotlib Axes, optional
        Where to draw; a new figure otherwise.
    features : pair of int, optional
        With D > 2: which features to draw; by default the two that tell the components apart best.
    feature_names : sequence of D str, optional
        Labels of the axes; by default the columns of a data frame X, else "x1", "x2", ....
    colors : sequence of matplotlib colours, optional
        Of the hills, over again where they are fewer. By default told apart by colour-blind
        readers.
    legend : bool
        Whether hills and lines are explained, above the panel.
    n_threads : int, optional
        For climbing.
    **style
        How rows are drawn, e.g. ``s=4, alpha=0.2``: passed to `Axes.scatter`, or with one feature
        to `Axes.hist`. Of a shaded density only `alpha` and `zorder` can be changed.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, or those of the new figure.

    Raises
    ------
    InvalidInputError
        If X, features, names or axes do not fit the mixture, or matplotlib is not installed.
    """
    legend = validate.flag("legend", legend)
    view = View(mixture, X, feature_names, style)
    shown = _checked_features(view, features)
    ax = axes_or_new(ax, (7.0, 5.6))
    hills = None if X is None else mixture.hills(view.X, n_threads=n_threads)
    modes = mixture.modes()
    colours = component_colours(len(modes), colors)
    if len(shown) == 1:
        _draw_line(ax, view, modes, colours)
    else:
        _draw_plane(ax, view, shown, modes, colours, hills, n_threads)
    view.label(ax, shown)
    if legend:
        _draw_legend(ax, mixture, modes, colours, hills)
    return ax


def _checked_features(view: View, features: Sequence[int] | None) -> list[int]:
    n_features = view.mixture.n_features
    if features is None:
        return view.features(2)
    chosen = [validate.integer("features", k, 0, n_features - 1) for k in features]
    if len(chosen) != min(2, n_features) or len(set(chosen)) != len(chosen):
        raise InvalidInputError(
            f"features holds {chosen}; give {min(2, n_features)} different ones of 0 to "
            f"{n_features - 1}."
        )
    return chosen


def _draw_line(ax: Any, view: View, modes: Modes, colours: np.ndarray) -> None:
    mixture = view.mixture
    low, high = limits = view.limits(0)
    found = survey(mixture, DEFAULT_TOL)
    valleys = found.landscape.positions(found.valleys[:, None])[:, 0]
    inside = valleys[(valleys > low) & (valleys < high)]
    grid = np.union1d(line_grid(limits, mixture.means[:, 0], view.deviations[:, 0]), inside)
    density = mixture.pdf(grid)
    if view.X is not None:
        draw_histogram(ax, view.X[:, 0], limits, view.style)
    edges = [low, *valleys, high]
    for left, right, hill in zip(edges[:-1], edges[1:], found.order, strict=True):
        part = (grid >= left) & (grid <= right)
        ax.fill_between(
            grid[part], density[part], color=colours[hill], alpha=0.45, linewidth=0, zorder=1
        )
    ax.vlines(
        valleys,
        0,
        mixture.pdf(valleys),
        color=RULE_GREY,
        linewidth=1.0,
        linestyle=(0, (3, 2)),
        label="valleys",
    )
    ax.plot(grid, density, color="black", linewidth=1.6, zorder=3)
    used = modes.component_mode >= 0
    ax.plot(
        mixture.means[used, 0],
        np.zeros(used.sum()),
        "x",
        color="#333333",
        markersize=5,
        zorder=4,
        clip_on=False,
    )
    ax.set_xlim(limits)
    ax.set_ylim(0, 1.1 * ax.dataLim.y1)
    tops = np.column_stack([modes.positions[:, 0], np.exp(modes.logpdf)])
    draw_numbers(ax, tops, colours, "peak")


def _draw_plane(
    ax: Any,
    view: View,
    shown: list[int],
    modes: Modes,
    colours: np.ndarray,
    hills: np.ndarray | None,
    n_threads: int | None,
) -> None:
    mixture = view.mixture
    ax.set_xlim(view.limits(shown[0]))
    ax.set_ylim(view.limits(shown[1]))
    x, y, height = heights(ax, view.mixture.marginal(shown))
    whole = mixture.n_features == 2
    if whole:
        grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        # With features in another order the grid's columns are, too.
        regions = mixture.hills(grid[:, np.argsort(shown)], n_threads=n_threads)
        regions = regions.reshape(GRID, GRID)
        edge = levels_enclosing(height, [_BORDERS_SHARE])[0]
        outside = height < edge
        fading = np.clip(1.0 + height - edge, 0.0, 1.0)  # an abrupt end would have stairs
        tint = np.dstack([colours[regions], fading * _tint(height, hills is not None)])
        extent = (*ax.get_xlim(), *ax.get_ylim())
        ax.imshow(tint, extent=extent, origin="lower", aspect="auto", zorder=0)
    if hills is not None:
        draw_rows(ax, view.X[:, shown], colours[hills], view.style)
    draw_contours(ax, x, y, height, _SHARES, False, linewidths=0.6, alpha=0.8)
    if whole:
        for hill in range(len(modes)):
            border = np.ma.array(_softened(regions == hill), mask=outside)
            if border.min() < 0.5 < border.max():
                ax.contour(x, y, border, [0.5], colors="#222222", linewidths=0.8, zorder=3)
    for k in np.flatnonzero(modes.component_mode >= 0):
        path = np.stack([mixture.means[k], modes.positions[modes.component_mode[k]]])[:, shown]
        ax.plot(*path.T, color="#333333", linewidth=0.7, zorder=4)
        ax.plot(*path[0], "x", color="#222222", markersize=5, zorder=4)
    draw_numbers(ax, modes.positions[:, shown], colours, "peak")


def _softened(region: np.ndarray) -> np.ndarray:
    """A region (G, G) whose edge rises over a few cells: its contour has no stairs."""
    soft = region.astype(float)
    for axis in (0, 1, 0, 1, 0, 1):
        padded = np.pad(soft, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        before, after = (np.take(padded, np.arange(GRID) + k, axis=axis) for k in (0, 2))
        soft = 0.25 * before + 0.5 * soft + 0.25 * after
    return soft


def _tint(height: np.ndarray, with_rows: bool) -> np.ndarray:
    """Opacity of the hills' colours: by the density; faint where rows are to be seen on them."""
    relative = np.exp(0.5 * (height - height.max()))
    return (0.10 + 0.12 * relative) if with_rows else (0.12 + 0.6 * relative)


def _draw_legend(
    ax: Any, mixture: Mixture, modes: Modes, colours: np.ndarray, hills: np.ndarray | None
) -> None:
    from matplotlib.lines import Line2D

    if hills is None:
        used = modes.component_mode >= 0
        share = np.bincount(modes.component_mode[used], mixture.weights[used], len(modes))
    else:
        share = np.bincount(hills, minlength=len(modes)) / max(len(hills), 1)
    texts = [f"hill {m}: {100 * part:.1f} %" for m, part in enumerate(share)]
    means = Line2D([], [], marker="x", linestyle="", color="#222222", markersize=5)
    legend_above(ax, colours, texts, ([means], ["component mean"]))
