"""Sufficient statistics of a mixture: what one pass over the rows leaves behind. They add up."""

from __future__ import annotations

from math import isfinite

import numpy as np

from .errors import InvalidInputError
from .inputs import validate
from .kernels import contract

_ARRAYS = ("shift", "mass", "first", "second")
_SUMS = ("log_likelihood", "classification", "entropy", "weight")
_SCALARS = (*_SUMS, "n_rows", "label_sum")
_ALL_BITS = (1 << 64) - 1


class SufficientStatistics:
    """Weighted sums over rows x with responsibilities r and sample weights w. Immutable.

    Arrays are read-only. Statistics of disjoint rows, gathered with the same mixture, add up
    to those of all rows: on threads, in chunks, or on other machines. See Notes.

    Attributes
    ----------
    shift : ndarray (K, D)
        Reference points, normally the means of the mixture that gathered them.
    mass : ndarray (K,)
        ``sum w r``.
    first : ndarray (K, D)
        ``sum w r (x - shift)``, in data units.
    second : ndarray
        ``sum w r (x - shift)(x - shift)^T`` in the layout, in squared data units:
        "spherical" (K,) traces, "diag" (K, D), "full" (K, D, D), "pooled" (D, D) summed over K.
    layout : str
    log_likelihood : float
        ``sum w log p(x)`` in nats, of the mixture that went in (not of the next one).
    classification : float
        ``sum w max_k log(w_k N(x; k))`` in nats.
    entropy : float
        ``-sum w r log r`` in nats.
    weight : float
        ``sum w``; the number of rows if there are no sample weights.
    n_rows : int
        Rows passed over, those of weight 0 included.
    label_sum : int
        By the hard rule: the sum modulo 2^64 of numbers that stand for row and label. Two passes
        over the same rows with an equal sum have given them the same labels, or err with a
        probability of 2^-64. Otherwise 0.

    Notes
    -----
    Adding checks that layouts and shifts agree, and nothing else: responsibilities also depend on
    weights and covariances, which the statistics do not hold. Those of two mixtures that share
    their means but differ otherwise (an M-step may leave the means where they were) do add up,
    to sums that belong to neither: gather all parts with one mixture, or with copies of it.
    """

    __slots__ = (*_ARRAYS, "layout", *_SCALARS)

    # Written out: importing dataclasses and having it make this class costs a quarter of what
    # importing gaussmix does.
    def __init__(
        self,
        shift: np.ndarray,
        mass: np.ndarray,
        first: np.ndarray,
        second: np.ndarray,
        layout: str,
        log_likelihood: float = 0.0,
        classification: float = 0.0,
        entropy: float = 0.0,
        weight: float = 0.0,
        n_rows: int = 0,
        label_sum: int = 0,
    ) -> None:
        given = (shift, mass, first, second)
        scalars = (log_likelihood, classification, entropy, weight, n_rows, label_sum)
        validate.choice("layout", layout, tuple(contract.LAYOUTS))
        for name, value in zip(_ARRAYS, given, strict=True):
            array = validate.array(name, value).copy()
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "layout", layout)
        for name, value in zip(_SCALARS, scalars, strict=True):
            object.__setattr__(self, name, value)
        if self.shift.ndim != 2:
            raise InvalidInputError(
                f"shift has shape {self.shift.shape}; it must be (n_components, n_features)."
            )
        n_components, n_features = self.shift.shape
        expected = {
            "mass": (n_components,),
            "first": (n_components, n_features),
            "second": second_shape(n_components, n_features, self.layout),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise InvalidInputError(
                    f"{name} has shape {getattr(self, name).shape}; with shift "
                    f"{self.shift.shape} and layout {self.layout!r} it must be {shape}."
                )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"SufficientStatistics are immutable; {name!r} cannot be set.")

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def __reduce__(self):
        # Through the constructor: what comes out of a pickle is checked, and read-only again.
        return SufficientStatistics, tuple(getattr(self, name) for name in self.__slots__)

    def __repr__(self) -> str:
        return (
            f"SufficientStatistics of {self.n_rows} rows (weight {self.weight:g}) for "
            f"{self.n_components} components in {self.n_features} dimensions, {self.layout}, "
            f"log-likelihood {self.log_likelihood:.6g}"
        )

    def _with(self, **changes) -> SufficientStatistics:
        """A copy with some values changed."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return unchecked(**(values | changes))

    @property
    def n_components(self) -> int:
        """K."""
        return self.shift.shape[0]

    @property
    def n_features(self) -> int:
        """D."""
        return self.shift.shape[1]

    def __add__(self, other: SufficientStatistics) -> SufficientStatistics:
        """Statistics of the rows of both; needs equal layouts and shifts.

        Both are meant to come from one mixture. Of it only the means are kept, as the shift: that
        weights and covariances were the same as well is for the caller to see to.
        """
        if not isinstance(other, SufficientStatistics):
            return NotImplemented
        if self.layout != other.layout:
            raise InvalidInputError(
                f"statistics of layouts {self.layout!r} and {other.layout!r} do not add up; "
                "gather both with mixtures of one covariance type."
            )
        if self.shift is not other.shift and not np.array_equal(self.shift, other.shift):
            raise InvalidInputError(
                "statistics around different shifts do not add up; gather both with the same "
                "mixture, or move one with `other.recentred(statistics.shift)`."
            )
        return unchecked(
            self.shift,
            self.mass + other.mass,
            self.first + other.first,
            self.second + other.second,
            self.layout,
            *(getattr(self, name) + getattr(other, name) for name in (*_SUMS, "n_rows")),
            (self.label_sum + other.label_sum) & _ALL_BITS,
        )

    def __radd__(self, other: object) -> SufficientStatistics:
        """``0 + statistics``, so that `sum` works."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __mul__(self, factor: float) -> SufficientStatistics:
        """All sums times `factor` >= 0 (forgetting); `n_rows` and `label_sum` stay."""
        factor = validate.real("factor", factor, 0.0)
        with np.errstate(under="ignore"):  # not by `underflow`, which is not loaded at import
            scaled = {name: factor * getattr(self, name) for name in (*_ARRAYS[1:], *_SUMS)}
        return self._with(**scaled)

    __rmul__ = __mul__

    def recentred(self, shift: np.ndarray) -> SufficientStatistics:
        """The same sums around other reference points `shift` (K, D); exact algebra, O(K D^2).

        With e = old - new: first' = first + mass e and
        second' = second + first e^T + e first^T + mass e e^T.
        """
        shift = validate.array("shift", shift, self.shift.shape).copy()
        with np.errstate(under="ignore"):
            return self._moved(shift)

    def _moved(self, shift: np.ndarray) -> SufficientStatistics:
        """`recentred`, for an array of the right shape that becomes read-only."""
        e = self.shift - shift
        mass, first = self.mass[:, None], self.first
        if self.layout in ("spherical", "diag"):
            second = (2.0 * first + mass * e) * e
            second = second.sum(axis=1) if self.layout == "spherical" else second
        else:
            half = (first + 0.5 * mass * e)[:, :, None] * e[:, None, :]
            half = half.sum(axis=0) if self.layout == "pooled" else half
            second = half + half.swapaxes(-1, -2)
        return self._with(shift=shift, first=first + mass * e, second=self.second + second)

    def save(self, path) -> None:
        """Write the statistics to a model file, completely or not at all; `gaussmix.load` reads it.

        Errors as `Mixture.save`.
        """
        from .files.container import write

        write(path, self._record())

    def _record(self):
        from .files.records import statistics_record

        return statistics_record(self)

    @classmethod
    def _of_record(cls, record) -> SufficientStatistics:
        from .files.records import statistics_of

        return statistics_of(record, cls)


def second_shape(n_components: int, n_features: int, layout: str) -> tuple[int, ...]:
    """Shape of `second` for K = `n_components` and D = `n_features`."""
    return {
        "spherical": (n_components,),
        "diag": (n_components, n_features),
        "full": (n_components, n_features, n_features),
        "pooled": (n_features, n_features),
    }[layout]


def from_accumulator(
    total: np.ndarray, shift: np.ndarray, layout: str, n_rows: int
) -> SufficientStatistics:
    """Statistics read off the kernels' combined accumulator `total` (S,)."""
    mass, first, second = sums_by_name(total, *shift.shape, layout)
    *sums, low, high = total[-contract.N_SCALARS :].tolist()
    # NaN in an accumulator that something has spoilt is left for the checks of the other sums.
    known = isfinite(low) and isfinite(high)
    label_sum = (int(low) + (int(high) << 32)) & _ALL_BITS if known else 0
    return unchecked(
        shift,
        mass,
        first,
        second,
        layout,
        *sums,
        n_rows,
        label_sum,
    )


def sums_by_name(
    total: np.ndarray, n_components: int, n_features: int, layout: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masses, first and second moments: views of a combined accumulator (S,)."""
    part = contract.offsets(n_components, n_features, contract.LAYOUTS[layout])
    first = total[part.first : part.second].reshape(n_components, n_features)
    second = total[part.second : part.pairs].reshape(second_shape(n_components, n_features, layout))
    return total[: part.first], first, second


def to_accumulator(statistics: SufficientStatistics) -> np.ndarray:
    """The combined accumulator (S,) of which `from_accumulator` makes the statistics again."""
    layout = contract.LAYOUTS[statistics.layout]
    total = np.empty(contract.offsets(*statistics.shift.shape, layout).size)
    write_sums(statistics, total, layout)
    return total


def write_sums(statistics: SufficientStatistics, sums: np.ndarray, layout: int) -> None:
    """Fill a combined accumulator; its pairs, if it has such, were folded long since."""
    part = contract.offsets(*statistics.shift.shape, layout)
    sums[: part.first] = statistics.mass
    sums[part.first : part.second] = statistics.first.ravel()
    sums[part.second : part.pairs] = statistics.second.ravel()
    sums[part.pairs : part.scalars] = 0.0
    sums[part.scalars :] = (
        statistics.log_likelihood,
        statistics.classification,
        statistics.entropy,
        statistics.weight,
        statistics.label_sum & 0xFFFFFFFF,
        statistics.label_sum >> 32,
    )


def mean_offsets(statistics: SufficientStatistics, held: np.ndarray) -> np.ndarray:
    """(K, D) from the reference points to the components' means; 0 for those `held` (K,), bool."""
    mass = np.where(held, 1.0, statistics.mass)
    return np.where(held[:, None], 0.0, statistics.first / mass[:, None])


def unchecked(
    shift: np.ndarray,
    mass: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    layout: str,
    log_likelihood: float = 0.0,
    classification: float = 0.0,
    entropy: float = 0.0,
    weight: float = 0.0,
    n_rows: int = 0,
    label_sum: int = 0,
) -> SufficientStatistics:
    """Statistics of arrays that are known to fit together; they become read-only, not copied.

    Past the checks of the constructor, which every iteration of a small fit would pay for; sums
    that overflowed are the M-step's to report.
    """
    statistics = object.__new__(SufficientStatistics)
    for array in (shift, mass, first, second):
        array.setflags(write=False)
    scalars = (log_likelihood, classification, entropy, weight, n_rows, label_sum)
    for put, value in zip(_PUT, (shift, mass, first, second, layout, *scalars), strict=True):
        put(statistics, value)
    return statistics


# The slots' own setters, past the class's __setattr__.
_PUT = tuple(getattr(SufficientStatistics, name).__set__ for name in SufficientStatistics.__slots__)
