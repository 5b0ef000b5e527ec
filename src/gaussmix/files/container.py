"""The container of model files (docs/file-format.md): bytes to kind, fields, arrays, and back.

Nothing here knows what a mixture is. The reader believes nothing: every number of the file is
compared with the bytes that there are before anything is allocated, and nothing is executed.
"""

import json
import math
import os
import re
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from typing import NamedTuple, NoReturn

import numpy as np

from ..errors import InvalidInputError, ModelFileError
from ..inputs.parameters import shown
from ..stopping import check
from .regular import cut, read_regular, write_at_once

MAGIC = b"\x89GMIX\r\n\x1a"
VERSION = 1
PREAMBLE = struct.Struct("<8sIIQ")  # magic, version, bytes of the header, bytes of the file
DIGEST_SIZE = 32  # SHA-256 of all before it
HEADER_CAP = 1 << 16
HEADER_DEPTH = 8
SIZE_CAP = 1 << 30
DTYPES = {name: np.dtype(name) for name in ("<f8", "<i8", "<u8", "<f4", "|u1")}
_RANK_CAP = 4
_DIGEST_FEW = 1 << 20
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.")
_NAME_CAP = 64
_REMEDY = "Restore the file from a copy, or save the model again."
_NOT_OURS = "Give a file written by gaussmix (pickles and archives are never opened)."


class Record(NamedTuple):
    """What a file holds: a kind, JSON values without fractions, and arrays, both by name."""

    kind: str
    fields: dict
    arrays: dict[str, np.ndarray]

    def nest(self, name: str, part: "Record") -> None:
        """Put `part` in as the part `name`; its arrays become ``name.array``."""
        self.fields[name] = part.fields
        self.arrays.update({f"{name}.{key}": array for key, array in part.arrays.items()})

    def split(self, *names: str) -> "list[Record]":
        """The record without the parts of these names, then each of them, as `nest` put them in.

        Raises InvalidInputError if one is missing.
        """
        own, *parts = Record(self.kind, {}, {}), *(Record(name, {}, {}) for name in names)
        by_name = dict(zip(names, parts, strict=True))
        for name, value in self.fields.items():
            if name in by_name and type(value) is dict:
                by_name[name].fields.update(value)
            else:
                own.fields[name] = value
        for name, array in self.arrays.items():
            part, _, rest = name.partition(".")
            if part in by_name:
                by_name[part].arrays[rest] = array
            else:
                own.arrays[name] = array
        for name in names:
            if name not in self.fields:
                raise InvalidInputError(f"its part {name!r} is missing.")
        return [own, *parts]


def buffers(record: Record) -> list[bytes | memoryview]:
    """The bytes of a model file, in pieces that need not be joined; equal records, equal bytes.

    Raises
    ------
    InvalidInputError
        If the header would be longer than a header may be.
    """
    entries, payload, offset = [], [], 0
    # By size of their items, so that each begins at a multiple of its own.
    for name, array in sorted(record.arrays.items(), key=lambda item: -item[1].dtype.itemsize):
        dtype = array.dtype.newbyteorder("<")
        entries.append(
            {"name": name, "dtype": dtype.str, "shape": list(array.shape), "offset": offset}
        )
        # As bytes, which are one-dimensional and know no type; a view unless it must be copied.
        ordered = np.ascontiguousarray(array, dtype=dtype)
        payload.append(memoryview(ordered.reshape(-1).view(np.uint8)))
        offset += array.nbytes
    header = json.dumps(
        {"kind": record.kind, "fields": record.fields, "arrays": entries},
        separators=(",", ":"),
        allow_nan=False,
    ).encode()
    header += b" " * (-len(header) % 8)
    if len(header) > HEADER_CAP:
        raise InvalidInputError(
            f"the names and fields of the model take {len(header)} bytes, the header of a model "
            f"file at most {HEADER_CAP}. Save it in parts."
        )
    size = PREAMBLE.size + len(header) + offset + DIGEST_SIZE
    pieces = [PREAMBLE.pack(MAGIC, VERSION, len(header), size), header, *payload]
    return [*pieces, _digest(pieces, size)]


def write(path: str | os.PathLike, record: Record) -> None:
    """Nothing; writes a model file, completely or not at all. Errors as `write_at_once`."""
    write_at_once(path, buffers(record))


def read(path: str | os.PathLike, max_bytes: int = SIZE_CAP) -> Record:
    """What a model file holds; its container is checked throughout, its meaning is not.

    Raises
    ------
    InvalidInputError
        If `path` is empty.
    ModelFileError
        If it is not a regular file of at most `max_bytes`, or not an undamaged model file.
    OSError
        If it is absent or may not be read.
    """
    name = os.fspath(path)
    content = read_regular(
        path, ModelFileError, max_bytes, lambda start, size: _check_preamble(name, start, size)
    )
    return unpack(content, name)


def unpack(content: bytes | memoryview, name: str = "the model file") -> Record:
    """What the bytes of a model file hold; arrays are read-only views of `content`.

    Parameters
    ----------
    content : bytes, or a memoryview of them
    name : str
        What to call it in messages.

    Raises
    ------
    ModelFileError
        If anything about the container is not as docs/file-format.md says.
    """
    content = memoryview(content)
    _check_preamble(name, content[: PREAMBLE.size].tobytes(), len(content))
    _, version, header_size, _ = PREAMBLE.unpack_from(content)
    end = len(content) - DIGEST_SIZE
    if end < PREAMBLE.size or _digest([content[:end]], end) != content[end:]:
        raise ModelFileError(f"{name} is damaged: its checksum does not fit. {_REMEDY}")
    if version != VERSION:
        if version > VERSION:
            raise ModelFileError(
                f"{name} was written by a newer gaussmix: format version {version}, this one "
                f"reads <= {VERSION}. Upgrade gaussmix."
            )
        raise ModelFileError(f"{name} has format version {version}, which never was. {_NOT_OURS}")
    begin = PREAMBLE.size + header_size
    if not 0 < header_size <= HEADER_CAP or header_size % 8 or begin > end:
        raise ModelFileError(
            f"{name}: its header is said to have {header_size} bytes; it must be a multiple of 8 "
            f"up to {HEADER_CAP}, within the file. {_REMEDY}"
        )
    text = content[PREAMBLE.size : begin].tobytes()
    header = strict_json(text, f"{name}: the header", HEADER_DEPTH)
    _require_keys(f"{name}: the header", header, ("kind", "fields", "arrays"))
    kind, fields, entries = header["kind"], header["fields"], header["arrays"]
    for key, value, wanted in (("kind", kind, str), ("fields", fields, dict)):
        if type(value) is not wanted:
            raise ModelFileError(f"{name}: {key} is {shown(value)}, not a JSON value of its type.")
    return Record(kind, fields, _arrays(name, entries, content, begin, end))


def strict_json(data: bytes, name: str, depth: int, fractions: bool = False) -> dict:
    """The JSON object in `data`, in which nothing may be ambiguous.

    Parameters
    ----------
    data : bytes
    name : str
        What to call it in messages.
    depth : int
        How deeply objects and lists may be nested.
    fractions : bool
        Whether numbers may have fractions; all numbers are finite in any case.

    Raises
    ------
    ModelFileError
        If it is not UTF-8 without a byte order mark, not JSON, not an object, nested too deeply,
        has a key twice, lone surrogates, NaN, infinities, or integers of more than 16 digits.
    """

    def refuse(what: str) -> NoReturn:
        raise ModelFileError(f"{name} {what}. {_REMEDY}")

    def integer(digits: str) -> int:
        if len(digits) > 17:
            refuse(f"holds the number {digits[:20]}..., which is too long")
        return int(digits)

    def fraction(digits: str) -> float:
        number = float(digits) if len(digits) <= 40 else math.inf
        if not fractions or not math.isfinite(number):
            refuse(f"holds the number {digits[:40]}, which is not allowed")
        return number

    def pairs(items: list[tuple[str, object]]) -> dict:
        found = dict(items)
        if len(found) != len(items):
            for key, _ in items:  # each is taken out once: linear, however many there are
                if found.pop(key, found) is found:
                    refuse(f"holds the key {shown(key)} twice")
        return found

    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        refuse(f"is not UTF-8 at byte {error.start}")
    if text.startswith("\ufeff"):
        refuse("begins with a byte order mark")
    # Before the parser, which is recursive; strings are taken out as they may hold brackets.
    if _depth(text) > depth:
        refuse(f"is nested more than {depth} deep")
    try:
        value = json.loads(
            text,
            object_pairs_hook=pairs,
            parse_int=integer,
            parse_float=fraction,
            parse_constant=lambda token: refuse(f"holds the number {token}"),
        )
        # Escapes can spell halves of surrogate pairs, which no encoding of text knows.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        refuse("holds a lone surrogate")
    except ValueError as error:
        if isinstance(error, ModelFileError):
            raise
        refuse(f"is not JSON ({error})")
    if not isinstance(value, dict):
        refuse("is not a JSON object")
    return value


def _is_name(key: str) -> bool:
    return "a" <= key[:1] <= "z" and len(key) <= _NAME_CAP and _NAME_CHARACTERS.issuperset(key)


def _depth(text: str) -> int:
    """How deeply JSON is nested; where it is none, at least as far as a parser would get."""
    if "\\" in text:  # escapes, which may spell quotation marks; few files hold any
        text = re.sub(r"\\.", "", text, flags=re.DOTALL)
    deepest = now = 0
    for bracket in "".join(text.split('"')[::2]):  # every other piece is a string
        if bracket in "[{":
            now += 1
            deepest = max(deepest, now)
        elif bracket in "]}":
            now -= 1
    return deepest


def _sha256(n_bytes: int):
    """The SHA-256 with which so many bytes take the least time.

    `hashlib` loads OpenSSL, which is faster by the byte and takes a fresh process 5 ms.
    """
    if n_bytes < _DIGEST_FEW and "hashlib" not in sys.modules:
        # What hashlib itself falls back to.
        with suppress(ImportError):
            return import_module("_sha2" if sys.version_info >= (3, 12) else "_sha256").sha256
    from hashlib import sha256

    return sha256


def _digest(pieces: Iterable[bytes | memoryview], n_bytes: int) -> bytes:
    """The SHA-256 of the pieces, which have so many bytes together."""
    digest = _sha256(n_bytes)()
    for piece in cut(pieces):
        check()
        digest.update(piece)
    return digest.digest()


def _check_preamble(name: str, start: bytes, size: int) -> None:
    """Refuse what is no model file or has another length than it says, knowing its start alone."""
    if start[: len(MAGIC)] != MAGIC[: max(1, len(start))]:
        found = "is empty" if not start else "does not begin like one"
        raise ModelFileError(f"{name} is not a model file: it {found}. {_NOT_OURS}")
    if len(start) < PREAMBLE.size:
        raise ModelFileError(
            f"{name} is truncated: the preamble has {PREAMBLE.size} bytes, the file has {size}. "
            f"{_REMEDY}"
        )
    said = PREAMBLE.unpack_from(start)[3]
    if said != size:
        what = "is truncated" if size < said else "has bytes after its end"
        raise ModelFileError(f"{name} {what}: header says {said} bytes, file has {size}. {_REMEDY}")


def _require_keys(name: str, value: object, keys: Iterable[str]) -> None:
    if type(value) is not dict:
        raise ModelFileError(f"{name} is {shown(value)}, not a JSON object. {_REMEDY}")
    for key in keys:
        if key not in value:
            raise ModelFileError(f"{name} lacks {key!r}. {_REMEDY}")
    for key in value:
        if key not in keys:
            raise ModelFileError(f"{name} holds {shown(key)}, which is unknown. {_REMEDY}")


def _arrays(
    name: str, entries: object, content: memoryview, begin: int, end: int
) -> dict[str, np.ndarray]:
    """Arrays that tile ``content[begin:end]`` in the order of their entries."""
    if type(entries) is not list:
        raise ModelFileError(f"{name}: arrays is {shown(entries)}, not a list. {_REMEDY}")
    arrays: dict[str, np.ndarray] = {}
    offset, room = 0, end - begin
    for position, entry in enumerate(entries):
        where = f"{name}: arrays[{position}]"
        _require_keys(where, entry, ("name", "dtype", "shape", "offset"))
        key, shape = entry["name"], entry["shape"]
        if type(key) is not str or not _is_name(key) or key in arrays:
            raise ModelFileError(f"{where} has the name {shown(key)}, not a new one. {_REMEDY}")
        where = f"{name}: array {key!r}"
        if type(entry["dtype"]) is not str or entry["dtype"] not in DTYPES:
            raise ModelFileError(
                f"{where} has the dtype {shown(entry['dtype'])}, not one of "
                f"{', '.join(DTYPES)}. {_REMEDY}"
            )
        dtype = DTYPES[entry["dtype"]]
        if (
            type(shape) is not list
            or len(shape) > _RANK_CAP
            or not all(type(length) is int and 0 <= length for length in shape)
            # NumPy refuses to shape nothing at all like that.
            or (0 in shape and math.prod(filter(None, shape)) > sys.maxsize // 8)
        ):
            raise ModelFileError(
                f"{where} has the shape {shown(shape)}, not up to {_RANK_CAP} lengths of an array "
                f"that there can be. {_REMEDY}"
            )
        if type(entry["offset"]) is not int or entry["offset"] != offset or offset % dtype.itemsize:
            raise ModelFileError(
                f"{where} has the offset {shown(entry['offset'])}; arrays follow each other "
                f"without gaps: it must be {offset}, a multiple of {dtype.itemsize}. {_REMEDY}"
            )
        count = math.prod(shape)
        n_bytes = count * dtype.itemsize
        if n_bytes > room - offset:
            raise ModelFileError(
                f"{where} of shape {shape} takes {n_bytes} bytes, the file has {room - offset} "
                f"for it. {_REMEDY}"
            )
        array = np.frombuffer(content, dtype, count, begin + offset).reshape(shape)
        arrays[key] = array.astype(dtype.newbyteorder("="), copy=False)
        offset += n_bytes
    if offset != room:
        raise ModelFileError(
            f"{name}: its arrays take {offset} bytes, the file has {room} for them. {_REMEDY}"
        )
    return arrays
