"""What there is to call besides fits, on moved data: each law says whether it moves with them."""

from collections import Counter

import numpy as np

import gaussmix as gm
from laws.transformations import EPS, RTOL, match, of_gaussmix


def streamed(X, covariance_type: str) -> gm.Mixture:
    online = gm.OnlineMixture(3, covariance_type=covariance_type, seed=0, start_rows=60)
    for begin in range(0, len(X), 37):
        online.update(X[begin : begin + 37])
    return online.mixture


def stream_moves(X, kind, move) -> bool:
    return move.gap(streamed(move.data(X), kind), streamed(X, kind)) <= RTOL


def selection_moves(X, kind, move) -> bool:
    options = {"n_components": [2, 3], "covariance_types": kind, "n_starts": 1, "seed": 0}
    found, plain = gm.select(move.data(X), **options), gm.select(X, **options)
    if found.chosen != plain.chosen:
        return False
    return move.gap(found.mixture, plain.mixture) <= RTOL


def scores_move(X, kind, move) -> bool:
    """Log densities, posteriors and labels under a mixture that was moved, means rounded."""
    plain = of_gaussmix(X, 3, kind)
    covariances = plain.covariances
    if kind in ("full", "tied"):
        covariances = covariances * move.scale[:, None] * move.scale
    elif kind == "diag":
        covariances = covariances * move.scale**2
    else:
        covariances = covariances * move.scale[0] ** 2
    means = (plain.means + move.shift) * move.scale
    moved, Y = gm.Mixture(plain.weights, means, covariances, kind), move.data(X)
    # What the rounding of means by `gap` standard deviations may change, to first order.
    deviations = np.sqrt(np.einsum("kdd->kd", plain.dense_covariances()))
    precision = np.linalg.inv(plain.dense_covariances())
    rounding = np.abs(means / move.scale - move.shift - plain.means) + EPS * np.abs(plain.means)
    pull = np.einsum("kde,nke->nkd", precision, X[:, None] - plain.means)
    slack = 2.0 * np.einsum("nkd,kd->nk", np.abs(pull), rounding).max(axis=1)
    slack += RTOL + 4.0 * (rounding / deviations).max() ** 2 * np.abs(pull * deviations).max()
    jacobian = np.log(move.scale).sum()
    close = np.abs(moved.logpdf(Y) + jacobian - plain.logpdf(X)) <= slack + RTOL * abs(jacobian)
    p, q = moved.predict_proba(Y), plain.predict_proba(X)
    even = np.abs(p - q).max(axis=1) <= slack
    near = np.sort(plain.log_joint(X), axis=1)
    clear = near[:, -1] - near[:, -2] > 4.0 * slack
    agree = moved.predict(Y) == plain.predict(X)
    return bool(close.all() and even.all() and agree[clear].all())


def estimator_stream_moves(X, kind, move) -> bool:
    def streamed_by_estimator(X):
        model = gm.GaussianMixture(2, covariance_type=kind, random_state=0)
        for begin in range(0, len(X), 50):
            model.partial_fit(X[begin : begin + 50])
        return model.mixture_

    return move.gap(streamed_by_estimator(move.data(X)), streamed_by_estimator(X)) <= RTOL


def nearest_moves(X, kind, move) -> bool:
    """Labels within a gate, of rows that are not within rounding of two labels."""
    plain, Y = of_gaussmix(X, 3, kind), move.data(X)
    moved, gate = of_gaussmix(Y, 3, kind), 3.0
    order = np.argsort(match(moved, plain, move))
    expected, found = plain.nearest(X, gate=gate), moved.nearest(Y, gate=gate)
    found = np.where(found < 0, -1, order[found])
    distances = np.sort(plain.mahalanobis(X), axis=1)
    clear = np.abs(distances - gate).min(axis=1) > 1e-3
    clear &= distances[:, 1] - distances[:, 0] > 1e-3
    return bool((found == expected)[clear].all())


def hills_move(X, kind, move) -> bool:
    """The same hills, whatever their numbers, but for one row in 500 on a ridge between two."""
    plain, moved = of_gaussmix(X, 3, kind), of_gaussmix(move.data(X), 3, kind)
    pairs = Counter(zip(plain.hills(X).tolist(), moved.hills(move.data(X)).tolist(), strict=True))
    taken: dict[int, int] = {}
    for (ours, theirs), _ in pairs.most_common():
        if ours not in taken and theirs not in taken.values():
            taken[ours] = theirs
    other = sum(n for (ours, theirs), n in pairs.items() if taken.get(ours) != theirs)
    return other <= len(X) // 500


CALLS = {
    "OnlineMixture": stream_moves,
    "partial_fit": estimator_stream_moves,
    "select": selection_moves,
    "logpdf, predict_proba, predict": scores_move,
    "nearest": nearest_moves,
    "hills": hills_move,
}
