"""What a fit is asked for, and whether the rows and the machine have it to give."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backends, rules
from ..covariance import family
from ..errors import InvalidInputError
from ..inputs import validate
from ..kernels import contract
from ..passes.sources import Rows
from ..rules import SOFT, Algorithm

MOST_STARTS = 1_000_000  # the result holds a report of each


@dataclass(frozen=True)
class FitOptions:
    """The arguments of a fit; `checked` makes them what it takes."""

    n_components: int
    covariance_type: str = "full"
    n_starts: int = 1
    tol: float = 1e-3
    max_iter: int = 100
    reg_covar: float = 1e-6
    n_threads: int | None = None
    algorithm: tuple[Algorithm, ...] = (SOFT,)  # one after the other

    def recorded(self) -> dict[str, Any]:
        """By name, as results and checkpoints keep them: algorithms as text, and the kernels."""
        live = backends.active()
        algorithm = [repr(algorithm) for algorithm in self.algorithm]
        return {**vars(self), "algorithm": algorithm, "backend": live.name, "level": live.level}


def checked(options: FitOptions) -> FitOptions:
    """The options as a fit takes them; raises InvalidInputError if one is out of its range."""
    return FitOptions(
        validate.integer("n_components", options.n_components, 1),
        family(options.covariance_type).name,
        validate.integer("n_starts", options.n_starts, 1, MOST_STARTS),
        validate.real("tol", options.tol, 0.0),
        validate.integer("max_iter", options.max_iter, 0),
        validate.real("reg_covar", options.reg_covar, 0.0),
        options.n_threads,
        rules.algorithms(options.algorithm),
    )


def check_rows(X: Rows, weight: np.ndarray | None, n_components: int) -> None:
    n_rows = len(X) if weight is None else int(np.count_nonzero(weight))
    if n_rows < n_components:
        of = "" if weight is None else " of positive weight"
        raise InvalidInputError(
            f"n_samples={n_rows}{of} < n_components={n_components}; use at most {n_rows} "
            "components or more rows."
        )


def check_memory(n_rows: int, n_features: int, options: FitOptions) -> None:
    """Refuse a mixture that does not fit into memory, before anything is allocated.

    Counted are the accumulators that the rows reach, and six more sets of sums for the mixtures
    and statistics of an iteration.
    """
    layout = contract.LAYOUTS[family(options.covariance_type).layout]
    plan = contract.plan(options.n_components, n_features, layout)
    sets = 6 + min(plan.n_accumulators, -(-n_rows // plan.slot_rows))
    n_bytes = 8 * sets * contract.offsets(options.n_components, n_features, layout).size
    available = _physical_memory()
    if n_bytes > available:
        raise InvalidInputError(
            f"n_components={options.n_components} with {n_features} features and covariance_type="
            f"{options.covariance_type!r} needs about {n_bytes:.3g} bytes, but this machine has "
            f"{available:.3g}; use fewer components or a simpler covariance_type."
        )


def _physical_memory() -> int:
    """Bytes of memory of this machine, or what no machine has where that is not known."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return 1 << 46
