"""What a fit is told of checkpoints: where to keep one, how often, and which to go on from."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from ..errors import InvalidInputError
from ..inputs import validate
from ..passes.sources import Rows
from .options import FitOptions


class Keeping(NamedTuple):
    """The checked arguments `checkpoint`, `checkpoint_seconds` and `resume` of a fit."""

    path: str | os.PathLike | None
    seconds: float
    resume: str | os.PathLike | None

    @classmethod
    def of(cls, path, seconds, resume) -> Keeping | None:
        """The checked arguments; None if there is neither file."""
        seconds = validate.real("checkpoint_seconds", seconds, 0.0)
        for name, given in (("checkpoint", path), ("resume", resume)):
            if given is not None and not isinstance(given, (str, os.PathLike)):
                raise InvalidInputError(
                    f"{name} is {validate.shown(given)}; pass the path of a file, or None."
                )
        return None if path is None and resume is None else cls(path, seconds, resume)

    def opened(
        self, options: FitOptions, X: Rows, weight, start, seed, rng: np.random.Generator
    ) -> tuple[Any, np.random.Generator]:
        """The journal of the fit, and the generator it begins with; one pass over the rows."""
        from . import checkpoint  # most fits keep none

        identity = {
            **options.recorded(),
            "start": start if isinstance(start, str) else checkpoint.digest_of_start(start),
            "n_rows": len(X),
            "n_features": X.shape[1],
            "data": checkpoint.digest_of_rows(X, weight),
        }
        del identity["n_threads"]
        entries = []
        if self.resume is not None:
            entries, state = checkpoint.opened(self.resume, identity)
            rng = checkpoint.seeded(seed, rng, state)
        state = rng.bit_generator.state
        journal = checkpoint.Journal(self.path, self.seconds, identity, state, entries)
        return journal, rng
