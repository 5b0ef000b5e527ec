"""Checks of a kernel call for backends that would otherwise read past the end of an array."""

from __future__ import annotations

import numpy as np

from .contract import (
    FACTOR_DIAG,
    FACTOR_FULL,
    FACTOR_SHARED,
    LAYOUTS,
    RULE_HARD,
    RULE_SOFT,
    RULE_STOCHASTIC,
    STEP_LAYOUTS,
    WANT_LABELS,
    WANT_LOG_JOINT,
    WANT_LOGPDF,
    WANT_MAHALANOBIS,
    WANT_RESPONSIBILITIES,
    Parameters,
    Plan,
    RuleCall,
    StepPlan,
    offsets,
    state_parts,
)

ROW_WANTS = (WANT_LOGPDF, WANT_LABELS)
WANTS = (WANT_LOG_JOINT, WANT_RESPONSIBILITIES, WANT_MAHALANOBIS, *ROW_WANTS)


def check_rows(X: np.ndarray, parameters: Parameters) -> None:
    """Nothing; raises ValueError unless X and the parameters' arrays have matching shapes."""
    n_components, n_features = parameters.means.shape
    if X.ndim != 2 or X.shape[1] != n_features or X.dtype.char not in "fd":
        raise ValueError(
            f"X has shape {X.shape} and dtype {X.dtype}; float32 or float64 (n, {n_features}) is "
            "needed, in native byte order. Convert it before the call."
        )
    shapes = {
        FACTOR_DIAG: (n_components, n_features),
        FACTOR_FULL: (n_components, n_features, n_features),
        FACTOR_SHARED: (n_features, n_features),
    }
    if parameters.factor_kind not in shapes:
        raise ValueError(f"factor_kind is {parameters.factor_kind}; use one of the FACTOR_ codes.")
    _check_array("means", parameters.means, (n_components, n_features))
    _check_array("factors", parameters.factors, shapes[parameters.factor_kind])
    _check_array("log_coefficients", parameters.log_coefficients, (n_components,))
    if parameters.factor_kind == FACTOR_SHARED:
        _check_array("centre", parameters.centre, (n_features,))


def check_accumulate(
    X: np.ndarray,
    sample_weight: np.ndarray | None,
    first_row: int,
    parameters: Parameters,
    layout: int,
    rule: RuleCall,
    accumulators: np.ndarray,
    plan: Plan,
) -> None:
    """Nothing; raises ValueError unless all arguments of `accumulate` fit together."""
    check_rows(X, parameters)
    if layout not in LAYOUTS.values() or not RULE_SOFT <= rule.code <= RULE_STOCHASTIC:
        raise ValueError(f"layout is {layout} and rule is {rule}; use the LAYOUT_ and RULE_ codes.")
    if plan.block < 1 or plan.slot_rows % plan.block or plan.n_accumulators < 1:
        raise ValueError(f"{plan} is no plan: slot_rows has to be a multiple of block. Use plan().")
    if first_row < 0 or first_row % plan.slot_rows:
        raise ValueError(
            f"first_row is {first_row}; a multiple of slot_rows = {plan.slot_rows} is needed. "
            "Cut the rows at slot boundaries."
        )
    size = offsets(*parameters.means.shape, layout).size
    _check_array("accumulators", accumulators, (plan.n_accumulators, size), writes=True)
    if sample_weight is not None:
        _check_array("sample_weight", sample_weight, (len(X),))


def check_combine(
    accumulators: np.ndarray, means: np.ndarray, layout: int, total: np.ndarray
) -> None:
    """Nothing; raises ValueError unless all arguments of `combine` fit together."""
    if means.ndim != 2 or 0 in means.shape or not len(accumulators):
        raise ValueError(
            f"means has shape {means.shape} and accumulators {accumulators.shape}; no axis may be "
            "empty."
        )
    size = offsets(*means.shape, layout).size
    _check_array("accumulators", accumulators, (len(accumulators), size))
    _check_array("total", total, (size,), writes=True)


def check_evaluate(X: np.ndarray, parameters: Parameters, want: int, out: np.ndarray) -> None:
    """Nothing; raises ValueError unless all arguments of `evaluate` fit together."""
    check_rows(X, parameters)
    if want not in WANTS:
        raise ValueError(f"want is {want}; use one of the WANT_ codes.")
    shape = (len(X),) if want in ROW_WANTS else (len(X), len(parameters.means))
    dtype = np.int64 if want == WANT_LABELS else np.float64
    _check_array("out", out, shape, dtype, writes=True)


def check_step(step: StepPlan, **states: np.ndarray) -> None:
    """Nothing; raises ValueError unless `step` is an M-step, and each state one that fits it."""
    if step.code not in STEP_LAYOUTS:
        raise ValueError(f"step is {step.code}; use one of the STEP_ codes.")
    if step.n_components < 1 or step.n_features < 1:
        raise ValueError(
            f"n_components is {step.n_components} and n_features {step.n_features}; both must be "
            "1 or more."
        )
    _check_array("scale", step.scale, (step.n_features,))
    size = state_parts(step.n_components, step.n_features, step.code).size
    for name, state in states.items():
        _check_array(name, state, (size,), writes=True)


def check_loop(rule: RuleCall, fresh: bool, trace: np.ndarray) -> None:
    """Nothing; raises ValueError unless `iterate` knows `rule`, and `trace` can take its rows."""
    if rule.code not in (RULE_SOFT, RULE_HARD):
        raise ValueError(f"rule is {rule}; the loop knows RULE_SOFT and RULE_HARD.")
    _check_array("trace", trace, (len(trace), 2), writes=True)
    if fresh and not len(trace):
        raise ValueError("trace is empty; the first pass needs an element. Make it longer.")


def _check_array(name, array, shape, dtype=np.float64, writes=False):
    if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
        raise ValueError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; a C-contiguous "
            f"{np.dtype(dtype)} array of shape {shape} is needed."
        )
    if writes and not array.flags.writeable:
        raise ValueError(f"{name} is read-only, but results are written to it. Pass a copy.")
