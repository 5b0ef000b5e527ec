"""Hostile data x covariance types x precisions x calls: what comes of each, judged.

``python -m benchmarks.reliability hostile`` tries all, the tests a few. A case is right if it meets
what holds for every mixture (weights sum to one, all finite, posteriors sum to one) and an oracle
in long double: the log-likelihood, and the identities of an M-step, by which the fitted mixture has
the mean of the data and, where nothing was repaired, their covariance.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

import gaussmix as gm
import oracle
from hostile import surroundings
from outcomes import CRASHED, REFUSED, RIGHT, WARNED, WRONG, observe

TYPES = ("full", "tied", "diag", "spherical")
EPS = float(np.finfo(float).eps)
RTOL = 1e-7


def _clusters(n_rows: int = 90, n_features: int = 3) -> np.ndarray:
    X = np.random.default_rng(0).standard_normal((n_rows, n_features))
    X[::3] += 6.0
    return np.round(X * 2.0**16) / 2.0**16


def _with(place, value) -> np.ndarray:
    X = _clusters()
    X[place] = value
    return X


def _one_hot() -> np.ndarray:
    return np.eye(4)[np.random.default_rng(1).integers(0, 4, 80)]


def _strided() -> np.ndarray:
    wide = np.empty((180, 6))
    wide[::2, ::2] = _clusters()
    return wide[::2, ::2]


def _read_only() -> np.ndarray:
    X = _clusters()
    X.setflags(write=False)
    return X


def _few_values() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 2, (60, 3)).astype(float)


# Area and condition -> the data.
DATA: dict[str, Callable[[], object]] = {
    "A plain": _clusters,
    "A offset 1e6": lambda: _clusters() + 1e6,
    "A offset 1e8": lambda: _clusters() + 1e8,
    "A offset 2^40": lambda: np.round(_clusters() * 1024) / 1024 + 2.0**40,
    "A offset 1e15": lambda: np.round(_clusters()) + 1e15,
    "A Unix time in ms": lambda: np.round(_clusters() * 1e6) + 1.7e12,
    "A scale 1e-3": lambda: _clusters() * 1e-3,
    "A scale 1e-30": lambda: _clusters() * 1e-30,
    "A scale 1e-150": lambda: _clusters() * 1e-150,
    "A scale 1e-200": lambda: _clusters() * 1e-200,
    "A scale 1e-310": lambda: _clusters() * 1e-310,
    "A scale 1e30": lambda: _clusters() * 1e30,
    "A scale 1e150": lambda: _clusters() * 1e150,
    "A scale 1e155": lambda: _clusters() * 1e155,
    "A scale 1e300": lambda: _clusters() * 1e300,
    "A units far apart": lambda: _clusters() * np.array([1e-90, 1.0, 1e90]),
    "A negative zeros": lambda: np.where(np.round(_clusters()) == 0, -0.0, np.round(_clusters())),
    "B equal rows": lambda: np.full((50, 3), 1.5),
    "B zeros": lambda: np.zeros((50, 3)),
    "B two distinct rows": lambda: np.repeat(np.array([[0.0, 0, 0], [1, 2, 3]]), 25, axis=0),
    "B constant column": lambda: _with((slice(None), 2), 3.0),
    "B constant column 1e12 + 0.1": lambda: _with((slice(None), 2), 1e12 + 0.1),
    "B dependent columns": lambda: _clusters() @ np.array([[1.0, 0, 1], [0, 1, 1], [0, 0, 0]]),
    "B fewer rows than components": lambda: _clusters(2),
    "B as many rows as components": lambda: _clusters(3),
    "B one row": lambda: _clusters(1),
    "B fewer rows than columns": lambda: _clusters(6, 10),
    "B outlier 1e3": lambda: _with(17, 1e3),
    "B outlier 1e12": lambda: _with(17, 1e12),
    "B ties": lambda: np.round(_clusters()),
    "B one-hot": _one_hot,
    "B few values": _few_values,
    "B each row 30 times": lambda: np.repeat(_clusters(6), 30, axis=0),
    "C NaN": lambda: _with((3, 1), np.nan),
    "C inf": lambda: _with((3, 1), np.inf),
    "C no rows": lambda: np.empty((0, 3)),
    "C no columns": lambda: np.empty((5, 0)),
    "C three dimensions": lambda: np.zeros((4, 3, 2)),
    "C complex": lambda: _clusters() + 1j,
    "C text": lambda: np.full((9, 3), "x"),
    "C objects": lambda: _clusters().astype(object),
    "C integers": lambda: np.round(_clusters()).astype(np.int32),
    "C booleans": lambda: _clusters() > 1.0,
    "C float16": lambda: _clusters().astype(np.float16),
    "C big-endian": lambda: _clusters().astype(">f8"),
    "C Fortran order": lambda: np.asfortranarray(_clusters()),
    "C strided": _strided,
    "C read-only": _read_only,
    "C stride 0": lambda: np.broadcast_to(_clusters(1), (40, 3)),
    "C list of rows": lambda: _clusters().tolist(),
}
OPTIONS: dict[str, dict] = {
    "D n_components=0": {"n_components": 0},
    "D n_components=True": {"n_components": True},
    "D tol=nan": {"tol": np.nan},
    "D tol=0": {"tol": 0.0},
    "D reg_covar=-1": {"reg_covar": -1.0},
    "D reg_covar=0": {"reg_covar": 0.0},
    "D reg_covar=1e300": {"reg_covar": 1e300},
    "D max_iter=0": {"max_iter": 0},
    "D max_iter=-1": {"max_iter": -1},
    "D n_starts=5": {"n_starts": 5},
    "D equal means": {"start": np.ones((3, 3))},
    "D means 1e6 away": {"start": np.full((3, 3), 1e6)},
    "D means nan": {"start": np.full((3, 3), np.nan)},
    "E weights with zeros": {"sample_weight": np.arange(90) % 3.0},
    "E weights over 200 decades": {"sample_weight": np.logspace(-200, 0, 90)},
    "E weights tiny": {"sample_weight": np.full(90, 1e-280)},
    "E weights huge": {"sample_weight": np.full(90, 1e97)},
    "E weights negative": {"sample_weight": np.full(90, -1.0)},
    "E weights nan": {"sample_weight": np.full(90, np.nan)},
    "E weights all zero": {"sample_weight": np.zeros(90)},
    "E hard": {"algorithm": "hard"},
    "E stochastic": {"algorithm": "stochastic"},
    "E annealed": {"algorithm": "annealed"},
}


class Case(NamedTuple):
    """A call on data of a kind, or with options of a kind."""

    call: str
    kind: str
    covariance_type: str
    single: bool  # float32

    def __str__(self) -> str:
        precision = "float32" if self.single else "float64"
        return f"{self.call}, {self.kind}, {self.covariance_type}, {precision}"


def cases() -> Iterator[Case]:
    for kind in DATA:
        for covariance_type in TYPES:
            for single in (False, True):
                for call in CALLS:
                    yield Case(call, kind, covariance_type, single)
    for kind in OPTIONS:
        for covariance_type in TYPES:
            for single in (False, True):
                yield Case("fit", kind, covariance_type, single)
    for kind in surroundings.KINDS:
        for covariance_type in TYPES:
            for single in (False, True):
                for call in surroundings.CALLS:
                    yield Case(call, kind, covariance_type, single)


def judged(case: Case) -> tuple[str, str]:
    """The outcome of a case, and what there is to say of it."""
    if case.kind in surroundings.KINDS:
        return surroundings.judged(*case)
    options: dict = {}
    if case.kind in OPTIONS:
        X, options = _clusters(), OPTIONS[case.kind]
    else:
        X = DATA[case.kind]()
    if case.single and isinstance(X, np.ndarray) and X.dtype == np.float64:
        with np.errstate(all="ignore"):
            X = X.astype(np.float32)
    seen = observe(lambda: CALLS[case.call](X, case.covariance_type, options))
    if seen.error is not None:
        if isinstance(seen.error, gm.GaussmixError) and len(str(seen.error)) > 20:
            return REFUSED, str(seen.error)
        return CRASHED, repr(seen.error)
    alien = [w for w in seen.warnings if not issubclass(w.category, gm.GaussmixWarning)]
    if alien:
        return WRONG, f"warns {alien[0].category.__name__}: {alien[0].message}"
    told = [w for w in seen.warnings if w.category is not gm.ConvergenceWarning]
    if seen.value:
        return WRONG, seen.value
    return (WARNED, str(told[0].message)) if told else (RIGHT, "")


# -- calls; each returns what is wrong, or ""


def _fit(X, covariance_type, options):
    options = {"n_components": 3, "seed": 0, **options}
    result = gm.fit(X, options.pop("n_components"), covariance_type=covariance_type, **options)
    weight = options.get("sample_weight")
    exact = not result.repairs and options.get("algorithm", "em") == "em"
    exact = exact and options.get("max_iter", 1) > 0
    wrong = valid(result.mixture) or agrees(result.mixture, X, weight, exact)
    total = len(X) if weight is None else np.sum(weight)
    mean = result.log_likelihood[-1] / total
    score = result.mixture.score(X, weight)
    if not abs(mean - score) <= 1e-9 * max(1.0, abs(score)):
        wrong = wrong or f"log-likelihood {mean} a row, but the score is {score}"
    return wrong


def _estimator(X, covariance_type, options):
    model = gm.GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    return valid(model.mixture_) or agrees(model.mixture_, X, None, not model.fit_result_.repairs)


def _partial_fit(X, covariance_type, options):
    online = gm.OnlineMixture(3, covariance_type=covariance_type, start_rows=30, seed=0)
    for _ in range(3):
        online.update(X)
    return valid(online.mixture) if online.ready else ""


def _select(X, covariance_type, options):
    chosen = gm.select(X, [1, 3], covariance_type, n_starts=1, seed=0)
    return valid(chosen.mixture)


def _model(covariance_type):
    return gm.fit(_clusters(), 3, covariance_type=covariance_type, seed=0).mixture


def _score(X, covariance_type, options):
    mixture = _model(covariance_type)
    return _densities(mixture, X, mixture.logpdf(X))


def _predict(X, covariance_type, options):
    mixture = _model(covariance_type)
    labels, shares = mixture.predict(X), mixture.predict_proba(X)
    if len(labels) and not np.allclose(shares.sum(axis=1), 1.0, rtol=1e-14):
        return "posteriors do not sum to one"
    if len(labels) and (shares[np.arange(len(labels)), labels] < shares.max(axis=1) - 1e-9).any():
        return "a label is not the most probable component"
    return ""


def _nearest(X, covariance_type, options):
    labels = _model(covariance_type).nearest(X, gate=3.0)
    return "" if ((labels >= -1) & (labels < 3)).all() else f"labels {np.unique(labels)}"


def _hills(X, covariance_type, options):
    labels = _model(covariance_type).hills(X)
    return "" if (np.asarray(labels) >= -1).all() else "labels below -1"


def _sample(X, covariance_type, options):
    mixture = gm.fit(X, 3, covariance_type=covariance_type, seed=0).mixture
    rows, _ = mixture.sample(50, seed=0)
    return "" if np.isfinite(rows).all() and rows.shape[1] == mixture.n_features else "not finite"


CALLS: dict[str, Callable] = {
    "fit": _fit,
    "GaussianMixture": _estimator,
    "partial_fit": _partial_fit,
    "select": _select,
    "score": _score,
    "predict": _predict,
    "nearest": _nearest,
    "hills": _hills,
    "sample": _sample,
}


def valid(mixture: gm.Mixture) -> str:
    """What no mixture may be."""
    arrays = (mixture.weights, mixture.means, mixture.covariances, mixture.precision_factors)
    if not all(np.isfinite(array).all() for array in arrays):
        return "parameters are not finite"
    if abs(mixture.weights.sum() - 1.0) > 1e-12 or (mixture.weights < 0.0).any():
        return f"weights are {mixture.weights}"
    variances = np.einsum("kdd->kd", mixture.dense_covariances())
    return "" if (variances > 0.0).all() else "a variance is not positive"


def agrees(mixture: gm.Mixture, X, sample_weight, exact: bool) -> str:
    """Whether the mixture has the data's mean and, if nothing was repaired, their covariance."""
    rows = np.asarray(X, dtype=np.longdouble)
    weight = np.ones(len(rows)) if sample_weight is None else np.asarray(sample_weight)
    weight = (weight / weight.sum()).astype(np.longdouble)
    mean = weight @ rows
    spread = np.sqrt(weight @ (rows - mean) ** 2)
    weights, means = mixture.weights.astype(np.longdouble), mixture.means.astype(np.longdouble)
    bound = RTOL * spread + 4.0 * EPS * np.abs(rows).max(axis=0)
    if exact and not (np.abs(weights @ means - mean) <= bound).all():
        return f"the mean is {weights @ means}, the data's {mean}"
    if not exact or mixture.covariance_type == "spherical":
        return _densities(mixture, X, mixture.logpdf(X))
    gaps = means - mean
    found = np.einsum("k,kd,kd->d", weights, gaps, gaps)
    found = found + np.einsum("k,kdd->d", weights, mixture.dense_covariances())
    slack = RTOL * spread**2 + 8.0 * EPS * np.abs(rows).max(axis=0) * spread
    if not (np.abs(found - spread**2) <= slack).all():
        return f"the variance is {found}, the data's {spread**2}"
    return _densities(mixture, X, mixture.logpdf(X))


def _densities(mixture: gm.Mixture, X, found: np.ndarray) -> str:
    """Log densities against the textbook in long double."""
    rows = np.asarray(X, dtype=np.float64)
    if not len(rows):
        return "" if found.shape == (0,) else f"shape {found.shape}"
    parts = mixture.weights, mixture.means, mixture.covariances
    with np.errstate(all="ignore"):
        joint = oracle.log_joint(rows, *parts, mixture.covariance_type)
        top = joint.max(axis=1)
        expected = top + np.log(np.exp(joint - top[:, None]).sum(axis=1))
    values = np.linalg.eigvalsh(_correlations(mixture))
    allowed = (1e-11 + 64 * EPS / values.min()) * np.maximum(1.0, np.abs(expected))
    low = ~np.isfinite(found)  # a row beyond 1e154 deviations
    if (low & ~(expected < -1e300)).any() or np.isnan(found).any():
        return "a log density is not finite"
    worst = np.abs(found[~low] - expected[~low]) > allowed[~low]
    return f"{worst.sum()} log densities are off" if worst.any() else ""


def _correlations(mixture: gm.Mixture) -> np.ndarray:
    dense = mixture.dense_covariances()
    deviations = np.sqrt(np.einsum("kdd->kd", dense))
    return dense / deviations[:, :, None] / deviations[:, None, :]


def judged_of_peer(case: Case) -> tuple[str, str]:
    """The outcome of scikit-learn's fit of the data of a case, by the same identities.

    Its floor, which it adds to variances, may change them by a part in 100,000; a ValueError
    counts as named, and any warning where the mixture is not right.
    """
    from sklearn.mixture import GaussianMixture

    X = DATA[case.kind]()
    if case.single and isinstance(X, np.ndarray) and X.dtype == np.float64:
        with np.errstate(all="ignore"):
            X = X.astype(np.float32)
    model = GaussianMixture(3, covariance_type=case.covariance_type, random_state=0)
    seen = observe(lambda: model.fit(X))
    if seen.error is not None:
        named = isinstance(seen.error, (ValueError, TypeError))
        return (REFUSED if named else CRASHED), repr(seen.error)
    rows = np.asarray(X, dtype=np.longdouble)
    mean, weights, means = rows.mean(axis=0), model.weights_, model.means_
    spread = np.sqrt(((rows - mean) ** 2).mean(axis=0))
    largest = EPS * np.abs(rows).max(axis=0)
    right = np.isfinite(model.covariances_).all() and abs(weights.sum() - 1.0) < 1e-6
    right = right and (np.abs(weights @ means - mean) <= 1e-5 * spread + 4.0 * largest).all()
    if right and case.covariance_type != "spherical":
        c = model.covariances_
        own = {"full": lambda: np.einsum("kdd->kd", c), "tied": lambda: np.diagonal(c)[None],
               "diag": lambda: c}[case.covariance_type]()  # fmt: skip
        found = (weights[:, None] * (own + (means - mean) ** 2)).sum(axis=0)
        slack = 1e-5 * spread**2 + 8.0 * largest * spread
        # A column without variance has the floor, whatever that is.
        right = (np.abs(found - spread**2) <= slack)[spread > 0].all()
    if right:
        return (WARNED if seen.warnings else RIGHT), ""
    return (WARNED if seen.warnings else WRONG), "off"


def sampled(share: float) -> list[Case]:
    """A fixed part of the cases, by a checksum of their names."""
    limit = share * 2.0**32
    return [case for case in cases() if zlib.crc32(str(case).encode()) < limit]
