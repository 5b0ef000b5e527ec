"""The state of an OnlineMixture as model files hold it."""

from __future__ import annotations

import numpy as np

from ..algorithms.results import REPAIR, repairs_of
from ..covariance import Floor
from ..errors import InvalidInputError
from ..files import records
from ..files.container import Record
from ..files.records import NONE
from ..fitting.frame import Frame
from ..inputs import validate
from ..kernels.contract import LAYOUTS, MARK_HELD, MARK_NONE, MARK_RAISED, offsets
from ..model.mixture import Mixture
from ..starts.start import KINDS
from .advance import Iterate, gather_layout
from .first_rows import FirstRows
from .recursion import Average, Recursion

_OPTIONS = {
    "n_components": int,
    "covariance_type": str,
    "n_starts": int,
    "start_rows": (int, NONE),
    "step_rows": (int, NONE),
    "average": bool,
    "n_threads": (int, NONE),
}
_STEPS = ("alpha", "t0", "half_life", "reg_covar")
_PARAMETERS = ("weights", "means", "covariances")


def record_of(online) -> Record:
    """The record of an OnlineMixture."""
    if online._stream.adapt is not None:
        raise InvalidInputError(
            "the stream belongs to a GaussianMixture, whose arguments change its start. Save the "
            "mixture alone, or pickle the estimator."
        )
    stream, moment = online._stream, online._moment
    options, schedule = stream.options, stream.schedule
    named = isinstance(stream.start, str)
    fields = {
        "n_components": options.n_components,
        "covariance_type": options.covariance_type,
        "n_starts": options.n_starts,
        "start_rows": stream.start_rows,
        "step_rows": schedule.unit_rows,
        "average": stream.average,
        "n_threads": options.n_threads,
        "start": stream.start if named else None,
        "n_rows": moment.n_rows,
        "n_updates": moment.n_updates,
    }
    half_life = np.nan if schedule.half_life is None else schedule.half_life
    repairs = [{name: getattr(repair, name) for name in REPAIR} for repair in moment.repairs]
    arrays = {
        "steps": np.array([schedule.alpha, schedule.t0, half_life, options.reg_covar]),
        "seed": np.array(stream.seed, dtype=np.int64),
        "report": records.text({"repairs": repairs}),
    }
    record = Record("online", fields, arrays if named else arrays | {"start": stream.start})
    if moment.first.batches:
        record.nest("first", _first_record(moment.first))
    if moment.recursion is not None:
        record.nest("recursion", _recursion_record(moment.recursion, moment.frame))
    return record


def online_of(record: Record, make):
    """The OnlineMixture of a record, made by `make`, its class, which checks its arguments.

    Raises InvalidInputError if parts do not fit together.
    """
    parts = [name for name in ("first", "recursion") if name in record.fields]
    own, *found = record.split(*parts)
    if len(found) > 1:
        raise InvalidInputError("there are rows for a start, and a recursion that has begun.")
    *given, start, n_rows, n_updates = records.fields(
        own, **_OPTIONS, start=(str, NONE), n_rows=int, n_updates=int
    )
    records.numbers(own, "steps", "report", *(["start"] if start is None else []), seed="i8")
    steps, seed = own.arrays["steps"], own.arrays["seed"]
    if steps.shape != (len(_STEPS),) or seed.shape != ():
        raise InvalidInputError(f"steps has shape {steps.shape} and seed {seed.shape}.")
    options = dict(zip((*_OPTIONS, *_STEPS), (*given, *steps.tolist()), strict=True))
    if np.isnan(options["half_life"]):
        options["half_life"] = None
    recursion, frame = None, None
    if "recursion" in parts:
        recursion, frame = _recursion_of(found[0], options)
    if recursion is None or start in KINDS:
        online = make(**options, start=own.arrays["start"] if start is None else start)
    else:
        online = make(**options, start=own.arrays["start"] if start is None else recursion.mixture)
        if start is not None:
            start = validate.choice("start", start, ("Mixture", "FitResult"))
            online._stream = online._stream._replace(start=start)
    report = records.document_of(own, "report")
    records.values(report, "report: ", repairs=list)
    seed = validate.integer("seed", seed.item(), 0)
    online._stream = online._stream._replace(seed=seed)
    online._moment = online._moment._replace(
        n_rows=validate.integer("n_rows", n_rows, 0),
        n_updates=validate.integer("n_updates", n_updates, 0),
        first=_first_of(found[0]) if "first" in parts else FirstRows(),
        recursion=recursion,
        frame=frame,
        repairs=tuple(repairs_of(report)),
    )
    return online


def _first_record(first: FirstRows) -> Record:
    X, weights = first.joined()
    arrays = {"rows": X, "weight": np.array(first.weight, dtype=np.float64)}
    return Record("first", {}, arrays if weights is None else arrays | {"weights": weights})


def _first_of(record: Record) -> FirstRows:
    records.fields(record)
    given = [name for name in ("weights",) if name in record.arrays]
    X = record.arrays.get("rows")
    precision = "f4" if X is not None and X.dtype == np.float32 else "f8"
    records.numbers(record, "weight", *given, rows=precision)
    finite = np.isfinite(X)
    if X.ndim != 2 or 0 in X.shape or not finite.all():
        raise InvalidInputError(f"rows has shape {X.shape}, or holds NaN or infinities.")
    weights, n_positive = None, len(X)
    if given:
        weights = validate.array("weights", record.arrays["weights"], (len(X),)).copy()
        if (weights < 0.0).any():
            raise InvalidInputError(f"weights has {weights.min():g}, which is below 0.")
        n_positive = int(np.count_nonzero(weights))
    total = validate.real("weight", record.arrays["weight"].tolist(), 0.0)
    return FirstRows(((X.copy(), weights),), n_positive, total)


def _recursion_record(recursion: Recursion, frame: Frame | None) -> Record:
    floor, average = recursion.floor, recursion.average
    arrays = {
        "marks": recursion.marks,
        "rates": np.array([recursion.weight, recursion.concentration, recursion.new_share]),
    }
    if frame is not None:
        arrays["origin"] = frame.origin
    if recursion.iterate.sums is not None:
        arrays["sums"] = recursion.iterate.sums
    if floor is not None:
        arrays |= {"floor": np.array([floor.relative, *floor.scale])}
    if average is not None:
        arrays |= {f"average_{n}": a for n, a in zip(_PARAMETERS, average.parameters, strict=True)}
        arrays["average_weight"] = np.array(average.weight, dtype=np.float64)
    fields = {"n_rows": recursion.n_rows, "mended": bool(recursion.mended)}
    record = Record("recursion", fields, arrays)
    record.nest("mixture", recursion.mixture._record())
    return record


def _recursion_of(record: Record, options: dict) -> tuple[Recursion, Frame | None]:
    own, part = record.split("mixture")
    n_rows, mended = records.fields(own, n_rows=int, mended=bool)
    mixture = records.mixture_of(part, Mixture)
    n_components, n_features = mixture.means.shape
    if (n_components, mixture.covariance_type) != tuple(
        options[name] for name in ("n_components", "covariance_type")
    ):
        raise InvalidInputError("the mixture of the recursion does not fit its options.")
    averages = [f"average_{name}" for name in (*_PARAMETERS, "weight")]
    given = [name for name in ("sums", "floor", "origin") if name in own.arrays]
    given += averages if averages[0] in own.arrays else []
    records.numbers(own, "rates", *given, marks="i8")
    marks = own.arrays["marks"]
    known = np.isin(marks, (MARK_NONE, MARK_HELD, MARK_RAISED)).all()
    if marks.shape != (n_components,) or not known:
        raise InvalidInputError(f"marks are {validate.shown(marks.tolist())}.")
    rates = validate.array("rates", own.arrays["rates"], (3,))
    if (rates < 0.0).any():
        raise InvalidInputError(f"rates are {rates.tolist()}; none may be below 0.")
    sums = floor = average = frame = None
    if "origin" in given:
        frame = Frame(validate.array("origin", own.arrays["origin"], (n_features,)).copy())
    if "sums" in given:
        size = offsets(n_components, n_features, LAYOUTS[gather_layout(mixture.family)]).size
        sums = validate.array("sums", own.arrays["sums"], (size,)).copy()
        if (sums[:n_components] < 0.0).any():
            raise InvalidInputError("the masses in sums must be at least 0.")
    if "floor" in given:
        relative, *scale = validate.array("floor", own.arrays["floor"], (1 + n_features,)).tolist()
        if relative < 0.0 or min(scale) <= 0.0:
            raise InvalidInputError(f"floor is {relative:g} times {min(scale):g}.")
        floor = Floor(np.array(scale), relative)
    if averages[0] in given:
        weights, means, covariances, weight = (own.arrays[name] for name in averages)
        Mixture(weights, means, covariances, mixture.covariance_type)  # to be checked
        if means.shape != mixture.means.shape or not weight > 0.0:
            raise InvalidInputError("the average does not fit the mixture.")
        parameters = (weights.copy(), means.copy(), covariances.copy())
        average = Average(parameters, validate.real("average_weight", weight.tolist(), 0.0))
    recursion = Recursion(
        Iterate(mixture, sums),
        validate.integer("n_rows", n_rows, 0),
        *rates[:2].tolist(),
        floor,
        float(rates[2]),
        average,
        marks.copy(),
        mended,
    )
    return recursion, frame
