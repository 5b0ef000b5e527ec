"""Fits of data that were moved, scaled, reordered or stored otherwise, against the plain ones.

``python -m benchmarks.reliability transformations`` tries all that is here, the tests a few.

Every number is on a grid of 2^-10 and below 2^12, so that a shift by up to 2^40 and a scale by up
to 2^500 are exact: the moved data hold the same information, and the model must be the same one,
moved. A case is right if weights, and means and covariances in standard deviations, agree to
`RTOL`, beside the rounding of means that are as far from the origin as the data.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

import gaussmix as gm
from laws.datasets import datasets
from outcomes import CRASHED, REFUSED, RIGHT, WARNED, WRONG, Tally, observe

TYPES = ("full", "tied", "diag", "spherical")
RTOL = 1e-6
EPS = float(np.finfo(float).eps)
# Iterations of a fit from a given start; the same number whatever rounding does.
FIXED = {"tol": 0.0, "max_iter": 20}


class Move(NamedTuple):
    """x -> scale (x + shift), column by column."""

    shift: np.ndarray
    scale: np.ndarray

    def data(self, X: np.ndarray) -> np.ndarray:
        moved = (X + self.shift) * self.scale
        assert np.array_equal(moved / self.scale - self.shift, X), "the move is not exact"
        return moved

    def gap(self, found, plain) -> float:
        """Largest deviation of a model of moved data from the moved plain one.

        Of weights, and of means and covariances in units of the component's deviations. Of the
        means' gap what rounding them to float64 explains is taken off.
        """
        order = match(found, plain, self)
        deviations = np.sqrt(np.einsum("kdd->kd", plain.dense_covariances()))
        means = found.means[order] / self.scale - self.shift - plain.means
        rounding = 0.5 * EPS * np.abs(found.means[order] / self.scale) * 1.01
        means = np.maximum(np.abs(means) - rounding, 0.0) / deviations
        dense = found.dense_covariances()[order] / self.scale[:, None] / self.scale
        dense = (dense - plain.dense_covariances()) / deviations[:, :, None] / deviations[:, None]
        weights = found.weights[order] - plain.weights
        gaps = [np.abs(part).max() for part in (weights, means, dense)]
        return float(np.max(gaps)) if np.isfinite(gaps).all() else np.inf

    def posterior_gap(self, found, plain, X: np.ndarray) -> float:
        """Largest deviation of a posterior of the moved rows from that of the plain ones."""
        shares = found.predict_proba(self.data(X))[:, match(found, plain, self)]
        return float(np.abs(shares - plain.predict_proba(X)).max())


def match(found, plain, move: Move) -> list[int]:
    """For each component of `plain` the one of `found` that is nearest, each once."""
    means = found.means / move.scale - move.shift
    spread = np.sqrt(np.einsum("kdd->kd", plain.dense_covariances()))
    left, order = list(range(len(means))), []
    for k in range(plain.n_components):
        gaps = [
            np.abs((means[j] - plain.means[k]) / spread[k]).sum()
            + np.abs(found.weights[j] - plain.weights[k])
            for j in left
        ]
        order.append(left.pop(int(np.argmin(np.nan_to_num(gaps, nan=np.inf)))))
    return order


def random_move(rng: np.random.Generator, X: np.ndarray, covariance_type: str) -> tuple:
    """A kind of move and one of them: of all columns alike, or of each its own.

    Not the latter where what holds for one column follows from others: under spherical
    covariances, and of constant columns, whose floor is that of the others.
    """
    n_features = X.shape[1]
    kinds = ["shift", "scale", "shift and scale"]
    if covariance_type != "spherical" and (X != X[0]).any(axis=0).all():
        kinds += ["shifts by column", "scales by column"]
    kind = kinds[rng.integers(len(kinds))]
    size = n_features if "column" in kind else 1
    shift, scale = np.zeros(n_features), np.ones(n_features)
    if "shift" in kind:
        shift[:] = rng.choice([-1, 1], size) * 2.0 ** rng.integers(0, 41, size)
    if "scale" in kind:
        limit = 400 if "shift" in kind else 501
        scale[:] = 2.0 ** rng.integers(1 - limit, limit, size)
    return kind, Move(shift, scale)


class Case(NamedTuple):
    """A default fit of moved data."""

    name: str
    X: np.ndarray
    n_components: int
    covariance_type: str
    move: Move
    kind: str

    def __str__(self) -> str:
        return (
            f"{self.name}, {self.covariance_type}, K={self.n_components}, shift "
            f"{self.move.shift}, scale {self.move.scale}"
        )


def cases(number: int, seed: int = 0) -> Iterator[Case]:
    """`number` default fits of moved data sets, each at random but for the seed."""
    rng, data = np.random.default_rng(seed), datasets()
    names = list(data)
    for i in range(number):
        name, covariance_type = names[rng.integers(len(names))], TYPES[i % 4]
        X, n_components = data[name], int(rng.integers(1, 6))
        kind, move = random_move(rng, X, covariance_type)
        yield Case(name, X, n_components, covariance_type, move, kind)


def of_gaussmix(X: np.ndarray, n_components: int, covariance_type: str, seed=0):
    return gm.fit(X, n_components, covariance_type=covariance_type, seed=seed).mixture


def of_the_estimator(X: np.ndarray, n_components: int, covariance_type: str):
    model = gm.GaussianMixture(n_components, covariance_type=covariance_type, random_state=0)
    return model.fit(X).mixture_


class PeerModel(NamedTuple):
    """A model of scikit-learn's with what `Move.gap` asks; not checked, as it may hold NaN."""

    weights: np.ndarray
    means: np.ndarray
    dense: np.ndarray
    predict_proba: Callable

    @property
    def n_components(self) -> int:
        return len(self.weights)

    def dense_covariances(self) -> np.ndarray:
        return self.dense


def of_scikit_learn(X: np.ndarray, n_components: int, covariance_type: str) -> PeerModel:
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(n_components, covariance_type=covariance_type, random_state=0).fit(X)
    eye = np.eye(X.shape[1])
    dense = {
        "full": lambda c: c,
        "tied": lambda c: np.repeat(c[None], n_components, axis=0),
        "diag": lambda c: c[:, :, None] * eye,
        "spherical": lambda c: c[:, None, None] * eye,
    }[covariance_type](model.covariances_)
    return PeerModel(model.weights_, model.means_, dense, model.predict_proba)


def judged(case: Case, fit: Callable, ours: bool = True) -> tuple[str, str]:
    """The outcome of a default fit of moved data, and what there is to say of it.

    A warning counts if the plain fit has not issued it, too; an error, if it is one of a named
    class (of ours) or a ValueError (of the peer). Posteriors of the moved rows are judged as well.
    """
    plain = observe(lambda: fit(case.X, case.n_components, case.covariance_type))
    moved = observe(lambda: fit(case.move.data(case.X), case.n_components, case.covariance_type))
    if plain.error is not None:
        raise plain.error
    if moved.error is not None:
        named = isinstance(moved.error, gm.GaussmixError if ours else ValueError)
        return (REFUSED if named else CRASHED), f"{case}: {moved.error!r}"
    gap = case.move.gap(moved.value, plain.value)
    known = {one.category for one in plain.warnings}
    new = [str(one.message) for one in moved.warnings if one.category not in known]
    if gap <= RTOL:
        shares = case.move.posterior_gap(moved.value, plain.value, case.X)
        if shares <= RTOL:
            return RIGHT, ""
        return (WARNED if new else WRONG), f"{case}: posteriors are off by {shares:.2g} {new[:1]}"
    return (WARNED if new else WRONG), f"{case}: off by {gap:.2g} {new[:1]}"


# -- laws other than moves


def start_for(X: np.ndarray, covariance_type: str) -> gm.Mixture:
    return gm.fit(X, 3, covariance_type=covariance_type, seed=1, max_iter=0).mixture


def fixed_fit(X, covariance_type: str, **options):
    """20 iterations from a given start, a mixture or the default one."""
    options = {"start": "kmeans", "seed": 0, **FIXED, **options}
    return gm.fit(X, 3, covariance_type=covariance_type, **options).mixture


def transformed(mixture: gm.Mixture, matrix: np.ndarray) -> gm.Mixture:
    """The mixture of ``X @ matrix.T``, for a rotation or a permutation of the columns."""
    kind, covariances = mixture.covariance_type, mixture.covariances
    if kind in ("full", "tied"):
        covariances = matrix @ covariances @ matrix.T
        covariances = 0.5 * (covariances + covariances.swapaxes(-1, -2))
    elif kind == "diag":
        covariances = covariances @ np.square(matrix).T
    return gm.Mixture(mixture.weights, mixture.means @ matrix.T, covariances, kind)


def same(found: gm.Mixture, plain: gm.Mixture, rtol: float = RTOL) -> bool:
    n_features = plain.n_features
    return Move(np.zeros(n_features), np.ones(n_features)).gap(found, plain) <= rtol


def row_order(X, kind, rng):
    order, start = rng.permutation(len(X)), start_for(X, kind)
    return same(fixed_fit(X[order], kind, start=start), fixed_fit(X, kind, start=start))


def column_order(X, kind, rng):
    order, start = rng.permutation(X.shape[1]), start_for(X, kind)
    matrix = np.eye(X.shape[1])[order]
    found = fixed_fit(X[:, order], kind, start=transformed(start, matrix))
    return same(found, transformed(fixed_fit(X, kind, start=start), matrix))


def rotation(X, kind, rng):
    """Full covariances; as for all of these, far from the floor, which is along the features."""
    matrix, start = np.linalg.qr(rng.normal(size=(X.shape[1],) * 2))[0], start_for(X, "full")
    found = fixed_fit(X @ matrix.T, "full", start=transformed(start, matrix))
    return same(found, transformed(fixed_fit(X, "full", start=start), matrix))


def duplication(X, kind, rng):
    twice = fixed_fit(np.repeat(X, 2, axis=0), kind)
    return same(twice, fixed_fit(X, kind, sample_weight=np.full(len(X), 2.0)))


def half_precision(X, kind, rng):
    return fixed_fit(X.astype(np.float32), kind) == fixed_fit(X, kind)


def memory_order(X, kind, rng):
    wide = np.empty((2 * len(X), 2 * X.shape[1]))
    wide[::2, ::2] = X
    variants = (np.asfortranarray(X), wide[::2, ::2], X[::-1].copy()[::-1])
    return all(fixed_fit(one, kind) == fixed_fit(X, kind) for one in variants)


def chunking(X, kind, rng):
    edges = np.sort(rng.integers(0, len(X) + 1, 3))
    return fixed_fit(np.split(X, edges), kind) == fixed_fit(X, kind)


def thread_count(X, kind, rng):
    X = np.tile(X, (-(-20_000 // len(X)), 1))
    one = fixed_fit(X, kind, n_threads=1)
    return all(fixed_fit(X, kind, n_threads=n) == one for n in (2, 3, 7))


LAWS = {
    "row order": row_order,
    "column order": column_order,
    "rotation (full)": rotation,
    "rows twice = weight 2": duplication,
    "float32 = float64, bits": half_precision,
    "memory order, bits": memory_order,
    "chunks = array, bits": chunking,
    "1, 2, 3, 7 threads, bits": thread_count,
}


def law_outcome(law: Callable, *arguments) -> tuple[str, str]:
    seen = observe(lambda: law(*arguments))
    if seen.error is not None:
        named = isinstance(seen.error, gm.GaussmixError)
        return (REFUSED if named else CRASHED), repr(seen.error)
    if seen.value:
        return RIGHT, ""
    # A floor is along the features, which a rotation changes: then a component at it is told.
    named = (gm.PrecisionWarning, gm.DegenerateComponentWarning)
    told = [one for one in seen.warnings if one.category in named]
    return (WARNED if told else WRONG), ""


def campaign(number: int, seed: int, calls: dict[str, Callable], tally: Tally) -> None:
    """All of it: default fits, other laws, and other `calls`."""
    for i, case in enumerate(cases(number, seed)):
        fit = of_the_estimator if i % 3 == 0 else of_gaussmix
        tally.add(f"default fits, {case.kind}", *judged(case, fit))
    rng, data = np.random.default_rng(seed), datasets()
    for name, X in data.items():
        for kind in TYPES:
            for label, law in LAWS.items():
                if label == "rotation (full)" and kind != "full":
                    continue
                outcome, detail = law_outcome(law, X, kind, rng)
                tally.add(label, outcome, f"{name}, {kind} {detail}")
            for label, law in calls.items():
                for _ in range(max(1, number // 200)):
                    _, move = random_move(rng, X, kind)
                    outcome, detail = law_outcome(law, X, kind, move)
                    tally.add(label, outcome, f"{name}, {kind}, {move} {detail}")
