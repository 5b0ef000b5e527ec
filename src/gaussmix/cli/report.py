"""What the command prints: tables and messages, plain text, safe for a terminal."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from ..model.mixture import Mixture

_FEATURES_SHOWN = 24


def printable(text: str) -> str:
    """The text on one line, with what a terminal would act on written as an escape."""
    joined = " ".join(text.split())
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in joined
    )


def complain(message: str) -> None:
    """Print a message in one line on stderr, under the command's name."""
    print(f"gaussmix: {printable(message)}", file=sys.stderr)


def names_or_default(names: Sequence[str] | None, n_features: int) -> list[str]:
    """Names fit to print, "x1", "x2", ... if there are none."""
    if names is None:
        return [f"x{position}" for position in range(1, n_features + 1)]
    return [printable(name) for name in names]


def aligned(rows: Sequence[Sequence[str]], left: int = 0) -> list[str]:
    """Rows as lines of right-aligned columns; the first `left` columns are left-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if position < left else cell.rjust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def mixture_lines(
    mixture: Mixture, names: Sequence[str] | None, *, every_feature: bool = False
) -> Iterator[str]:
    """Weights, means and standard deviations, two lines to a component, features across.

    As many features side by side as the terminal has room for, then the next ones below.
    """
    labels = names_or_default(names, mixture.n_features)
    shown = len(labels) if every_feature else min(len(labels), _FEATURES_SHOWN)
    deviations = mixture.standard_deviations
    columns = [
        [shortened(labels[d])]
        + [
            text
            for pair in zip(*_numbers(mixture.means[:, d], deviations[:, d]), strict=True)
            for text in pair
        ]
        for d in range(shown)
    ]
    key = [("component", "weight", "")]
    for k, weight in enumerate(mixture.weights):
        key += [(str(k), f"{weight:.4f}", "mean"), ("", "", "sd")]
    first = sum(max(map(len, cells)) + 2 for cells in zip(*key, strict=True))
    width = shutil.get_terminal_size((100, 24)).columns
    while columns:
        room, here = width - first, 0
        while here < len(columns) and (
            here == 0 or room >= max(map(len, columns[here])) + (2 if here else 0)
        ):
            room -= max(map(len, columns[here])) + 2
            here += 1
        block, columns = columns[:here], columns[here:]
        yield from aligned(
            [(*cells, *(c[i] for c in block)) for i, cells in enumerate(key)], left=1
        )
        if columns:
            yield ""
    if shown < len(labels):
        yield f"and {len(labels) - shown} more columns; save the model and see gaussmix info."


def _numbers(means: np.ndarray, deviations: np.ndarray) -> tuple[list[str], list[str]]:
    """Means and deviations with enough digits that the smallest deviation shows three."""
    digits = 2 - math.floor(math.log10(max(float(deviations.min()), 1e-300)))
    largest = max(float(np.abs(means).max()), float(deviations.max()))
    if largest >= 1e9 or digits > 6:
        return [f"{v:.6g}" for v in means], [f"{v:.3g}" for v in deviations]
    digits = max(digits, 0)
    return [f"{v:.{digits}f}" for v in means], [f"{v:.{digits}f}" for v in deviations]


def shortened(name: str) -> str:
    """The name in at most 24 characters."""
    return name if len(name) <= 24 else name[:21] + "..."
