"""What checkpoints hold: the steps of a fit to a `container.Record`, and checked back.

`STEPS` is the schema: the values of each kind of step, which `_Writer` and `_Reader` know how to
write and check. See docs/file-format.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ..covariance import family
from ..errors import GaussmixError, InvalidInputError
from ..files import records
from ..files.container import Record, strict_json
from ..inputs import validate
from ..model.mixture import Mixture
from ..statistics import SufficientStatistics, second_shape
from ..stopping import check

KIND = "checkpoint"
SAME_BITS = ("backend", "level")  # of an identity: others go on too, to rounding
_DEPTH = 12
_HEX = re.compile(r"0|[1-9a-f][0-9a-f]{0,31}")
_RTOL_MASS = 1e-9  # responsibilities sum to 1 to a few units in the last place, rows add sqrt(N)

# Kinds of values. A tuple is an array of that shape: T iterations, K components, D features.
MIXTURE = "mixture"
STATISTICS = "statistics"
GENERATOR = "generator"
COMPONENTS = "components"  # -> the iteration since when something holds of them
COUNT = "count"
COVARIANCES = "covariances"  # an array of the shape that a mixture's have


class Step(NamedTuple):
    """The values of one kind of step, and how they hang together."""

    values: dict[str, Any]
    ends: tuple[str, ...] = ()  # why such a step may be complete
    sums: tuple[str, str] = ("", "")  # names of a mixture, and of the statistics under it
    together: Mapping[str, Any] = MappingProxyType({})  # more values: all of them or none


_TRACES = {"log_likelihood": ("T",), "classification": ("T",)}
_EM = {
    "mixture": MIXTURE,
    "statistics": STATISTICS,
    **_TRACES,
    "floored": COMPONENTS,
    "empty": COMPONENTS,
}
_CONVERGED = ("tol", "no change", "same labels", "closed form")  # none without an iteration
_EM_ENDS = ("max_iter", "rounding", *_CONVERGED)
STEPS = {
    "start": Step({"start": MIXTURE, "generator": GENERATOR}),
    "em": Step(_EM, _EM_ENDS, ("mixture", "statistics")),
    "hard": Step(_EM, _EM_ENDS, ("mixture", "statistics")),
    "annealed": Step(
        {"mixture": MIXTURE, "known": MIXTURE, "statistics": STATISTICS, **_TRACES},
        ("max_iter",),
        ("known", "statistics"),
    ),
    "stochastic": Step(
        {
            "mixture": MIXTURE,
            "best": MIXTURE,
            "best_at": COUNT,
            "best_statistics": STATISTICS,
            **_TRACES,
            "weights": ("T", "K"),
            "means": ("T", "K", "D"),
        },
        ("max_iter",),
        ("best", "best_statistics"),
        {
            "averaged": COUNT,
            "averaged_weights": ("K",),
            "averaged_means": ("K", "D"),
            "averaged_covariances": COVARIANCES,
        },
    ),
}

_32, _64, _128 = ((1 << bits) - 1 for bits in (32, 64, 128))
_HALF = {"has_uint32": 1, "uinteger": _32}
# NumPy's bit generators: the state of each, with the greatest value of every number.
GENERATORS = {
    "PCG64": {"state": {"state": _128, "inc": _128}, **_HALF},
    "PCG64DXSM": {"state": {"state": _128, "inc": _128}, **_HALF},
    "MT19937": {"state": {"key": [_32] * 624, "pos": 624}},
    "Philox": {
        "state": {"counter": [_64] * 4, "key": [_64] * 2},
        "buffer": [_64] * 4,
        "buffer_pos": 4,
        **_HALF,
    },
    "SFC64": {"state": {"state": [_64] * 4}, **_HALF},
}
_JSON = {MIXTURE: dict, STATISTICS: dict, GENERATOR: dict, COMPONENTS: list, COUNT: int}


class Saved(NamedTuple):
    """The content of a checkpoint."""

    identity: dict[str, Any]  # which fit it is of
    generator: dict[str, Any]  # the state with which the fit began
    entries: list[dict[str, Any]]  # of each step: "step", its values and "ended"; or nothing


def record_of(saved: Saved) -> Record:
    """The record of a checkpoint.

    Raises InvalidInputError if the generator is none of NumPy's.
    """
    writer = _Writer()
    document = {
        "identity": saved.identity,
        "generator": _hexadecimal(saved.generator),
        "entries": [writer.entry(entry) for entry in saved.entries],
    }
    _state_of("generator", document["generator"])
    numbers = np.concatenate([np.empty(0), *writer.pool])
    return Record(KIND, {}, {"values": numbers, "journal": records.text(document)})


def identity_of(record: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    """The identity of a checkpoint, and the whole of its journal, whose rest is not yet checked.

    Raises GaussmixError if there are other arrays, or if it is no journal.
    """
    records.fields(record)
    records.numbers(record, "values", journal="u1")
    if any(array.ndim != 1 for array in record.arrays.values()):
        raise InvalidInputError("values and journal must have one dimension.")
    document = strict_json(
        record.arrays["journal"].tobytes(), "the journal", _DEPTH, fractions=True
    )
    records.values(document, "the journal: ", identity=dict, generator=dict, entries=list)
    return document["identity"], document


def saved_of(document: dict[str, Any], values: np.ndarray, identity: dict[str, Any]) -> Saved:
    """The content of a journal of the fit that `identity` says, in which everything is checked.

    Raises GaussmixError if it is not as the schema and the fit say; names entry and value.
    """
    reader, entries = _Reader(values, identity), []
    generator = _state_of("generator", document["generator"])
    with np.errstate(all="ignore"):  # what is not finite is refused by its name
        for number, given in enumerate(document["entries"]):
            try:
                entry = reader.entry(given)
                state = entry.get("generator", generator)
                if state["bit_generator"] != generator["bit_generator"]:
                    raise InvalidInputError("its generator is of another kind than the fit's.")
            except GaussmixError as error:
                raise InvalidInputError(f"entries[{number}]: {error}") from error
            entries.append(entry)
    if reader.end != len(values):
        raise InvalidInputError(f"{reader.end} of the {len(values)} numbers in values are used.")
    return Saved(document["identity"], generator, entries)


class _Writer:
    """Entries as JSON, whose arrays are places in a pool of numbers, one after the other."""

    def __init__(self) -> None:
        self.pool: list[np.ndarray] = []
        self.end = 0

    def entry(self, entry: dict[str, Any]) -> dict[str, Any]:
        if not entry:
            return {}
        schema = STEPS[entry["step"]]
        kinds = {**schema.values, **schema.together}
        written = {"step": entry["step"]}
        written |= {
            name: self.value(kind, entry[name]) for name, kind in kinds.items() if name in entry
        }
        return {**written, "ended": entry["ended"]} if schema.ends else written

    def value(self, kind: Any, value: Any) -> Any:
        if kind == COUNT:
            return value
        if kind == COMPONENTS:
            return [[int(component), int(iteration)] for component, iteration in value.items()]
        if kind == GENERATOR:
            return _hexadecimal(value)
        if kind not in (MIXTURE, STATISTICS):
            return self.place(np.array(value, dtype=np.float64))
        arrays = dict(value._record().arrays)
        counts = arrays.pop("counts", ())
        written = {name: self.place(array) for name, array in arrays.items()}
        return (
            written if kind == MIXTURE else {**written, "counts": [f"{int(n):x}" for n in counts]}
        )

    def place(self, array: np.ndarray) -> list[int]:
        begin = self.end
        self.pool.append(np.ascontiguousarray(array).reshape(-1))
        self.end += array.size
        return [begin, *array.shape]


class _Reader:
    """What `_Writer` wrote, for a fit of this identity."""

    def __init__(self, values: np.ndarray, identity: dict[str, Any]) -> None:
        self.values, self.end = values, 0
        self.n_rows, self.covariance_type = identity["n_rows"], identity["covariance_type"]
        self.lengths = {"K": identity["n_components"], "D": identity["n_features"]}
        self.family = family(self.covariance_type)

    def entry(self, given: Any) -> dict[str, Any]:
        """Checked values of a step; nothing for one of which nothing is known."""
        if given == {}:
            return {}
        if type(given) is not dict or given.get("step") not in tuple(STEPS):
            raise InvalidInputError(f"{validate.shown(given)} is no step of a fit.")
        schema = STEPS[given["step"]]
        kinds = dict(schema.values)
        if any(name in given for name in schema.together):
            kinds |= schema.together
        types = {name: _JSON.get(kind, list) for name, kind in kinds.items()}
        ended = {"ended": (str, records.NONE)} if schema.ends else {}
        records.values(given, step=str, **types, **ended)
        self.lengths.pop("T", None)
        entry = {name: self.value(name, kind, given[name]) for name, kind in kinds.items()}
        if schema.ends:
            self.check(schema, entry, given["ended"])
            entry["ended"] = given["ended"]
        return {"step": given["step"], **entry}

    def value(self, name: str, kind: Any, given: Any) -> Any:
        check()
        if kind == COUNT:
            return validate.integer(name, given, 0)
        if kind == COMPONENTS:
            return self.components(name, given)
        if kind == GENERATOR:
            return _state_of(name, given)
        if kind == MIXTURE:
            return self.mixture(name, given)
        if kind == STATISTICS:
            return self.statistics(name, given)
        if kind == COVARIANCES:
            return self.place(name, given, self.family.shape(self.lengths["K"], self.lengths["D"]))
        array = self.place(name, given, tuple(self.lengths.get(letter) for letter in kind))
        if kind[0] != "T":
            return array
        self.lengths["T"] = len(array)
        return array.tolist() if len(kind) == 1 else list(array)

    def place(self, name: str, given: Any, shape: tuple[int | None, ...]) -> np.ndarray:
        """A copy of the numbers that come next, if `given` says so; a first length may be free."""
        if type(given) is not list or not all(type(item) is int for item in given):
            raise InvalidInputError(f"{name} is {validate.shown(given)}, no place in values.")
        begin, *found = given or [-1]
        wanted = [*shape]
        if wanted and wanted[0] is None and found:
            wanted[0] = max(found[0], 1)
        if begin != self.end or found != wanted:
            said = ", ".join(str(length or "T") for length in (self.end, *shape))
            raise InvalidInputError(f"{name} is at {validate.shown(given)}, not at [{said}].")
        count = 1
        for length in found:
            count *= length
        if count > len(self.values) - begin:
            raise InvalidInputError(f"{name} at {validate.shown(given)} is more than values has.")
        self.end += count
        return validate.array(name, self.values[begin : self.end].reshape(found)).copy()

    def mixture(self, name: str, given: dict) -> Mixture:
        n_components, n_features = self.lengths["K"], self.lengths["D"]
        shapes = {
            "weights": (n_components,),
            "means": (n_components, n_features),
            "covariances": self.family.shape(n_components, n_features),
        }
        records.values(given, f"{name}.", **dict.fromkeys(shapes, list))
        arrays = {key: self.place(f"{name}.{key}", given[key], shapes[key]) for key in shapes}
        fields = {"covariance_type": self.covariance_type}
        return records.mixture_of(Record(MIXTURE, fields, arrays), Mixture)

    def statistics(self, name: str, given: dict) -> SufficientStatistics:
        n_components, n_features = self.lengths["K"], self.lengths["D"]
        shapes = {
            "shift": (n_components, n_features),
            "mass": (n_components,),
            "first": (n_components, n_features),
            "second": second_shape(n_components, n_features, self.family.layout),
            "sums": (4,),
        }
        records.values(given, f"{name}.", **dict.fromkeys([*shapes, "counts"], list))
        arrays = {key: self.place(f"{name}.{key}", given[key], shapes[key]) for key in shapes}
        counts = _integers(f"{name}.counts", given["counts"], [_64, _64])
        arrays["counts"] = np.array(counts, dtype=np.uint64)
        layout = {"layout": self.family.layout}
        statistics = records.statistics_of(Record(STATISTICS, layout, arrays), SufficientStatistics)
        weight = statistics.weight
        if statistics.n_rows != self.n_rows or not weight > 0.0:
            raise InvalidInputError(
                f"{name} is of {statistics.n_rows} rows of weight {weight:g}, the fit of "
                f"{self.n_rows}."
            )
        if not abs(float(statistics.mass.sum()) - weight) <= _RTOL_MASS * weight:
            raise InvalidInputError(f"{name}.mass does not add up to the weight {weight:g}.")
        return statistics

    def components(self, name: str, given: list) -> dict[int, int]:
        found = {}
        for item in given:
            if type(item) is not list or [type(part) for part in item] != [int, int]:
                raise InvalidInputError(f"{name} holds {validate.shown(item)}, not two integers.")
            component, iteration = item
            known = 0 <= component < self.lengths["K"] and 0 < iteration < self.lengths["T"]
            if not known or component in found:
                raise InvalidInputError(
                    f"{name} holds {validate.shown(item)}: not a component and an iteration, or "
                    "a component twice."
                )
            found[component] = iteration
        return found

    def check(self, schema: Step, entry: dict[str, Any], ended: str | None) -> None:
        """Raise InvalidInputError if the values of a run do not fit each other."""
        mixture, statistics = (entry[name] for name in schema.sums)
        n_done = self.lengths["T"]
        at = entry.get("best_at", n_done - 1)
        if ended is not None and ended not in schema.ends:
            raise InvalidInputError(f"ended is {validate.shown(ended)}; known is {schema.ends}.")
        if ended in _CONVERGED and n_done < 2:
            raise InvalidInputError(f"it ended by {ended!r} without an iteration.")
        if at >= n_done:
            raise InvalidInputError(f"best_at is {at}, after the last of {n_done} iterations.")
        for name in _TRACES:
            if entry[name][at] != getattr(statistics, name):
                raise InvalidInputError(f"{name}[{at}] is not that of {schema.sums[1]}.")
        if not np.array_equal(statistics.shift, mixture.means):
            raise InvalidInputError(f"{schema.sums[1]} are not around the means of the mixture.")
        if "averaged" in entry:
            count = validate.integer("averaged", entry["averaged"], 1, n_done)
            weights, means, covariances = (
                entry[f"averaged_{name}"] / count for name in ("weights", "means", "covariances")
            )
            Mixture(weights / weights.sum(), means, covariances, self.covariance_type)


def _hexadecimal(value: Any) -> Any:
    """The state of a generator as JSON, whose own numbers are too short for those in it."""
    if isinstance(value, dict):
        return {name: _hexadecimal(part) for name, part in value.items()}
    if isinstance(value, (list, np.ndarray)):
        return [_hexadecimal(part) for part in value]
    return value if isinstance(value, str) else f"{int(value):x}"


def _state_of(name: str, given: dict) -> dict[str, Any]:
    """The state that `_hexadecimal` wrote, which NumPy itself would not check."""
    kind = given.get("bit_generator")
    if type(kind) is not str or kind not in GENERATORS:
        raise InvalidInputError(
            f"{name} is a {validate.shown(kind)}; known are {', '.join(GENERATORS)}, of NumPy."
        )
    rest = {key: value for key, value in given.items() if key != "bit_generator"}
    return {"bit_generator": kind, **_integers(name, rest, GENERATORS[kind])}


def _integers(name: str, given: Any, greatest: Any) -> Any:
    """Integers written in hexadecimal, in the objects and lists in which `greatest` has limits."""
    if type(given) is type(greatest) is dict and given.keys() == greatest.keys():
        return {key: _integers(f"{name}.{key}", given[key], greatest[key]) for key in greatest}
    if type(given) is type(greatest) is list and len(given) == len(greatest):
        return [_integers(name, *pair) for pair in zip(given, greatest, strict=True)]
    if type(greatest) is int and type(given) is str and _HEX.fullmatch(given):
        if (number := int(given, 16)) <= greatest:
            return number
    raise InvalidInputError(f"{name} is {validate.shown(given)}, not of the form that it has.")
