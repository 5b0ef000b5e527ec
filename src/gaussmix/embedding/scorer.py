"""Scorer: a mixture frozen for scoring a row, or a few, again and again."""

from __future__ import annotations

from abc import ABCMeta

from .. import backends, c_api
from ..inputs import validate


class Scorer(metaclass=ABCMeta):  # noqa: B024 (for `register`)
    """A mixture frozen for scoring a row, or a few, at the least cost of a call.

    Made by `Mixture.scorer`. With the compiled kernels it is a compiled object of which this class
    is a virtual base (``isinstance`` says so); on the other backends it is this class itself, with
    the same methods and the results of `Mixture`.

    Attributes
    ----------
    mixture : Mixture
        What is scored.
    n_components, n_features : int
        K and D.
    capsule : PyCapsule
        The mixture for C programs, see `gaussmix.get_include`; with compiled kernels only.

    Raises
    ------
    InvalidInputError
        By every method, as by those of `Mixture`: if `x` has another number of features or holds
        NaN or an infinity (a single row is row 0 of the message), or `out` does not fit.

    Notes
    -----
    `x` is one row (D,), or several (N, D). With one feature a one-dimensional array is N rows, as
    for `Mixture`, and a number is a row. A row has results of one dimension less than an array of
    rows has: a Python number from `logpdf`, `predict` and `nearest`, (K,) from `predict_proba`.
    Results are the bits that `Mixture` gives, whatever the batch. `out` takes the result instead
    of a new array and is what comes back: C-contiguous, float64 (int64 for labels), apart from `x`.

    Whatever `Mixture` takes for X will do. Fast are buffers of native float64 or float32: arrays,
    and also ``memoryview``, ``array.array`` and what else has the buffer protocol. Other input goes
    the way of `Mixture`, and so does a view that is not contiguous, whose extent has to be checked.

    A scorer never changes and may be used by any number of threads at once. It starts none, and
    keeps the GIL in calls of up to some 20 microseconds, as handing it over may cost more. Nothing
    but the result is allocated, as long as a call's scratch fits on the stack: 16 KB, enough for a
    row of a hundred features and a thousand components, or for more than a few rows while 3 D + K
    is below 60. Many rows are better served by `Mixture`, which takes all cores. A scorer can be
    copied and pickled; a pickle holds the mixture, whose arrays are checked when it is read.
    """

    __slots__ = ("__weakref__", "mixture")

    def __init__(self, mixture) -> None:
        object.__setattr__(self, "mixture", mixture)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"a Scorer is immutable; make another one instead of setting {name!r}."
        )

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def __reduce__(self):
        return make, (self.mixture,)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __repr__(self) -> str:
        return f"Scorer of a {repr(self.mixture).splitlines()[0]}"

    @property
    def n_components(self) -> int:
        """K."""
        return self.mixture.n_components

    @property
    def n_features(self) -> int:
        """D."""
        return self.mixture.n_features

    @property
    def capsule(self):
        """The mixture for C programs, which there is with compiled kernels only: an ImportError."""
        raise c_api.unavailable()

    def logpdf(self, x, *, out=None):
        """Log density of a row (float) or of each of several (N,), in nats."""
        return self._call(self.mixture.logpdf, x, out, validate.FLOAT64, ())

    def predict(self, x, *, out=None):
        """Most probable component of a row (int) or of each of several (N,), ties to the lowest."""
        return self._call(self.mixture.predict, x, out, validate.INT64, ())

    def nearest(self, x, gate: float | None = 2.5, *, out=None):
        """Nearest component of a row (int) or of each of several (N,), or -1 outside the gate.

        As `Mixture.nearest` with ``metric="mahalanobis"``: `gate` is in standard deviations, and
        None rejects nothing.
        """

        def call(X, n_threads, *, out):
            return self.mixture.nearest(X, gate, n_threads=n_threads, out=out)

        return self._call(call, x, out, validate.INT64, ())

    def predict_proba(self, x, *, out=None):
        """Posterior probability of each component: (K,) for a row, (N, K) for several."""
        shape = (self.n_components,)
        return self._call(self.mixture.predict_proba, x, out, validate.FLOAT64, shape)

    def responsibilities_into(self, X, out) -> None:
        """Write `predict_proba` of X into `out`: (K,) for a row, (N, K) for several."""
        dtype, shape = validate.FLOAT64, (self.n_components,)
        rows, single = validate.row_or_rows(X, self.n_features)
        validate.output(out, shape if single else (len(rows), *shape), dtype, rows)
        self.predict_proba(X, out=out)

    def _call(self, method, x, out, dtype, shape):
        """Results of one thread: those of a row without their first axis."""
        rows, single = validate.row_or_rows(x, self.n_features)
        if not single:
            return method(rows, 1, out=out)
        if out is None:
            result = method(rows, 1, out=None)[0]
            return result if shape else result.item()
        validate.output(out, shape, dtype, rows)
        method(rows, 1, out=out[None])
        return out


def make(mixture):
    """The scorer of a mixture: the compiled one of the live backend, or else the plain one."""
    plain, compiled = Scorer(mixture), backends.active().Scorer
    if compiled is None:
        return plain
    if not issubclass(compiled, Scorer):
        Scorer.register(compiled)
    return compiled(plain, mixture.kernel_parameters, mixture.weights)
