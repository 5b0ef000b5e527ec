"""Algorithms and rules: how log joint densities become responsibilities.

An algorithm of `fit` is one of `Soft`, `Hard`, `Stochastic` and `Annealed`; strings name those with
their default options. What one E-step does is its rule, which kernels know by its `call`. The first
two are rules themselves; the others make one for each iteration.
"""

from __future__ import annotations

from typing import NamedTuple

from . import _validate
from .errors import InvalidInputError
from .kernels import contract


class Soft:
    """Posterior probabilities: the E-step of EM (Dempster, Laird & Rubin 1977)."""

    name = "em"
    call = contract.SOFT
    objective = "log_likelihood"

    def __repr__(self) -> str:
        return "Soft()"


class Hard:
    """All of a row to its most probable component, ties to the lowest index.

    Classification EM: the classification log-likelihood never falls, and the iteration ends where
    no label changes; `tol` is not used. With one spherical covariance and equal weights it is
    k-means. Weights and covariances of overlapping components are biased: rows near a border
    count for one side only.

    References
    ----------
    Celeux & Govaert (1992), Computational Statistics & Data Analysis 14(3), 315-332.
    """

    name = "hard"
    call = contract.HARD
    objective = "classification"

    def __repr__(self) -> str:
        return "Hard()"


class Drawn(NamedTuple):
    """The rule of one stochastic E-step."""

    call: contract.RuleCall
    objective: str = "log_likelihood"


class Tempered(NamedTuple):
    """The rule of one annealed E-step."""

    call: contract.RuleCall
    objective: str = "log_likelihood"


Rule = Soft | Hard | Drawn | Tempered
Algorithm = Soft | Hard
SOFT = Soft()
HARD = Hard()
NAMED = {"em": SOFT, "hard": HARD}


def algorithms(value: object) -> tuple[Algorithm, ...]:
    """The checked algorithms that `value` names: one, or several to be run one after the other.

    Raises InvalidInputError unless `value` is a name, an algorithm, or a list of such.
    """
    given = value if isinstance(value, (list, tuple)) else [value]
    found = []
    for item in given:
        if isinstance(item, str) and item in NAMED:
            found.append(NAMED[item])
        elif isinstance(item, tuple(type(known) for known in NAMED.values())):
            found.append(NAMED[item.name] if item.name in ("em", "hard") else item)
        else:
            found = []
            break
    if not found:
        names = ", ".join(repr(name) for name in NAMED)
        raise InvalidInputError(
            f"algorithm is {_validate.shown(value)}; pass one of {names}, or a list of them to run "
            "one after the other."
        )
    return tuple(found)
