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
from outcomes import CRASHED, REFUSED, RIGHT, WARNED, WRONG, Tally, observe

TYPES = ("full", "tied", "diag", "spherical")
RTOL = 1e-6
EPS = float(np.finfo(float).eps)
BITS = 10
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


def datasets() -> dict[str, np.ndarray]:
    """Well-known data and some of our own, rounded to the grid."""
    from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

    rng = np.random.default_rng(0)
    cancer, digits = load_breast_cancer().data, load_digits().data
    found = {
        "faithful": gm.datasets.load("faithful").X,
        "iris": load_iris().data,
        "wine": load_wine().data[:, [0, 1, 6, 9, 11]],
        "cancer": cancer[:, [0, 1, 2, 7]],
        "digits 0-4, 8 pixels": digits[:500, [2, 10, 20, 21, 26, 36, 42, 60]],
        "digits 5-9, 3 pixels": digits[900:1300, [19, 34, 43]],
        "clusters": clusters(rng),
        "line": np.concatenate([rng.normal(-3, 1, (120, 1)), rng.normal(2, 0.5, (80, 1))]),
    }
    return {name: on_grid(X) for name, X in found.items()}


def clusters(rng: np.random.Generator) -> np.ndarray:
    """Four round clusters in three dimensions."""
    parts = [rng.normal(size=(150, 3)) + 6 * rng.normal(size=3) for _ in range(4)]
    return np.concatenate(parts)


def on_grid(X: np.ndarray) -> np.ndarray:
    """X rounded to multiples of 2^-10; |X| < 2^12."""
    X = np.round(np.asarray(X, dtype=float) * 2.0**BITS) / 2.0**BITS
    assert np.abs(X).max() < 2.0**12
    return X


def random_move(rng: np.random.Generator, n_features: int, covariance_type: str) -> tuple:
    """A kind of move and one of them: of all columns alike, or (not spherical) of each its own."""
    kinds = ["shift", "scale", "shift and scale"]
    if covariance_type != "spherical":
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
        kind, move = random_move(rng, X.shape[1], covariance_type)
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
    return PeerModel(model.weights_, model.means_, dense)


def judged(case: Case, fit: Callable, ours: bool = True) -> tuple[str, str]:
    """The outcome of a default fit of moved data, and what there is to say of it.

    A warning counts if the plain fit has not issued it, too; an error, if it is one of a named
    class (of ours) or a ValueError (of the peer).
    """
    plain = observe(lambda: fit(case.X, case.n_components, case.covariance_type))
    moved = observe(lambda: fit(case.move.data(case.X), case.n_components, case.covariance_type))
    if plain.error is not None:
        raise plain.error
    if moved.error is not None:
        named = isinstance(moved.error, gm.GaussmixError if ours else ValueError)
        return (REFUSED if named else CRASHED), f"{case}: {moved.error!r}"
    gap = case.move.gap(moved.value, plain.value)
    if gap <= RTOL:
        return RIGHT, ""
    known = {one.category for one in plain.warnings}
    new = [str(one.message) for one in moved.warnings if one.category not in known]
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


# -- what else there is to call, on moved data


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


CALLS = {
    "OnlineMixture": stream_moves,
    "select": selection_moves,
    "logpdf, predict_proba, predict": scores_move,
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


def campaign(number: int, seed: int, tally: Tally) -> None:
    """All of it: default fits, other laws and other calls."""
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
            for label, law in CALLS.items():
                for _ in range(max(1, number // 100)):
                    _, move = random_move(rng, X.shape[1], kind)
                    outcome, detail = law_outcome(law, X, kind, move)
                    tally.add(label, outcome, f"{name}, {kind}, {move} {detail}")
