"""The same EM iterations in gaussmix, oneDAL and scikit-learn: one function of each.

Every function takes a case and a number of iterations and returns the mixture reached, so that
one score can compare them, and the iterations done. None stops early (tol = 0) but where no bit
of its log-likelihood changes any more.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import gaussmix as gm

from ._data import Case


class Reached(NamedTuple):
    """Where a fit of fixed length ended."""

    mixture: gm.Mixture
    n_iter: int


class Peer(NamedTuple):
    """One library; `run(case, iterations)` fits and returns what was reached."""

    name: str
    covariance_types: tuple[str, ...]
    run: Callable[[Case, int], Reached]


def available() -> tuple[list[Peer], list[str]]:
    """The peers installed here, gaussmix first, and a line for each that is not."""
    missing = [
        f"{peer.name} is left out: {package} is not installed (pip install {package})."
        for peer, module, package in PEERS
        if importlib.util.find_spec(module) is None
    ]
    found = [peer for peer, module, _ in PEERS if importlib.util.find_spec(module) is not None]
    return found, missing


def _gaussmix(case: Case, iterations: int) -> Reached:
    start = case.start
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gm.GaussmixWarning)
        result = gm.fit(
            case.X,
            start.n_components,
            covariance_type=start.covariance_type,
            start=start,
            tol=0.0,
            max_iter=iterations,
        )
    return Reached(result.mixture, result.n_iter)


def _onedal(case: Case, iterations: int) -> Reached:
    """Intel's em_gmm; it adds nothing to covariances that can be inverted."""
    import daal4py

    start, kind = case.start, {"full": "full", "diag": "diagonal"}[case.start.covariance_type]
    algorithm = daal4py.em_gmm(
        nComponents=start.n_components,
        maxIterations=iterations,
        accuracyThreshold=0.0,
        covarianceStorage=kind,
    )
    covariances = [np.atleast_2d(covariance).copy() for covariance in start.covariances]
    done = algorithm.compute(
        case.X, start.weights.reshape(1, -1).copy(), start.means.copy(), covariances
    )
    weights = np.asarray(done.weights).ravel()
    covariances = np.array([np.asarray(covariance) for covariance in done.covariances])
    if start.covariance_type == "diag":
        covariances = covariances[:, 0]
    mixture = gm.Mixture(weights / weights.sum(), done.means, covariances, start.covariance_type)
    return Reached(mixture, int(done.nIterations[0, 0]))


def _scikit_learn(case: Case, iterations: int) -> Reached:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    start = case.start
    invert = np.linalg.inv if start.covariance_type in ("full", "tied") else np.reciprocal
    model = GaussianMixture(
        start.n_components,
        covariance_type=start.covariance_type,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=invert(start.covariances),
        init_params="random_from_data",  # still made, though not used: the cheapest
        tol=0.0,
        max_iter=iterations,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(case.X)
    mixture = gm.Mixture(model.weights_, model.means_, model.covariances_, start.covariance_type)
    return Reached(mixture, model.n_iter_)


# The peer, the module whose presence shows that it is installed, and the package that holds it.
PEERS = [
    (Peer("gaussmix", ("full", "tied", "diag", "spherical"), _gaussmix), "gaussmix", "gaussmix"),
    (Peer("oneDAL", ("full", "diag"), _onedal), "daal4py", "scikit-learn-intelex"),
    (
        Peer("scikit-learn", ("full", "tied", "diag", "spherical"), _scikit_learn),
        "sklearn",
        "scikit-learn",
    ),
]
NAMES = [peer.name for peer, _, _ in PEERS]
