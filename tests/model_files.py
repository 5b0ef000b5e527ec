"""Model files by the words of docs/file-format.md alone: a writer of any bytes, and a reader.

Imports nothing of gaussmix: what it reads and makes is what the document says.
"""

import hashlib
import json
import struct

import numpy as np

MAGIC = b"\x89GMIX\r\n\x1a"


def seal(content):
    """The content with a checksum that fits."""
    return content + hashlib.sha256(content).digest()


def frame(header, payload=b"", version=1, header_size=None):
    """A file with any header (a value, or bytes) and payload, whose length and checksum fit."""
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    size = 24 + len(header) + len(payload) + 32
    said = len(header) if header_size is None else header_size
    return seal(MAGIC + struct.pack("<IIQ", version, said, size) + header + payload)


def tiled(kind, fields, arrays):
    """Header and payload of arrays that follow each other as the document says."""
    entries, payload = [], b""
    for name, array in arrays.items():
        entries.append(
            {
                "name": name,
                "dtype": array.dtype.str,
                "shape": list(array.shape),
                "offset": len(payload),
            }
        )
        payload += array.tobytes()
    return {"kind": kind, "fields": fields, "arrays": entries}, payload


def read(content):
    """``(kind, fields, arrays)``; arrays as nested lists of Python numbers."""
    magic, version, header_size, size = struct.unpack_from("<8sIIQ", content)
    assert magic == MAGIC and version == 1 and size == len(content)
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]
    header = json.loads(content[24 : 24 + header_size])
    arrays, begin = {}, 24 + header_size
    codes = {"<f8": "d", "<i8": "q", "<u8": "Q", "<f4": "f", "|u1": "B"}
    for entry in header["arrays"]:
        count = 1
        for length in entry["shape"]:
            count *= length
        code = f"<{count}{codes[entry['dtype']]}"
        values = struct.unpack_from(code, content, begin + entry["offset"])
        arrays[entry["name"]] = nested(values, entry["shape"])
    return header["kind"], header["fields"], arrays


def nested(values, shape):
    """A flat sequence in rows of rows, the last index fastest."""
    if not shape:
        return values[0]
    if len(shape) == 1:
        return list(values)
    step = len(values) // shape[0] if shape[0] else 0
    return [nested(values[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def parts(content):
    """Header and payload of a file, to be changed and framed again."""
    (header_size,) = struct.unpack_from("<I", content, 12)
    return json.loads(content[24 : 24 + header_size]), content[24 + header_size : -32]


def changed(content, **arrays):
    """The file with other arrays in place of its own (None: without), framed anew."""
    header, payload = parts(content)
    found = {}
    for entry in header["arrays"]:
        dtype = np.dtype(entry["dtype"])
        count = int(np.prod(entry["shape"], dtype=int))
        array = np.frombuffer(payload, dtype, count, entry["offset"])
        found[entry["name"]] = array.reshape(entry["shape"])
    kept = [(name, array) for name, array in (found | arrays).items() if array is not None]
    kept.sort(key=lambda item: -item[1].itemsize)
    return frame(*tiled(header["kind"], header["fields"], dict(kept)))
