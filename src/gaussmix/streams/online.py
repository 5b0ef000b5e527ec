"""OnlineMixture: a mixture that follows a stream of batches."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from .. import threads
from ..algorithms.results import FitResult, Repair
from ..covariance import family
from ..errors import InvalidInputError
from ..files import container
from ..fitting import given_start
from ..fitting.frame import Frame, check_means
from ..fitting.options import MOST_STARTS, FitOptions, checked
from ..inputs import validate
from ..model.mixture import Mixture
from ..passes import sources
from ..starts.start import KINDS
from ..statistics import SufficientStatistics
from .online_record import online_of, record_of
from .recursion import Recursion
from .schedule import Schedule
from .stream import TOL, Moment, Stream

# Objects in the middle of an update, with the process, as in estimator/state.py: outside the
# objects, so that copies and pickles do not take it along, and without a lock that a fork could
# break.
_updating: dict[tuple[int, int], object] = {}


class OnlineMixture:
    """A Gaussian mixture that learns from a stream, batch by batch, and forgets the rows.

    The first rows are kept until `start_rows` have come; `gaussmix.fit` makes the start of them.
    From then on every batch is one step of online EM (Cappe & Moulines 2009): its sufficient
    statistics s, per unit weight, under the mixture at hand are mixed into the running ones,
    ``S <- (1 - g) S + g s``, and the M-step of S gives the next mixture. The step size for a batch
    of `step_rows` rows is ``g = (t + t0) ** -alpha``, where t counts all rows so far, those of the
    batch included, in units of `step_rows`. A smaller batch has its part of g; a larger one keeps
    of S what as many such steps keep. So a stream that is cut into other batches forgets at the
    same pace, and with ``alpha=1, t0=0`` S is the plain mean over all rows.

    Parameters
    ----------
    n_components : int
        K.
    covariance_type : {"full", "tied", "diag", "spherical"}
    start : str, Mixture, FitResult or array_like (K, D)
        How to begin: one of `gaussmix.fit`'s kinds of start or means, for a fit to the first rows;
        a mixture, which then is left as it is until `start_rows` have been seen; or the result of
        a fit, which goes on as if its rows had come from the stream.
    n_starts : int, at most 1,000,000
        So many fits to the first rows are begun from a `start` that is a name, and after 5
        iterations the best one goes on. Its components are rearranged, twice if that helps: all
        are cut in two, and pairs of the halves merged again where that costs least.
    start_rows : int, optional
        Rows before the first step; by default 50 numbers for each free parameter, so
        50 n_parameters / D rows. More rows make it likelier that the start lies near a good
        optimum: later batches cannot change that.
    alpha : float in (0.5, 1]
        How fast steps get smaller. Below 1 early rows, whose responsibilities were poor, are
        forgotten.
    t0 : float, >= 0
        Makes the first steps smaller.
    step_rows : int, optional
        Rows that t counts as one; `start_rows` by default, which fits the size of the model. 1 is
        the recursion for single rows as published.
    half_life : float, optional
        For streams that drift: rows after which those seen count half. The step falls to
        ``1 - 2 ** (-n / half_life)`` for a batch of n rows and no further. A constant step g for
        batches of n rows has the half-life ``n log(2) / -log(1 - g)``.
    average : bool
        Whether `mixture` is the average over the iterates (Polyak-Ruppert), the later ones
        weighing more, instead of the last one. Not with `half_life`.
    reg_covar : float, >= 0
        Floor of the covariances relative to the running variances of the features; see
        `gaussmix.fit`.
    seed : int or numpy.random.Generator, optional
        Of the start.
    n_threads : int, optional
        Any number gives the same bits.

    Attributes
    ----------
    mixture : Mixture
    n_rows_seen, n_updates : int
    ready, started : bool
    repairs : list of Repair
    statistics : SufficientStatistics or None

    Notes
    -----
    Rows are counted by their weights: 2 counts twice, in `start_rows`, `step_rows` and
    `half_life`, too. A batch costs O(n K D^2) as in one pass of EM, and O(K D^3) for the M-step,
    whatever came before it; nothing of the stream is held but the sums.

    No M-step is made before the weight of the rows has reached `start_rows`. After that a
    component whose part of S is worth fewer rows than carry a mean and a covariance keeps them,
    and its weight alone follows; this is recorded in `repairs` as "held". Those are twice as many
    rows as hold as many numbers as the component has parameters of its own: D + 3 if full, 4 if
    "diag", 2 + 2 / D if "spherical", 2 if "tied".

    Far from the origin no digits are lost, as in `gaussmix.fit`, as long as the stream stays near
    its first rows. Where it has drifted so far from these and from 0 that float64 holds a mean to
    few digits, `mixture` says so by a PrecisionWarning, once.

    An error leaves the object exactly as it was: the batch has not been seen.

    References
    ----------
    Cappe & Moulines (2009), JRSS B 71(3), 593-613. Averages: Polyak & Juditsky (1992), SIAM J.
    Control Optim. 30(4), 838-855; weights that grow: Shamir & Zhang (2013), ICML, 71-79.

    Examples
    --------
    >>> import gaussmix as gm
    >>> truth = gm.Mixture([0.4, 0.6], [0.0, 5.0], [1.0, 2.0], "spherical")
    >>> online = gm.OnlineMixture(2, seed=0)
    >>> for day in range(100):
    ...     online = online.update(truth.sample(50, seed=day)[0])
    >>> online.n_rows_seen
    5000
    """

    _checked: float = 0.0  # updates when the means were last looked at; infinite once told of

    def __init__(
        self,
        n_components: int,
        *,
        covariance_type: str = "full",
        start="kmeans",
        n_starts: int = 1,
        start_rows: int | None = None,
        alpha: float = 0.7,
        t0: float = 2.0,
        step_rows: int | None = None,
        half_life: float | None = None,
        average: bool = False,
        reg_covar: float = 1e-6,
        seed=None,
        n_threads: int | None = None,
    ) -> None:
        options = FitOptions(
            validate.integer("n_components", n_components, 1),
            family(covariance_type).name,
            validate.integer("n_starts", n_starts, 1, MOST_STARTS),
            tol=TOL,
            reg_covar=validate.real("reg_covar", reg_covar, 0.0),
            n_threads=n_threads,
        )
        threads.resolve(n_threads)
        if start_rows is not None:
            start_rows = validate.integer("start_rows", start_rows, n_components)
        if step_rows is not None:
            step_rows = validate.integer("step_rows", step_rows, 1)
        if half_life is not None:
            half_life = validate.real("half_life", half_life, 0.0, low_open=True)
        schedule = Schedule(
            validate.real("alpha", alpha, 0.5, 1.0, low_open=True),
            validate.real("t0", t0, 0.0),
            step_rows,
            half_life,
        )
        average = validate.flag("average", average)
        if average and half_life is not None:
            raise InvalidInputError(
                "average=True takes the mean over the whole stream, which half_life="
                f"{half_life:g} is meant to forget. Use one of them."
            )
        number = int(validate.seed(seed).integers(1 << 63))
        self._stream = Stream(options, schedule, "", start_rows, average, number)
        self._begin(start)

    def _begin(self, start: Any) -> None:
        self._moment = Moment()
        self._fitted: tuple[Moment, FitResult] | None = None  # to the buffer of that moment
        options = self._stream.options
        if isinstance(start, str):
            validate.choice("start", start, KINDS)
            self._stream = self._stream._replace(start=start)
            return
        if not isinstance(start, (Mixture, FitResult)):
            n_features = np.shape(start)[-1] if np.ndim(start) > 1 else 1
            means = given_start.means(start, options.n_components, n_features)
            self._stream = self._stream._replace(start=means)
            return
        mixture = start if isinstance(start, Mixture) else start.mixture
        found = (mixture.n_components, mixture.covariance_type)
        wanted = (options.n_components, options.covariance_type)
        if found != wanted:
            raise InvalidInputError(
                f"start has (n_components, covariance_type) = {found}; the stream needs {wanted}."
            )
        statistics = None if isinstance(start, Mixture) else start.statistics
        frame = Frame.around_mixture(mixture)
        if frame is not None:
            mixture = frame.inward(mixture)
            statistics = statistics and frame.inward_statistics(statistics)
        self._stream = self._stream._replace(start=type(start).__name__)
        self._moment = Moment(
            n_rows=0 if statistics is None else statistics.n_rows,
            recursion=Recursion.of(mixture, statistics),
            frame=frame,
        )

    # -- what there is to know

    @classmethod
    def _of(cls, options: FitOptions, start: Any, seed: Any, adapt: Any) -> OnlineMixture:
        """One whose start is a fit with these options, changed by `adapt`; for the estimator."""
        online = cls(
            options.n_components,
            covariance_type=options.covariance_type,
            start=start,
            n_starts=options.n_starts,
            reg_covar=options.reg_covar,
            seed=seed,
            n_threads=options.n_threads,
        )
        online._stream = online._stream._replace(options=checked(options), adapt=adapt)
        return online

    @property
    def ready(self) -> bool:
        """Whether there is a mixture: as many rows as components have been seen."""
        moment = self._moment
        if moment.recursion is not None:
            return True
        return moment.first.n_positive >= self._stream.options.n_components

    @property
    def mixture(self) -> Mixture:
        """The mixture at hand: of the recursion, or before its start the fit to all rows so far.

        Raises InvalidInputError while there are fewer rows than components. A PrecisionWarning
        tells, once, of means that steps have taken to where float64 holds them to few digits.
        """
        moment = self._moment
        if moment.recursion is not None:
            mixture = moment.recursion.result
            if moment.frame is not None:
                mixture = moment.frame.outward(mixture)
            if moment.n_updates > self._checked and not moment.coarse:
                told = check_means(mixture, moment.repairs)
                self._checked = math.inf if told else moment.n_updates
            return mixture
        if not self.ready:
            raise InvalidInputError(
                f"{moment.first.n_positive} rows have been seen, and {self.n_components} "
                "components need at least as many. Call update with more rows first."
            )
        if self._fitted is None or self._fitted[0] is not moment:
            self._fitted = (moment, self._stream.fit(*moment.first.joined()).outward())
        return self._fitted[1].mixture

    @property
    def n_components(self) -> int:
        """K."""
        return self._stream.options.n_components

    @property
    def covariance_type(self) -> str:
        """ "full", "tied", "diag" or "spherical"."""
        return self._stream.options.covariance_type

    @property
    def n_features(self) -> int | None:
        """D; None before the first rows."""
        moment = self._moment
        if moment.recursion is not None:
            return moment.recursion.iterate.shape[1]
        if moment.first.batches:
            return moment.first.batches[0][0].shape[1]
        return None if isinstance(self._stream.start, str) else self._stream.start.shape[1]

    @property
    def n_rows_seen(self) -> int:
        """Rows so far, those of a fit that it began with and of weight 0 included."""
        return self._moment.n_rows

    @property
    def n_updates(self) -> int:
        """Batches that made a step."""
        return self._moment.n_updates

    @property
    def started(self) -> bool:
        """Whether the first rows were enough, and batches make steps."""
        recursion = self._moment.recursion
        return recursion is not None and recursion.weight >= self.start_rows

    @property
    def start_rows(self) -> int | None:
        """Rows before the first step; None if it follows from a D that is not known yet."""
        if self.n_features is None:
            return self._stream.start_rows
        return self._stream.rows_to_start(self.n_features)

    @property
    def repairs(self) -> list[Repair]:
        """What the start or a step had to mend: each kind once for each component."""
        return list(self._moment.repairs)

    @property
    def statistics(self) -> SufficientStatistics | None:
        """The running ones, per unit weight, around the means of the last iterate; None before.

        Their `log_likelihood` is the running mean of what each batch had under the mixture before
        it, in nats per unit weight: where it falls, the stream has changed. A spherical mixture's
        have the layout "diag".
        """
        recursion, frame = self._moment.recursion, self._moment.frame
        if recursion is None or frame is None:
            return None if recursion is None else recursion.statistics
        return frame.statistics(recursion.statistics)

    def step_size(self, n_rows: float) -> float:
        """g for a batch of `n_rows` rows (by weight) if it came now; in (0, 1].

        0 while rows are gathered for the start.
        """
        rows = validate.real("n_rows", n_rows, 0.0, low_open=True)
        recursion = self._moment.recursion
        if recursion is None:
            return 0.0
        return self._stream.schedule.step(recursion.weight, rows, self.start_rows)

    def save(self, path) -> None:
        """Write the whole state to a model file, which `gaussmix.load` reads.

        The stream goes on from the file as it would have gone on here, to the bit. Errors as
        `Mixture.save`.
        """
        container.write(path, self._record())

    def _record(self) -> container.Record:
        return record_of(self)

    @classmethod
    def _of_record(cls, record: container.Record) -> OnlineMixture:
        return online_of(record, cls)

    def __repr__(self) -> str:
        moment, options = self._moment, self._stream.options
        features = "" if self.n_features is None else f" in {self.n_features} dimensions"
        lines = (
            f"OnlineMixture of {options.n_components} "
            f"{'Gaussian' if options.n_components == 1 else 'Gaussians'}{features}, "
            f"{options.covariance_type}: {moment.n_rows} rows seen"
        )
        if self.started:
            rows = self._stream.schedule.unit_rows or self.start_rows
            return f"{lines}, step {self.step_size(rows):.3g} for {rows} more"
        if self.start_rows is None:
            return lines
        return f"{lines} of the {self.start_rows} before the first step"

    # -- learning

    def update(self, X, sample_weight=None) -> OnlineMixture:
        """Learn from a batch, in one step; returns the object itself.

        Parameters
        ----------
        X : array_like (n, D)
            Any n; no rows change nothing. (n,) is one feature, if D is 1 or not known yet.
        sample_weight : array_like (n,), optional
            2 counts a row twice, 0 leaves it out; a batch may have zeros only.

        Raises
        ------
        InvalidInputError
            If X has another number of columns, or holds NaN or an infinity.
        DegenerateFitError
            If no valid mixture follows, e.g. with ``reg_covar=0``. The object is as it was before
            the call, after this error as after any other.
        RuntimeError
            If another thread is updating the object: one of both batches would be lost.

        Warns
        -----
        DegenerateComponentWarning
            When a component is raised to the floor or held, the first time; and what
            `gaussmix.fit` says of the first rows.
        PrecisionWarning
            When the first rows are so far from the origin that float64 holds a mean to few digits,
            or so far from the means of a start that the first step rounds its variances.
        """
        key, token = (os.getpid(), id(self)), object()
        try:
            if _updating.setdefault(key, token) is not token:
                raise RuntimeError(
                    "update already running on this object, in another thread. Hold a lock around "
                    "update, or give each thread an OnlineMixture of its own."
                )
            self._update(X, sample_weight)
        finally:
            if _updating.get(key) is token:
                del _updating[key]
        return self

    def _update(self, X, sample_weight) -> None:
        n_features = self.n_features
        if type(X) is not np.ndarray:
            sources.refuse_chunks(X, "Call update with one chunk after the other.")
        X = validate.data(X, n_features=n_features, min_rows=0, allow_1d=n_features is None)
        weight = self._weights(sample_weight, len(X))
        if not len(X) or (weight is not None and not weight.any()):
            if not np.isfinite(X).all():
                sources.raise_nonfinite(X, int(np.argmin(np.isfinite(X).all(axis=1))))
            self._moment = self._moment._replace(n_rows=self._moment.n_rows + len(X))
            return
        moment = self._moment
        if moment.recursion is None:
            self._moment = self._stream.buffered(moment, X, weight)
        else:
            self._moment = self._stream.stepped(moment, X, weight)

    def _weights(self, sample_weight, n_rows: int) -> np.ndarray | None:
        if sample_weight is None:
            return None
        weight = validate.array("sample_weight", sample_weight, (n_rows,))
        return weight if not weight.any() else validate.sample_weight(weight, n_rows)
