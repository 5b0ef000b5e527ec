"""Re-seeding: a start in which components without mass become halves of others."""

from __future__ import annotations

import numpy as np

from ..algorithms.em import EPS, Run
from ..covariance import CovarianceFamily, Floor
from ..model.mixture import Mixture
from ..passes.expectation import Expectation
from ..passes.posteriors import posterior_pieces, x_log_x
from ..passes.sources import Rows
from ..statistics import SufficientStatistics, mean_offsets, unchecked

TIED = 1e-9  # relative gaps below it are taken for rounding
# Half of a Gaussian, cut at its mean across an axis, has its own mean this many standard
# deviations away from there.
HALF_MEAN = float(np.sqrt(2.0 / np.pi))


def reseeded(
    run: Run,
    components: list[int],
    X: Rows,
    sample_weight: np.ndarray | None,
    floor: Floor,
    n_threads: int,
) -> tuple[Mixture, list[int]]:
    """The mixture of `run` with each of `components` made half of another one, and those others.

    The component with the largest share of the entropy, ``sum w r (-log r)``, is the one that
    fits its rows least clearly: it is cut in two at its mean, across its principal axis (in
    features scaled as the floor's are), and shares are halved with it. Where every row is all one
    component's, the largest mass is cut. Both halves together keep the weight, mean and
    covariance, as far as the family can tell: "spherical" keeps the trace, "tied" the covariance
    of all rows.

    Two passes over the rows at most; O(N K) responsibilities are never held.
    """
    shares = split_shares(run.mixture, run.statistics, X, sample_weight, n_threads)
    shares[components] = 0.0
    sums = sums_to_cut(run.mixture, run.statistics, X, sample_weight, n_threads)
    parents = []
    for component in components:
        parent = int(np.argmax(shares))
        sums = halved(sums, parent, component, floor)
        shares[[parent, component]] = 0.5 * shares[parent]
        parents.append(parent)
    mixture = maximised(sums[0], run.mixture.family, run.mixture.covariances, floor)
    return mixture, parents


def maximised(
    statistics: SufficientStatistics, chosen: CovarianceFamily, previous: np.ndarray, floor: Floor
) -> Mixture:
    """The M-step of a family; components without mass keep their `previous` covariances."""
    step = chosen.m_step(statistics, previous, floor)
    return Mixture._of(chosen, step.weights, step.means, step.covariances)


def split_shares(
    mixture: Mixture,
    statistics: SufficientStatistics,
    X: np.ndarray,
    sample_weight: np.ndarray | None,
    n_threads: int,
) -> np.ndarray:
    """(K,) how much there is to gain by cutting each component: its share of the entropy.

    Of the mass, where every row is all one component's. One pass over the rows.
    """
    shares = entropy_shares(mixture, X, sample_weight, n_threads)
    # The entropy of rows that are all one component's is what rounding left of it.
    if shares.sum() <= EPS * len(shares) * statistics.weight:
        shares = statistics.mass.copy()
    return shares


def entropy_shares(
    mixture: Mixture, X: Rows, sample_weight: np.ndarray | None, n_threads: int
) -> np.ndarray:
    """(K,) ``sum w r (-log r)`` in nats over the rows, for each component; O(N K D^2)."""
    shares = np.zeros(mixture.n_components)
    for rows, r in posterior_pieces(X, mixture.kernel_parameters, n_threads):
        entropy = x_log_x(r)
        if sample_weight is not None:
            entropy *= sample_weight[rows, None]
        shares -= entropy.sum(axis=0)
    return shares


def sums_to_cut(
    mixture: Mixture,
    statistics: SufficientStatistics,
    X: np.ndarray,
    sample_weight: np.ndarray | None,
    n_threads: int,
) -> list[SufficientStatistics]:
    """The statistics around the components' own means; the last in the list hold the axes too.

    Those of "spherical" do not: there, a pass over the rows gathers the variances by feature.
    """
    sums = [centred(statistics)]
    if statistics.layout == "spherical":
        diagonal = Expectation(X, sample_weight, "diag", mixture.n_components, n_threads)
        sums.append(centred(diagonal(mixture.kernel_parameters)))
    return sums


def halved(
    sums: list[SufficientStatistics], parents, components, floor: Floor
) -> list[SufficientStatistics]:
    """`sums` with `parents` cut at their means, across their principal axes.

    Each of `components`, of which as many are given, becomes one of the halves.
    """
    parents, components = np.atleast_1d(parents), np.atleast_1d(components)
    # "spherical" knows no scale of features: what is widest in data units counts.
    scale = np.ones_like(floor.scale) if len(sums) > 1 else floor.scale
    offsets = _offsets(sums[-1], parents, scale)
    return [_cut(part, parents, components, offsets) for part in sums]


def centred(statistics: SufficientStatistics) -> SufficientStatistics:
    """The statistics around the components' own means; where there is no mass, as they are."""
    return statistics._moved(statistics.shift + mean_offsets(statistics, statistics.mass <= 0.0))


def _cut(
    statistics: SufficientStatistics,
    parents: np.ndarray,
    components: np.ndarray,
    offsets: np.ndarray,
) -> SufficientStatistics:
    """Centred statistics with each of `parents` cut in two, and `components` the halves at +.

    Around the mean of the parent both halves together have its mass and second moments, and each
    of them has half; only their first moments differ.
    """
    shift, mass = statistics.shift.copy(), statistics.mass.copy()
    first, second = statistics.first.copy(), statistics.second.copy()
    shift[components] = shift[parents]
    mass[parents] = mass[components] = half = 0.5 * mass[parents]
    first[components] = 0.5 * first[parents] + half[:, None] * offsets
    first[parents] = 0.5 * first[parents] - half[:, None] * offsets
    if statistics.layout != "pooled":
        second[parents] = second[components] = 0.5 * second[parents]
    return centred(unchecked(shift, mass, first, second, statistics.layout))


def _offsets(
    statistics: SufficientStatistics, parents: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """(n, D) from the means of `parents` to those of their halves, along their principal axes."""
    rows = np.arange(len(parents))
    if statistics.layout == "diag":
        variances = statistics.second[parents] / statistics.mass[parents, None]
        deviations = np.sqrt(np.maximum(variances, 0.0))
        axis = _first_largest(deviations / scale)
        offsets = np.zeros_like(deviations)
        offsets[rows, axis] = HALF_MEAN * deviations[rows, axis]
        return offsets
    if statistics.layout == "pooled":
        covariances = np.repeat((statistics.second / statistics.mass.sum())[None], len(rows), 0)
    else:
        covariances = statistics.second[parents] / statistics.mass[parents, None, None]
    values, vectors = np.linalg.eigh(covariances / scale[:, None] / scale)
    axes = vectors[:, :, -1]
    # Either direction will do, if always the same.
    axes = axes * np.sign(axes[rows, _first_largest(np.abs(axes))])[:, None]
    return HALF_MEAN * np.sqrt(np.maximum(values[:, -1:], 0.0)) * axes * scale


def _first_largest(values: np.ndarray) -> np.ndarray:
    """Indices of the largest in each row.

    Of those equal but for rounding, as scaled variances are, the first.
    """
    return np.argmax(values >= (1.0 - TIED) * values.max(axis=-1, keepdims=True), axis=-1)
