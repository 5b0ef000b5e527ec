"""A coverage-guided fuzzer of the reader of model files, by atheris (libFuzzer).

    python tests/fuzz/model_files.py tests/fuzz/corpus -dict=tests/fuzz/model_files.dict \
        -max_len=16384 -runs=1000000

An input is a format version (one byte), a header that ends with a NUL, and a payload; what no
fuzzer would guess, the magic, the lengths and the checksum, is put around it. If the first byte is
255, the rest is taken for a whole file as it is. Whatever comes, the reader must refuse it with a
ModelFileError, or return a model that can be saved again and comes back the same.
"""

import hashlib
import struct
import sys

MAGIC = b"\x89GMIX\r\n\x1a"


def framed(data):
    """The model file that an input of the fuzzer stands for."""
    if data[:1] == b"\xff":
        return data[1:]
    header, _, payload = data[1:].partition(b"\0")
    header += b" " * (-len(header) % 8)
    size = 24 + len(header) + len(payload) + 32
    start = struct.pack("<8sIIQ", MAGIC, int.from_bytes(data[:1]), len(header), size)
    content = start + header + payload
    return content + hashlib.sha256(content).digest()


def input_of(file):
    """The input that stands for an undamaged model file."""
    version, size = struct.unpack_from("<II", file, 8)
    return bytes([version]) + file[24 : 24 + size].rstrip() + b"\0" + file[24 + size : -32]


def check(data):
    """What must hold for any input; True if it was a model."""
    from gaussmix import ModelFileError, container, persistence

    try:
        model = persistence.model_of(container.unpack(framed(data), "f"), "f")
    except ModelFileError as error:
        assert str(error).startswith("f"), error
        assert str(error).isprintable() and len(str(error)) < 2000, error
        return False
    again = b"".join(container.buffers(model._record()))
    model = persistence.model_of(container.unpack(again, "again"), "again")
    assert b"".join(container.buffers(model._record())) == again
    assert repr(model).replace("\n", "").isprintable()
    return True


def main():
    """Run libFuzzer with the arguments of the command line."""
    import atheris

    with atheris.instrument_imports(include=["gaussmix"]):
        from gaussmix import online, persistence, records, results, selection  # noqa: F401

    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
