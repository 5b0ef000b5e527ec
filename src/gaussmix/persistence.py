"""Model files: saved at once or not at all, and read with suspicion. See docs/file-format.md."""

import os
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from .errors import GaussmixError, InvalidInputError, ModelFileError
from .files import container, records
from .inputs import validate
from .model.mixture import Mixture

# Kinds of files: the module and the class whose `_of_record` reads them. Loaded when one comes.
KINDS = {
    "mixture": ("model.mixture", "Mixture"),
    "statistics": ("statistics", "SufficientStatistics"),
    "fit": ("algorithms.results", "FitResult"),
    "selection": ("selection.selection", "Selection"),
    "online": ("streams.online", "OnlineMixture"),
}


class SavedModel(NamedTuple):
    """Content of a model file: the mixture, and the names of its features or None."""

    mixture: Mixture
    feature_names: tuple[str, ...] | None


def save(model, path: str | os.PathLike, *, feature_names: Sequence[str] | None = None) -> None:
    """Nothing; writes a model to a file, completely or not at all: ``model.save(path)``.

    Parameters
    ----------
    model : Mixture, FitResult, Selection, OnlineMixture or SufficientStatistics
    path : str or path-like
        By custom it ends in ``.gmix``. A symbolic link is followed; an older file is replaced.
    feature_names : sequence of D str, optional
        Names of the columns, kept with a mixture.

    Raises
    ------
    InvalidInputError
        If `model` cannot be saved or the names do not fit.
    OSError
        If the directory is absent, full or not writable. An older file is then as it was.
    """
    if not hasattr(model, "_of_record"):
        raise InvalidInputError(
            f"model is {validate.shown(model)} ({type(model).__name__}), which has no form in a "
            "model file. Give what fit returns, or its mixture."
        )
    if feature_names is None:
        model.save(path)
    else:
        model.save(path, feature_names=feature_names)


def load(path: str | os.PathLike, max_bytes: int = container.SIZE_CAP):
    """What `save` wrote to a file. The file is checked throughout, and nothing of it is executed.

    Parameters
    ----------
    path : str or path-like
        A regular file. A symbolic link is followed.
    max_bytes : int
        Larger files are refused unread; 1 GiB by default.

    Returns
    -------
    Mixture, FitResult, Selection, OnlineMixture or SufficientStatistics
        With the same bits in its numbers as what was saved.

    Raises
    ------
    InvalidInputError
        If `path` is empty.
    ModelFileError
        If the file is not a model file, is damaged or truncated, was written by a newer
        gaussmix, or what it holds is not valid. Names the file, the array and the place.
    OSError
        If the file is absent or may not be read.

    Notes
    -----
    The format is that of docs/file-format.md. The file is read once into memory; its arrays are
    checked where they lie and copied into the model.
    """
    max_bytes = validate.integer("max_bytes", max_bytes, 0)
    return model_of(container.read(path, max_bytes), os.fspath(path))


def model_of(record: container.Record, name: str):
    """What a record stands for; `name` is what to call its file in messages."""
    if record.kind == "checkpoint":
        raise ModelFileError(
            f"{name} holds a checkpoint of a fit, not a model. Pass it to fit as resume=, with the "
            "same data and arguments, and save what that returns."
        )
    if record.kind not in KINDS:
        raise ModelFileError(
            f"{name} holds a {validate.shown(record.kind)}, which this gaussmix does not know. "
            f"Known are: {', '.join(KINDS)}."
        )
    module, attribute = KINDS[record.kind]
    made = getattr(import_module(f".{module}", __package__), attribute)
    try:
        return made._of_record(record)
    except GaussmixError as error:
        raise ModelFileError(
            f"{name} does not hold valid {record.kind}: {error} Restore it, or save it again."
        ) from error


def load_with_names(path: str | os.PathLike) -> SavedModel:
    """Mixture and feature names of a model file; checks and errors as `load`."""
    record, name = container.read(path), os.fspath(path)
    model = model_of(record, name)
    if not isinstance(model, Mixture):
        raise ModelFileError(f"{name} holds {record.kind}, not a mixture. Save the mixture itself.")
    return SavedModel(model, records.names_of(record, model.n_features))
