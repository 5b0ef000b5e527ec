"""What the user must be told of the data, and of what a fit has come to."""

from __future__ import annotations

import numpy as np

from .. import rules, stopping
from ..algorithms.em import EPS, Run
from ..algorithms.results import FitResult, Repair
from ..covariance import Floor
from ..errors import DegenerateComponentWarning, PrecisionWarning, warn
from ..model.mixture import Mixture
from ..passes.posteriors import posterior_pieces
from ..passes.sources import Rows
from ..passes.summary import Summary, distinct_rows, rank
from ..stopping import Stopped

NAMED = 5  # columns or components that one message names
FEW_ROWS = 1.5  # a component of less is one row and its neighbours' tails
COINCIDING = 0.01  # share of what a row could tell of its component; see `_coinciding`
LARGEST_INTEGER = 2.0**53  # up to which float64 holds all
FEW_DIGITS = 1e4  # spreads of fewer units in the last place than this draw a PrecisionWarning


def check_columns(summary: Summary, reg_covar: float) -> list[Repair]:
    """Warn of columns that are constant or hold few digits, and of a floor above the data."""
    constant = summary.constant.nonzero()[0].tolist()
    repairs = []
    if constant:
        values = [_constant(feature, float(summary.mean[feature])) for feature in constant]
        tail = (
            f"; the variance is the floor that reg_covar={reg_covar:g} sets. Drop constant columns."
        )
        repairs = [
            Repair("constant", None, feature, 0, value + tail)
            for feature, value in zip(constant, values, strict=True)
        ]
        warn(", ".join(values[:NAMED]) + _more(constant) + tail, DegenerateComponentWarning)
    check_digits(summary)
    if reg_covar >= 1.0:
        warn(
            f"reg_covar={reg_covar:g} exceeds the variance of the data, relative to which it is "
            "measured; every covariance is the floor. The default is 1e-6.",
            DegenerateComponentWarning,
        )
    return repairs


def _constant(feature: int, value: float) -> str:
    """What there is to say of a constant column; it may have been made so by rounding."""
    rounded = ""
    if abs(value) > LARGEST_INTEGER:
        rounded = (
            f" as float64, which rounds integers beyond {LARGEST_INTEGER:.0f}: subtract an offset "
            "from such before"
        )
    return f"column {feature} of X is constant ({value:.6g}){rounded}"


def check_digits(summary: Summary) -> None:
    """Warn of columns whose offset leaves few digits of the spread."""
    ulp = EPS * np.abs(summary.mean)
    coarse = (~summary.constant & (summary.scale < FEW_DIGITS * ulp)).nonzero()[0].tolist()
    if coarse:
        values = ", ".join(
            f"column {feature} of X has mean {summary.mean[feature]:.6g} and standard deviation "
            f"{summary.scale[feature]:.3g}"
            for feature in coarse[:NAMED]
        )
        digits = max(0.0, np.log10((summary.scale[coarse] / ulp[coarse]).min()))
        warn(
            f"{values}{_more(coarse)}: float64 holds about {digits:.0f} digits of the spread. "
            "Subtract the offset before it is rounded.",
            PrecisionWarning,
        )


def components_named(components: list[int]) -> str:
    """``component 3`` or ``components 3, 4 and 7 more``."""
    noun = "component" if len(components) == 1 else "components"
    return f"{noun} {', '.join(map(str, components[:NAMED]))}{_more(components)}"


def _more(features: list[int]) -> str:
    return f" and {len(features) - NAMED} more" if len(features) > NAMED else ""


def report(
    run: Run, X: Rows, sample_weight: np.ndarray | None, summary: Summary, floor: Floor
) -> list[Repair]:
    """Name what is wrong with a run's result; warn once per cause.

    Empty components, single rows or next to none, floors, and components that coincide. Where
    the fit has to end early, without the reasons that only another pass over the rows tells, and
    with the narrow columns of a few components.
    """
    repairs: list[Repair] = []
    n_components = run.mixture.n_components
    if summary.n_rows == n_components and n_components > 1:
        repairs.append(
            Repair(
                "single row",
                None,
                None,
                0,
                f"there are as many rows as components ({n_components}): every component has "
                "one row. Use fewer components.",
            )
        )
    elif summary.n_rows == 1:
        message = "X has one row: the mean is that row, the variance the floor. Use more rows."
        repairs.append(Repair("single row", 0, None, 0, message))
    else:
        repairs += _few_rows(run, X, sample_weight, summary)
    repairs += _empty(run, X, sample_weight)
    told = {repair.component for repair in repairs}
    alone = [k for k in run.floored if k not in told and summary.n_rows != n_components]
    if alone and floor.relative < 1.0:  # else `check_columns` has said why
        repairs += _floored(run, alone, summary, floor, sample_weight, X)
    repairs += _coinciding(run)
    for message in dict.fromkeys(repair.message for repair in repairs):
        warn(message, DegenerateComponentWarning)
    return repairs


def _few_rows(
    run: Run, X: Rows, sample_weight: np.ndarray | None, summary: Summary
) -> list[Repair]:
    """Components that hold less than one and a half rows, whether or not they are at the floor.

    Under a shared covariance an outlier alone in a component is far from the floor. A row is one
    of mean weight here; where weights differ, the shares of single rows tell one from several.
    """
    mass = run.statistics.mass
    least = FEW_ROWS * run.statistics.weight / summary.n_rows
    few = [k for k, m in enumerate(mass.tolist()) if m < least and k not in run.empty]
    if not few:
        return []
    repairs = []
    try:
        rows, shares, certain = _heaviest_rows(run.mixture, X, sample_weight)
    except Stopped:
        certain = np.zeros(run.mixture.n_components, dtype=bool)
    for k in few:
        if certain[k] and shares[k] * FEW_ROWS > mass[k]:
            kind = "single row"
            message = (
                f"component {k} has 1 row, X[{rows[k]}]: it describes an outlier. Drop that row, "
                "use fewer components or another start."
            )
        elif sample_weight is None and k not in run.floored:
            kind = "few rows"
            message = (
                f"component {k} has next to no rows (mass {mass[k]:.3g}). Use fewer components or "
                "another start."
            )
        else:  # at the floor, which is told as such, or several rows of small weight
            continue
        repairs.append(Repair(kind, k, None, run.floored.get(k, run.n_iter), message))
    return repairs


def _heaviest_rows(
    mixture: Mixture, X: Rows, sample_weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each component the row it holds most of, ``w r`` of that, and whether r > 1/2.

    One pass over the rows, O(N K D^2).
    """
    n_components = mixture.n_components
    every = np.arange(n_components)
    numbers, shares = np.zeros(n_components, dtype=np.int64), np.zeros(n_components)
    certain = np.zeros(n_components, dtype=bool)
    for rows, r in posterior_pieces(X, mixture.kernel_parameters, 1):
        weighted = r if sample_weight is None else sample_weight[rows, None] * r
        top = weighted.argmax(axis=0)
        more = weighted[top, every] > shares
        numbers[more] = rows.start + top[more]
        shares[more] = weighted[top, every][more]
        certain[more] = r[top, every][more] > 0.5
    return numbers, shares, certain


def _empty(run: Run, X: Rows, sample_weight: np.ndarray | None) -> list[Repair]:
    if not run.empty:
        return []
    n_components = run.mixture.n_components
    try:
        distinct = distinct_rows(X, sample_weight, n_components)
    except Stopped:
        distinct = n_components
    named = components_named(list(run.empty))
    if distinct < n_components:
        cause = (
            f"{distinct} distinct {'row' if distinct == 1 else 'rows'} for {n_components} "
            f"components: {named} empty. Use fewer components."
        )
    else:
        cause = (
            f"{named} empty: no row, or none of a weight that counts beside the others, is near. "
            "Mean and covariance are kept, with weight 0; use another start."
        )
    return [Repair("empty", k, None, iteration, cause) for k, iteration in run.empty.items()]


def _coinciding(run: Run) -> list[Repair]:
    """Components that EM has left where random responsibilities put them: all in one place.

    Equal components are a saddle of the likelihood, and near it EM moves less than `tol`. What
    the rows tell of their components, H(weights) - H(posteriors), is then a small part of
    H(weights), and in total below one nat for each free parameter: estimates from random
    responsibilities differ by about half of that. Two components that do describe the data are
    a quarter of a standard deviation apart, or the rows are many enough to tell them apart.
    """
    weights, statistics = run.mixture.weights, run.statistics
    weights = weights[weights > 0.0]
    if not run.converged or len(weights) < 2:
        return []
    possible = -float(weights @ np.log(weights))  # nats per row
    told = possible - statistics.entropy / statistics.weight
    if told >= COINCIDING * possible or told * statistics.weight >= run.mixture.n_parameters:
        return []
    message = (
        f"the {len(weights)} components coincide: EM has come to rest at a saddle, and the fit is "
        'that of about one component. Use start="kmeans", or a lower tol.'
    )
    return [Repair("coinciding", None, None, run.n_iter, message)]


def _floored(
    run: Run,
    components: list[int],
    summary: Summary,
    floor: Floor,
    sample_weight: np.ndarray | None,
    X: Rows,
) -> list[Repair]:
    """Why components sit at the floor: dependent columns, too few rows, constants, or collapse."""
    n_features = run.mixture.n_features
    varying = int(np.count_nonzero(~summary.constant))
    tied = run.mixture.covariance_type == "tied"
    noun = "the shared covariance" if tied else components_named(components)
    iteration = min(run.floored[k] for k in components)
    repairs = []
    correlated = run.mixture.covariance_type in ("full", "tied")
    if correlated and summary.n_rows <= n_features:
        message = (
            f"{summary.n_rows} rows in {n_features} columns: covariances have rank <= "
            f"{summary.n_rows - 1} of {n_features} and were raised to the floor. "
            'Use covariance_type="diag" or "spherical".'
        )
        repairs.append(Repair("rank", None, None, iteration, message))
    elif correlated and (found := rank(X, sample_weight, summary)) < varying:
        message = (
            f"the columns of X are linearly dependent (rank {found} of {n_features}): the "
            "covariances were raised to the floor. Drop the redundant columns."
        )
        repairs.append(Repair("rank", None, None, iteration, message))
    elif varying == n_features or _collapsed(run, components, summary, floor):
        mass = ", ".join(f"{run.statistics.mass[k]:.3g}" for k in components[:NAMED])
        # Eigenvectors of 64 covariances in 64 features take 50 ms.
        columns = dict.fromkeys(components)
        for k in components[:NAMED] if stopping.stopped() else components:
            columns[k] = _narrowest(run.mixture, k, summary)
        where = list(dict.fromkeys(column for column in columns.values() if column is not None))
        message = (
            f"{noun} collapsed to the floor reg_covar={floor.relative:g}"
            + ("" if tied else f" (mass {mass}{_more(components)})")
            + (f" in {_columns_named(where)}" if where else "")
            + ". Use fewer components, a simpler covariance_type or a larger reg_covar."
        )
        repairs += [
            Repair("floor", None if tied else k, columns[k], run.floored[k], message)
            for k in (components[:1] if tied else components)
        ]
    return repairs


def _narrowest(mixture: Mixture, component: int, summary: Summary) -> int | None:
    """The column that has most part in a covariance's narrowest direction, in scaled features.

    One of those that vary; None for "spherical", which is as narrow in all.
    """
    varying = np.flatnonzero(~summary.constant)
    if mixture.covariance_type == "spherical" or not len(varying):
        return None
    scale = summary.scale[varying]
    covariance = mixture.dense_covariances()[component][np.ix_(varying, varying)]
    vectors = np.linalg.eigh(covariance / scale[:, None] / scale)[1]
    return int(varying[np.argmax(np.abs(vectors[:, 0]))])


def _columns_named(columns: list[int]) -> str:
    """``column 1`` or ``columns 1, 2 and 7 more``."""
    noun = "column" if len(columns) == 1 else "columns"
    return f"{noun} {', '.join(map(str, columns[:NAMED]))}{_more(columns)}"


def _collapsed(run: Run, components: list[int], summary: Summary, floor: Floor) -> bool:
    """Whether a component is at the floor in a column that varies (constant ones always are)."""
    variances = run.mixture.standard_deviations[components][:, ~summary.constant] ** 2
    limit = floor.variances[~summary.constant]
    return bool((variances <= 1.01 * limit).any()) if limit.size else False


def not_converged(result: FitResult) -> str:
    """What there is to say of a fit that a limit ended: last change, tol, iterations; or ""."""
    if result.stop_reason in stopping.REASONS:
        return _stopped(result)
    if result.stop_reason != "max_iter" or result.config["max_iter"] == 0:
        return ""
    if result.stages[-1].algorithm == rules.HARD.name:
        return (
            f"labels still changed after {result.n_iter} iterations of hard EM. Increase max_iter."
        )
    return (
        f"EM did not converge in {result.n_iter} iterations: {_last_change(result)}. Increase "
        "max_iter or tol."
    )


def _last_change(result: FitResult) -> str:
    change = np.diff(result.log_likelihood[-2:]) / result.statistics.weight
    last = f"{change[0]:.3g}" if len(change) else "unknown"
    return f"the mean log-likelihood last changed by {last}, tol is {result.config['tol']:g}"


def _stopped(result: FitResult) -> str:
    """What there is to say of a fit that `max_seconds` or `cancel` ended."""
    cause = "cancel"
    if result.stop_reason == stopping.MAX_SECONDS:
        cause = f"max_seconds={result.config['max_seconds']:g}"
    if result.converged:
        return (
            f"{cause} ended the search for a better optimum: the best of {len(result.starts)} "
            f"starts so far has converged in {result.n_iter} iterations, others were not done."
        )
    return (
        f"{cause} ended the fit after {result.n_iter} iterations: {_last_change(result)}. Give it "
        "more time, or go on from its mixture with start=result.mixture."
    )
