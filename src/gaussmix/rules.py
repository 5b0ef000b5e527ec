"""Rules: how log joint densities become responsibilities. Kernels know a rule by its code."""

from __future__ import annotations

from .kernels import contract


class Soft:
    """Posterior probabilities: the E-step of EM (Dempster, Laird & Rubin 1977)."""

    code = contract.RULE_SOFT
    objective = "log_likelihood"


class Hard:
    """All of a row to its most probable component, ties to the lowest index.

    The classification step of Celeux & Govaert (1992), Computational Statistics & Data
    Analysis 14(3), 315-332; with one spherical covariance and equal weights it is k-means.
    """

    code = contract.RULE_HARD
    objective = "classification"


Rule = Soft | Hard
SOFT = Soft()
HARD = Hard()
