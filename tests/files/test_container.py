"""The container of model files: nothing about it is believed."""

import json
import struct

import numpy as np
import pytest

from gaussmix import InvalidInputError, ModelFileError
from gaussmix.files.container import Record, buffers, strict_json, unpack
from model_files import MAGIC, frame, seal, tiled

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([7, 8], "<i8")}


def good(**changes):
    header, payload = tiled("thing", {"n": 3, "s": "ç"}, ARRAYS)
    return frame(header | changes, payload)


def refuse(content, match):
    with pytest.raises(ModelFileError, match=match) as caught:
        unpack(content, "file.gmix")
    assert str(caught.value).startswith("file.gmix")


def test_what_is_written_comes_back():
    arrays = {
        "u": np.array([1, 2, 3], np.uint8),
        "d": np.array([[0.1, np.nan], [np.inf, -0.0]]),
        "f": np.array([1.5], np.float32),
        "i": np.array(-(2**63)),
        "q": np.array([2**64 - 1], np.uint64),
        "none": np.empty((0, 4)),
    }
    record = Record("thing", {"n": 3, "on": True, "nothing": None, "deep": {"x": [1]}}, arrays)
    content = b"".join(buffers(record))
    kind, fields, found = unpack(content)
    assert (kind, fields) == ("thing", record.fields)
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()
        assert not found[name].flags.writeable
    assert b"".join(buffers(Record(kind, fields, found))) == content


def test_arrays_of_any_order_and_endianness_are_written_as_the_format_says():
    array = np.arange(6.0).reshape(2, 3)
    expected = b"".join(buffers(Record("thing", {}, {"a": array})))
    for same in (np.asfortranarray(array), array.astype(">f8"), array[::-1][::-1]):
        assert b"".join(buffers(Record("thing", {}, {"a": same}))) == expected


def test_a_file_by_the_specification_is_read():
    kind, fields, arrays = unpack(good())
    assert (kind, fields) == ("thing", {"n": 3, "s": "ç"})
    np.testing.assert_array_equal(arrays["a"], ARRAYS["a"])
    np.testing.assert_array_equal(arrays["b"], ARRAYS["b"])


def test_a_header_that_is_too_long_is_not_written():
    with pytest.raises(InvalidInputError, match="at most 65536"):
        buffers(Record("thing", {"text": "x" * 65536}, {}))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is not a model file: it is empty"),
        (b"\x80\x04\x95pickle", "is not a model file.*pickles and archives are never opened"),
        (b"PK\x03\x04" + bytes(60), "is not a model file"),
        (MAGIC[:5], "is truncated: the preamble has 24 bytes, the file has 5"),
        (good()[:-1], "is truncated: header says 304 bytes, file has 303"),
        (good() + b"\0", "bytes after its end: header says 304 bytes, file has 305"),
        (good()[:16] + struct.pack("<Q", 1 << 63) + good()[24:], "header says 9223372036854775808"),
        (seal(MAGIC + struct.pack("<IIQ", 1, 8, 56)), "its header is said to have 8 bytes"),
        (MAGIC + struct.pack("<IIQ", 1, 8, 24), "checksum"),
        (frame({}, header_size=0), "its header is said to have 0 bytes"),
        (frame({}, header_size=7), "its header is said to have 7 bytes"),
        (frame({}, header_size=16), "its header is said to have 16 bytes"),
        (frame({}, header_size=2**32 - 8), "its header is said to have 4294967288 bytes"),
        (frame(b"{}" + b" " * 65536), "its header is said to have 65544 bytes"),
        (good()[:-1] + bytes([good()[-1] ^ 1]), "is damaged: its checksum does not fit"),
        (frame({}, version=2), "written by a newer gaussmix: format version 2.*reads <= 1. Upgr"),
        (frame({}, version=0), "format version 0, which never was"),
    ],
)
def test_a_wrong_frame_is_refused(content, match):
    refuse(content, match)


@pytest.mark.parametrize(
    ("header", "match"),
    [
        (b" ", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"{} {}", "is not JSON"),
        (b'{"kind": "thing"', "is not JSON"),
        (b'{"kind": "a", "kind": "b"}', "holds the key 'kind' twice"),
        (b'{"fields": {"x": 1, "y": 2, "x": 1}}', "holds the key 'x' twice"),
        (b'{"x": NaN}', "holds the number NaN"),
        (b'{"x": -Infinity}', "holds the number -Infinity"),
        (b'{"x": 1.5}', "holds the number 1.5, which is not allowed"),
        (b'{"x": 1e5}', "holds the number 1e5"),
        (b'{"x": 123456789012345678}', "which is too long"),
        (b'{"x": ' + b"1" * 60000 + b"}", "which is too long"),
        (b"[" * 65000, "is nested more than 8 deep"),
        (b'{"x":' * 10000 + b"1" + b"}" * 10000, "is nested more than 8 deep"),
        (b'{"x": "\xff"}', "is not UTF-8 at byte 7"),
        (b'{"x": "\xed\xa0\x80"}', "is not UTF-8"),
        (b'{"x": "\\ud800"}', "holds a lone surrogate"),
        (b'{"\\udfff": 1}', "holds a lone surrogate"),
        (b"\xef\xbb\xbf{}", "begins with a byte order mark"),
        ("{}".encode("utf-16"), "is not UTF-8"),
        (b'{"x": "a\0b"}', "is not JSON"),
        (b'{"kind": "thing", "fields": {}}', "lacks 'arrays'"),
        ({"kind": "thing", "fields": {}, "arrays": [], "more": 1}, "holds 'more'.*unknown"),
        ({"kind": 3, "fields": {}, "arrays": []}, "kind is 3"),
        ({"kind": "thing", "fields": [], "arrays": []}, r"fields is \[\]"),
        ({"kind": "thing", "fields": {}, "arrays": {}}, "arrays is {}, not a list"),
        ({"kind": "thing", "fields": {}, "arrays": [1]}, r"arrays\[0\] is 1"),
        ({"\x1b[31m": 1}, "lacks 'kind'"),
        (
            {"kind": "t", "fields": {}, "arrays": [], "\x1b[31m" + "x" * 900: 1},
            r"holds '\\x1b\[31mx{40,60}\.\.\., which is unknown",
        ),
    ],
)
def test_a_wrong_header_is_refused(header, match):
    refuse(frame(header), match)


@pytest.mark.parametrize(
    ("position", "change", "match"),
    [
        (0, {"offset": -8}, "array 'a' has the offset -8"),
        (0, {"offset": 8}, "array 'a' has the offset 8; .* it must be 0"),
        (1, {"offset": 40}, "array 'b' has the offset 40; .* it must be 48"),
        (1, {"offset": 56}, "array 'b' has the offset 56"),
        (1, {"offset": True}, "array 'b' has the offset True"),
        (1, {"offset": "48"}, "array 'b' has the offset '48'"),
        (0, {"shape": [2, 2]}, "array 'b' has the offset 48; .* it must be 32"),
        (0, {"shape": [2, 30]}, r"array 'a' of shape \[2, 30\] takes 480 bytes, the file has 64"),
        (1, {"shape": [1]}, "its arrays take 56 bytes, the file has 64"),
        (1, {"shape": [3]}, r"array 'b' of shape \[3\] takes 24 bytes, the file has 16"),
        (0, {"shape": [2**52, 2**52, 2**52]}, "takes 730750818665451459101842416358141509827966"),
        (0, {"shape": [0, 2**52, 2**52]}, "array 'a' has the shape"),
        (0, {"shape": [2, -3]}, "array 'a' has the shape"),
        (0, {"shape": [True, 6]}, "array 'a' has the shape"),
        (0, {"shape": [1] * 33}, "array 'a' has the shape"),
        (0, {"shape": 6}, "array 'a' has the shape 6"),
        (0, {"shape": ["6"]}, "array 'a' has the shape"),
        (0, {"dtype": "|O"}, "array 'a' has the dtype '|O'"),
        (0, {"dtype": ">f8"}, "array 'a' has the dtype '>f8'"),
        (0, {"dtype": ["<f8"]}, "array 'a' has the dtype"),
        (0, {"dtype": "<f8,<f8"}, "array 'a' has the dtype"),
        (0, {"name": "b"}, r"arrays\[1\] has the name 'b', not a new one"),
        (0, {"name": "../x"}, r"arrays\[0\] has the name '../x'"),
        (0, {"name": 3}, r"arrays\[0\] has the name 3"),
        (0, {"order": "F"}, r"arrays\[0\] holds 'order', which is unknown"),
        (0, {"offset": None}, "array 'a' has the offset None"),
    ],
)
def test_a_wrong_array_is_refused(position, change, match):
    header, payload = tiled("thing", {}, ARRAYS)
    header["arrays"][position] |= change
    refuse(frame(header, payload), match)


def test_an_array_that_is_not_aligned_is_refused():
    arrays = {"u": np.array([1], np.uint8), "d": np.array([1.0])}
    header, payload = tiled("thing", {}, arrays)
    refuse(frame(header, payload), "array 'd' has the offset 1; .* a multiple of 8")


def test_an_entry_without_a_name_is_refused():
    header, payload = tiled("thing", {}, ARRAYS)
    del header["arrays"][0]["name"]
    refuse(frame(header, payload), r"arrays\[0\] lacks 'name'")


def test_the_key_that_is_there_twice_is_found_among_many():
    # A search from every key to every other one would take half an hour.
    keys = ",".join(f'"{i}":1' for i in range(200_000))
    with pytest.raises(ModelFileError, match="holds the key '199999' twice"):
        strict_json(f'{{{keys},"199999":1}}'.encode(), "it", 1)


def test_a_hundred_thousand_entries_do_not_fit_into_a_header():
    entry = {"name": "a", "dtype": "<f8", "shape": [0], "offset": 0}
    content = frame({"kind": "thing", "fields": {}, "arrays": [entry] * 100_000})
    refuse(content, "its header is said to have")


def test_brackets_in_strings_do_not_count_as_depth():
    value = {"x": '[{"\\' * 100}
    assert strict_json(json.dumps(value).encode(), "it", 1) == value


def test_every_truncation_and_every_flipped_bit_is_refused():
    content = good()
    for length in range(len(content)):
        refuse(content[:length], "is truncated|is not a model file")
    flipped = bytearray(content)
    for position in range(len(content)):
        for bit in range(8):
            flipped[position] ^= 1 << bit
            refuse(bytes(flipped), "checksum|is truncated|after its end|is not a model file")
            flipped[position] ^= 1 << bit
