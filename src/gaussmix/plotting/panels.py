"""The panels of `gaussmix.plotting.plot_mixture`: one or two features of a mixture at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InvalidInputError
from ..inputs import validate
from ..model.mixture import Mixture
from .drawing import (
    RULE_GREY,
    UNASSIGNED,
    component_colours,
    dots,
    draw_contours,
    draw_histogram,
    draw_numbers,
    draw_rows,
    heights,
    legend_above,
    line_grid,
)

SIGMAS = (1.0, 2.0, 2.5)
CORNER_FEATURES = 4
_DRAWN_ROWS = 300_000
# Shares of the probability that lie inside the drawn contours of the density.
_CONTOUR_SHARES = (0.98, 0.9, 0.7, 0.45, 0.2)
_LEGEND_COMPONENTS_BESIDE = 20


class View:
    """A mixture, the names of its features and the rows to draw, checked."""

    def __init__(
        self, mixture: Mixture, X: Any, feature_names: Any, style: dict[str, Any] | None = None
    ) -> None:
        if not isinstance(mixture, Mixture):
            raise InvalidInputError(
                f"mixture is a {type(mixture).__name__}, not a Mixture. Give result.mixture."
            )
        n_features = mixture.n_features
        self.mixture = mixture
        names = feature_names
        if names is None:
            names = validate.column_texts(X) or range(1, n_features + 1)
        self.names = [n if isinstance(n, str) else f"x{n}" for n in names]
        if len(self.names) != n_features:
            raise InvalidInputError(
                f"feature_names holds {len(self.names)} names, the mixture has {n_features} "
                "features. Give one name per feature."
            )
        self.deviations = np.sqrt(
            np.diagonal(mixture.dense_covariances(), axis1=1, axis2=2)
        )  # (K, D)
        self.style = style or {}
        self.X = None
        if X is not None:
            self._set_rows(validate.data(X, n_features=n_features))
        elif self.style:
            raise InvalidInputError(
                f"{next(iter(self.style))} is for the drawing of rows, and there is no X. Give X, "
                f"or leave {next(iter(self.style))} out."
            )

    def _set_rows(self, X: np.ndarray) -> None:
        self.n_rows, step = len(X), max(1, math.ceil(len(X) / _DRAWN_ROWS))
        self.drawn = slice(None, None, step)
        self.X = X[self.drawn]
        finite = np.isfinite(self.X).all(axis=1)
        if not finite.all():
            validate.raise_nonfinite(X, step * int(np.argmin(finite)))

    def features(self, count: int) -> list[int]:
        """The features that tell the components apart best, in their own order."""
        mixture = self.mixture
        if mixture.n_features <= count:
            return list(range(mixture.n_features))
        within = mixture.weights @ self.deviations**2
        between = mixture.weights @ (mixture.means - mixture.weights @ mixture.means) ** 2
        return sorted(np.argsort(-between / within, kind="stable")[:count].tolist())

    def limits(self, feature: int) -> tuple[float, float]:
        """Range of an axis: the data and, up to a third more on either side, the ellipses."""
        means, reach = self.mixture.means[:, feature], 2.9 * self.deviations[:, feature]
        low, high = float((means - reach).min()), float((means + reach).max())
        if self.X is not None:
            values = self.X[:, feature]
            first, last = float(values.min()), float(values.max())
            spread = last - first
            if spread > 0:
                low = min(first - 0.03 * spread, max(low, first - 0.35 * spread))
                high = max(last + 0.03 * spread, min(high, last + 0.35 * spread))
        return low, high

    def label(self, ax: Any, features: Sequence[int]) -> None:
        ax.set_xlabel(self.names[features[0]])
        ax.set_ylabel(self.names[features[1]] if len(features) > 1 else "density")


class Panels(View):
    """What draws a mixture along its features, with rows in the colours of components."""

    def __init__(
        self,
        mixture: Mixture,
        X: Any = None,
        feature_names: Any = None,
        labels: Any = None,
        colors: Any = None,
        style: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(mixture, X, feature_names, style)
        self.colours = component_colours(mixture.n_components, colors)
        if X is None and labels is not None:
            raise InvalidInputError("labels needs X, whose rows it colours. Give both.")
        self.row_colours = None
        if labels is not None:
            labels = _checked_labels(labels, self.n_rows)[self.drawn]
            palette = component_colours(max(int(labels.max(initial=0)), 0) + 1, colors)
            self.row_colours = np.where(
                labels[:, None] < 0, UNASSIGNED, palette[np.maximum(labels, 0)]
            )
        elif X is not None:
            # Clipped: probabilities sum to 1 to rounding only, and matplotlib takes none above it.
            mixed = mixture.predict_proba(self.X) @ self.colours
            self.row_colours = mixed.clip(0.0, 1.0)

    def draw(self, ax: Any, features: Sequence[int], legend: bool = True) -> None:
        """One panel with the names of its axes."""
        if len(features) == 1:
            self.draw_one(ax, features[0], self.style)
        else:
            self.draw_two(ax, features)
        self.label(ax, features)
        if legend:
            texts, others = self._legend_entries(len(features))
            legend_above(ax, self.colours, texts, others)

    def draw_corner(self, axes: np.ndarray, features: Sequence[int]) -> None:
        """Every pair of features below the diagonal of `axes`, every single one on it."""
        last = len(features) - 1
        for (row, column), ax in np.ndenumerate(axes):
            if column > row:
                ax.set_axis_off()
                continue
            horizontal, vertical = features[column], features[row]
            if row == column:
                self.draw_one(ax, horizontal, {}, small=True)
                ax.set_yticks([])
            else:
                self.draw_two(ax, [horizontal, vertical], small=True)
            ax.set_xlabel(self.names[horizontal] if row == last else "")
            ax.set_ylabel(self.names[vertical] if column == 0 and row else "")
            ax.tick_params(labelbottom=row == last, labelleft=column == 0 and row > 0)
            ax.locator_params(nbins=4)
        _offsets_to_labels([ax for ax in axes.flat if ax.axison])

    def draw_one(self, ax: Any, feature: int, style: dict[str, Any], small: bool = False) -> None:
        """Histogram, weighted components and their sum along one feature."""
        marginal = self.mixture.marginal(feature)
        limits = self.limits(feature)
        grid = line_grid(limits, marginal.means[:, 0], self.deviations[:, feature])
        joint = np.exp(marginal.log_joint(grid[:, None]))
        if self.X is not None:
            draw_histogram(ax, self.X[:, feature], limits, style)
        ax.plot(grid, joint.sum(axis=1), color="black", linewidth=2.0)
        for k in range(marginal.n_components):
            ax.fill_between(grid, joint[:, k], color=self.colours[k], alpha=0.18, linewidth=0)
            ax.plot(grid, joint[:, k], color=self.colours[k], linewidth=1.3)
        ax.set_xlim(limits)
        ax.set_ylim(0, 1.08 * ax.dataLim.y1)
        if not small:
            tops = np.column_stack([grid[joint.argmax(axis=0)], joint.max(axis=0)])
            draw_numbers(ax, tops, self.colours, "component")

    def draw_two(self, ax: Any, features: Sequence[int], small: bool = False) -> None:
        """Data, contours, ellipses and means in the plane of two features."""
        marginal = self.mixture.marginal(features)
        ax.set_xlim(self.limits(features[0]))
        ax.set_ylim(self.limits(features[1]))
        if self.X is not None:
            draw_rows(ax, self.X[:, features], self.row_colours, self.style, small)
        x, y, height = heights(ax, marginal)
        draw_contours(ax, x, y, height, _CONTOUR_SHARES, True, linewidths=0.5, alpha=0.55)
        covariances = marginal.dense_covariances()
        for k, mean in enumerate(marginal.means):
            width = 0.9 if small else 1.3
            _draw_ellipses(ax, mean, covariances[k], k, self.colours[k], width)
        if not small:
            draw_numbers(ax, marginal.means, self.colours, "component")

    def legend_beside(self, ax: Any, n_shown: int) -> None:
        """A legend in axes of its own, where a figure has room for it."""
        ax.set_axis_off()
        texts, others = self._legend_entries(n_shown)
        handles, shown = dots(self.colours, texts, _LEGEND_COMPONENTS_BESIDE)
        ax.legend(
            [*handles, *others[0]],
            [*shown, *others[1]],
            loc="upper left",
            fontsize=9,
            frameon=False,
            title="component: weight",
            title_fontsize=9,
            alignment="left",
            ncols=1 + (len(shown) + len(others[1])) // 9,
        )

    def _legend_entries(self, n_shown: int) -> tuple[list[str], tuple[list, list[str]]]:
        """Texts of the components, and handles and texts of the lines."""
        from matplotlib.lines import Line2D

        texts = [f"{k}: {100 * weight:.1f} %" for k, weight in enumerate(self.mixture.weights)]
        if n_shown == 1:
            return texts, ([Line2D([], [], color="black", linewidth=2)], ["sum"])
        lines = [
            Line2D([], [], color="#333333", linewidth=1.2),
            Line2D([], [], color="#333333", linewidth=1, linestyle=(0, (4, 2))),
            Line2D([], [], color=RULE_GREY, linewidth=0.6, alpha=0.7),
        ]
        return texts, (lines, ["1 and 2 σ", "2.5 σ", "density"])


def _checked_labels(labels: Any, n_rows: int) -> np.ndarray:
    values = validate.data(labels, name="labels", allow_1d=True)
    usable = (values >= -1) & (values < 1 << 20) & (values % 1 == 0)
    if values.shape != (n_rows, 1) or not usable.all():
        raise InvalidInputError(
            f"labels has shape {values.shape[: 1 if values.shape[1] == 1 else 2]} or values that "
            f"are not integers from -1. Give one label for each of the {n_rows} rows of X."
        )
    return values[:, 0].astype(np.int64)


def _draw_ellipses(
    ax: Any, mean: np.ndarray, covariance: np.ndarray, k: int, colour: np.ndarray, width: float
) -> None:
    from matplotlib.patches import Ellipse

    values, vectors = np.linalg.eigh(covariance)
    angle = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1]))
    for sigma, style in zip(SIGMAS, ("-", "-", (0, (4, 2))), strict=True):
        minor, major = 2 * sigma * np.sqrt(np.maximum(values, 0))
        ax.add_patch(
            Ellipse(
                mean,
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


def _offsets_to_labels(axes: Sequence[Any]) -> None:
    """Multipliers such as 1e-9 go into the labels; between close panels they overlap the next."""
    axes[0].figure.canvas.figure.draw_without_rendering()
    for ax in axes:
        for axis in (ax.xaxis, ax.yaxis):
            offset = axis.get_offset_text()
            if offset.get_text() and axis.get_label_text():
                axis.set_label_text(f"{axis.get_label_text()} ({offset.get_text()})")
            offset.set_visible(False)
