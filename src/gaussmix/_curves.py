"""The curves of `gaussmix.plotting`: criteria over numbers of components, traces of fits."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _validate
from ._panels import PALETTE, RULE_GREY, new_figure, tidy
from .criteria import NAMES
from .errors import InvalidInputError
from .results import FitResult

LINES = ("-", "--", ":")
LONG_TRACE = 100  # iterations
REACH = 2.5  # times from the best value to the median; what is higher leaves the picture
MARKERS = ("o", "s", "^", "D", "v", "P")


def plot_selection(selection: Any, *, criterion: str | None = None, ax: Any = None) -> Any:
    """Figure of a criterion over the number of components, a line for each covariance type.

    Candidates that have degenerated are hollow and not joined by the lines; the chosen one is
    ringed. Where some candidates are so much worse than the rest that differences among these
    would vanish, the axis ends before them.

    Parameters
    ----------
    selection : Selection
        What `gaussmix.select` returned.
    criterion : {"bic", "aic", "aicc", "icl", "cv"}, optional
        The one that chose, by default.
    ax : matplotlib Axes, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or the one that `ax` belongs to.

    Raises
    ------
    InvalidInputError
        If it is no Selection, holds no finite value of the criterion, or matplotlib is not
        installed.
    """
    table = getattr(selection, "table", None)
    if not isinstance(table, np.ndarray) or table.dtype.names is None:
        raise InvalidInputError(
            f"selection is a {type(selection).__name__}, not a Selection. Give what "
            "gaussmix.select returned."
        )
    criterion = _validate.choice("criterion", criterion or selection.criterion, tuple(NAMES))
    finite = np.isfinite(table[criterion])
    if not finite.any():
        raise InvalidInputError(
            f"no candidate has a finite {criterion}. "
            + ('Select with criterion="cv".' if criterion == "cv" else "Use another criterion.")
        )
    if ax is None:
        ax = new_figure((6.4, 4.4)).subplots()
    types = list(dict.fromkeys(table["covariance_type"].tolist()))
    low, top = _heights(table[criterion][finite & ~table["degenerate"]])
    for position, name in enumerate(types):
        of_type = table[(table["covariance_type"] == name) & finite]
        _draw_type(ax, of_type, criterion, name, position, top)
    if top is not None:
        ax.set_ylim(low, top)
    if table["degenerate"][finite].any():
        ax.plot([], [], "o", color=RULE_GREY, markerfacecolor="white", label="degenerate")
    chosen = table[selection.chosen]
    if np.isfinite(chosen[criterion]):
        at = types.index(chosen["covariance_type"])
        _mark_chosen(ax, int(chosen["n_components"]), float(chosen[criterion]), at)
    _label(ax, NAMES[criterion])
    ax.legend(fontsize=9, frameon=False)
    return ax.figure


def _heights(values: np.ndarray) -> tuple[float | None, float | None]:
    """Ends of the axis that leave out what is far worse than the better half, or None."""
    if not len(values):
        return None, None
    low, high, middle = float(values.min()), float(values.max()), float(np.median(values))
    top = low + REACH * (middle - low)
    return (low - 0.2 * (top - low), top) if high > top > low else (None, None)


def _draw_type(
    ax: Any, rows: np.ndarray, criterion: str, name: str, position: int, top: float | None
) -> None:
    style = {
        "marker": MARKERS[position % len(MARKERS)],
        "color": PALETTE[position % len(PALETTE)],
        "markersize": 4.5,
    }
    sound, degenerate = rows[~rows["degenerate"]], rows[rows["degenerate"]]
    above = top is not None and len(sound) and (sound[criterion] > top).all()
    label = f"{name} (above)" if above else name
    ax.plot(sound["n_components"], sound[criterion], linewidth=1.3, label=label, **style)
    if len(degenerate):
        hollow = {"linestyle": "", "markerfacecolor": "white"}
        ax.plot(degenerate["n_components"], degenerate[criterion], **style, **hollow)


def _mark_chosen(ax: Any, count: int, value: float, position: int) -> None:
    """Ring the point of the chosen candidate, and write its K below."""
    ax.plot([count], [value], "o", color="black", fillstyle="none", markersize=11, zorder=4)
    ax.annotate(
        f"K = {count}",
        (count, value),
        xytext=(0, -10),
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=9,
        color=PALETTE[position % len(PALETTE)],
    )


def _label(ax: Any, name: str) -> None:
    ax.margins(x=0.06)
    if ax.get_autoscaley_on():
        ax.margins(y=0.18)
    ax.set_xlabel("components K", fontsize=9)
    ax.set_ylabel(f"{name} (lower is better)", fontsize=9)
    ax.xaxis.get_major_locator().set_params(integer=True)
    tidy(ax)


def plot_trace(result: Any, *, ax: Any = None) -> Any:
    """Figure of the log-likelihood of a fit after each of its iterations, in nats.

    The end of a trace carries a dot if the fit converged, a cross if not. Traces of more than 100
    iterations have a logarithmic axis of iterations: EM gains most in the first ones.

    Parameters
    ----------
    result : FitResult or sequence of FitResult
        One curve for each.
    ax : matplotlib Axes, optional
        Where to draw; a new figure otherwise.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or the one that `ax` belongs to.

    Raises
    ------
    InvalidInputError
        If it is no FitResult, or matplotlib is not installed.
    """
    results = list(result) if isinstance(result, (list, tuple)) else [result]
    if not results or not all(isinstance(given, FitResult) for given in results):
        what = type(results[0]).__name__ if results else "empty list"
        raise InvalidInputError(
            f"result is a {what}, not a FitResult. Give what gaussmix.fit returned, or a list of "
            "such."
        )
    if ax is None:
        ax = new_figure((6.4, 4.0)).subplots()
    for position, given in enumerate(results):
        _draw_trace(ax, given, position)
    if max(given.n_iter for given in results) > LONG_TRACE:
        ax.set_xscale("symlog", linthresh=1)
        ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("iteration", fontsize=9)
    ax.set_ylabel("log-likelihood (nats)", fontsize=9)
    ax.ticklabel_format(axis="y", useOffset=False)
    ax.legend(fontsize=9, frameon=False, loc="lower right")
    tidy(ax)
    return ax.figure


def _draw_trace(ax: Any, result: FitResult, position: int) -> None:
    colour, trace = PALETTE[position % len(PALETTE)], result.log_likelihood
    mixture = result.mixture
    ax.plot(
        np.arange(len(trace)),
        trace,
        color=colour,
        linestyle=LINES[position // len(PALETTE) % len(LINES)],
        linewidth=1.4,
        label=f"{mixture.covariance_type}, K = {mixture.n_components}: {trace[-1]:.6g}",
    )
    marker = "o" if result.converged else "x"
    ax.plot([len(trace) - 1], [trace[-1]], marker=marker, color=colour, markersize=6)
