"""Headers of NumPy's array format, matched and not evaluated: no file is ever run as Python."""

from __future__ import annotations

import re
from typing import IO, NamedTuple

_MAGIC = b"\x93NUMPY"
_LENGTH_CAP = 1 << 14
# The three keys in the order in which every writer puts them; spaces are up to the writer.
_HEADER = re.compile(
    rb"\s*\{\s*'descr':\s*'([^'\\]{1,20})',\s*'fortran_order':\s*(False|True),"
    rb"\s*'shape':\s*\(((?:\d{1,15}L?,\s*)*(?:\d{1,15}L?)?)\)\s*,?\s*\}\s*"
)


class ArrayHeader(NamedTuple):
    """What stands before the values: type as text, memory order, shape."""

    descr: str
    fortran_order: bool
    shape: tuple[int, ...]


def read_header(stream: IO[bytes]) -> ArrayHeader:
    """Header of an array of one plain type; leaves the stream at the first value.

    Raises
    ------
    ValueError
        If this is not NumPy's array format, version 1.0 to 3.0, or has named fields.
    """
    start = stream.read(8)
    if start[:6] != _MAGIC or start[6:] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        raise ValueError("it does not start like one")
    length = int.from_bytes(stream.read(2 if start[6] == 1 else 4), "little")
    header = stream.read(length) if length <= _LENGTH_CAP else b""
    match = _HEADER.fullmatch(header)
    if match is None or len(header) < length:
        raise ValueError("its header is damaged, or describes named fields")
    shape = tuple(int(number) for number in re.findall(rb"\d+", match[3]))
    return ArrayHeader(match[1].decode("ascii", "replace"), match[2] == b"True", shape)
