"""Algorithms and rules: how log joint densities become responsibilities.

An algorithm of `fit` is one of `Soft`, `Hard`, `Stochastic` and `Annealed`; strings name those with
their default options. What one E-step does is its rule, which kernels know by its `call`. The first
two are rules themselves; the others make one for each iteration.
"""

from typing import NamedTuple

import numpy as np

from .errors import InvalidInputError
from .inputs import validate
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


class Stochastic:
    """Stochastic EM: labels drawn from the posterior probabilities, in `max_iter` iterations.

    A chain of mixtures that wanders around good optima and leaves poor ones. Its likelihood falls
    and rises; the result is made of the whole chain. With sample weights a row is drawn as one,
    whatever it weighs.

    Parameters
    ----------
    average : bool
        The result is the mean of the parameters over the second half of the chain, whose
        components are kept in one order by matching each mixture to the mean so far. If False, it
        is the mixture of highest log-likelihood, polished.
    polish : int, >= 0
        At most so many EM iterations from the best mixture.

    Notes
    -----
    A component that draws too few rows to determine a covariance stays as it was for that
    iteration. The draw for a row follows from seed, iteration and the row's number: it is the same
    on any number of threads and in any chunks (see ``kernels.contract.RuleCall``). Weights and
    means of all iterations are kept, 8 `max_iter` K (D + 1) bytes (`FitResult.stages`).

    References
    ----------
    Celeux & Diebolt (1985), Computational Statistics Quarterly 2, 73-82.
    """

    name = "stochastic"
    objective = "log_likelihood"

    def __init__(self, average: bool = False, polish: int = 10) -> None:
        self.average = validate.flag("average", average)
        self.polish = validate.integer("polish", polish, 0)

    def __repr__(self) -> str:
        return f"Stochastic(average={self.average}, polish={self.polish})"

    def __eq__(self, other: object) -> bool:
        return type(other) is Stochastic and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    @staticmethod
    def drawn(seed: int, iteration: int) -> "Drawn":
        """The rule of one iteration of the chain that `seed` determines."""
        return Drawn(contract.RuleCall(contract.RULE_STOCHASTIC, 1.0, seed, iteration))


class Annealed:
    """Annealed EM: responsibilities at a falling temperature, then plain EM.

    The E-step takes the log joint densities times an inverse temperature that grows from `beta`
    to 1, by an equal factor in each iteration. Where it is low the objective has few optima, so
    that poor starts lead to the same places as good ones. Only means and weights move then;
    covariances are held at the data's variances times K^(-2/D) / 4, whatever those of the start
    were, and estimated by the plain EM that follows. (If they moved too, components would merge
    for good: where all are one, each has the covariance of all data, and a small difference of
    their means shrinks by the factor `beta` in an iteration. With held ones it grows, as soon as
    the temperature is low enough, and each iteration moves the means at random by a hundredth of a
    standard deviation, the last one by a tenth, the same in every fit, so that there is a
    difference to grow.) It is no better than plain EM where the optimum has components of very
    different shapes in one place: compare the two on your data.

    Parameters
    ----------
    beta : float in (0, 1]
        The inverse temperature of the first iteration.
    n_iter : int, >= 1
        Annealed iterations. The plain ones that follow are at most `max_iter`.

    References
    ----------
    Ueda & Nakano (1998), Neural Networks 11(2), 271-282; held covariances: Rose, Gurewitz & Fox
    (1990), Physical Review Letters 65(8), 945-948.
    """

    name = "annealed"
    objective = "log_likelihood"

    def __init__(self, beta: float = 0.1, n_iter: int = 50) -> None:
        self.beta = validate.real("beta", beta, 0.0, 1.0, low_open=True)
        self.n_iter = validate.integer("n_iter", n_iter, 1)

    def __repr__(self) -> str:
        return f"Annealed(beta={self.beta}, n_iter={self.n_iter})"

    def __eq__(self, other: object) -> bool:
        return type(other) is Annealed and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def schedule(self) -> np.ndarray:
        """(n_iter,) inverse temperatures of the annealed iterations, all below 1 if `beta` is."""
        return self.beta ** (1.0 - np.arange(self.n_iter) / self.n_iter)

    @staticmethod
    def tempered(beta: float) -> "Tempered":
        """The rule of one iteration."""
        return Tempered(contract.RuleCall(contract.RULE_TEMPERED, float(beta)))


class Drawn(NamedTuple):
    """The rule of one stochastic E-step."""

    call: contract.RuleCall
    objective: str = "log_likelihood"


class Tempered(NamedTuple):
    """The rule of one annealed E-step."""

    call: contract.RuleCall
    objective: str = "log_likelihood"


Rule = Soft | Hard | Drawn | Tempered
Algorithm = Soft | Hard | Stochastic | Annealed
SOFT = Soft()
HARD = Hard()
NAMED = {"em": SOFT, "hard": HARD, "stochastic": Stochastic(), "annealed": Annealed()}


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
            # SOFT and HARD are compared by identity.
            found.append(NAMED[item.name] if isinstance(item, Soft | Hard) else item)
        else:
            found = []
            break
    if not found:
        names = ", ".join(repr(name) for name in NAMED)
        raise InvalidInputError(
            f"algorithm is {validate.shown(value)}; pass one of {names}, an object of "
            "gaussmix.rules, or a list of such to run one after the other."
        )
    return tuple(found)
