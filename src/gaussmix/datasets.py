"""Small data sets that ship with the package, for examples and first steps."""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

import numpy as np

from .errors import InvalidInputError

# name -> where the values come from; the file is data/<name>.csv, its first line the names.
_SOURCES = {
    "faithful": (
        "Eruptions of the Old Faithful geyser, Yellowstone, August 1985: duration of the "
        "eruption and waiting time to the next one, both in minutes. "
        "Azzalini & Bowman (1990), Applied Statistics 39(3), 357-365, table 3."
    ),
}


class Dataset(NamedTuple):
    """A data set: values, names of the features, its own name and its origin.

    Attributes
    ----------
    X : ndarray of shape (N, D)
        Values, float64; a fresh array, yours to change.
    feature_names : tuple of str
        D names, in the order of the columns.
    name : str
        Name under which `load` finds it.
    source : str
        What was measured, in which units, and who published it.
    """

    X: np.ndarray
    feature_names: tuple[str, ...]
    name: str
    source: str


def names() -> list[str]:
    """Names of the data sets that `load` knows, sorted."""
    return sorted(_SOURCES)


def load(name: str) -> Dataset:
    """Data set that ships with the package.

    Parameters
    ----------
    name : str
        One of `names()`. ``"faithful"``: N = 272, D = 2 (eruptions, waiting), in minutes.

    Returns
    -------
    Dataset
        ``X`` (N, D) float64, ``feature_names``, ``name`` and ``source``.

    Raises
    ------
    InvalidInputError
        If there is no data set of that name; the message lists them.

    Examples
    --------
    >>> from gaussmix import datasets
    >>> datasets.load("faithful").X.shape
    (272, 2)
    """
    if not isinstance(name, str) or name not in _SOURCES:
        raise InvalidInputError(
            f"name={name!r} is not an embedded data set. Use one of: {', '.join(names())}."
        )
    text = (resources.files("gaussmix") / "data" / f"{name}.csv").read_text("ascii")
    header, *lines = text.splitlines()
    X = np.array([[float(cell) for cell in line.split(",")] for line in lines])
    feature_names = tuple(cell.strip('"') for cell in header.split(","))
    return Dataset(X, feature_names, name, _SOURCES[name])
