"""The picture of a mixture's hills, as `gaussmix.plotting` offers it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _validate
from ._panels import RULE_GREY, View, component_colours, new_figure, tidy
from .errors import InvalidInputError
from .mixture import Mixture
from .modes import DEFAULT_TOL, Modes, survey

_DRAWN_ROWS = 300_000
_POINTS = 20_000  # beyond it single points merge into a blob, and cells are coloured instead
_CELLS = 200
_GRID = 240
_SHARES = (0.98, 0.9, 0.75, 0.55, 0.35, 0.15)  # of the probability inside a contour
# Far out, where no rows are, the borders between hills are of no interest, and many.
_BORDERS_SHARE = 0.9995
_LEGEND = 8


def plot_hills(
    mixture: Mixture,
    X: Any = None,
    ax: Any = None,
    *,
    features: Sequence[int] | None = None,
    feature_names: Sequence[str] | None = None,
    n_threads: int | None = None,
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
        Where to draw; axes in a new figure otherwise.
    features : pair of int, optional
        With D > 2: which features to draw; by default the two that tell the components apart best.
    feature_names : sequence of D str, optional
        Labels of the axes; "x1", "x2", ... by default.
    n_threads : int, optional
        For climbing.

    Returns
    -------
    matplotlib.axes.Axes
        Save its picture with ``ax.figure.savefig("hills.png")``.

    Raises
    ------
    InvalidInputError
        If X, features or names do not fit the mixture, or matplotlib is not installed.
    """
    view = View(mixture, None, feature_names, None)
    shown = _checked_features(view, features)
    hills = None
    if X is not None:
        X = _validate.data(X, n_features=mixture.n_features)
        X = X[:: max(1, math.ceil(len(X) / _DRAWN_ROWS))]
        hills = mixture.hills(X, n_threads=n_threads)
        view.X = X
    if ax is None:
        ax = new_figure((7.0, 5.6)).subplots()
    modes = mixture.modes()
    colours = component_colours(len(modes))
    if len(shown) == 1:
        _draw_line(ax, view, modes, colours, X)
    else:
        _draw_plane(ax, view, shown, modes, colours, hills, n_threads)
    ax.set_xlabel(view.names[shown[0]])
    ax.set_ylabel(view.names[shown[1]] if len(shown) > 1 else "density")
    _draw_legend(ax, mixture, modes, colours, hills)
    tidy(ax)
    return ax


def _checked_features(view: View, features: Sequence[int] | None) -> list[int]:
    n_features = view.mixture.n_features
    if features is None:
        if n_features <= 2:
            return list(range(n_features))
        means, weights = view.mixture.means, view.mixture.weights
        within = weights @ np.diagonal(view.covariances, axis1=1, axis2=2)
        between = weights @ (means - weights @ means) ** 2
        return sorted(np.argsort(-between / within, kind="stable")[:2].tolist())
    chosen = [_validate.integer("features", k, 0, n_features - 1) for k in features]
    if len(chosen) != min(2, n_features) or len(set(chosen)) != len(chosen):
        raise InvalidInputError(
            f"features holds {chosen}; give {min(2, n_features)} different ones of 0 to "
            f"{n_features - 1}."
        )
    return chosen


def _draw_line(ax: Any, view: View, modes: Modes, colours: np.ndarray, X: Any) -> None:
    mixture = view.mixture
    low, high = view.limits(0)
    found = survey(mixture, DEFAULT_TOL)
    valleys = found.landscape.positions(found.valleys[:, None])[:, 0]
    around = mixture.means + mixture.standard_deviations * np.linspace(-5, 5, 101)
    grid = np.concatenate([np.linspace(low, high, 800), around.ravel(), valleys])
    grid = np.unique(grid[(grid >= low) & (grid <= high)])
    density = mixture.pdf(grid)
    if X is not None:
        n_bins = int(np.clip(2.0 * len(X) ** (1 / 3) + 4, 5, 120))
        inside = X[(X[:, 0] >= low) & (X[:, 0] <= high), 0].astype(float)
        ax.hist(
            inside,
            bins=n_bins,
            range=(low, high),
            weights=np.full(len(inside), n_bins / (len(X) * (high - low))),
            color="#d0d0d0",
            edgecolor="white",
            linewidth=0.4,
            zorder=0,
        )
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
    heights = np.exp(modes.logpdf)
    for m, (position, height) in enumerate(zip(modes.positions[:, 0], heights, strict=True)):
        _draw_number(ax, m, position, height, colours[m])
    ax.set_xlim(low, high)
    ax.set_ylim(0, 1.1 * ax.dataLim.y1)


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
    x, y = np.linspace(*ax.get_xlim(), _GRID), np.linspace(*ax.get_ylim(), _GRID)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    marginal = view.marginal(shown)
    height = marginal.logpdf(grid).reshape(_GRID, _GRID)
    whole = mixture.n_features == 2
    if whole:
        # With features in another order the grid's columns are, too.
        regions = mixture.hills(grid[:, np.argsort(shown)], n_threads=n_threads)
        regions = regions.reshape(_GRID, _GRID)
        tint = np.dstack([colours[regions], _tint(height, hills is not None)])
        outside = height < _levels(height, [_BORDERS_SHARE])[0]
        tint[outside, 3] = 0.0
        extent = (*ax.get_xlim(), *ax.get_ylim())
        ax.imshow(tint, extent=extent, origin="lower", aspect="auto", zorder=0)
    if hills is not None:
        _draw_rows(ax, view.X[:, shown], colours[hills])
    _draw_contours(ax, x, y, height)
    if whole:
        for hill in range(len(modes)):
            border = np.ma.array(regions == hill, dtype=float, mask=outside)
            if 0.0 < border.mean() < 1.0:
                ax.contour(x, y, border, [0.5], colors="#222222", linewidths=0.8, zorder=3)
    for k in np.flatnonzero(modes.component_mode >= 0):
        path = np.stack([mixture.means[k], modes.positions[modes.component_mode[k]]])[:, shown]
        ax.plot(*path.T, color="#333333", linewidth=0.7, zorder=4)
        ax.plot(*path[0], "x", color="#222222", markersize=5, zorder=4)
    for m, position in enumerate(modes.positions[:, shown]):
        _draw_number(ax, m, *position, colours[m])


def _tint(height: np.ndarray, with_rows: bool) -> np.ndarray:
    """Opacity of the hills' colours: by the density; faint where rows are to be seen on them."""
    relative = np.exp(0.5 * (height - height.max()))
    return (0.10 + 0.12 * relative) if with_rows else (0.12 + 0.6 * relative)


def _draw_rows(ax: Any, points: np.ndarray, colours: np.ndarray) -> None:
    n_rows = len(points)
    if n_rows <= _POINTS:
        size = float(np.clip(400 / math.sqrt(n_rows), 1.2, 16))
        alpha = float(np.clip(16 / math.sqrt(n_rows), 0.25, 0.8))
        ax.scatter(
            *points.T,
            c=colours,
            s=size,
            alpha=alpha,
            linewidths=0,
            rasterized=n_rows > 2000,
            zorder=1,
        )
        return
    extent = (*ax.get_xlim(), *ax.get_ylim())
    low, high = np.array(extent[::2]), np.array(extent[1::2])
    inside = ((points >= low) & (points <= high)).all(axis=1)
    at = ((points[inside] - low) / (high - low) * _CELLS).astype(np.int64).clip(0, _CELLS - 1)
    cell = at[:, 1] * _CELLS + at[:, 0]
    count = np.bincount(cell, minlength=_CELLS**2)
    image = np.zeros((_CELLS**2, 4))
    for channel in range(3):
        total = np.bincount(cell, colours[inside, channel], minlength=_CELLS**2)
        image[:, channel] = np.clip(total / np.maximum(count, 1), 0, 1)
    # The logarithm of the count, so that single rows stay visible beside dense cores.
    image[:, 3] = np.where(count, 0.12 + 0.78 * np.log1p(count) / np.log1p(count.max()), 0)
    ax.imshow(
        image.reshape(_CELLS, _CELLS, 4),
        extent=extent,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        zorder=1,
    )


def _draw_contours(ax: Any, x: np.ndarray, y: np.ndarray, height: np.ndarray) -> None:
    levels = np.unique(_levels(height, _SHARES))
    levels = levels[(levels > height.min()) & (levels < height.max())]
    if len(levels):
        ax.contour(x, y, height, levels, colors=RULE_GREY, linewidths=0.6, alpha=0.8, zorder=2)


def _levels(height: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Log densities above which the given shares of the probability on the grid lie."""
    ordered = np.sort(height, axis=None)[::-1]
    # Relative to the top: densities themselves under- and overflow with the units.
    inside = np.cumsum(np.exp(ordered - ordered[0]))
    at = np.searchsorted(inside, np.array(shares) * inside[-1])
    return ordered[np.minimum(at, len(ordered) - 1)]


def _draw_number(ax: Any, number: int, x: float, y: float, colour: np.ndarray) -> None:
    ax.text(
        x,
        y,
        str(number),
        fontsize=7,
        color="white",
        ha="center",
        va="center",
        zorder=6,
        gid=f"peak {number}",
        bbox={
            "boxstyle": "circle,pad=0.22",
            "facecolor": colour * 0.75,
            "edgecolor": "white",
            "linewidth": 0.7,
        },
    )


def _draw_legend(
    ax: Any, mixture: Mixture, modes: Modes, colours: np.ndarray, hills: np.ndarray | None
) -> None:
    from matplotlib.lines import Line2D

    if hills is None:
        used = modes.component_mode >= 0
        share = np.bincount(modes.component_mode[used], mixture.weights[used], len(modes))
    else:
        share = np.bincount(hills, minlength=len(modes)) / max(len(hills), 1)
    handles, texts = [], []
    for m in range(min(len(modes), _LEGEND)):
        handles.append(Line2D([], [], marker="o", linestyle="", color=colours[m], markersize=6))
        texts.append(f"hill {m}: {100 * share[m]:.1f} %")
    if len(modes) > _LEGEND:
        handles.append(Line2D([], [], linestyle=""))
        texts.append(f"and {len(modes) - _LEGEND} more")
    handles.append(Line2D([], [], marker="x", linestyle="", color="#222222", markersize=5))
    texts.append("component mean")
    ax.legend(
        handles,
        texts,
        fontsize=8,
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=5,
        handlelength=1.4,
        columnspacing=1.2,
    )
