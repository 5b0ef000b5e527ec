"""The modes of a mixture: the peaks of its density, which are the centres of its hills.

In one dimension the roots of the derivative are isolated by subdividing intervals, so that no mode
is missed, and there are at most K. In more dimensions there may be more than K. There every mean,
and points between overlapping components, climb by the fixed-point iteration of Carreira-Perpinan
(2000), IEEE Transactions on Pattern Analysis and Machine Intelligence 22(11), 1318-1323, and
Newton's method finishes. Each mode is checked: its Hessian is negative definite, or negative
semidefinite to rounding, where two hills are about to part.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .. import underflow
from ..inputs import validate
from .basins import Basins
from .landscape import Landscape
from .line import critical_points
from .peaks import find as find_peaks

DEFAULT_TOL = 1e-6
EQUAL_HEIGHT = 1e-9  # nats; log densities are known to some 1e-14 of their terms
_SHOWN = 10


class Modes:
    """Every mode of a mixture's density, the highest first. Arrays are read-only.

    Modes of equal height stand in the order of the components that climb to them.

    Attributes
    ----------
    positions : ndarray (M, D)
        The modes, in data units.
    logpdf : ndarray (M,)
        Log density at each, in nats; descending, to rounding.
    component_mode : ndarray (K,) int64
        The mode that each component's mean climbs to; -1 for a component of weight 0.
    """

    __slots__ = ("component_mode", "logpdf", "positions")

    def __init__(
        self, positions: np.ndarray, logpdf: np.ndarray, component_mode: np.ndarray
    ) -> None:
        values = (component_mode, logpdf, positions)
        for name, value in zip(self.__slots__, values, strict=True):
            value.setflags(write=False)
            object.__setattr__(self, name, value.view())

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Modes are immutable; {name!r} cannot be set.")

    def __reduce__(self):
        arrays = (self.positions, self.logpdf, self.component_mode)
        return Modes, tuple(array.copy() for array in arrays)

    def __len__(self) -> int:
        """M, the number of modes."""
        return len(self.logpdf)

    def __repr__(self) -> str:
        n_components, n_features = len(self.component_mode), self.positions.shape[1]
        lines = [
            f"{len(self)} {'mode' if len(self) == 1 else 'modes'} of {n_components} "
            f"{'component' if n_components == 1 else 'components'} in {n_features} "
            f"{'dimension' if n_features == 1 else 'dimensions'}"
        ]
        for m in range(min(len(self), _SHOWN)):
            position = ", ".join(f"{value:.4g}" for value in self.positions[m, :6])
            more = ", ..." if n_features > 6 else ""
            members = np.flatnonzero(self.component_mode == m)
            whose = ", ".join(map(str, members[:6])) + (", ..." if len(members) > 6 else "")
            lines.append(
                f"  {m}: at ({position}{more}), log density {self.logpdf[m]:.4g}, components "
                f"{whose or 'none'}"
            )
        if len(self) > _SHOWN:
            lines.append(f"  ... {len(self) - _SHOWN} more")
        return "\n".join(lines)


class Survey(NamedTuple):
    """Modes, and what it takes to find the hill of a row."""

    landscape: Landscape
    modes: Modes
    order: np.ndarray  # (M,): the index in `modes` of the basins' (or, in one dimension, of the
    # ascending) peaks
    basins: Basins | None  # None in one dimension
    valleys: np.ndarray | None  # (M - 1,) ascending coordinates; None in more than one dimension


def find(mixture, tol: float = DEFAULT_TOL) -> Modes:
    """Modes of `mixture`; those closer than `tol` standard deviations are one.

    Costs some tens of steps of O(K^2 D^2); the last few mixtures' modes are kept.

    Raises
    ------
    InvalidInputError
        If `tol` is not a positive number.
    """
    return survey(mixture, validate.real("tol", tol, 0.0, low_open=True)).modes


@lru_cache(maxsize=8)  # a stream of small batches asks for the hills of one mixture
@underflow.ignored
def survey(mixture, tol: float) -> Survey:
    """The modes of `mixture` (any value with the attributes of a Mixture) and their basins."""
    landscape = Landscape(mixture.kernel_parameters, mixture.weights, mixture.covariances)
    basins = valleys = None
    if landscape.n_features == 1:
        z, valleys, climbs_to = _on_a_line(landscape, tol)
    else:
        z, basins, climbs_to = find_peaks(landscape, min(tol, DEFAULT_TOL))
    positions = landscape.positions(z)
    logpdf = mixture.logpdf(positions)
    by_height = _by_height(logpdf, climbs_to)
    into = np.arange(len(z))
    if basins is not None and tol > DEFAULT_TOL:
        into = _absorbed(landscape, z, by_height, tol)
        by_height = by_height[into[by_height] == by_height]
    order = np.empty(len(z), dtype=np.int64)
    order[by_height] = np.arange(len(by_height))
    order = order[into]
    component_mode = np.full(mixture.n_components, -1, dtype=np.int64)
    component_mode[landscape.components] = order[climbs_to]
    modes = Modes(positions[by_height], logpdf[by_height], component_mode)
    return Survey(landscape, modes, order, basins, valleys)


def _by_height(logpdf: np.ndarray, climbs_to: np.ndarray) -> np.ndarray:
    """The peaks, the highest first; equal ones by the first component that climbs there.

    Symmetric mixtures have peaks of one height, and rounding must not decide their order.
    """
    first = np.full(len(logpdf), len(climbs_to))
    np.minimum.at(first, climbs_to, np.arange(len(climbs_to)))
    order = np.argsort(-logpdf, kind="stable")
    falls = np.diff(logpdf[order], prepend=logpdf[order[0]]) < -EQUAL_HEIGHT
    return order[np.lexsort((first[order], np.cumsum(falls)))]


def _absorbed(landscape: Landscape, z: np.ndarray, by_height: np.ndarray, tol: float) -> np.ndarray:
    """(M,) the peak that each of z is one with: the highest kept one within `tol`, or itself."""
    precision = landscape.slope(z).precision
    into = np.arange(len(z))
    kept: list[int] = []
    for m in by_height:
        gap = z[kept] - z[m]
        near = np.einsum("nd,de,ne->n", gap, precision[m], gap) <= tol * tol
        if near.any():
            into[m] = kept[int(near.argmax())]
        else:
            kept.append(m)
    return into


def _on_a_line(landscape: Landscape, tol: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Peaks (M, 1) and valleys (M - 1,), ascending, and the peak (K,) of each component."""
    means = landscape.means[:, 0]
    deviations = 1.0 / landscape.parameters.factors.reshape(-1)
    line = landscape.parameters.log_coefficients, means, 1.0 / deviations
    peaks, valleys = critical_points(*line)
    if len(peaks) > 1:
        shares = landscape.shares(peaks[:, None])
        width = 1.0 / np.sqrt(shares @ deviations**-2)
        height = landscape.log_joint(peaks[:, None]).max(axis=1)
        while len(peaks) > 1:
            gap = np.diff(peaks) / np.minimum(width[:-1], width[1:])
            at = int(gap.argmin())
            if gap[at] > tol:
                break
            lower = at if height[at] < height[at + 1] else at + 1
            peaks, width, height = (np.delete(a, lower) for a in (peaks, width, height))
            valleys = np.delete(valleys, at)
    return peaks[:, None], valleys, np.searchsorted(valleys, means)
