"""Initial mixtures: from centres, from k-means, from responsibilities, from nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from ..algorithms.em import Run, finite, run_em
from ..algorithms.maximisation import Maximiser, MeansMaximiser
from ..covariance import CovarianceFamily, Floor, MStep, empty_components, family
from ..errors import DegenerateFitError
from ..kernels.contract import FACTOR_DIAG, FACTOR_SHARED, WANT_MAHALANOBIS, Parameters
from ..model.mixture import Mixture
from ..passes.evaluation import evaluate
from ..passes.expectation import Expectation
from ..passes.sources import Rows, pieces, take, weighted_rows
from ..passes.summary import Summary
from ..rules import HARD
from ..statistics import SufficientStatistics, second_shape

KINDS = ("kmeans", "k-means++", "random", "random_from_data")
KMEANS_ROWS = 20_000  # seeding and k-means see a random sample of at most this many rows
KMEANS_ITERATIONS = 100
NARROWEST = 1e-6  # a sample may span that much less than all rows, but k-means squares it
ROUGH_ITERATIONS = 10  # where components are rearranged afterwards
# Of trials whose sums of squares agree to that part the first is the seed, not rounding's choice:
# by the metric of at most D + 1 rows, say, all are equally far from each other.
ONE_SUM = 1e-8
KMEANS_TOL = 1e-4  # nats per row of the classification log-likelihood
RESPONSIBILITY_CHUNK = 1 << 16  # rows whose responsibilities are held at once
# Of many rows a sample is enough to try several k-means with the EM that follows; see `_tried`.
TRIALS = 3
TRIAL_ITERATIONS = 10  # of k-means, and then of EM, by which the best is chosen
TRIAL_ROWS = 6 << 10  # at least: an even number of slots, for two threads
TRIAL_NUMBERS = 50  # at least, for each free parameter
TRIAL_SHARE = 4  # only of so many times the rows: then the passes that are saved pay for it
TRIAL_TOL = 1e-4  # nats per row; with 3e-4, fits of overlapping components end 0.003 lower


class Start(NamedTuple):
    """A way to make an initial mixture, and what to call it in a report."""

    kind: str
    make: Callable[[], Mixture]


class StartMaker:
    """Makes initial mixtures of one family for one data set; see `make`."""

    def __init__(
        self,
        X: Rows,
        sample_weight: np.ndarray | None,
        summary: Summary,
        expectation: Expectation,
        chosen: CovarianceFamily,
        floor: Floor,
        kmeans_iterations: int = KMEANS_ITERATIONS,
    ) -> None:
        self.X = X
        self.sample_weight = sample_weight
        self.summary = summary
        self.expectation = expectation
        self.family = chosen
        self.floor = floor
        self.kmeans_iterations = kmeans_iterations
        self.n_components = expectation.n_components
        self.n_threads = expectation.n_threads
        # Not cached_property: in Python 3.11 it holds a lock that a forked child would wait for.
        self._single: Mixture | None = None

    def make(self, kind: str, rng: np.random.Generator) -> Mixture:
        """An initial mixture of the `kind`:

        "kmeans": k-means++ seeds, then k-means (hard EM, pooled spherical) on scaled features; of
        many rows the best of several, which EM on a sample tells (`_tried`);
        "k-means++": the seeds alone, in the metric of the one-component fit;
        "random_from_data": random rows as centres;
        "random": random responsibilities, uniform on the simplex, for every row;
        "broad": random rows as means, each with the covariance of all data.
        """
        if self.n_components == 1:
            return self.single
        if kind == "random":
            return self.from_responsibilities(
                lambda begin, end: rng.dirichlet(np.ones(self.n_components), size=end - begin)
            )
        if kind == "kmeans" and (tried := self._tried(rng)) is not None:
            return tried
        X, weight = self._sample(rng)
        if kind == "kmeans":
            return self._from_cells(self._kmeans(X, weight, rng, self.kmeans_iterations))
        if kind == "k-means++":
            return self.from_centres(self._seed(X, weight, self._single_factors, rng))
        centres = X[_draw(weight, self.n_components, rng)].astype(float)
        # By the covariance of at most D + 1 rows all rows are equally far from each other,
        # and rounding alone would tell whose each is.
        apart = len(X) > X.shape[1] + 1 or self.family.layout in ("diag", "spherical")
        return self._broad(centres) if kind == "broad" and apart else self.from_centres(centres)

    @property
    def single(self) -> Mixture:
        """The maximum-likelihood fit of one component, of the same family; computed once."""
        if self._single is None:
            self._single = self._fit_single()
        return self._single

    def _fit_single(self) -> Mixture:
        expectation = Expectation(self.X, self.sample_weight, self.family.layout, 1, self.n_threads)
        centre = self.summary.mean
        statistics = expectation(
            Parameters(FACTOR_DIAG, np.zeros(1), centre[None], np.zeros((1, len(centre))), centre)
        )
        return self._m_step(statistics)

    def from_centres(self, centres: np.ndarray) -> Mixture:
        """Weights, means and covariances of the cells nearest to `centres`, in scaled features."""
        return self._from_cells(self._centre_mixture(centres, self.summary.scale))

    def around(self, means: np.ndarray) -> Mixture:
        """As `from_centres`, but with the means exactly as given."""
        cells = self.from_centres(means)
        return Mixture._of(self.family, cells.weights, means.copy(), cells.covariances)

    def from_responsibilities(self, responsibilities: Callable[[int, int], np.ndarray]) -> Mixture:
        """The M-step from given responsibilities, called for chunks of rows (begin, end)."""
        return self._m_step(self._given_statistics(responsibilities))

    def from_labels(self, labels: np.ndarray) -> Mixture:
        """The M-step from labels (N,) in 0..K-1."""
        components = np.arange(self.n_components)
        return self.from_responsibilities(
            lambda begin, end: (labels[begin:end, None] == components).astype(float)
        )

    def _m_step(self, statistics: SufficientStatistics) -> Mixture:
        step = self._estimate(statistics)
        return Mixture._of(self.family, step.weights, step.means, step.covariances)

    def _estimate(self, statistics: SufficientStatistics) -> MStep:
        """The M-step; an empty component gets the covariance of all data."""
        finite(statistics, 0)
        step = Maximiser(self.floor).from_sums(statistics, self.family)
        if step is not None:
            return step
        fallback = None  # what most starts do not need takes a pass over the data
        if empty_components(statistics).any():
            fallback = self._repeated(self.single.covariances)
        with np.errstate(over="ignore", invalid="ignore"):
            return self.family.m_step(statistics, fallback, self.floor)

    def _repeated(self, covariances: np.ndarray) -> np.ndarray:
        """Covariances of a one-component fit, for each of K components (if not tied)."""
        n_features = self.X.shape[1]
        shape = self.family.shape(self.n_components, n_features)
        if self.family.shape(1, n_features) == shape:
            return covariances.copy()
        return np.repeat(covariances, self.n_components, axis=0)

    def _broad(self, means: np.ndarray) -> Mixture:
        weights = np.full(self.n_components, 1.0 / self.n_components)
        return Mixture._of(self.family, weights, means, self._repeated(self.single.covariances))

    def _centre_mixture(self, centres: np.ndarray, scale: np.ndarray) -> Mixture:
        """Equal weights and one variance, in features divided by `scale`: k-means' model."""
        weights = np.full(self.n_components, 1.0 / self.n_components)
        variances = np.repeat(_rounded(scale)[None] ** 2, self.n_components, axis=0)
        return Mixture._of(family("diag"), weights, centres.copy(), variances)

    def _from_cells(self, centres: Mixture) -> Mixture:
        """The M-step from the cells of `centres`, with the covariances of small cells steadied.

        A cell of few rows has next to no covariance of its own. It gets that of all cells as a
        prior worth as many rows as it takes to determine a covariance.
        """
        statistics = self.expectation(centres.kernel_parameters, HARD)
        step = self._estimate(statistics)
        covariances = step.covariances
        n_features = self.X.shape[1]
        if self.family.shape(1, n_features) != covariances.shape:
            prior = 1.0 + self.family.n_parameters(1, n_features) / n_features
            pooled = np.einsum("k,k...->...", step.weights, covariances)
            share = prior / (statistics.mass + prior)
            share = share.reshape(-1, *(1,) * (covariances.ndim - 1))
            covariances = (1.0 - share) * covariances + share * pooled
        return Mixture._of(self.family, step.weights, step.means, covariances)

    def _kmeans_scale(self, X: np.ndarray) -> np.ndarray:
        """(D,) standard deviations, or a quarter of the range of `X` where that is less.

        A column in two heaps has half its range as its standard deviation, however far apart the
        heaps are. Divided by that it counts no more than columns of noise, and one k-means in
        four cut the noise (D = 4). Of the ways to scale, the range serves k-means best (Milligan
        & Cooper 1988, Journal of Classification 5, 181-204) but for outliers: a column with a
        wider range, as that of a Gaussian has, keeps its standard deviation.
        """
        span = X.max(axis=0).astype(float) - X.min(axis=0)
        scale = self.summary.scale
        return np.clip(0.25 * span, NARROWEST * scale, scale)

    @property
    def _single_factors(self) -> tuple[int, np.ndarray]:
        parameters = self.single.kernel_parameters
        return parameters.factor_kind, parameters.factors

    def _tried(self, rng: np.random.Generator) -> Mixture | None:
        """The best of several k-means on a sample of the rows, taken on by EM on a larger one.

        Each k-means leads to another optimum, and a few iterations on few rows tell which of them
        is high. The passes over all rows then begin near it, and are fewer. None if there are not
        that many rows, or a component collapsed: it may have too few rows in a sample alone.
        """
        n_rows, n_features = self.summary.n_rows, self.X.shape[1]
        n_parameters = self.family.n_parameters(self.n_components, n_features)
        n_parameters += self.n_components * (n_features + 1)
        few = max(TRIAL_ROWS, TRIAL_NUMBERS * n_parameters // n_features)
        if n_rows < TRIAL_SHARE * few or self.summary.constant.any():
            return None
        larger = self._part(max(few, min(KMEANS_ROWS, n_rows // TRIAL_SHARE)), rng)
        part = larger._part(few, rng)
        runs: list[Run] = []
        for _ in range(TRIALS):
            with suppress(DegenerateFitError):
                cells = part._kmeans(part.X, part.sample_weight, rng, TRIAL_ITERATIONS)
                start = part._from_cells(cells)
                runs.append(part._em(start, TRIAL_ITERATIONS))
        best = max(filter(_sound, runs), key=lambda run: run.log_likelihood[-1], default=None)
        if best is not None:
            with suppress(DegenerateFitError):
                best = larger._em(best.mixture, KMEANS_ITERATIONS)
        return best.mixture if best is not None and _sound(best) else None

    def _part(self, n_rows: int, rng: np.random.Generator) -> StartMaker:
        """The same for a random sample of the rows."""
        X, weight = self._sample(rng, n_rows)
        layout, n_threads = self.family.layout, self.n_threads
        expectation = Expectation(X, weight, layout, self.n_components, n_threads)
        return StartMaker(X, weight, self.summary, expectation, self.family, self.floor)

    def _em(self, start: Mixture, max_iter: int) -> Run:
        maximise = Maximiser(self.floor, self.n_threads)
        return run_em(
            self.expectation, start, maximise, self.floor, tol=TRIAL_TOL, max_iter=max_iter
        )

    def _sample(
        self, rng: np.random.Generator, limit: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows of positive weight and their weights; a random part of them if there are many."""
        if limit is None:
            limit = max(KMEANS_ROWS, 100 * self.n_components)
        X, weight = self.X, self.sample_weight
        n_used = len(X) if weight is None else int(np.count_nonzero(weight))
        if n_used == len(X) and n_used <= limit and isinstance(X, np.ndarray):
            return X, np.ones(n_used) if weight is None else weight
        rows = _spread(n_used, limit, rng) if n_used > limit else np.arange(n_used)
        if n_used < len(X):
            rows = weighted_rows(weight, rows)
        return take(X, rows), np.ones(len(rows)) if weight is None else weight[rows]

    def _seed(
        self,
        X: np.ndarray,
        weight: np.ndarray,
        factors: tuple[int, np.ndarray],
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Greedy k-means++ seeds (K, D) in the metric of `factors`.

        Arthur & Vassilvitskii (2007), SODA, 1027-1035, with 2 + log K trials for each seed.
        Rows are drawn by inverting the cumulative weights, so that repeating each row is the
        same as doubling its weight.
        """
        n_trials = 2 + int(np.log(self.n_components))
        centres = np.empty((self.n_components, X.shape[1]))
        centres[0] = X[_pick(weight, rng.random(1))[0]]
        closest = self._squared_distances(X, factors, centres[:1])[0]
        for k in range(1, self.n_components):
            cumulative = (weight * closest).cumsum()
            if not cumulative[-1] > 0.0:
                # Fewer distinct rows than components: the rest stay empty.
                centres[k:] = centres[0]
                break
            trials = _pick_from(cumulative, rng.random(n_trials))
            distances = self._squared_distances(X, factors, X[trials])
            np.minimum(distances, closest, out=distances)
            # Not `@`: BLAS would wake threads that then spin for some 30 ms on the kernels' cores.
            sums = np.einsum("tn,n->t", distances, weight)
            best = int((sums <= (1.0 + ONE_SUM) * sums.min()).argmax())
            centres[k] = X[trials[best]]
            closest = distances[best]
        return centres

    def _squared_distances(
        self, X: np.ndarray, factors: tuple[int, np.ndarray], centres: np.ndarray
    ) -> np.ndarray:
        """(len(centres), n) squared distances in the metric of one component's factors."""
        kind, factor = factors
        n_centres = len(centres)
        centres = np.ascontiguousarray(centres, dtype=float)
        if kind != FACTOR_SHARED:
            factor = np.repeat(factor, n_centres, axis=0)
        parameters = Parameters(kind, np.zeros(n_centres), centres, factor, self.summary.mean)
        distances = np.empty((len(X), n_centres))
        evaluate(X, parameters, WANT_MAHALANOBIS, distances, self.n_threads)
        return np.square(distances.T, order="C")

    def _kmeans(
        self,
        X: np.ndarray,
        weight: np.ndarray,
        rng: np.random.Generator,
        max_iter: int,
    ) -> Mixture:
        """k-means from k-means++ seeds: hard EM that only moves the means."""
        scale = _rounded(self._kmeans_scale(X))
        centres = self._seed(X, weight, (FACTOR_DIAG, 1.0 / scale[None]), rng)
        expectation = Expectation(X, weight, "spherical", self.n_components, self.n_threads)
        run = run_em(
            expectation,
            self._centre_mixture(centres, scale),
            MeansMaximiser(self.floor),
            self.floor,
            tol=KMEANS_TOL,
            max_iter=max_iter,
            rule=HARD,
        )
        return run.mixture

    def _given_statistics(
        self, responsibilities: Callable[[int, int], np.ndarray]
    ) -> SufficientStatistics:
        """Statistics around the mean of the data under given responsibilities.

        One component at a time, as weighted rows: the kernels' own sums, O(N K D^2).
        """
        n_features = self.X.shape[1]
        layout = self.family.layout
        single_layout = "full" if layout == "pooled" else layout
        mean = self.summary.mean
        centre = Parameters(FACTOR_DIAG, np.zeros(1), mean[None], np.zeros((1, n_features)), mean)
        shape = second_shape(self.n_components, n_features, single_layout)
        mass, first, second = (
            np.zeros(self.n_components),
            np.zeros((self.n_components, n_features)),
            np.zeros(shape),
        )
        for begin, X in pieces(self.X, RESPONSIBILITY_CHUNK):
            chunk = responsibilities(begin, begin + len(X))
            if self.sample_weight is not None:
                chunk = chunk * self.sample_weight[begin : begin + len(X), None]
            for k in range(self.n_components):
                weight = np.ascontiguousarray(chunk[:, k])
                sums = Expectation(X, weight, single_layout, 1, self.n_threads)(centre)
                mass[k] += sums.mass[0]
                first[k] += sums.first[0]
                second[k] += sums.second[0]
        if layout == "pooled":
            second = second.sum(axis=0)
        shift = np.repeat(mean[None], self.n_components, axis=0)
        return SufficientStatistics(shift, mass, first, second, layout)


def _rounded(scale: np.ndarray) -> np.ndarray:
    """Scales to 30 bits: columns that are alike, as of one-hot rows, then count exactly alike.

    Rows as near to one centre as to another are told apart by nothing else, and go to the first.
    """
    mantissa, exponent = np.frexp(scale)
    return np.ldexp(np.rint(np.ldexp(mantissa, 30)), exponent - 30)


def _sound(run: Run) -> bool:
    return not run.floored and not run.empty


def _spread(n_rows: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` of the numbers 0..n_rows-1, increasing; each is as likely as any other.

    One from each of `count` runs of (nearly) equal length, which begin at random: O(count), where
    drawing without replacement takes an array of all numbers.
    """
    edges = np.arange(count + 1) * n_rows // count
    rows = edges[:-1] + rng.integers(np.diff(edges))
    return np.sort((rows + rng.integers(n_rows)) % n_rows)


def _pick(weight: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Indices drawn in proportion to `weight`, one for each of `uniforms` in [0, 1)."""
    return _pick_from(weight.cumsum(), uniforms)


def _pick_from(cumulative: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    total = cumulative[-1]
    found = cumulative.searchsorted(uniforms * total, side="right")
    return np.minimum(found, cumulative.searchsorted(total))  # a product may round up to `total`


def _draw(weight: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` distinct indices, drawn one after the other in proportion to `weight`."""
    weight = weight.copy()
    drawn = np.empty(count, dtype=np.intp)
    for i in range(count):
        drawn[i] = _pick(weight, rng.random(1))[0]
        weight[drawn[i]] = 0.0
    return drawn
