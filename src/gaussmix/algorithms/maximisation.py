"""The M-step of an EM run: compiled where the family has such a form, else in NumPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import backends, threads
from ..covariance import CovarianceFamily, Floor, MStep
from ..kernels import contract
from ..kernels.contract import Parameters, StepPlan
from ..model.mixture import Mixture
from ..statistics import SufficientStatistics, from_accumulator, mean_offsets, write_sums


class Step(NamedTuple):
    """A mixture and which components (K,) bool were raised to the floor or had no mass."""

    mixture: Mixture
    floored: np.ndarray
    empty: np.ndarray


class Maximiser:
    """The M-step of a mixture's own family under `floor`.

    The compiled step does what is ordinary: no component is empty, no covariance is below the
    floor. All else is left to the family's `m_step`, which also states the formulas. Neither
    depends on the number of threads.
    """

    def __init__(self, floor: Floor, n_threads: int = 1) -> None:
        self.floor = floor
        self.n_threads = n_threads

    def __call__(self, statistics: SufficientStatistics, mixture: Mixture) -> Step:
        """The next mixture; raises DegenerateFitError if a covariance is singular."""
        plan = self.plan(mixture)
        if plan is not None:
            state = flat_state(mixture, statistics, plan)
            then = np.empty_like(state)
            with threads.share(self.n_threads) as n_threads:
                ordinary = backends.active().maximise(state, plan, then, n_threads)
            if ordinary:
                none = np.zeros(mixture.n_components, dtype=bool)
                return Step(mixture_of(then, mixture.family, plan), none, none)
        # What overflows is found by `finite`, in the sums of the next pass at the latest.
        with np.errstate(over="ignore", invalid="ignore"):
            return self.by_formula(statistics, mixture)

    def plan(self, mixture: Mixture) -> StepPlan | None:
        """What the compiled step has to know; None if backend or family have no compiled step."""
        code = self.code(mixture.family)
        if code is None or backends.active().maximise is None:
            return None
        return StepPlan(code, *mixture.means.shape, self.floor.scale, self.floor.relative)

    def code(self, family: CovarianceFamily) -> int | None:
        """The STEP_ code of the compiled step, if there is one."""
        return family.step_code

    def from_sums(self, statistics: SufficientStatistics, family: CovarianceFamily) -> MStep | None:
        """The compiled step where there is no mixture yet; None where it is not an ordinary one."""
        backend = backends.active()
        if family.step_code is None or backend.maximise is None:
            return None
        shape = n_components, n_features = statistics.shift.shape
        plan = StepPlan(family.step_code, *shape, self.floor.scale, self.floor.relative)
        parts = contract.state_parts(n_components, n_features, plan.code)
        state, then = np.empty(parts.size), np.empty(parts.size)
        state[parts.means : parts.covariances] = statistics.shift.ravel()
        write_sums(statistics, state[parts.sums :], contract.STEP_LAYOUTS[plan.code])
        if not backend.maximise(state, plan, then):
            return None
        none = np.zeros(n_components, dtype=bool)
        covariances = then[parts.covariances : parts.coefficients]
        return MStep(
            then[: parts.means],
            then[parts.means : parts.covariances].reshape(shape),
            covariances.reshape(family.shape(*shape)),
            none,
            none,
        )

    def by_formula(self, statistics: SufficientStatistics, mixture: Mixture) -> Step:
        """The step in NumPy, with all repairs."""
        step = mixture.family.m_step(statistics, mixture.covariances, self.floor)
        updated = Mixture._of(mixture.family, step.weights, step.means, step.covariances)
        return Step(updated, step.floored, step.empty)


class MeansMaximiser(Maximiser):
    """The M-step of k-means: means of the cells; an empty cell keeps its centre."""

    def code(self, family):
        return contract.STEP_MEANS

    def by_formula(self, statistics, mixture):
        empty = statistics.mass <= 0.0
        means = mixture.means + mean_offsets(statistics, empty)
        moved = Mixture._of(mixture.family, mixture.weights, means, mixture.covariances)
        return Step(moved, np.zeros_like(empty), empty)


def flat_state(
    mixture: Mixture,
    statistics: SufficientStatistics | None,
    plan: StepPlan,
    size: int | None = None,
) -> np.ndarray:
    """A mixture and its statistics as the compiled steps read them: one array, freshly made.

    Without statistics the sums, if given as so many numbers, are left to the caller to fill.
    """
    parts = contract.state_parts(plan.n_components, plan.n_features, plan.code)
    state = np.empty(parts.size if size is None else parts.sums + size)
    parameters = mixture.kernel_parameters
    state[: parts.means] = mixture.weights
    state[parts.means : parts.covariances] = mixture.means.ravel()
    state[parts.covariances : parts.coefficients] = mixture.covariances.ravel()
    state[parts.coefficients : parts.factors] = parameters.log_coefficients
    state[parts.factors : parts.centre] = parameters.factors.ravel()
    state[parts.centre : parts.sums] = parameters.centre
    if statistics is not None:
        write_sums(statistics, state[parts.sums :], contract.STEP_LAYOUTS[plan.code])
    return state


def mixture_of(state: np.ndarray, family: CovarianceFamily, plan: StepPlan) -> Mixture:
    """The mixture that a flat state holds, not copied: the state must not change any more."""
    n_components, n_features = plan.n_components, plan.n_features
    parts = contract.state_parts(n_components, n_features, plan.code)
    state.setflags(write=False)
    means = state[parts.means : parts.covariances].reshape(n_components, n_features)
    covariances = state[parts.covariances : parts.coefficients]
    factors = state[parts.factors : parts.centre]
    if family.factor_kind == contract.FACTOR_DIAG:
        factors = factors.reshape(n_components, n_features)
    else:
        factors = factors.reshape(family.shape(n_components, n_features))
    parameters = Parameters(
        family.factor_kind,
        state[parts.coefficients : parts.factors],
        means,
        factors,
        state[parts.centre : parts.sums],
    )
    covariances = covariances.reshape(family.shape(n_components, n_features))
    return Mixture._with(family, state[: parts.means], covariances, parameters)


def statistics_of(state: np.ndarray, mixture: Mixture, plan: StepPlan, n_rows: int):
    """The statistics that a flat state holds, around the means of its `mixture`; not copied."""
    parts = contract.state_parts(plan.n_components, plan.n_features, plan.code)
    layout = contract.STEP_LAYOUTS[plan.code]
    return from_accumulator(
        state[parts.sums :], mixture.means, contract.LAYOUT_NAMES[layout], n_rows
    )
