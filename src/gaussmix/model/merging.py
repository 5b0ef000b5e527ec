"""Clusters of several components: by the hills they share, or by the entropy they cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import underflow
from ..errors import InvalidInputError
from ..inputs import validate
from ..passes.posteriors import posterior_pieces, x_log_x
from .mixture import Mixture, frozen

SAMPLE_ROWS = 20_000  # drawn from the mixture where no data are given


class Clusters:
    """Components of a mixture grouped into clusters; the density stays the mixture's.

    Made by `gaussmix.merge`. Immutable; arrays are read-only.

    Attributes
    ----------
    mixture : Mixture
    component_cluster : ndarray (K,) int64
        The cluster of each component; -1 for a component of weight 0 that belongs to none.
    weights : ndarray (C,)
        Total weight of the components of each cluster.
    entropies : ndarray or None
        By entropy only: element c - 1 is the entropy of the posterior over c clusters, in nats,
        summed over the rows, for c = 1 to the number of components; the first one is 0.
    """

    __slots__ = ("component_cluster", "entropies", "mixture", "weights")

    def __init__(
        self, mixture: Mixture, component_cluster: np.ndarray, entropies: np.ndarray | None = None
    ) -> None:
        member = component_cluster >= 0
        weights = np.bincount(component_cluster[member], mixture.weights[member])
        values = (component_cluster, entropies, mixture, weights)
        for name, value in zip(self.__slots__, values, strict=True):
            kept = frozen(value) if isinstance(value, np.ndarray) else value
            object.__setattr__(self, name, kept)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Clusters are immutable; {name!r} cannot be set.")

    def __reduce__(self):
        entropies = None if self.entropies is None else self.entropies.copy()
        return Clusters, (self.mixture, self.component_cluster.copy(), entropies)

    def __repr__(self) -> str:
        lines = [
            f"{validate.counted(self.n_clusters, 'cluster')} of "
            f"{validate.counted(self.mixture.n_components, 'component')}"
        ]
        for c, group in enumerate(self.groups[:10]):
            shown = ", ".join(map(str, group[:10])) + (", ..." if len(group) > 10 else "")
            lines.append(f"  {c}: weight {self.weights[c]:.4f}, components {shown}")
        if self.n_clusters > 10:
            lines.append(f"  ... {self.n_clusters - 10} more")
        return "\n".join(lines)

    @property
    def n_clusters(self) -> int:
        """C."""
        return len(self.weights)

    @property
    def groups(self) -> list[list[int]]:
        """The components of each cluster, ascending."""
        return [
            np.flatnonzero(self.component_cluster == c).tolist() for c in range(self.n_clusters)
        ]

    def logpdf(self, X, n_threads: int | None = None) -> np.ndarray:
        """(N,) log density of each row: the mixture's."""
        return self.mixture.logpdf(X, n_threads)

    def predict_proba(self, X, n_threads: int | None = None) -> np.ndarray:
        """(N, C) posterior probability of each cluster: the sum of its components'; O(N K D^2)."""
        X = validate.data(X, n_features=self.mixture.n_features, min_rows=0)
        out = np.empty((len(X), self.n_clusters))
        for rows, posteriors in posterior_pieces(X, self.mixture.kernel_parameters, n_threads):
            out[rows] = _summed(posteriors, self.component_cluster)
        return out

    def predict(self, X, n_threads: int | None = None) -> np.ndarray:
        """(N,) int64 most probable cluster, ties to the lowest index; O(N K D^2)."""
        X = validate.data(X, n_features=self.mixture.n_features, min_rows=0)
        out = np.empty(len(X), dtype=np.int64)
        for rows, posteriors in posterior_pieces(X, self.mixture.kernel_parameters, n_threads):
            out[rows] = _summed(posteriors, self.component_cluster).argmax(axis=1)
        return out


@underflow.ignored
def merge(
    mixture: Mixture,
    by: str = "modes",
    *,
    X: Any = None,
    n_clusters: int | None = None,
    seed: Any = 0,
    n_threads: int | None = None,
) -> Clusters:
    """Clusters of the components that describe one group together.

    A cluster that is not Gaussian takes several components; the density is theirs, and the
    cluster their union.

    Parameters
    ----------
    mixture : Mixture
    by : {"modes", "entropy"}
        "modes": components whose means climb to the same mode of the density are one cluster;
        clusters are numbered as the modes are, the highest first. "entropy": the two clusters
        whose union lowers the entropy of the posterior most are merged, again and again; numbered
        by their first components.
    X : array_like (N, D), optional
        By entropy: the rows over which it is summed, best those of the fit; 20,000 rows drawn from
        the mixture otherwise.
    n_clusters : int, optional
        By entropy: how many clusters to leave. By default where two straight lines fit the
        entropies against the number of clusters best; with fewer than three components there is
        nothing to fit, and they stay as they are.
    seed : int or numpy.random.Generator, default 0
        For the rows that are drawn.
    n_threads : int, optional

    Returns
    -------
    Clusters
        Predicts clusters, keeps the density, and knows its groups.

    Raises
    ------
    InvalidInputError
        If an argument is out of range, or given where it has no use.

    Notes
    -----
    By entropy O(N K) posteriors are never held; K passes over the rows, O(N K^2) logarithms.

    References
    ----------
    Baudry, Raftery, Celeux, Lo & Gottardo (2010), Journal of Computational and Graphical
    Statistics 19(2), 332-353.
    """
    if not isinstance(mixture, Mixture):
        raise InvalidInputError(
            f"mixture is a {type(mixture).__name__}, not a Mixture. Give result.mixture."
        )
    if validate.choice("by", by, ("modes", "entropy")) == "modes":
        for name, value in (("X", X), ("n_clusters", n_clusters)):
            if value is not None:
                raise InvalidInputError(
                    f"{name} has no use with by='modes': the density alone decides. Leave it out, "
                    "or use by='entropy'."
                )
        modes = mixture.modes().component_mode
        used = modes >= 0
        cluster = np.full(len(modes), -1, dtype=np.int64)
        # A mode between components, to which no mean climbs, is no cluster.
        cluster[used] = np.unique(modes[used], return_inverse=True)[1]
        return Clusters(mixture, cluster)
    n_components = int(np.count_nonzero(mixture.weights > 0.0))
    if n_clusters is not None:
        n_clusters = validate.integer("n_clusters", n_clusters, 1, n_components)
    if X is None:
        X = mixture.sample(SAMPLE_ROWS, seed)[0]
    X = validate.data(X, n_features=mixture.n_features)
    return _merge_by_entropy(mixture, X, n_clusters, n_threads)


def _merge_by_entropy(
    mixture: Mixture, X: np.ndarray, n_clusters: int | None, n_threads: int | None
) -> Clusters:
    cluster = np.full(mixture.n_components, -1, dtype=np.int64)
    positive = np.flatnonzero(mixture.weights > 0.0)
    cluster[positive] = np.arange(len(positive))
    entropy, gains = _entropy_and_gains(mixture, X, cluster, None, n_threads)
    path, entropies = [cluster], [entropy]
    for count in range(len(positive) - 1, 0, -1):
        first, second = divmod(int(gains.argmax()), count + 1)
        entropies.append(entropies[-1] - gains[first, second] if count > 1 else 0.0)
        cluster = np.where(cluster == second, first, cluster)
        cluster = cluster - (cluster > second)
        path.append(cluster)
        if count > 1:
            gains = np.delete(np.delete(gains, second, axis=0), second, axis=1)
            _, gains_of = _entropy_and_gains(mixture, X, cluster, first, n_threads)
            gains[first, first + 1 :], gains[:first, first] = (
                gains_of[first + 1 :],
                gains_of[:first],
            )
    entropies = np.maximum(np.array(entropies[::-1]), 0.0)
    if n_clusters is None:
        n_clusters = elbow(entropies)
    return Clusters(mixture, path[len(positive) - n_clusters], entropies)


def elbow(values: np.ndarray) -> int:
    """Which c of 1..C two straight lines through ``values[c - 1]`` best have their break at.

    Least squares, the point at the break belonging to both lines; C if there are fewer than three.
    Baudry et al. (2010), section 4.
    """
    n = len(values)
    if n < 3:
        return n
    errors = [_line_error(values[:c]) + _line_error(values[c - 1 :]) for c in range(2, n)]
    return 2 + int(np.argmin(errors))


def _line_error(values: np.ndarray) -> float:
    """Sum of squares that the best straight line through evenly spaced values leaves."""
    at = np.arange(len(values)) - 0.5 * (len(values) - 1)
    centred = values - values.mean()
    return float(centred @ centred - (at @ centred) ** 2 / (at @ at))


def _entropy_and_gains(
    mixture: Mixture, X: np.ndarray, cluster: np.ndarray, of: int | None, n_threads: int | None
) -> tuple[float, np.ndarray]:
    """The entropy of the clusters' posterior, and by how much merging two would lower it.

    (C, C) above the diagonal, -inf elsewhere, or (C,) if only pairs with cluster `of` are wanted.
    """
    count = int(cluster.max()) + 1
    entropy = 0.0
    gains = np.zeros((count, count) if of is None else count)
    for _, posteriors in posterior_pieces(X, mixture.kernel_parameters, n_threads):
        share = np.ascontiguousarray(_summed(posteriors, cluster).T)
        own = x_log_x(share)
        entropy -= own.sum()
        totals = own.sum(axis=1)
        for k in range(count) if of is None else [of]:
            others = slice(k + 1, None) if of is None else slice(None)
            together = x_log_x(share[k] + share[others]).sum(axis=1)
            change = together - totals[k] - totals[others]
            if of is None:
                gains[k, others] += change
            else:
                gains += change
    if of is None:
        gains[np.tril_indices(count)] = -np.inf
    return float(entropy), gains


def _summed(posteriors: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """(n, C) sums over the components of each cluster, in their order."""
    out = np.zeros((len(posteriors), int(cluster.max()) + 1))
    for k, c in enumerate(cluster.tolist()):
        if c >= 0:
            out[:, c] += posteriors[:, k]
    return out
