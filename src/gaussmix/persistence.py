"""Model files: a mixture written to disk at once or not at all, and read with suspicion.

A model file is an uncompressed NumPy archive (.npz). Its members, all little-endian:

======================  ==================  ==========================================
format                  str, shape ()       ``"gaussmix mixture"``
version                 int64, shape ()     1
covariance_type         str, shape ()       "full", "tied", "diag" or "spherical"
weights                 float64 (K,)
means                   float64 (K, D)
covariances             float64, by type    as `Mixture.covariances`
feature_names           str, shape (D,)     optional
======================  ==================  ==========================================
"""

from __future__ import annotations

import io
import math
import os
import re
import secrets
import struct
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ._files import open_regular
from ._npy import read_header
from .errors import InvalidInputError, ModelFileError
from .mixture import Mixture

_FORMAT = "gaussmix mixture"
_VERSION = 1
# The largest file the plain zip format can describe is 4 GiB; a tenth of that already holds
# 100 components in 700 features with full covariances.
_SIZE_CAP = 1 << 30
_DIRECTORY_CAP = 1 << 14
_NAME_CAP = 1000
_END_RECORD = b"PK\x05\x06"
_END_RECORD_SIZE = 22
_REMEDY = "Restore the file from a copy, or fit and save the mixture again."


class SavedModel(NamedTuple):
    """Content of a model file: the mixture, and the names of its features or None."""

    mixture: Mixture
    feature_names: tuple[str, ...] | None


def save(
    mixture: Mixture, path: str | os.PathLike, *, feature_names: Sequence[str] | None = None
) -> None:
    """Nothing; writes a mixture to a model file, completely or not at all.

    The file is written beside its final place, flushed to the disk and renamed, so that an
    older file of that name stays whole whatever goes wrong. The same mixture gives the same bytes.

    Parameters
    ----------
    mixture : Mixture
        What to write.
    path : str or path-like
        Must end in ``.npz``; a symbolic link is followed.
    feature_names : sequence of D str, optional
        Names of the columns, kept with the model.

    Raises
    ------
    InvalidInputError
        If `mixture` is not a Mixture, the suffix is not .npz or the names do not fit.
    OSError
        If the directory is absent, full or not writable.
    """
    if not isinstance(mixture, Mixture):
        raise InvalidInputError(
            f"mixture is a {type(mixture).__name__}, not a Mixture. "
            "Give the mixture itself, for example fit(...).mixture."
        )
    path = os.path.realpath(os.fspath(path))
    if not path.endswith(".npz"):
        raise InvalidInputError(
            f"path={path!r} does not end in .npz, the suffix of model files. Add it."
        )
    arrays = {
        "format": np.array(_FORMAT, dtype=f"<U{len(_FORMAT)}"),
        "version": np.array(_VERSION, dtype="<i8"),
        "covariance_type": np.array(
            mixture.covariance_type, dtype=f"<U{len(mixture.covariance_type)}"
        ),
        "weights": mixture.weights,
        "means": mixture.means,
        "covariances": mixture.covariances,
    }
    if feature_names is not None:
        arrays["feature_names"] = _names_array(feature_names, mixture.n_features)
    _write_at_once(path, _archive(arrays))


def load(path: str | os.PathLike) -> Mixture:
    """Mixture of a model file; the file is checked throughout and never unpickled.

    Parameters
    ----------
    path : str or path-like
        A file written by `save`: a regular file of at most 1 GiB.

    Returns
    -------
    Mixture
        With the same bits in its parameters as the one that was saved.

    Raises
    ------
    ModelFileError
        If the file is not a model file, is damaged or truncated, was written by a newer
        gaussmix, or does not hold a valid mixture. Names the file, the array and the component.
    OSError
        If the file is absent or may not be read.
    """
    return load_with_names(path).mixture


def load_with_names(path: str | os.PathLike) -> SavedModel:
    """Mixture and feature names of a model file; checks and errors as `load`."""
    path = os.fspath(path)
    arrays = _members(path, _read_once(path))
    mixture = _mixture(path, arrays)
    names = arrays.get("feature_names")
    if names is None:
        return SavedModel(mixture, None)
    if names.shape != (mixture.n_features,):
        raise ModelFileError(
            f"{path}: feature_names has shape {names.shape}, means have "
            f"{mixture.n_features} columns. {_REMEDY}"
        )
    return SavedModel(mixture, tuple(names.tolist()))


def _names_array(feature_names: Sequence[str], n_features: int) -> np.ndarray:
    names = [feature_names] if isinstance(feature_names, str) else list(feature_names)
    if len(names) != n_features:
        raise InvalidInputError(
            f"feature_names holds {len(names)} names, the mixture has {n_features} features. "
            "Give one name per feature."
        )
    for position, name in enumerate(names):
        # NumPy strings drop trailing NULs, so such a name would come back changed.
        if not isinstance(name, str) or not 0 < len(name) <= _NAME_CAP or "\0" in name:
            raise InvalidInputError(
                f"feature_names[{position}] = {str(name)[:40]!r} is not a string of 1 to "
                f"{_NAME_CAP} characters without NUL. Rename it."
            )
    return np.array(names, dtype=f"<U{max(map(len, names))}")


def _archive(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            array = np.ascontiguousarray(array).reshape(array.shape)
            little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
            np.lib.format.write_array(member, little_endian, version=(1, 0), allow_pickle=False)
            # ZipInfo's default date, not the clock's: equal mixtures give equal files.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    content = buffer.getvalue()
    if len(content) > _SIZE_CAP:
        raise InvalidInputError(
            f"the mixture takes {len(content)} bytes, a model file at most {_SIZE_CAP}. "
            'Use fewer components or covariance_type="diag".'
        )
    return content


def _write_at_once(path: str, content: bytes) -> None:
    temporary = f"{path}.{secrets.token_hex(6)}.tmp"
    # os.open rather than tempfile: the new file gets the permissions the user's umask asks for.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if os.name == "posix":  # the rename itself must reach the disk too
        directory = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _read_once(path: str) -> bytes:
    """All bytes of the file, so that what is checked is also what is used."""
    stream, size = open_regular(path, ModelFileError)
    with stream:
        if size > _SIZE_CAP:
            raise ModelFileError(
                f"{path} has {size} bytes, a model file at most {_SIZE_CAP}. "
                "Is it a data file? Give a file written by gaussmix.save."
            )
        return stream.read(_SIZE_CAP + 1)


def _members(path: str, content: bytes) -> dict[str, np.ndarray]:
    """Arrays of the archive by name, each checked against its header and checksum."""
    if not content.startswith(b"PK\x03\x04"):
        raise ModelFileError(
            f"{path} is not a model file: it does not start like a .npz archive (pickles are "
            "never opened). Give a file written by gaussmix.save."
        )
    # The end record first: zipfile would read a directory of any length into memory.
    end = content[-_END_RECORD_SIZE:]
    if not end.startswith(_END_RECORD):
        raise ModelFileError(
            f"{path} is truncated or has bytes appended: {len(content)} bytes without an end "
            f"record. {_REMEDY}"
        )
    n_entries = int.from_bytes(end[10:12], "little")
    directory_size = int.from_bytes(end[12:16], "little")
    if directory_size > _DIRECTORY_CAP:
        raise ModelFileError(f"{path}: its directory is too long for a model file. {_REMEDY}")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # One damaged length could make zipfile skip entries; the names must fill the directory.
            names = [entry.orig_filename.encode() for entry in archive.infolist()]
            if len(names) != n_entries or sum(46 + len(n) for n in names) != directory_size:
                raise ModelFileError(f"{path} is damaged in its directory. {_REMEDY}")
            return {
                name: _array(path, name, _member(path, archive, entry))
                for name, entry in _entries(path, archive).items()
            }
    except ModelFileError:
        raise
    except (
        zipfile.BadZipFile,
        EOFError,
        NotImplementedError,
        OSError,
        OverflowError,
        RuntimeError,
        ValueError,
        struct.error,
    ) as error:
        raise ModelFileError(f"{path} is damaged: {error}. {_REMEDY}") from error


def _entries(path: str, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    required = {"format", "version", "covariance_type", "weights", "means", "covariances"}
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = entry.filename.removesuffix(".npy")
        if name in entries:
            raise ModelFileError(f"{path}: the array {name!r} stands in it twice. {_REMEDY}")
        entries[name] = entry
    # A file of a newer version may hold other arrays; its version number is then the news.
    if "version" in entries and "format" in entries:
        _check_tag(
            path,
            {
                name: _array(path, name, _member(path, archive, entries[name]))
                for name in ("format", "version")
            },
        )
    missing = sorted(required - entries.keys())
    unknown = sorted(entries.keys() - required - {"feature_names"})
    if missing or unknown:
        found = f"lacks {missing}" if missing else f"holds the unknown array {unknown[0][:40]!r}"
        raise ModelFileError(
            f"{path} is not a gaussmix model file: it {found}. "
            "Give a file written by gaussmix.save."
        )
    return entries


def _member(path: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise ModelFileError(
            f"{path}: {entry.filename[:40]!r} is compressed, which model files never are. "
            "Save the mixture again with gaussmix.save."
        )
    return archive.read(entry)  # checks the CRC-32 of the member


def _array(path: str, name: str, data: bytes) -> np.ndarray:
    """Array of one member, read only after its header agrees with the number of bytes."""
    stream = io.BytesIO(data)
    try:
        descr, fortran_order, shape = read_header(stream)
    except ValueError:
        descr = ""
    if not re.fullmatch(r"<f8|<i8|<U[1-9]\d{0,3}", descr):
        raise ModelFileError(
            f"{path}: {name[:40]!r} is not an array of float64, int64 or text in NumPy's "
            f"format. {_REMEDY}"
        )
    dtype = np.dtype(descr)
    expected, found = math.prod(shape) * dtype.itemsize, len(data) - stream.tell()
    if expected != found or len(shape) > 3:
        raise ModelFileError(
            f"{path}: {name} is truncated or damaged: its header says {expected} bytes "
            f"(shape {shape}), the file has {found}. {_REMEDY}"
        )
    array = np.frombuffer(data, dtype, offset=stream.tell())
    if dtype.kind == "U" and array.size and array.view("<u4").max() > 0x10FFFF:
        raise ModelFileError(f"{path}: {name} is not valid text. {_REMEDY}")
    return array.reshape(shape, order="F" if fortran_order else "C")


def _check_tag(path: str, arrays: dict[str, np.ndarray]) -> None:
    tag, version = arrays["format"], arrays["version"]
    if tag.shape != () or tag.dtype.kind != "U" or tag.item() != _FORMAT:
        raise ModelFileError(
            f"{path} is not a gaussmix model file: its format tag is not {_FORMAT!r}. "
            "Give a file written by gaussmix.save."
        )
    if version.shape != () or version.dtype.kind != "i" or version.item() < 1:
        raise ModelFileError(f"{path}: version is not a positive integer. {_REMEDY}")
    if version.item() > _VERSION:
        raise ModelFileError(
            f"{path} was written by a newer gaussmix: format version {version.item()}, this one "
            f"reads <= {_VERSION}. Upgrade gaussmix."
        )


def _mixture(path: str, arrays: dict[str, np.ndarray]) -> Mixture:
    for name in ("weights", "means", "covariances"):
        if arrays[name].dtype.kind != "f":
            raise ModelFileError(f"{path}: {name} is not float64. {_REMEDY}")
        finite = np.isfinite(arrays[name])
        if not finite.all():
            place = ", ".join(map(str, np.argwhere(~finite)[0]))
            raise ModelFileError(
                f"{path}: {name}[{place}] is {arrays[name][~finite][0]}, not finite. {_REMEDY}"
            )
    kind = arrays["covariance_type"]
    if kind.shape != () or kind.dtype.kind != "U":
        raise ModelFileError(f"{path}: covariance_type is not a single text. {_REMEDY}")
    try:
        return Mixture(
            arrays["weights"], arrays["means"], arrays["covariances"], covariance_type=kind.item()
        )
    except InvalidInputError as error:
        raise ModelFileError(f"{path} does not hold a valid mixture: {error} {_REMEDY}") from error
