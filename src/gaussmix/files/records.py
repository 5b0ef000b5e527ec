"""What model files hold of a mixture and of statistics: to a `container.Record`, and checked back.

The classes themselves are given, not imported: their methods call these functions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from ..errors import InvalidInputError
from ..inputs import validate
from .container import Record, strict_json

_NAME_CAP = 1000  # characters of a feature's name
_TEXTS = ("feature_names", "report")  # arrays of bytes that are JSON
_TEXT_CAP = 4096  # characters of a message
_TEXT_DEPTH = 8
NONE = type(None)
_SUMS = ("log_likelihood", "classification", "entropy", "weight")
_COUNTS = ("n_rows", "label_sum")


def mixture_record(mixture, feature_names: Sequence[str] | None = None) -> Record:
    """The record of a mixture, with the names of its features if there are such."""
    arrays = {name: getattr(mixture, name) for name in ("weights", "means", "covariances")}
    if feature_names is not None:
        arrays["feature_names"] = text({"names": checked_names(feature_names, mixture.n_features)})
    return Record("mixture", {"covariance_type": mixture.covariance_type}, arrays)


def mixture_of(record: Record, make):
    """The mixture of a record, made by `make`, its class; the same bits as it was saved with.

    Raises InvalidInputError if the parameters are no valid mixture.
    """
    (covariance_type,) = fields(record, covariance_type=str)
    optional = ("feature_names",) if "feature_names" in record.arrays else ()
    numbers(record, "weights", "means", "covariances", *optional)
    weights, means = record.arrays["weights"], record.arrays["means"]
    if means.ndim != 2:
        raise InvalidInputError(f"means has shape {means.shape}; it must be (K, D).")
    if optional:
        names_of(record, means.shape[1])
    mixture = make(weights, means, record.arrays["covariances"], covariance_type)
    for name in ("weights", "covariances"):
        # The constructor reads (K,) for (K, 1), and divides weights by their sum.
        if not np.array_equal(getattr(mixture, name), record.arrays[name]):
            raise InvalidInputError(
                f"{name} of shape {record.arrays[name].shape} is not in the form in which a "
                f"mixture has it: {getattr(mixture, name).shape}, weights summing to 1."
            )
    return mixture


def names_of(record: Record, n_features: int) -> tuple[str, ...] | None:
    """The names of the features in the record of a mixture; None if it has none."""
    if "feature_names" not in record.arrays:
        return None
    document = document_of(record, "feature_names")
    if list(document) != ["names"] or type(document["names"]) is not list:
        raise InvalidInputError("feature_names does not hold the list 'names' and nothing else.")
    return tuple(checked_names(document["names"], n_features))


def checked_names(feature_names: Sequence[str], n_features: int) -> list[str]:
    """The names as a list; raises InvalidInputError if they are not one for each feature."""
    try:
        names = [feature_names] if isinstance(feature_names, str) else list(feature_names)
    except (TypeError, NotImplementedError):
        raise InvalidInputError(
            f"feature_names is {validate.shown(feature_names)}. Give one name per feature."
        ) from None
    if len(names) != n_features:
        raise InvalidInputError(
            f"feature_names holds {len(names)} names, the mixture has {n_features} features. "
            "Give one name per feature."
        )
    for position, name in enumerate(names):
        if not isinstance(name, str) or not 0 < len(name) <= _NAME_CAP or "\0" in name:
            raise InvalidInputError(
                f"feature_names[{position}] = {validate.shown(name)} is not a string of 1 to "
                f"{_NAME_CAP} characters without NUL. Rename it."
            )
    return [str(name) for name in names]


def statistics_record(statistics) -> Record:
    """The record of sufficient statistics."""
    arrays = {name: getattr(statistics, name) for name in ("shift", "mass", "first", "second")}
    arrays["sums"] = np.array([getattr(statistics, name) for name in _SUMS], dtype=np.float64)
    arrays["counts"] = np.array([getattr(statistics, name) for name in _COUNTS], dtype=np.uint64)
    return Record("statistics", {"layout": statistics.layout}, arrays)


def statistics_of(record: Record, make):
    """The statistics of a record, made by `make`, their class.

    Raises InvalidInputError if shapes do not fit, a number is not finite, a mass or the weight is
    negative, or second moments are not symmetric.
    """
    (layout,) = fields(record, layout=str)
    numbers(record, "shift", "mass", "first", "second", "sums", counts="u8")
    arrays = record.arrays
    sums = validate.array("sums", arrays["sums"], (len(_SUMS),)).tolist()
    if arrays["counts"].shape != (len(_COUNTS),):
        raise InvalidInputError(f"counts has shape {arrays['counts'].shape}; it must be (2,).")
    statistics = make(
        *(arrays[name] for name in ("shift", "mass", "first", "second")),
        layout,
        *sums,
        *arrays["counts"].tolist(),
    )
    for name, values in (("mass", statistics.mass), ("weight", np.array([statistics.weight]))):
        if (values < 0.0).any():
            component = int(np.argmax(values < 0.0))
            raise InvalidInputError(f"{name}[{component}] is {values[component]:g}, below 0.")
    if layout in ("full", "pooled"):
        gap = statistics.second != statistics.second.swapaxes(-1, -2)
        if gap.any():
            place = ", ".join(map(str, np.argwhere(gap)[0]))
            raise InvalidInputError(f"second[{place}] is not symmetric.")
    return statistics


# -- what kinds are put together from and checked with


def values(mapping: dict, where: str = "", **wanted: type | tuple[type, ...]) -> list:
    """The values of a JSON object, which must have these keys alone and exactly these types."""
    for name in mapping:
        if name not in wanted:
            raise InvalidInputError(f"{where}{validate.shown(name)} is unknown.")
    found = []
    for name, kinds in wanted.items():
        if name not in mapping:
            raise InvalidInputError(f"{where}{name} is missing.")
        value = mapping[name]
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        if type(value) not in kinds:
            allowed = " or ".join("null" if kind is NONE else kind.__name__ for kind in kinds)
            raise InvalidInputError(f"{where}{name} is {validate.shown(value)}, not {allowed}.")
        if type(value) is str:
            require_text(f"{where}{name}", value)
        found.append(value)
    return found


def require_text(name: str, value: object) -> None:
    """Nothing, if it is a text that a terminal may be shown as it is, of no endless length."""
    if type(value) is not str or not value.isprintable() or len(value) > _TEXT_CAP:
        raise InvalidInputError(
            f"{name} is {validate.shown(value)}, not a text of up to {_TEXT_CAP} printable "
            "characters."
        )


def fields(record: Record, **wanted: type | tuple[type, ...]) -> list:
    """The values of the record's fields, which must be these; see `values`."""
    return values(record.fields, "the field ", **wanted)


def rows(mapping: dict, name: str, **wanted: type | tuple[type, ...]) -> list[list]:
    """The `values` of each object in the list of that name."""
    found = []
    for position, row in enumerate(mapping[name]):
        if type(row) is not dict:
            raise InvalidInputError(f"{name}[{position}] is {validate.shown(row)}, no object.")
        found.append(values(row, f"{name}[{position}]: ", **wanted))
    return found


def numbers(record: Record, *names: str, **typed: str) -> None:
    """Nothing, if the record has these arrays and no other: float64, text, or as `typed` says."""
    wanted = {name: "u1" if name in _TEXTS else "f8" for name in names} | typed
    for name in record.arrays:
        if name not in wanted:
            raise InvalidInputError(f"the array {name!r} is unknown.")
    for name, code in wanted.items():
        if name not in record.arrays:
            raise InvalidInputError(f"the array {name!r} is missing.")
        if record.arrays[name].dtype != np.dtype(code):
            raise InvalidInputError(f"{name} is {record.arrays[name].dtype}, not {np.dtype(code)}.")


def text(value: dict) -> np.ndarray:
    """A JSON object as an array of bytes; what is too long for a header is kept like this."""
    data = json.dumps(
        value,
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
        default=lambda scalar: scalar.item(),  # NumPy's
    )
    try:
        return np.frombuffer(data.encode("utf-8"), dtype=np.uint8)
    except UnicodeEncodeError:
        raise InvalidInputError(
            f"{validate.shown(value)} holds a lone surrogate, which no file can. Rename it."
        ) from None


def document_of(record: Record, name: str) -> dict:
    """The JSON object that `text` made an array of."""
    array = record.arrays[name]
    if array.ndim != 1:
        raise InvalidInputError(f"{name} has shape {array.shape}; text has one dimension.")
    return strict_json(array.tobytes(), name, _TEXT_DEPTH, fractions=True)
