"""The panels that `gaussmix.plotting` puts together: one or two features of a mixture at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _validate
from .errors import InvalidInputError
from .mixture import Mixture

SIGMAS = (1.0, 2.0, 2.5)
# Okabe & Ito (2008), told apart by colour-blind readers too; their yellow is too pale on white
# for thin lines, and their black is kept for text.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
RULE_GREY = "#5a5a5a"
_CORNER_FEATURES = 4
# Beyond this many rows single points merge into a blob: then cells of a grid are coloured.
_POINTS = 20_000
_DRAWN_ROWS = 500_000
_CELLS = 160
_DENSITY_GRID = 220
# Shares of the probability that lie inside the drawn contours of the density.
_CONTOUR_SHARES = (0.98, 0.9, 0.7, 0.45, 0.2)
_LEGEND_COMPONENTS = 8
_LEGEND_COMPONENTS_BESIDE = 20


def component_colours(n_components: int) -> np.ndarray:
    """Red, green and blue in 0..1 for each component, (K, 3); six hues, then darker, then paler."""
    base = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in PALETTE])
    rounds = np.concatenate([base, 0.55 * base, 0.5 * base + 0.5])
    return np.resize(rounds, (n_components, 3))


class View:
    """What all panels of one figure share: the mixture, the rows drawn and their colours."""

    def __init__(self, mixture: Mixture, X: Any, feature_names: Any, labels: Any) -> None:
        if not isinstance(mixture, Mixture):
            raise InvalidInputError(
                f"mixture is a {type(mixture).__name__}, not a Mixture. Give result.mixture."
            )
        n_features = mixture.n_features
        self.mixture = mixture
        self.colours = component_colours(mixture.n_components)
        names = feature_names if feature_names is not None else range(1, n_features + 1)
        self.names = [n if isinstance(n, str) else f"x{n}" for n in names]
        if len(self.names) != n_features:
            raise InvalidInputError(
                f"feature_names holds {len(self.names)} names, the mixture has {n_features} "
                "features. Give one name per feature."
            )
        self.X = self.row_colours = None
        if X is not None:
            self._set_rows(_validate.data(X, n_features=n_features), labels)
        elif labels is not None:
            raise InvalidInputError("labels needs X, whose rows it colours. Give both.")
        self.covariances = mixture.dense_covariances()
        self.features = shown_features(mixture)

    def _set_rows(self, X: np.ndarray, labels: Any) -> None:
        kept = slice(None, None, max(1, math.ceil(len(X) / _DRAWN_ROWS)))
        self.X = X[kept]
        if labels is None:
            self.row_colours = self.mixture.predict_proba(self.X) @ self.colours
        else:
            labels = _checked_labels(labels, len(X))[kept]
            self.row_colours = component_colours(int(labels.max()) + 1)[labels]

    def marginal(self, features: Sequence[int]) -> Mixture:
        """The mixture of some features alone: their means and their block of covariances."""
        block = self.covariances[:, features][:, :, features]
        return Mixture(self.mixture.weights, self.mixture.means[:, features], block)

    def limits(self, feature: int) -> tuple[float, float]:
        """Range of an axis: the data and, up to a third more on either side, the ellipses."""
        means = self.mixture.means[:, feature]
        reach = 2.9 * np.sqrt(self.covariances[:, feature, feature])
        low, high = (means - reach).min(), (means + reach).max()
        if self.X is not None:
            values = self.X[:, feature]
            first, last = float(values.min()), float(values.max())
            spread = last - first
            if spread > 0:
                low = min(first - 0.03 * spread, max(low, first - 0.35 * spread))
                high = max(last + 0.03 * spread, min(high, last + 0.35 * spread))
        return low, high

    def draw_panel(self, ax: Any, features: Sequence[int], legend: bool = True) -> None:
        if len(features) == 1:
            self.draw_one(ax, features[0])
        else:
            self.draw_two(ax, features)
        ax.set_xlabel(self.names[features[0]])
        ax.set_ylabel(self.names[features[1]] if len(features) > 1 else "density")
        if legend:
            handles, texts = _legend_entries(self, len(features), _LEGEND_COMPONENTS)
            # Outside the data: nothing is hidden, wherever the clusters are.
            ax.legend(
                handles,
                texts,
                fontsize=8,
                frameon=False,
                loc="lower left",
                bbox_to_anchor=(0, 1),
                ncols=6,
                handlelength=1.4,
                columnspacing=1.2,
            )
        tidy(ax)

    def draw_corner(self, figure: Any) -> None:
        """Panels of every pair of features below the diagonal, of every single one on it."""
        n_shown = len(self.features)
        grid = figure.add_gridspec(
            n_shown, n_shown, left=0.08, right=0.985, bottom=0.07, top=0.94, wspace=0.1, hspace=0.1
        )
        for row, vertical in enumerate(self.features):
            for column, horizontal in enumerate(self.features[: row + 1]):
                ax = figure.add_subplot(grid[row, column])
                if row == column:
                    self.draw_one(ax, horizontal, small=True)
                    ax.set_yticks([])
                else:
                    self.draw_two(ax, [horizontal, vertical], small=True)
                last_row = row == len(self.features) - 1
                ax.set_xlabel(self.names[horizontal] if last_row else "")
                ax.set_ylabel(self.names[vertical] if column == 0 and row else "")
                ax.tick_params(labelbottom=last_row, labelleft=column == 0 and row > 0)
                ax.locator_params(nbins=4)
                tidy(ax)
        _offsets_to_labels(figure)

    def draw_one(self, ax: Any, feature: int, small: bool = False) -> None:
        """Histogram, weighted components and their sum along one feature."""
        marginal = self.marginal([feature])
        low, high = self.limits(feature)
        # Even steps, and steps around each mean: a narrow component must not fall between two.
        spread = np.linspace(-5, 5, 101)[:, None] * np.sqrt(marginal.covariances[:, 0, 0])
        grid = np.concatenate(
            [np.linspace(low, high, 800), (marginal.means[:, 0] + spread).ravel()]
        )
        grid = np.unique(grid[(grid >= low) & (grid <= high)])
        joint = np.exp(marginal.log_joint(grid[:, None]))
        if self.X is not None:
            n_bins = int(np.clip(2.0 * len(self.X) ** (1 / 3) + 4, 5, 120))
            ax.hist(
                self.X[:, feature].astype(float),
                bins=n_bins,
                density=True,
                color="#d9d9d9",
                edgecolor="white",
                linewidth=0.4,
                zorder=0,
            )
        ax.plot(grid, joint.sum(axis=1), color="black", linewidth=2.0)
        for k in range(marginal.n_components):
            ax.fill_between(grid, joint[:, k], color=self.colours[k], alpha=0.18, linewidth=0)
            ax.plot(grid, joint[:, k], color=self.colours[k], linewidth=1.3)
            if not small:
                at = int(np.argmax(joint[:, k]))
                self._draw_number(ax, k, grid[at], joint[at, k])
        ax.set_xlim(low, high)
        ax.set_ylim(0, 1.08 * ax.dataLim.y1)

    def draw_two(self, ax: Any, features: Sequence[int], small: bool = False) -> None:
        """Data, contours, ellipses and means in the plane of two features."""
        marginal = self.marginal(features)
        (low_x, high_x), (low_y, high_y) = self.limits(features[0]), self.limits(features[1])
        ax.set_xlim(low_x, high_x)
        ax.set_ylim(low_y, high_y)
        if self.X is not None:
            self._draw_rows(ax, self.X[:, features], small)
        _draw_contours(ax, marginal)
        for k in range(marginal.n_components):
            _draw_ellipses(ax, marginal, k, self.colours[k], 0.9 if small else 1.3)
            if small:
                continue
            self._draw_number(ax, k, *marginal.means[k])

    def _draw_number(self, ax: Any, k: int, x: float, y: float) -> None:
        ax.text(
            x,
            y,
            str(k),
            fontsize=7,
            color="white",
            ha="center",
            va="center",
            zorder=6,
            clip_on=True,
            bbox={
                "boxstyle": "circle,pad=0.22",
                "facecolor": self.colours[k] * 0.8,
                "edgecolor": "white",
                "linewidth": 0.7,
            },
        )

    def _draw_rows(self, ax: Any, points: np.ndarray, small: bool) -> None:
        n_rows = len(points)
        if n_rows <= (_POINTS // 4 if small else _POINTS):
            size = float(np.clip(900 / math.sqrt(n_rows) / (4 if small else 2.2), 1.2, 18))
            alpha = float(np.clip(14 / math.sqrt(n_rows), 0.25, 0.75))
            ax.scatter(
                *points.T,
                c=self.row_colours,
                s=size,
                alpha=alpha,
                linewidths=0,
                rasterized=n_rows > 2000,
                zorder=1,
            )
            return
        extent = (*ax.get_xlim(), *ax.get_ylim())
        ax.imshow(
            _shaded(points, self.row_colours, extent, _CELLS // 2 if small else _CELLS),
            extent=extent,
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            zorder=1,
        )


def _checked_labels(labels: Any, n_rows: int) -> np.ndarray:
    values = _validate.data(labels, name="labels", allow_1d=True)
    usable = (values >= 0) & (values < 1 << 20) & (values % 1 == 0)
    if values.shape != (n_rows, 1) or not usable.all():
        raise InvalidInputError(
            f"labels has shape {values.shape[: 1 if values.shape[1] == 1 else 2]} or values that "
            f"are not integers from 0. Give one label for each of the {n_rows} rows of X."
        )
    return values[:, 0].astype(np.int64)


def _shaded(points: np.ndarray, colours: np.ndarray, extent: tuple, n_cells: int) -> np.ndarray:
    """Image (cells, cells, 4): the mean colour of the rows in a cell, opaque where there are many.

    The logarithm of the count, so that single rows stay visible beside dense cores.
    """
    sides = [
        np.clip(((points[:, axis] - low) / (high - low) * n_cells).astype(np.int64), 0, n_cells - 1)
        for axis, (low, high) in enumerate([extent[:2], extent[2:]])
    ]
    cell = sides[1] * n_cells + sides[0]
    count = np.bincount(cell, minlength=n_cells * n_cells)
    image = np.zeros((n_cells * n_cells, 4))
    for channel in range(3):
        total = np.bincount(cell, weights=colours[:, channel], minlength=n_cells * n_cells)
        image[:, channel] = np.clip(total / np.maximum(count, 1), 0, 1)
    image[:, 3] = np.where(count, 0.12 + 0.73 * np.log1p(count) / np.log1p(count.max()), 0)
    return image.reshape(n_cells, n_cells, 4)


def _draw_contours(ax: Any, marginal: Mixture) -> None:
    """Contours that enclose given shares of the probability inside the axes."""
    x = np.linspace(*ax.get_xlim(), _DENSITY_GRID)
    y = np.linspace(*ax.get_ylim(), _DENSITY_GRID)
    rows = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    log_density = marginal.logpdf(rows).reshape(len(y), len(x))
    # Logarithms relative to the top: densities themselves under- and overflow with the units.
    relative = np.exp(log_density - log_density.max())
    ordered = np.sort(relative, axis=None)[::-1]
    inside = np.cumsum(ordered)
    at = np.searchsorted(inside, np.array(_CONTOUR_SHARES) * inside[-1])
    levels = np.unique(ordered[np.minimum(at, len(ordered) - 1)])
    levels = levels[(levels > 0) & (levels < 1)]
    if not len(levels):
        return
    # A breath of shading tells these contours from the ellipses; the rows lie over it.
    shades = np.linspace(0.965, 0.86, len(levels)).astype(str)
    ax.contourf(x, y, relative, [*levels, 1.01], colors=shades, zorder=0)
    ax.contour(x, y, relative, levels, colors=RULE_GREY, linewidths=0.5, alpha=0.55, zorder=2)


def _draw_ellipses(ax: Any, marginal: Mixture, k: int, colour: np.ndarray, width: float) -> None:
    from matplotlib.patches import Ellipse

    values, vectors = np.linalg.eigh(marginal.covariances[k])
    angle = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1]))
    for sigma, style in zip(SIGMAS, ("-", "-", (0, (4, 2))), strict=True):
        minor, major = 2 * sigma * np.sqrt(np.maximum(values, 0))
        ax.add_patch(
            Ellipse(
                marginal.means[k],
                major,
                minor,
                angle=angle,
                fill=False,
                edgecolor=colour * 0.85,
                linewidth=width if sigma == 1 else 0.75 * width,
                linestyle=style,
                zorder=4,
                gid=f"component {k} at {sigma:g} sigma",
            )
        )


def _legend_entries(view: View, n_shown: int, limit: int) -> tuple[list, list[str]]:
    from matplotlib.lines import Line2D

    handles, texts = [], []
    for k in range(min(view.mixture.n_components, limit)):
        handles.append(
            Line2D([], [], marker="o", linestyle="", color=view.colours[k], markersize=6)
        )
        texts.append(f"{k}: {100 * view.mixture.weights[k]:.1f} %")
    if view.mixture.n_components > limit:
        handles.append(Line2D([], [], linestyle=""))
        texts.append(f"and {view.mixture.n_components - limit} more")
    if n_shown == 1:
        handles.append(Line2D([], [], color="black", linewidth=2))
        texts.append("sum")
    else:
        handles.append(Line2D([], [], color="#333333", linewidth=1.2))
        texts.append("1 and 2 σ")
        handles.append(Line2D([], [], color="#333333", linewidth=1, linestyle=(0, (4, 2))))
        texts.append("2.5 σ")
        handles.append(Line2D([], [], color=RULE_GREY, linewidth=0.6, alpha=0.7))
        texts.append("density")
    return handles, texts


def legend_beside(view: View, ax: Any) -> None:
    """A legend in axes of its own, where a figure has room for it."""
    ax.set_axis_off()
    handles, texts = _legend_entries(view, len(view.features), _LEGEND_COMPONENTS_BESIDE)
    ax.legend(
        handles,
        texts,
        loc="upper left",
        fontsize=9,
        frameon=False,
        title="component: weight",
        title_fontsize=9,
        alignment="left",
        ncols=1 + len(texts) // 9,
    )


def shown_features(mixture: Mixture) -> list[int]:
    """The features drawn: where the means differ most against the spread, in their own order."""
    n_features = mixture.n_features
    if n_features <= _CORNER_FEATURES:
        return list(range(n_features))
    within = mixture.weights @ np.diagonal(mixture.dense_covariances(), axis1=1, axis2=2)
    between = mixture.weights @ (mixture.means - mixture.weights @ mixture.means) ** 2
    return sorted(np.argsort(-between / within, kind="stable")[:_CORNER_FEATURES].tolist())


def _offsets_to_labels(figure: Any) -> None:
    """Multipliers such as 1e-9 go into the labels; between close panels they overlap the next."""
    figure.draw_without_rendering()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            offset = axis.get_offset_text()
            if offset.get_text() and axis.get_label_text():
                axis.set_label_text(f"{axis.get_label_text()} ({offset.get_text()})")
            offset.set_visible(False)


def new_figure(size: tuple[float, float], layout: str | None = "constrained") -> Any:
    """A figure without pyplot, which would keep it in memory and may want a display."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidInputError(
            'Plots need matplotlib. Install it: pip install "gaussmix[plot]".'
        ) from error
    return Figure(figsize=size, layout=layout)


def tidy(ax: Any) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.tick_params(labelsize=8)
