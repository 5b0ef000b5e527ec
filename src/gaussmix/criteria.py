"""Penalised log-likelihoods; all in nats, times 2, lower is better."""

from __future__ import annotations

from math import inf, log

from .inputs import validate

# As people write them; "cv" is what cross-validation finds (see `gaussmix.select`).
NAMES = {"bic": "BIC", "aic": "AIC", "aicc": "AICc", "icl": "ICL", "cv": "CV"}


def aic(log_likelihood: float, n_parameters: int) -> float:
    """Akaike information criterion, ``-2 log_likelihood + 2 n_parameters``; lower is better.

    Parameters
    ----------
    log_likelihood : float
        Total (not mean) log-likelihood of the data, in nats.
    n_parameters : int
        Free parameters, ``mixture.n_parameters``.

    Raises
    ------
    InvalidInputError
        If an argument is not a number, or `n_parameters` is negative.

    References
    ----------
    Akaike (1974), IEEE Transactions on Automatic Control 19(6), 716-723.
    """
    log_likelihood, n_parameters = _fit(log_likelihood, n_parameters)
    return -2.0 * log_likelihood + 2.0 * n_parameters


def bic(log_likelihood: float, n_parameters: int, n_samples: float) -> float:
    """Bayesian information criterion of a fitted mixture; lower is better.

    Parameters
    ----------
    log_likelihood : float
        Total (not mean) log-likelihood of the data, in nats.
    n_parameters : int
        Free parameters, ``mixture.n_parameters``.
    n_samples : float
        Rows, or the sum of the sample weights.

    Returns
    -------
    float
        ``-2 log_likelihood + n_parameters log(n_samples)``: mclust's value times -1.

    Raises
    ------
    InvalidInputError
        As in `aic`, or if `n_samples` is not positive.

    References
    ----------
    Schwarz (1978), Annals of Statistics 6(2), 461-464; here times -2.
    """
    log_likelihood, n_parameters = _fit(log_likelihood, n_parameters)
    n_samples = validate.real("n_samples", n_samples, 0.0, low_open=True)
    return -2.0 * log_likelihood + n_parameters * log(n_samples)


def icl(log_likelihood: float, n_parameters: int, n_samples: float, entropy: float) -> float:
    """Integrated completed likelihood, ``bic + 2 entropy``; lower is better.

    Parameters
    ----------
    log_likelihood, n_parameters, n_samples
        As in `bic`.
    entropy : float
        ``-sum w r log r`` over rows and components, in nats.

    Raises
    ------
    InvalidInputError
        As in `bic`, or if `entropy` is not a number.

    Notes
    -----
    mclust's icl replaces the entropy by ``-sum w log max_k r`` and has the opposite sign.

    References
    ----------
    Biernacki, Celeux & Govaert (2000), IEEE PAMI 22(7), 719-725, eq. 8 with the entropy of
    McLachlan & Peel (2000), Finite Mixture Models, section 6.10.2.
    """
    entropy = validate.real("entropy", entropy, -inf, allow_inf=True)
    return bic(log_likelihood, n_parameters, n_samples) + 2.0 * entropy


def aicc(log_likelihood: float, n_parameters: int, n_samples: float) -> float:
    """Akaike information criterion for few rows, ``aic + 2 p (p + 1) / (n - p - 1)``.

    Parameters
    ----------
    log_likelihood, n_parameters, n_samples
        As in `bic`; p is `n_parameters`, n is `n_samples`.

    Returns
    -------
    float
        Lower is better; infinity where ``n <= p + 1``: so few rows bear no such model.

    Raises
    ------
    InvalidInputError
        As in `bic`.

    References
    ----------
    Hurvich & Tsai (1989), Biometrika 76(2), 297-307.
    """
    log_likelihood, n_parameters = _fit(log_likelihood, n_parameters)
    n_samples = validate.real("n_samples", n_samples, 0.0, low_open=True)
    rest = n_samples - n_parameters - 1.0
    if rest <= 0.0:
        return inf
    return aic(log_likelihood, n_parameters) + 2.0 * n_parameters * (n_parameters + 1.0) / rest


def _fit(log_likelihood: float, n_parameters: int) -> tuple[float, float]:
    """Both, checked; the log-likelihood is -inf where a row is too far away to have a density."""
    return (
        validate.real("log_likelihood", log_likelihood, -inf, allow_inf=True),
        validate.real("n_parameters", n_parameters, 0.0),
    )
