"""Rules: how log joint densities become responsibilities. Kernels know a rule by its code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .kernels import contract


@dataclass(frozen=True)
class Soft:
    """Posterior probabilities: the E-step of EM (Dempster, Laird & Rubin 1977)."""

    code: ClassVar[int] = contract.RULE_SOFT
    objective: ClassVar[str] = "log_likelihood"


@dataclass(frozen=True)
class Hard:
    """All of a row to its most probable component, ties to the lowest index.

    The classification step of Celeux & Govaert (1992), Computational Statistics & Data
    Analysis 14(3), 315-332; with one spherical covariance and equal weights it is k-means.
    """

    code: ClassVar[int] = contract.RULE_HARD
    objective: ClassVar[str] = "classification"


Rule = Soft | Hard
SOFT = Soft()
HARD = Hard()
