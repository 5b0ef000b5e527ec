"""Checkpoints of a fit: what it has done so far, in a file from which it goes on to the same bits.

A fit is a fixed sequence of steps: starts that are made, and runs of algorithms. A journal has an
entry for each. To resume, the same steps are asked for again, in the same order, and those with an
entry are answered from it; the last one may be half done.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any, Protocol

import numpy as np

from ..errors import (
    GaussmixError,
    GaussmixWarning,
    InvalidInputError,
    ModelFileError,
    PrecisionWarning,
    warn,
)
from ..files import container
from ..inputs import validate
from ..model.mixture import Mixture
from ..passes.sources import Rows, pieces
from ..stopping import Stopped, check, within
from .checkpoint_record import KIND, SAME_BITS, Saved, identity_of, record_of, saved_of

_SIZE_CAP = 1 << 40  # the user's own file; long chains keep all their means
_DIGESTED = 1 << 14  # rows that are digested at once
_REMEDY = "Resume from a checkpoint that this version of gaussmix wrote, or begin anew."


class Resumable(Protocol):
    """Work of several iterations that can say what it has done, and go on from there."""

    step: str  # which of `checkpoint_record.STEPS` it is

    def saved(self) -> dict[str, Any]:
        """The values of such a step, by name; nothing before there are any."""

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
            # A path that cannot be written to is an error now, not in an hour. Without entries the
            # file is small, and is made whatever ends the fit.
            with nullcontext() if resumed else within():
                self._write()
        self.written = time.monotonic()

    def start(self, make: Callable[[], Mixture], rng: np.random.Generator) -> Mixture:
        """The initial mixture that `make` makes, or made when it was first asked for."""
        known = self._next("start")
        if known:
            rng.bit_generator.state = known["generator"]
            return known["start"]
        mixture = make()
        state = rng.bit_generator.state
        self.entries[self.number] = {"step": "start", "start": mixture, "generator": state}
        return mixture

    def begin(self, work: Resumable, max_iter: int) -> str | None:
        """Put `work`, of at most so many iterations, where it was; why it ended, if it did."""
        known = self._next(work.step)
        if known:
            n_iter, ended = len(known["log_likelihood"]) - 1, known["ended"]
            if n_iter > max_iter or (ended == "max_iter" and n_iter != max_iter):
                raise ModelFileError(
                    f"resume: entries[{self.number}] of the checkpoint ended after {n_iter} "
                    f"iterations by {ended}, where the fit makes {max_iter}. {_REMEDY}"
                )
            work.restore(known)
        self.current = work
        return known.get("ended")

    def note(self) -> None:
        """The current work has gone on, and is between two iterations: write, if it is time to."""
        if self.path is not None and time.monotonic() - self.written >= self.seconds:
            with suppress(Stopped):  # at the end of the fit, which is near, comes another one
                self.write()

    def end(self, work: Resumable, reason: str) -> None:
        """The work has come to its own end; not one that a limit, token or callback has set."""
        self.entries[self.number] = self._entry(work, reason)
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

    def close(self) -> None:
        """Write the file for the last time; no limit and no token keeps from that."""
        with within():
            self.write()

    def _next(self, step: str) -> dict[str, Any]:
        """The entry of the step that begins; empty if there is none.

        Raises ModelFileError if it is of another kind of step: only the fit knows their order.
        """
        self.number += 1
        self.current = None  # one that failed stays as it was: it will fail again
        if self.number == len(self.entries):
            self.entries.append({})
        known = self.entries[self.number]
        if known and known["step"] != step:
            raise ModelFileError(
                f"resume: entries[{self.number}] of the checkpoint is a step {known['step']!r}, "
                f"where the fit makes {step!r}. {_REMEDY}"
            )
        return known

    @staticmethod
    def _entry(work: Resumable, ended: str | None = None) -> dict[str, Any]:
        saved = work.saved()
        return {"step": work.step, **saved, "ended": ended} if saved else {}

    def _write(self) -> None:
        entries = list(self.entries)
        if self.current is not None:
            entries[self.number] = self._entry(self.current)
        container.write(self.path, record_of(Saved(self.identity, self.generator, entries)))


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
            f"{name} holds a {validate.shown(record.kind)}, not a checkpoint. Give one that fit "
            "wrote."
        )
    try:
        known, document = identity_of(record)
        if known.keys() != identity.keys():
            raise InvalidInputError(
                f"its identity holds {validate.shown(sorted(known))}, this gaussmix knows "
                f"{', '.join(sorted(identity))}."
            )
    except GaussmixError as error:
        raise _refused(name, error) from error
    _compare(name, known, identity)
    try:
        saved = saved_of(document, record.arrays["values"], identity)
    except GaussmixError as error:
        raise _refused(name, error) from error
    return saved.entries, saved.generator


def _refused(name: str, error: GaussmixError) -> ModelFileError:
    return ModelFileError(f"{name} does not hold a valid checkpoint: {error} {_REMEDY}")


def _compare(name: str, known: dict[str, Any], identity: dict[str, Any]) -> None:
    """Raise InvalidInputError if the fits are not the same; warn if only their kernels are not."""
    for key, value in identity.items():
        if known[key] != value and key not in SAME_BITS:
            said = f"{key}={validate.shown(known[key])}, this one has {value!r}"
            if key in ("data", "start"):
                said = f"other data for {key}"
            raise InvalidInputError(
                f"resume: {name} is of a fit with {said}. Pass what that fit was given."
            )
    if any(known[key] != identity[key] for key in SAME_BITS):
        theirs, ours = (" ".join(str(of[key]) for key in SAME_BITS) for of in (known, identity))
        warn(
            f"{name} was written with the kernels {validate.shown(theirs)}, and {ours} go on: to "
            "rounding, not to the same bits.",
            PrecisionWarning,
        )


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
