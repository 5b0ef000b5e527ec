"""What all pictures of `gaussmix.plotting` share: axes, colours, rows, contours and legends."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InvalidInputError

# Okabe & Ito (2008), told apart by colour-blind readers too; their yellow is too pale on white
# for thin lines, and their black is kept for text.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
RULE_GREY = "#5a5a5a"
UNASSIGNED = (0.65, 0.65, 0.65)  # rows with the label -1
GRID = 220  # points along each side of the plane where a density is evaluated
# Beyond this many rows single points merge into a blob: then cells of a grid are coloured.
_POINTS = 20_000
_CELLS = 160
_NOT_FLAT = ("3d", "polar")
LEGEND_ENTRIES = 8
_LEGEND_COLUMNS = 6
_BADGE = 12.0  # points: the width of a number with its disc
_PALE = 0.3


def new_figure(size: tuple[float, float], layout: str | None = "constrained") -> Any:
    """A figure that pyplot does not know: it would keep it in memory, and may want a display."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidInputError(
            'Plots need matplotlib. Install it: pip install "gaussmix[plot]".'
        ) from error
    return Figure(figsize=size, layout=layout)


def own_figure(size: tuple[float, float], layout: str | None = "constrained") -> Any:
    """A figure for a function that was given no axes.

    Whoever has imported pyplot expects ``plt.show()`` and notebooks to show it, so pyplot makes
    it then; nobody else pays for pyplot.
    """
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return new_figure(size, layout)
    return pyplot.figure(figsize=size, layout=layout)


def axes_or_new(ax: Any, size: tuple[float, float]) -> Any:
    """`ax`, checked to be one matplotlib Axes; tidied axes in a figure of their own for None."""
    if ax is not None:
        return _checked(ax, "ax")
    ax = own_figure(size).subplots()
    tidy(ax)
    return ax


def _checked(ax: Any, name: str) -> Any:
    new_figure((1, 1))  # names the remedy where matplotlib is missing
    from matplotlib.axes import Axes

    if isinstance(ax, np.ndarray | list | tuple):
        shape = np.shape(np.array(ax, dtype=object))
        raise InvalidInputError(
            f"{name} is {'an array' if isinstance(ax, np.ndarray) else f'a {type(ax).__name__}'} "
            f"of shape {shape}, and this picture needs one Axes. Give one of its elements."
        )
    if not isinstance(ax, Axes):
        raise InvalidInputError(
            f"{name} is a {type(ax).__name__}, not a matplotlib Axes. Give what "
            "figure.subplots() returns, or leave ax out for a new figure."
        )
    if ax.name in _NOT_FLAT:
        raise InvalidInputError(
            f"{name} has the projection {ax.name!r}, and pictures are flat. Make the Axes without "
            "a projection."
        )
    return ax


def is_grid(ax: Any) -> bool:
    return isinstance(ax, np.ndarray | list | tuple)


def checked_grid(ax: Any, largest: int) -> np.ndarray:
    """An array of Axes for a corner, checked to be square and of 2 to `largest` features."""
    grid = np.array(ax, dtype=object)
    if grid.ndim != 2 or grid.shape[0] != grid.shape[1] or not 2 <= len(grid) <= largest:
        allowed = (
            f"one Axes, or a square of 2 to {largest} Axes a side" if largest > 1 else "one Axes"
        )
        raise InvalidInputError(
            f"ax has shape {grid.shape}; give {allowed}, e.g. figure.subplots"
            f"{'(2, 2)' if largest > 1 else '()'}."
        )
    for (row, column), one in np.ndenumerate(grid):
        _checked(one, f"ax[{row}, {column}]")
    return grid


def line_style(style: dict[str, Any]) -> dict[str, Any]:
    """Keywords of `Axes.plot` under their long names, so that ``lw`` replaces our linewidth."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.lines import Line2D

    return normalize_kwargs(style, Line2D)


def tidy(ax: Any, label_size: float | None = None) -> None:
    """The looks of axes in figures of our own; axes that users give keep theirs."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.tick_params(labelsize=8)
    if label_size is not None:
        ax.xaxis.label.set_size(label_size)
        ax.yaxis.label.set_size(label_size)


def rgb(colors: Any) -> np.ndarray:
    """Red, green and blue in 0..1 of matplotlib colours, one or several, as an array (C, 3)."""
    from matplotlib.colors import to_rgb

    given = [colors] if isinstance(colors, str) else list(colors)
    if not given:
        raise InvalidInputError("colors is empty. Give at least one colour, or leave it out.")
    values = []
    for position, colour in enumerate(given):
        try:
            values.append(to_rgb(colour))
        except ValueError as error:
            raise InvalidInputError(
                f"colors[{position}] is {colour!r}, not a colour that matplotlib knows. Give "
                'names or codes such as "tab:blue" or "#0072B2".'
            ) from error
    return np.array(values)


def component_colours(count: int, colors: Any = None) -> np.ndarray:
    """Red, green and blue in 0..1 of `count` things, (count, 3): those given, over and over.

    By default six hues, then darker, then paler, then greyer.
    """
    if colors is not None:
        return np.resize(rgb(colors), (count, 3))
    base = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in PALETTE])
    rounds = np.concatenate([base, 0.55 * base, 0.5 * base + 0.5, 0.4 * base + 0.3])
    return np.resize(rounds, (count, 3))


def line_grid(limits: tuple[float, float], means: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Where to evaluate the density along an axis: even steps, and steps around each mean.

    A component far narrower than an even step must not fall between two.
    """
    around = means + spread * np.linspace(-5, 5, 101)[:, None]
    grid = np.concatenate([np.linspace(*limits, 800), around.ravel()])
    return np.unique(grid[(grid >= limits[0]) & (grid <= limits[1])])


def draw_histogram(
    ax: Any, values: np.ndarray, limits: tuple[float, float], style: dict[str, Any]
) -> None:
    """Histogram of the density of `values`, in grey, behind everything else."""
    n_bins = int(np.clip(2.0 * len(values) ** (1 / 3) + 4, 5, 120))
    low, high = max(limits[0], float(values.min())), min(limits[1], float(values.max()))
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.patches import Patch

    looks = {
        "bins": n_bins,
        "range": (low, high) if low < high else None,
        "density": True,
        "color": "#d9d9d9",
        "edgecolor": "white",
        "linewidth": 0.4,
        "zorder": 0,
    }
    ax.hist(values.astype(float), **(looks | normalize_kwargs(style, Patch)))


def draw_rows(
    ax: Any, points: np.ndarray, colours: np.ndarray, style: dict[str, Any], small: bool = False
) -> None:
    """Points in their colours; where they are many, the mean colours of the cells of a grid."""
    from matplotlib.cbook import normalize_kwargs
    from matplotlib.collections import PathCollection

    n_rows = len(points)
    as_points = n_rows <= (_POINTS // 4 if small else _POINTS)
    looks = {
        "s": float(np.clip(900 / math.sqrt(n_rows) / (4 if small else 2.2), 1.2, 18)),
        "alpha": float(np.clip(14 / math.sqrt(n_rows), 0.25, 0.75)) if as_points else None,
        "linewidth": 0,
        "rasterized": n_rows > 2000,
        "zorder": 1,
    }
    drawn = slice(None) if as_points else slice(0)
    if not {"c", "color", "facecolor", "facecolors"} & style.keys():
        looks["c"] = colours[drawn]
    looks |= normalize_kwargs(style, PathCollection)
    collection = ax.scatter(*points[drawn].T, **looks)
    if as_points:
        return
    # matplotlib has checked the style on no points; what an image shares with them is taken over.
    alpha, zorder = collection.get_alpha(), collection.get_zorder()
    collection.remove()
    extent = (*ax.get_xlim(), *ax.get_ylim())
    ax.imshow(
        _shaded(points, colours, extent, _CELLS // 2 if small else _CELLS),
        extent=extent,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        alpha=alpha,
        zorder=zorder,
    )


def _shaded(points: np.ndarray, colours: np.ndarray, extent: tuple, n_cells: int) -> np.ndarray:
    """Image (cells, cells, 4): the mean colour of the rows in a cell, opaque where there are many.

    The logarithm of the count, so that single rows stay visible beside dense cores.
    """
    low, high = np.array(extent[::2]), np.array(extent[1::2])
    inside = ((points >= low) & (points <= high)).all(axis=1)
    at = ((points[inside] - low) / (high - low) * n_cells).astype(np.int64).clip(0, n_cells - 1)
    cell = at[:, 1] * n_cells + at[:, 0]
    count = np.bincount(cell, minlength=n_cells * n_cells)
    image = np.zeros((n_cells * n_cells, 4))
    for channel in range(3):
        total = np.bincount(cell, colours[inside, channel], minlength=n_cells * n_cells)
        image[:, channel] = np.clip(total / np.maximum(count, 1), 0, 1)
    most = max(float(np.log1p(count.max())), 1e-9)
    image[:, 3] = np.where(count, 0.12 + 0.73 * np.log1p(count) / most, 0)
    return image.reshape(n_cells, n_cells, 4)


def heights(ax: Any, marginal: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (G,), y (G,) and the log density (G, G) on a grid over the limits of the axes."""
    x, y = np.linspace(*ax.get_xlim(), GRID), np.linspace(*ax.get_ylim(), GRID)
    rows = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return x, y, marginal.logpdf(rows).reshape(GRID, GRID)


def levels_enclosing(height: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Log densities above which the given shares of the probability on the grid lie."""
    ordered = np.sort(height, axis=None)[::-1]
    # Relative to the top: densities themselves under- and overflow with the units.
    inside = np.cumsum(np.exp(ordered - ordered[0]))
    at = np.searchsorted(inside, np.array(shares) * inside[-1])
    return ordered[np.minimum(at, len(ordered) - 1)]


def draw_contours(
    ax: Any,
    x: np.ndarray,
    y: np.ndarray,
    height: np.ndarray,
    shares: Sequence[float],
    shaded: bool,
    **lines: Any,
) -> None:
    """Contours that enclose given shares of the probability inside the axes."""
    levels = np.unique(levels_enclosing(height, shares))
    levels = levels[(levels > height.min()) & (levels < height.max())]
    if not len(levels):
        return
    if shaded:
        # A breath of shading tells these contours from ellipses; the rows lie over it.
        shades = np.linspace(0.965, 0.86, len(levels)).astype(str)
        ax.contourf(x, y, height, [*levels, height.max() + 1], colors=shades, zorder=0)
    # matplotlib dashes the contours of negative values, and log densities may have any sign.
    looks = {"colors": RULE_GREY, "linestyles": "solid", "zorder": 2}
    ax.contour(x, y, height, levels, **(looks | lines))


def draw_numbers(ax: Any, positions: np.ndarray, colours: np.ndarray, name: str) -> None:
    """A number at each of the positions (M, 2), moved aside where it would cover another.

    The limits of the axes must be set. A line leads from a number that was moved to its place.
    """
    shifts = _shifts_apart(ax.transData.transform(positions) * 72 / ax.figure.dpi)
    for m, (place, shift, colour) in enumerate(zip(positions, shifts, colours, strict=True)):
        face = 0.8 * colour
        # Relative luminance, by which black on pale colours is told better than white.
        pale = np.array([0.2126, 0.7152, 0.0722]) @ face**2.2 > _PALE
        ax.annotate(
            str(m),
            place,
            shift,
            textcoords="offset points",
            fontsize=7,
            color="black" if pale else "white",
            ha="center",
            va="center",
            zorder=6,
            clip_on=True,
            gid=f"{name} {m}",
            arrowprops={"arrowstyle": "-", "linewidth": 0.8, "color": face, "shrinkB": 0}
            if np.hypot(*shift) > 0.5 * _BADGE
            else None,
            bbox={
                "boxstyle": "circle,pad=0.22",
                "facecolor": face,
                "edgecolor": "white",
                "linewidth": 0.7,
            },
        )


def _shifts_apart(points: np.ndarray) -> np.ndarray:
    """Shifts (M, 2) after which no two points (M, 2) are closer than a number is wide."""
    moved = points.astype(float)
    for _ in range(60):
        apart = moved[:, None] - moved
        distance = np.hypot(*np.moveaxis(apart, -1, 0))
        close = (distance < _BADGE) & ~np.eye(len(points), dtype=bool)
        if not close.any():
            break
        for a, b in np.argwhere(np.triu(close)):
            along = moved[a] - moved[b]
            length = np.hypot(*along)
            # At one place: apart in directions that differ from pair to pair.
            turn = 2.4 * (a + b)
            along = along / length if length > 1e-6 else np.array([np.cos(turn), np.sin(turn)])
            push = 0.52 * max(_BADGE - length, 0.0)
            moved[a] += push * along
            moved[b] -= push * along
    return moved - points


def dots(colours: np.ndarray, texts: Sequence[str], limit: int) -> tuple[list, list[str]]:
    """Legend entries with a dot each, at most `limit`, and how many more there are."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", linestyle="", color=colour, markersize=6)
        for colour, _ in zip(colours, texts[:limit], strict=False)
    ]
    return first_entries(handles, texts, limit)


def first_entries(handles: list, texts: Sequence[str], limit: int) -> tuple[list, list[str]]:
    """At most `limit` legend entries, and one that tells how many more there are."""
    from matplotlib.lines import Line2D

    handles, shown = list(handles[:limit]), list(texts[:limit])
    if len(texts) > limit:
        handles.append(Line2D([], [], linestyle=""))
        shown.append(f"and {len(texts) - limit} more")
    return handles, shown


def legend_above(
    ax: Any, colours: np.ndarray, texts: Sequence[str], others: tuple[list, list[str]]
) -> None:
    """A legend above the axes, where it hides no data wherever the clusters are.

    As many columns as fit; a title that the axes are given later stands above it.
    """
    above = _past_multiplier(ax)
    width = ax.get_window_extent().width
    for columns in range(_LEGEND_COLUMNS, 0, -1):
        limit = int(np.clip(3 * columns - len(others[0]) - 1, 1, LEGEND_ENTRIES))
        handles, shown = dots(colours, texts, limit)
        legend = ax.legend(
            [*handles, *others[0]],
            [*shown, *others[1]],
            fontsize=8,
            frameon=False,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            bbox_transform=ax.transAxes + above,
            ncols=columns,
            handlelength=1.4,
            columnspacing=1.2,
        )
        if legend.get_window_extent().width <= width:
            break
    # Titles keep clear of child axes, and not of legends: so empty ones lie around the legend.
    room = ax.inset_axes((0, 1, 1, 0))
    room.set_axis_off()
    room.set_axes_locator(_around_legend)


def _past_multiplier(ax: Any) -> Any:
    """The shift upwards that clears a multiplier of the axis such as 1e-6, if there is one."""
    from matplotlib.transforms import ScaledTranslation

    formatter = ax.yaxis.get_major_formatter()
    formatter.format_ticks(ax.yaxis.get_majorticklocs())
    points = 1.4 * ax.yaxis.get_offset_text().get_fontsize() if formatter.get_offset() else 0.0
    return ScaledTranslation(0.0, points / 72, ax.figure.dpi_scale_trans)


def _around_legend(ax: Any, renderer: Any) -> Any:
    """The box of the legend of `ax`, as a locator of child axes has to give it."""
    legend = ax.get_legend()
    box = ax.get_window_extent(renderer) if legend is None else legend.get_window_extent(renderer)
    return box.transformed(ax.figure.transSubfigure.inverted())
