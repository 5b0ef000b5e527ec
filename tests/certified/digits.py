"""How many digits of a certified problem a library gets right."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

import gaussmix as gm
from certified.problems import NIST, Problem, problems

WANTED = 11.0
SLACK = 1.0  # of the limit: sums of N terms of D features lose more than one perturbation does
MOST = 16.0
SETTLE = 300  # iterations of EM, at most; 44 settle the slowest problem to 1e-24


def entries() -> list[tuple[Problem, dict, dict]]:
    """Each problem with its certified values (arrays of long double) and the limits of these."""
    path = Path(__file__).with_name("values.json")
    stored = json.loads(path.read_text(encoding="utf-8"))
    found = []
    for problem, entry in zip(problems(), stored, strict=True):
        assert (problem.name, problem.covariance_type) == (entry["name"], entry["covariance_type"])
        values = {
            name: np.array([np.longdouble(text) for text in texts])
            for name, texts in entry["values"].items()
        }
        found.append((problem, values, entry["limits"]))
    return found


def required(limit: float) -> float:
    """The digits that are asked for: 11, or fewer where the inputs do not determine so many."""
    return min(WANTED, limit - SLACK)


def digits(problem: Problem, values: dict, found: dict) -> dict[str, float]:
    """Correct digits of each quantity, the least over its numbers."""
    result = {}
    for name, certified in values.items():
        gaps = np.abs(np.asarray(found[name], dtype=np.longdouble).ravel() - certified)
        gaps = gaps / _scales(name, values, problem)
        worst = float(gaps.max()) if np.isfinite(gaps).all() else np.inf
        result[name] = float(np.clip(-np.log10(max(worst, 1e-20)), 0.0, MOST))
    return result


def _scales(name: str, values: dict, problem: Problem) -> np.ndarray:
    """What each number is measured by; as in ``generate.py``."""
    prefix, _, quantity = name.rpartition(" ")
    if name == "responsibilities":
        return np.maximum(values[name], 1e-12)
    if quantity not in ("means", "covariances"):
        return np.abs(values[name])
    shape, kind = problem.means.shape, problem.covariance_type
    covariances = values[f"{prefix} covariances".strip()].reshape(problem.covariances.shape)
    variances = {
        "full": lambda: np.einsum("kdd->kd", covariances),
        "tied": lambda: np.broadcast_to(np.diagonal(covariances), shape),
        "diag": lambda: covariances,
        "spherical": lambda: np.broadcast_to(covariances[:, None], shape),
    }[kind]()
    if quantity == "means":
        return np.sqrt(variances).ravel()
    if kind in ("diag", "spherical"):
        return covariances.ravel()
    deviations = np.sqrt(variances if kind == "full" else variances[:1])
    return (deviations[:, :, None] * deviations[:, None, :]).ravel()


# -- the libraries


def of_gaussmix(problem: Problem) -> dict:
    """All quantities of a problem by gaussmix."""
    X, kind = problem.X, problem.covariance_type
    start = gm.Mixture(problem.weights, problem.means, problem.covariances, kind)
    options = {"covariance_type": kind, "start": start, "tol": 0.0, "reg_covar": 0.0}
    found = {"densities": start.logpdf(X), "responsibilities": start.predict_proba(X)}
    runs = {"step": 1, "converged": SETTLE} if problem.converged else {"step": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gm.GaussmixWarning)
        for name, max_iter in runs.items():
            fitted = gm.fit(X, len(start.weights), max_iter=max_iter, **options).mixture
            for quantity in ("weights", "means", "covariances"):
                found[f"{name} {quantity}"] = getattr(fitted, quantity)
    return found


def of_scikit_learn(problem: Problem) -> dict:
    """The same by scikit-learn, from the same start; NaN where it raises an error."""
    from sklearn.mixture import GaussianMixture

    X, kind = problem.X, problem.covariance_type
    given = problem.covariances
    precisions = np.linalg.inv(given) if kind in ("full", "tied") else 1.0 / given
    options = {
        "n_components": 2, "covariance_type": kind, "weights_init": problem.weights,
        "means_init": problem.means, "precisions_init": precisions, "reg_covar": 0.0, "tol": 0.0,
    }  # fmt: skip
    found = {}
    runs = {"": 0, "step": 1, "converged": SETTLE} if problem.converged else {"": 0, "step": 1}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for name, max_iter in runs.items():
            try:
                if not max_iter:
                    found |= _scores_of(GaussianMixture(**options), problem, precisions)
                    continue
                model = GaussianMixture(**options, max_iter=max_iter).fit(X)
            except ValueError:
                continue
            for quantity in ("weights", "means", "covariances"):
                found[f"{name} {quantity}"] = getattr(model, f"{quantity}_")
    return found


def _scores_of(model, problem: Problem, precisions: np.ndarray) -> dict:
    from sklearn.mixture._gaussian_mixture import _compute_precision_cholesky

    model.weights_, model.means_ = problem.weights, problem.means
    model.covariances_, model.precisions_ = problem.covariances, precisions
    model.precisions_cholesky_ = _compute_precision_cholesky(
        problem.covariances, problem.covariance_type
    )
    return {
        "densities": model.score_samples(problem.X),
        "responsibilities": model.predict_proba(problem.X),
    }


def complete(values: dict, found: dict) -> dict:
    """What was found, with NaN for each quantity that was not."""
    return {name: found.get(name, np.full(len(values[name]), np.nan)) for name in values}


def nist(fit: Callable[[np.ndarray], tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """NIST's log relative errors (correct digits) of mean and standard deviation by a library."""
    result = {}
    for name, (rows, mean, deviation) in NIST.items():
        X = np.array(rows)[:, None]
        found = fit(X)
        pairs = zip((found[0], np.sqrt(found[1] * len(X) / (len(X) - 1))), (mean, deviation),
                    strict=True)  # fmt: skip
        result[name] = tuple(
            float(np.clip(-np.log10(max(abs(value - exact) / exact, 1e-20)), 0, MOST))
            for value, exact in pairs
        )
    return result


def moments_of_gaussmix(X: np.ndarray) -> tuple[float, float]:
    """Mean and variance (with n) as a fit of one component."""
    mixture = gm.fit(X, 1).mixture
    return float(mixture.means[0, 0]), float(mixture.covariances[0, 0, 0])


def moments_of_scikit_learn(X: np.ndarray) -> tuple[float, float]:
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(1, reg_covar=0.0).fit(X)
    return float(model.means_[0, 0]), float(model.covariances_[0, 0, 0])
