"""fit: data in, fitted mixture and its history out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .. import stopping, threads, underflow
from ..algorithms.em import Run
from ..algorithms.results import FitResult, IterationState
from ..covariance import Floor, family
from ..errors import ConvergenceWarning, DegenerateFitError, InvalidInputError, warn
from ..inputs import validate
from ..model.mixture import Mixture, frozen
from ..passes.expectation import SHORT_SLOTS, Expectation
from ..passes.sources import Rows, open_rows
from ..passes.summary import Summary, summarise
from ..starts.start import KMEANS_ITERATIONS, ROUGH_ITERATIONS, Start, StartMaker
from . import diagnosis, given_start
from .attempts import Attempts
from .frame import LOW_FLOOR, Frame, check_means
from .keeping import Keeping
from .options import FitOptions, check_memory, check_rows, checked
from .search import Search


def fit(
    X,
    n_components: int,
    *,
    covariance_type: str = "full",
    algorithm="em",
    start="kmeans",
    n_starts: int = 1,
    tol: float = 1e-3,
    max_iter: int = 100,
    reg_covar: float = 1e-6,
    sample_weight=None,
    seed=None,
    n_threads: int | None = None,
    callback: Callable[[IterationState], object] | None = None,
    progress: bool = False,
    max_seconds: float | None = None,
    cancel=None,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_seconds: float = 60.0,
    resume: str | os.PathLike | None = None,
) -> FitResult:
    """A Gaussian mixture fitted by expectation-maximisation, and how it was found.

    Parameters
    ----------
    X : array_like (N, D); (N,) is taken as one feature
        float32 and float64 are read in place, in any memory order; other numbers are converted.
        Data larger than memory: a memory-mapped array, a sequence of chunks (n, D), or a function
        without arguments that returns an iterable of such, anew for every pass. The result is
        that of all rows in one array, to the bit, wherever chunks end.
    n_components : int
        K, at most the number of rows of positive weight.
    covariance_type : {"full", "tied", "diag", "spherical"}
    algorithm : str, an object of `gaussmix.rules`, or a list of such
        "em"; or

        "hard": classification EM, in which each row counts for its most probable component only.
        It raises the classification log-likelihood and ends where no label changes
        (`gaussmix.rules.Hard`);

        "stochastic": labels are drawn in each of `max_iter` iterations, and the iterate of
        highest log-likelihood is polished by a few EM iterations; or the second half of the chain
        is averaged, with ``gaussmix.rules.Stochastic(average=True)``;

        "annealed": responsibilities at a falling temperature, then EM, for poor starts
        (`gaussmix.rules.Annealed`).

        Those of a list are run one after the other, each for at most `max_iter` iterations. With
        several starts, what is continued after a short run by EM (or hard EM) is run by them.
    start : str, Mixture, list of Mixture or array_like
        "kmeans" (k-means on scaled features; where N is large, three times on a random sample,
        where EM then tells the best of them and takes it on, which `n_iter` does not count),
        "k-means++" (its seeds alone), "random" (random responsibilities: components that start
        all in one place, where EM often rests), "random_from_data"
        (random rows as centres); or initial means (K, D), labels (N,) of integers,
        responsibilities (N, K), or whole mixtures. Starts that give only centres take weights
        and covariances from the cells around them.
    n_starts : int, at most 1,000,000
        With more than one, `start` is run to the end, and so are the best third of
        ``n_starts - 1`` others after short runs of 5 iterations: by turns k-means++ seeds in
        the metric of the whole data, good where clusters are apart, and random rows with the
        covariance of all data, good where they overlap. The best are then continued at
        ``tol / 10_000``, one after the other, each for at most a third of the iterations that
        all runs took, and together for no more than those; the highest log-likelihood wins.
        Where all iterations together take about 0.1 s or less, all runs are run to the end and
        continued. These iterations count in `n_iter`. To tell optima apart that are close, e.g.
        for criteria, lower `tol` itself.
    tol : float, >= 0
        Change of the mean log-likelihood per unit weight, in nats, below which to stop.
        scikit-learn's rule: one more iteration follows the one whose change is below.
        0 runs until no bit changes, or to `max_iter`.
    max_iter : int, >= 0
        0 returns the initial mixture.
    reg_covar : float, >= 0
        Floor of the covariances relative to the data: in coordinates divided by the features'
        standard deviations no eigenvalue goes below it. It is not added to anything. A constant
        column has no standard deviation of its own: its floor is `reg_covar` times the mean
        variance of the columns that vary, and so depends on their scale (on the square of the
        largest mean, if every column is constant).
    sample_weight : array_like (N,), optional
        2 counts a row twice, 0 leaves it out. For chunks: one array, or cut as they are.
    seed : int or numpy.random.Generator, optional
        The same int gives the same bits.
    n_threads : int, optional
        Any number gives the same bits.
    callback : callable, optional
        Called with an `IterationState` after each iteration; returning True stops the run.
    progress : bool
        Show a bar with iteration and log-likelihood (needs tqdm: the extra `cli`).
    max_seconds : float > 0, optional
        The fit ends after so many seconds with the best mixture it has reached, of which
        ``result.stop_reason`` and a warning tell. It looks at the clock between pieces of work of
        about 50 ms, within iterations too.
    cancel : threading.Event or another object with a method ``is_set()``, optional
        The same, once another thread has set it.
    checkpoint : path, optional
        A file that holds what the fit has done, replaced as a whole every `checkpoint_seconds`,
        and when the fit ends, `max_seconds` and `cancel` included. Ctrl-C, an error and the loss of
        the process leave the last one. It is written between iterations.
    checkpoint_seconds : float >= 0
    resume : path, optional
        A checkpoint to go on from; it may be the `checkpoint` too. All that decides what comes out
        must be as it was, data, `start` and `max_iter` included, and is checked; `seed` may be left
        out. The result then has the bits of a fit that was never interrupted. A callback is told
        of the iterations that are done now.

    Returns
    -------
    FitResult

    Raises
    ------
    InvalidInputError
        If an argument is out of its range, X holds NaN or an infinity, or there are fewer rows
        than components. Nothing has been computed then.
    DegenerateFitError
        If every start failed, e.g. with `reg_covar=0` and a collapsing component.
    FitStoppedError
        If `max_seconds` or `cancel` ended the fit before its first pass over all rows under an
        initial mixture was complete; from then on that mixture, with ``n_iter`` 0, is the least.
        So it is before `resume` has been read; the file stays as it is.

    Warns
    -----
    ConvergenceWarning
        If `max_iter`, `max_seconds` or `cancel` ended the fit.
    DegenerateComponentWarning, PrecisionWarning
        If something had to be repaired (see ``result.repairs``), a converged fit has left all
        components in one place, or X holds few digits.

    Notes
    -----
    O(N K D^2) per iteration, O(N K D) for "diag" and "spherical". Beyond X, and the weights as
    float64, the memory does not depend on N. Columns further than 1024 standard deviations from 0
    are fitted around their means, in a copy of up to 8 MB or piece by piece; only the means that
    come out are rounded.

    Where the best run has emptied a component (no row is near it), one more is made from there:
    the emptied component becomes half of the one with the largest share of the entropy of the
    posteriors. If that fits better it is the result, with a repair "re-seeded"; if not, the
    component ends with weight 0. A weight given as 0 in a mixture stays 0.

    References
    ----------
    Dempster, Laird & Rubin (1977), JRSS B 39(1), 1-38; short runs: Biernacki, Celeux & Govaert
    (2003), Computational Statistics & Data Analysis 41, 561-575.
    """
    options = FitOptions(
        n_components, covariance_type, n_starts, tol, max_iter, reg_covar, n_threads, algorithm
    )
    observer = callback
    if validate.flag("progress", progress):
        from .progress import Progress

        observer = Progress(max_iter, callback)
    try:
        with stopping.within(max_seconds, cancel):
            result = run(
                X,
                options,
                start=start,
                sample_weight=sample_weight,
                seed=seed,
                callback=observer,
                keeping=Keeping.of(checkpoint, checkpoint_seconds, resume),
            )
    finally:
        if progress:
            observer.close()
    if message := diagnosis.not_converged(result):
        warn(message, ConvergenceWarning)
    return result


def run(X, options: FitOptions, **how) -> FitResult:
    """`fit` without the warning of non-convergence; what estimator and selection build on.

    What there is to say of `how` says `run_in_frame`.
    """
    return run_in_frame(X, options, **how).outward()


class InFrame(NamedTuple):
    """A fit, and the frame and the rows that it was made in."""

    result: FitResult
    frame: Frame | None
    X: Rows
    sample_weight: np.ndarray | None

    def outward(self) -> FitResult:
        """The fit for the user."""
        result = self.result
        if self.frame is not None:
            result = self.frame.result(result, self.X, self.sample_weight)
        if self.frame is not None or result.config["reg_covar"] < LOW_FLOOR:
            check_means(result.mixture, result.repairs)
        return result


@underflow.ignored
def run_in_frame(
    X,
    options: FitOptions,
    *,
    start="kmeans",
    sample_weight=None,
    seed=None,
    callback: Callable[[IterationState], object] | None = None,
    previous_log_likelihood: float | None = None,
    adapt: Callable[[Mixture], Mixture] | None = None,
    proposals: Sequence[Start] = (),
    sound: Callable[[Run], bool] = lambda run: True,
    rounds: int = 0,
    keeping: Keeping | None = None,
) -> InFrame:
    """`run`, but in the coordinates in which it was done.

    `start` may be a tuple of names, too: then each of these is run to the end, or, if `rounds` is
    given, the best of them alone, with its components rearranged up to so many times.
    `previous_log_likelihood` (total, in nats) continues an earlier fit whose mixture is `start`.
    `adapt` changes every initial mixture before it is used. `proposals` are starts of more short
    runs; with some, `start` may be None. `sound` tells the runs that come before all others,
    whatever these reach. `keeping` is what `fit` has been told of checkpoints. Raises
    ``stopping.Stopped`` if it ends before there is a mixture.
    """
    began = time.perf_counter()
    options = checked(options)
    if callback is not None and not callable(callback):
        raise InvalidInputError(f"callback is {validate.shown(callback)}; pass a function or None.")
    X, weight = open_rows(X, sample_weight)
    rng = validate.seed(seed)
    count = threads.resolve(options.n_threads)
    chosen = family(options.covariance_type)
    check_rows(X, weight, options.n_components)
    check_memory(*X.shape, options)
    explicit = [] if start is None and proposals else given_start.checked(start, X, options)
    journal = None
    if keeping is not None:
        known = start if isinstance(start, str) else explicit
        journal, rng = keeping.opened(options, X, weight, known, seed, rng)
    summary = summarise(X, weight, count)
    _check_constant(summary, options.reg_covar)
    repairs = diagnosis.check_columns(summary, options.reg_covar)
    frame = Frame.around(summary.mean, summary.scale, summary.constant)
    if frame is not None:
        X, summary = frame.rows(X), frame.summary(summary)
        explicit = given_start.moved(explicit, frame)
        proposals = [Start(kind, _inward(make, frame)) for kind, make in proposals]
        callback, adapt = _outward(callback, frame), _adapted(adapt, frame)
    floor = Floor(summary.scale, options.reg_covar)
    expectation = Expectation(
        X,
        weight,
        chosen.layout,
        options.n_components,
        count,
        short_slots=SHORT_SLOTS if rounds else 0,
    )
    kmeans_iterations = ROUGH_ITERATIONS if rounds else KMEANS_ITERATIONS
    maker = StartMaker(X, weight, summary, expectation, chosen, floor, kmeans_iterations)
    attempts = Attempts(maker, options, rng, callback, adapt, journal)
    search = Search(attempts, previous_log_likelihood, proposals, sound, rounds)
    best, reports = search.best_of(given_start.to_run(start, explicit, maker, rng))
    if journal is not None:
        journal.close()
    repairs += search.repairs + diagnosis.report(best, X, weight, summary, floor)
    early = attempts.stop_reason in stopping.REASONS
    stop_reason = attempts.stop_reason if early else best.stop_reason
    total = time.perf_counter() - began
    result = FitResult(
        mixture=best.mixture,
        log_likelihood=frozen(np.array(best.log_likelihood)),
        classification=frozen(np.array(best.classification)),
        n_iter=best.n_iter,
        converged=best.converged,
        stop_reason=stop_reason,
        starts=reports,
        repairs=repairs,
        stages=list(best.stages),
        config={
            **options.recorded(),
            "start": start if isinstance(start, str) else type(start).__name__,
            "n_threads": expectation.n_threads,
            "max_seconds": stopping.max_seconds(),
        },
        timings={"start": attempts.start_seconds, "em": attempts.em_seconds, "total": total},
        statistics=best.statistics,
    )
    return InFrame(result, frame, X, weight)


def _inward(make: Callable[[], Mixture], frame: Frame) -> Callable[[], Mixture]:
    return lambda: frame.inward(make())


def _outward(callback: Callable[[IterationState], object] | None, frame: Frame):
    return None if callback is None else lambda state: callback(frame.state(state))


def _adapted(adapt: Callable[[Mixture], Mixture] | None, frame: Frame):
    """`adapt`, which knows the user's coordinates, as a function of mixtures in the frame."""
    return None if adapt is None else lambda mixture: frame.inward(adapt(frame.outward(mixture)))


def _check_constant(summary: Summary, reg_covar: float) -> None:
    if reg_covar == 0.0 and summary.constant.any():
        feature = int(np.flatnonzero(summary.constant)[0])
        raise DegenerateFitError(
            f"column {feature} of X is constant ({summary.mean[feature]:.6g}) and reg_covar is 0; "
            "drop the column or set reg_covar."
        )
