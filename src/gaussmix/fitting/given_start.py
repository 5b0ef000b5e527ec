"""A start that the user gives: a name, means, labels, responsibilities, or whole mixtures."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InvalidInputError
from ..inputs import validate
from ..model.mixture import Mixture
from ..passes.sources import Rows
from ..starts.start import KINDS, Start, StartMaker
from .frame import Frame
from .options import FitOptions

# Rounding of a row of responsibilities computed in float32 stays well below this.
RESPONSIBILITY_SUM_TOLERANCE = 1e-6

# What `checked` makes of a start: nothing of a name; mixtures; or the kind of an array, and it.
Explicit = list[Mixture] | tuple[str, np.ndarray] | None


def checked(start, X: Rows, options: FitOptions) -> Explicit:
    """Check `start`; raises InvalidInputError if a fit with these options cannot take it."""
    n_components, n_features = options.n_components, X.shape[1]
    if isinstance(start, str):
        validate.choice("start", start, KINDS)
        return None
    if isinstance(start, tuple) and start and all(isinstance(kind, str) for kind in start):
        return None  # of our own making; see `fitting.run_in_frame`
    mixtures = [start] if isinstance(start, Mixture) else start
    if (
        isinstance(mixtures, (list, tuple))
        and mixtures
        and all(isinstance(given, Mixture) for given in mixtures)
    ):
        for given in mixtures:
            found = (given.covariance_type, given.n_components, given.n_features)
            wanted = (options.covariance_type, n_components, n_features)
            if found != wanted:
                raise InvalidInputError(
                    "start is a mixture with (covariance_type, n_components, n_features) = "
                    f"{found}; the fit needs {wanted}."
                )
        return list(mixtures)
    shape = validate.shape_of("start", start)
    if shape == (n_components, n_features) or (n_features == 1 and shape == (n_components,)):
        return "means", means(start, n_components, n_features)
    if len(shape) == 1:
        return "labels", labels(start, len(X), n_components)
    if shape == (len(X), n_components):
        return "responsibilities", responsibilities(start, len(X), n_components)
    raise InvalidInputError(
        f"start has shape {shape}; it may be means ({n_components}, {n_features}), labels "
        f"({len(X)},), responsibilities ({len(X)}, {n_components}), a Mixture, or one of "
        f"{', '.join(KINDS)}."
    )


def moved(explicit: Explicit, frame: Frame) -> Explicit:
    """An explicit start, in the frame."""
    if isinstance(explicit, tuple):
        kind, values = explicit
        return kind, values - frame.origin if kind == "means" else values
    return explicit and [frame.inward(mixture) for mixture in explicit]


def to_run(start, explicit: Explicit, maker: StartMaker, rng) -> list[Start]:
    """The starts that are run to the end whatever they reach."""
    if explicit is None:
        kinds = (start,) if isinstance(start, str) else start
        return [Start(kind, lambda kind=kind: maker.make(kind, rng)) for kind in kinds]
    if isinstance(explicit, tuple):
        kind, values = explicit
        method = {
            "means": maker.around,
            "labels": maker.from_labels,
            "responsibilities": lambda given: maker.from_responsibilities(
                lambda begin, end: given[begin:end]
            ),
        }[kind]
        return [Start(kind, lambda: method(values))]
    return [Start("mixture", lambda given=given: given) for given in explicit]


def means(a: Any, n_components: int, n_features: int) -> np.ndarray:
    """Start means as float64 (K, D); one feature may be given as (K,).

    Raises
    ------
    InvalidInputError
        If the shape is wrong or a value is not finite.
    """
    name = "start (means)"
    if n_features == 1 and np.ndim(a) == 1:
        return validate.array(name, a, (n_components,)).reshape(n_components, 1)
    return validate.array(name, a, (n_components, n_features))


def labels(a: Any, n_samples: int, n_components: int) -> np.ndarray:
    """Start labels as a contiguous int64 array (N,), each in ``0..K-1``.

    Raises
    ------
    InvalidInputError
        If the shape is wrong, the type is not integer, or a label is out of range.
    """
    name = "start (labels)"
    found = validate.plain_array(a, name)
    if found.shape != (n_samples,):
        raise InvalidInputError(
            f"{name} has shape {found.shape}, but ({n_samples},) is expected: one per row of X."
        )
    if found.dtype.kind not in "iu":
        raise InvalidInputError(
            f"{name} has type {found.dtype}, but labels are integers from 0 to "
            f"{n_components - 1}. Convert them with astype(int)."
        )
    outside = (found < 0) | (found >= n_components)
    if outside.any():
        first = int(np.argmax(outside))
        raise InvalidInputError(
            f"{name}[{first}] is {found[first]} ({np.count_nonzero(outside)} such values), "
            f"but labels run from 0 to {n_components - 1}. Number the components from 0."
        )
    return np.ascontiguousarray(found, dtype=np.int64)


def responsibilities(a: Any, n_samples: int, n_components: int) -> np.ndarray:
    """Start responsibilities as float64 (N, K): not negative, rows summing to one.

    Raises
    ------
    InvalidInputError
        If the shape is wrong, a value is negative or not finite, or a row's sum differs
        from one by more than 1e-6.
    """
    name = "start (responsibilities)"
    result = validate.array(name, a, (n_samples, n_components))
    if result.size and result.min() < 0.0:
        i, k = np.argwhere(result < 0.0)[0]
        raise InvalidInputError(
            f"{name}[{i}, {k}] is {result[i, k]:g}, but responsibilities cannot be negative. "
            "Set it to 0 and make the row sum to 1."
        )
    sums = result.sum(axis=1)
    off = np.abs(sums - 1.0) > RESPONSIBILITY_SUM_TOLERANCE
    if off.any():
        i = int(np.argmax(off))
        raise InvalidInputError(
            f"{name}[{i}] sums to {sums[i]:.9g} ({np.count_nonzero(off)} such rows), but every "
            "row must sum to 1 within 1e-6. Divide each row by its sum."
        )
    return result
