"""The curves of `gaussmix.plotting`: criteria over numbers of components, traces of fits."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..algorithms.results import FitResult
from ..criteria import NAMES
from ..errors import InvalidInputError
from ..inputs import validate
from .drawing import (
    LEGEND_ENTRIES,
    PALETTE,
    RULE_GREY,
    axes_or_new,
    component_colours,
    first_entries,
    line_style,
    tidy,
)

LINES = ("-", "--", ":")
LONG_TRACE = 100  # iterations
REACH = 2.5  # times from the best value to the median; what is higher leaves the picture
MARKERS = ("o", "s", "^", "D", "v", "P")


def plot_selection(
    selection: Any,
    *,
    ax: Any = None,
    criterion: str | None = None,
    colors: Any = None,
    legend: bool = True,
    **style: Any,
) -> Any:
    """Axes with a criterion over the number of components, a line for each covariance type.

    Candidates that have degenerated are hollow and not joined by the lines; the chosen one is
    ringed. Where some candidates are so much worse than the rest that differences among these
    would vanish, the axis ends before them.

    Parameters
    ----------
    selection : Selection
        What `gaussmix.select` returned.
    ax : matplotlib Axes, optional
        Where to draw; a new figure otherwise.
    criterion : {"bic", "aic", "aicc", "icl", "cv"}, optional
        The one that chose, by default.
    colors : sequence of matplotlib colours, optional
        Of the covariance types, over again where they are fewer. By default told apart by
        colour-blind readers.
    legend : bool
        Whether the lines are named.
    **style
        How lines are drawn, e.g. ``linewidth=2``: passed to `Axes.plot`.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, or those of the new figure.

    Raises
    ------
    InvalidInputError
        If it is no Selection, holds no finite value of the criterion, `ax` is not one Axes, or
        matplotlib is not installed.
    """
    legend = validate.flag("legend", legend)
    table = getattr(selection, "table", None)
    if not isinstance(table, np.ndarray) or table.dtype.names is None:
        raise InvalidInputError(
            f"selection is a {type(selection).__name__}, not a Selection. Give what "
            "gaussmix.select returned."
        )
    criterion = validate.choice("criterion", criterion or selection.criterion, tuple(NAMES))
    finite = np.isfinite(table[criterion])
    if not finite.any():
        raise InvalidInputError(
            f"no candidate has a finite {criterion}. "
            + ('Select with criterion="cv".' if criterion == "cv" else "Use another criterion.")
        )
    ax, own = axes_or_new(ax, (6.4, 4.4)), ax is None
    types = list(dict.fromkeys(table["covariance_type"].tolist()))
    hues = component_colours(len(types), colors)
    low, top = _heights(table[criterion][finite & ~table["degenerate"]])
    for position, name in enumerate(types):
        of_type = table[(table["covariance_type"] == name) & finite]
        looks = {"marker": MARKERS[position % len(MARKERS)], "color": hues[position]}
        looks |= line_style(style)
        _draw_type(ax, of_type, criterion, name, top, looks)
    if top is not None:
        ax.set_ylim(low, top)
    if table["degenerate"][finite].any():
        ax.plot([], [], "o", color=RULE_GREY, markerfacecolor="white", label="degenerate")
    chosen = table[selection.chosen]
    if np.isfinite(chosen[criterion]):
        at = types.index(chosen["covariance_type"])
        _mark_chosen(ax, int(chosen["n_components"]), float(chosen[criterion]), hues[at])
    _label(ax, NAMES[criterion])
    if legend:
        ax.legend(fontsize=9, frameon=False)
    if own:
        tidy(ax, label_size=9)
    return ax


def _heights(values: np.ndarray) -> tuple[float | None, float | None]:
    """Ends of the axis that leave out what is far worse than the better half, or None."""
    if not len(values):
        return None, None
    low, high, middle = float(values.min()), float(values.max()), float(np.median(values))
    top = low + REACH * (middle - low)
    return (low - 0.2 * (top - low), top) if high > top > low else (None, None)


def _draw_type(
    ax: Any,
    rows: np.ndarray,
    criterion: str,
    name: str,
    top: float | None,
    looks: dict[str, Any],
) -> None:
    looks = {"markersize": 4.5, "linewidth": 1.3, "label": name} | looks
    sound, degenerate = rows[~rows["degenerate"]], rows[rows["degenerate"]]
    above = top is not None and len(sound) and (sound[criterion] > top).all()
    if above:
        looks["label"] = f"{looks['label']} (above)"
    ax.plot(sound["n_components"], sound[criterion], **looks)
    if len(degenerate):
        hollow = {"linestyle": "", "markerfacecolor": "white", "label": None}
        ax.plot(degenerate["n_components"], degenerate[criterion], **(looks | hollow))


def _mark_chosen(ax: Any, count: int, value: float, colour: np.ndarray) -> None:
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
        color=colour,
    )


def _label(ax: Any, name: str) -> None:
    ax.margins(x=0.06)
    if ax.get_autoscaley_on():
        ax.margins(y=0.18)
    ax.set_xlabel("components K")
    ax.set_ylabel(f"{name} (lower is better)")
    ax.xaxis.get_major_locator().set_params(integer=True)


def plot_trace(
    result: Any, *, ax: Any = None, colors: Any = None, legend: bool = True, **style: Any
) -> Any:
    """Axes with the log-likelihood of a fit after each of its iterations, in nats.

    The end of a trace carries a dot if the fit converged, a cross if not. Traces of more than 100
    iterations have a logarithmic axis of iterations: EM gains most in the first ones.

    Parameters
    ----------
    result : FitResult or sequence of FitResult
        One curve for each.
    ax : matplotlib Axes, optional
        Where to draw; a new figure otherwise.
    colors : sequence of matplotlib colours, optional
        Of the curves, over again where they are fewer. By default told apart by colour-blind
        readers.
    legend : bool
        Whether the lines are named, of many the first eight.
    **style
        How lines are drawn, e.g. ``linewidth=2``: passed to `Axes.plot`.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, or those of the new figure.

    Raises
    ------
    InvalidInputError
        If it is no FitResult, `ax` is not one Axes, or matplotlib is not installed.
    """
    legend = validate.flag("legend", legend)
    results = list(result) if isinstance(result, (list, tuple)) else [result]
    if not results or not all(isinstance(given, FitResult) for given in results):
        what = type(results[0]).__name__ if results else "empty list"
        raise InvalidInputError(
            f"result is a {what}, not a FitResult. Give what gaussmix.fit returned, or a list of "
            "such."
        )
    ax, own = axes_or_new(ax, (6.4, 4.0)), ax is None
    hues = component_colours(len(results), colors)
    for position, (given, colour) in enumerate(zip(results, hues, strict=True)):
        _draw_trace(
            ax,
            given,
            {"color": colour, "linestyle": LINES[position // len(PALETTE) % len(LINES)]} | style,
        )
    if max(given.n_iter for given in results) > LONG_TRACE:
        ax.set_xscale("symlog", linthresh=1)
        ax.xaxis.set_major_formatter("{x:g}")
    else:
        ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel("iteration")
    ax.set_ylabel("log-likelihood (nats)")
    ax.ticklabel_format(axis="y", useOffset=False)
    if legend:
        entries = first_entries(*ax.get_legend_handles_labels(), LEGEND_ENTRIES)
        ax.legend(*entries, fontsize=9, frameon=False)
    if own:
        tidy(ax, label_size=9)
    return ax


def _draw_trace(ax: Any, result: FitResult, style: dict[str, Any]) -> None:
    mixture, trace = result.mixture, result.log_likelihood
    algorithms = " + ".join(stage.algorithm for stage in result.stages)
    model = f"{mixture.covariance_type}, K = {mixture.n_components}"
    label = f"{model if algorithms == 'em' else f'{model}, {algorithms}'}: {trace[-1]:.6g}"
    (line,) = ax.plot(
        np.arange(len(trace)), trace, **({"linewidth": 1.4, "label": label} | line_style(style))
    )
    ax.plot(
        [len(trace) - 1],
        [trace[-1]],
        marker="o" if result.converged else "x",
        color=line.get_color(),
        markersize=6,
    )
