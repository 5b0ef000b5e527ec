"""Checkpoints of a fit: what it has done so far, in a file from which it goes on to the same bits.

A fit is a fixed sequence of steps: starts that are made, and runs of algorithms. A journal has an
entry for each. To resume, the same steps are asked for again, in the same order, and those with an
entry are answered from it; the last one may be half done.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from . import container
from .container import Record
from .errors import (
    GaussmixError,
    GaussmixWarning,
    InvalidInputError,
    ModelFileError,
    PrecisionWarning,
    warn,
)
from .mixture import Mixture
from .sources import Rows, pieces
from .statistics import SufficientStatistics
from .stopping import check

KIND = "checkpoint"
_DEPTH = 12
_SIZE_CAP = 1 << 40  # the user's own file; long chains keep all their means
_DIGESTED = 1 << 14  # rows that are digested at once
_SUMS = ("log_likelihood", "classification", "entropy", "weight")
_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
_SAME_BITS = ("backend", "level")
# What reading a journal raises that is no journal.
_MALFORMED = (
    GaussmixError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)


class Resumable(Protocol):
    """Work of several iterations that can say what it has done, and go on from there."""

    def saved(self) -> dict[str, Any]:
        """Numbers, arrays, lists of floats or arrays, mixtures and statistics, by name."""

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `saved` described."""


class Journal:
    """The steps of a fit, written to `path` at intervals; `path` may be None, to only resume.

    `identity` says which fit it is: arguments, data and backend, as JSON values. `resumed` holds
    the entries of an earlier journal; see `opened`.
    """

    def __init__(
        self,
        path: str | os.PathLike | None,
        seconds: float,
        identity: dict[str, Any],
        generator: dict[str, Any],
        resumed: list[dict[str, Any]],
    ) -> None:
        self.path, self.seconds = path, seconds
        self.identity, self.generator = identity, generator
        self.entries = resumed
        self.number = -1  # of the step under way
        self.current: Resumable | None = None  # its work, if that is not complete
        if path is not None:
            self._write()  # a path that cannot be written to is an error now, not in an hour
        self.written = time.monotonic()

    def start(self, make: Callable[[], Mixture], rng: np.random.Generator) -> Mixture:
        """The initial mixture that `make` makes, or made when it was first asked for."""
        known = self._next()
        if known:
            rng.bit_generator.state = _state_of(known["generator"])
            return known["start"]
        mixture = make()
        state = _text_of(rng.bit_generator.state)
        self.entries[self.number] = {"start": mixture, "generator": state}
        return mixture

    def begin(self, work: Resumable) -> str | None:
        """Put `work` where it was; why it ended, if it did."""
        known = dict(self._next())
        ended = known.pop("ended", None)
        if known:
            work.restore(known)
        self.current = work
        return ended

    def note(self) -> None:
        """The current work has gone on, and is between two iterations: write, if it is time to."""
        if self.path is not None and time.monotonic() - self.written >= self.seconds:
            self.write()

    def end(self, work: Resumable, reason: str) -> None:
        """The work has come to its own end; not one that a limit, token or callback has set."""
        self.entries[self.number] = {**work.saved(), "ended": reason}
        self.current = None
        self.note()

    def write(self) -> None:
        """Write the file now; a warning if that fails, since a fit may have run for long."""
        if self.path is None:
            return
        try:
            self._write()
        except OSError as error:
            warn(
                f"the checkpoint {os.fspath(self.path)} could not be written ({error}); the "
                "one before stands. Make room, or resume from it.",
                GaussmixWarning,
            )
        self.written = time.monotonic()

    def _next(self) -> dict[str, Any]:
        """The entry of the step that begins; empty if there is none."""
        self.number += 1
        self.current = None  # one that failed stays as it was: it will fail again
        if self.number == len(self.entries):
            self.entries.append({})
        return self.entries[self.number]

    def _write(self) -> None:
        entries = list(self.entries)
        if self.current is not None:
            entries[self.number] = self.current.saved()
        pool: list[np.ndarray] = []
        document = {
            "identity": self.identity,
            "generator": _text_of(self.generator),
            "entries": [
                {name: _encoded(value, pool) for name, value in entry.items()} for entry in entries
            ],
        }
        values = np.concatenate([np.empty(0), *pool])
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        arrays = {"values": values, "journal": np.frombuffer(text, dtype=np.uint8)}
        container.write(self.path, Record(KIND, {}, arrays))


def opened(
    path: str | os.PathLike, identity: dict[str, Any], max_bytes: int = _SIZE_CAP
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The entries of a checkpoint, and the state of the generator with which the fit began.

    Raises
    ------
    ModelFileError
        If the file is no undamaged checkpoint.
    InvalidInputError
        If it is that of another fit.

    Warns
    -----
    PrecisionWarning
        If other kernels go on than those that have begun.
    """
    name = os.fspath(path)
    record = container.read(path, max_bytes)
    if record.kind != KIND:
        raise ModelFileError(
            f"{name} holds a {record.kind}, not a checkpoint. Give one that fit wrote."
        )
    try:
        text = record.arrays["journal"].tobytes()
        document = container.strict_json(text, f"{name}: the journal", _DEPTH, fractions=True)
        known = dict(document["identity"])
        values = record.arrays["values"]
        entries = [
            {key: _decoded(value, values) for key, value in entry.items()}
            for entry in document["entries"]
        ]
        generator = _state_of(document["generator"])
    except _MALFORMED as error:
        raise ModelFileError(f"{name} does not hold a valid checkpoint: {error}.") from error
    for key, value in identity.items():
        if known.get(key) != value and key not in _SAME_BITS:
            said = "other data" if key in ("data", "start") else f"{key}={known.get(key)!r}"
            here = "" if key in ("data", "start") else f", this one has {value!r}"
            what = f" for {key}" if key in ("data", "start") else ""
            raise InvalidInputError(
                f"resume: {name} is of a fit with {said}{what}{here}. Pass what that fit was given."
            )
    if any(known.get(key) != identity[key] for key in _SAME_BITS):
        warn(
            f"{name} was written with the kernels {known.get('backend')} {known.get('level')}, and "
            f"{identity['backend']} {identity['level']} go on: to rounding, not to the same bits.",
            PrecisionWarning,
        )
    return entries, generator


def seeded(given: Any, rng: np.random.Generator, state: dict[str, Any]) -> np.random.Generator:
    """The generator of a fit that goes on: `rng`, which `given` stood for, where the fit began.

    Raises InvalidInputError if `given` is a number that gives another one.
    """
    if isinstance(given, np.random.Generator):
        if given.bit_generator.state["bit_generator"] == state["bit_generator"]:
            given.bit_generator.state = state
            return given
    elif given is not None and rng.bit_generator.state != state:
        raise InvalidInputError(
            f"resume: the checkpoint is of a fit with another seed than {given!r}. Leave it out."
        )
    bits = getattr(np.random, state["bit_generator"])()
    bits.state = state
    return np.random.Generator(bits)


def digest_of_rows(X: Rows, sample_weight: np.ndarray | None) -> str:
    """What tells data apart, numbers and order; one pass, 8 bytes a number."""
    digest = hashlib.sha256(repr(X.shape).encode())
    for _, rows in pieces(X, _DIGESTED):
        check()
        digest.update(np.ascontiguousarray(rows, dtype=np.float64))
    if sample_weight is not None:
        digest.update(np.ascontiguousarray(sample_weight))
    return digest.hexdigest()


def digest_of_start(explicit: Any) -> str:
    """What tells explicit starts apart: mixtures, or a kind and an array."""
    digest = hashlib.sha256()
    for part in explicit:
        parts = (part,)
        if isinstance(part, Mixture):
            parts = (part.weights, part.means, part.covariances)
        for value in parts:
            is_text = isinstance(value, str)
            digest.update(value.encode() if is_text else np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


# -- values as JSON, whose arrays stand in a pool of numbers


def _encoded(value: Any, pool: list[np.ndarray]) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return {"float": _pooled(np.array([value]), pool)}
    if isinstance(value, np.ndarray):
        return {"array": _pooled(value, pool)}
    if isinstance(value, list):
        if value and isinstance(value[0], np.ndarray):
            return {"arrays": _pooled(np.array(value), pool)}
        return {"floats": _pooled(np.array(value, dtype=float), pool)}
    if isinstance(value, dict):
        return {"counts": [[int(key), int(number)] for key, number in value.items()]}
    if isinstance(value, Mixture):
        parts = (value.weights, value.means, value.covariances)
        return {"mixture": [value.covariance_type, *(_pooled(part, pool) for part in parts)]}
    parts = (value.shift, value.mass, value.first, value.second)
    sums = np.array([getattr(value, name) for name in _SUMS])
    numbers = [_pooled(part, pool) for part in (*parts, sums)]
    return {"statistics": [value.layout, *numbers, value.n_rows, f"{value.label_sum:x}"]}


def _pooled(array: np.ndarray, pool: list[np.ndarray]) -> list[int]:
    """Where the numbers of an array begin in the pool, and its shape."""
    begin = sum(len(part) for part in pool)
    pool.append(np.ascontiguousarray(array, dtype=np.float64).ravel())
    return [begin, *array.shape]


def _decoded(value: Any, values: np.ndarray) -> Any:
    """What `_encoded` took in; raises ValueError, KeyError, TypeError or a GaussmixError."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    ((kind, content),) = value.items()
    if kind == "counts":
        return {int(key): int(number) for key, number in content}
    if kind == "mixture":
        covariance_type, *parts = content
        return Mixture(*(_array(part, values) for part in parts), covariance_type)
    if kind == "statistics":
        layout, *parts, n_rows, label_sum = content
        *arrays, sums = (_array(part, values) for part in parts)
        return SufficientStatistics(
            *arrays, layout, *sums.tolist(), n_rows=int(n_rows), label_sum=int(label_sum, 16)
        )
    array = _array(content, values)
    if kind == "float":
        return float(array[0])
    return {"array": lambda: array, "arrays": lambda: list(array), "floats": array.tolist}[kind]()


def _array(place: list[int], values: np.ndarray) -> np.ndarray:
    begin, *shape = place
    count = 1
    for length in shape:
        count *= length
    if begin < 0 or min(shape, default=0) < 0 or begin + count > len(values):
        raise ValueError(f"an array at {place} lies outside the {len(values)} numbers")
    return values[begin : begin + count].reshape(shape).copy()


def _text_of(state: dict[str, Any]) -> str:
    """The state of a generator; its numbers are longer than those of JSON."""
    return json.dumps(state, default=lambda array: array.tolist())


def _state_of(text: str) -> dict[str, Any]:
    state = json.loads(text)
    if state["bit_generator"] not in _GENERATORS:
        raise ValueError(f"{state['bit_generator']!r} is no generator of NumPy")
    return state
