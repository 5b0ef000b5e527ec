"""A coverage-guided fuzzer of the reader of model files, by atheris (libFuzzer).

    python tests/fuzz/model_files.py tests/fuzz/corpus -dict=tests/fuzz/model_files.dict \
        -max_len=16384 -runs=1000000

An input is a format version (one byte), a header that ends with a NUL, and a payload; what no
fuzzer would guess, the magic, the lengths and the checksum, is put around it. If the first byte is
255, the rest is taken for a whole file as it is. Whatever comes, the reader must refuse it with a
ModelFileError, or return a model that can be saved again and comes back the same. A checkpoint must
be refused likewise, or be one from which the fit goes on.
"""

import functools
import hashlib
import struct
import sys
import tempfile
import warnings
from pathlib import Path

GOLDEN = Path(__file__).parent.parent / "data" / "v1"
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
    from gaussmix import ModelFileError, persistence
    from gaussmix.files import container

    try:
        content = framed(data)
        record = container.unpack(content, "f")
        if record.kind == "checkpoint":
            return check_checkpoint(content)
        model = persistence.model_of(record, "f")
    except ModelFileError as error:
        assert str(error).startswith("f"), error
        assert str(error).isprintable() and len(str(error)) < 2000, error
        return False
    again = b"".join(container.buffers(model._record()))
    model = persistence.model_of(container.unpack(again, "again"), "again")
    assert b"".join(container.buffers(model._record())) == again
    assert repr(model).replace("\n", "").isprintable()
    return True


@functools.cache
def golden_fits():
    """The rows of the golden checkpoints' fits, and the identity and the arguments of each."""
    import json

    import gaussmix as gm
    from gaussmix import rules
    from gaussmix.files import container

    algorithms = {
        "checkpoint-em": ["em"],
        "checkpoint-list": [rules.Annealed(n_iter=5), rules.Stochastic(average=True), "hard"],
    }
    fits = []
    for name, algorithm in algorithms.items():
        record = container.read(GOLDEN / f"{name}.gmix")
        identity = json.loads(record.arrays["journal"].tobytes())["identity"]
        names = ("n_components", "covariance_type", "n_starts", "start", "tol", "max_iter")
        arguments = {key: identity[key] for key in names}
        fits.append((identity, {**arguments, "algorithm": algorithm}))
    return gm.datasets.load("faithful").X[:60], fits


def check_checkpoint(content):
    """What must hold for a checkpoint: the fit that it tells of goes on from it, or refuses it."""
    import gaussmix as gm
    from gaussmix.files import container
    from gaussmix.fitting import checkpoint, checkpoint_record

    X, fits = golden_fits()
    for identity, arguments in fits:
        with warnings.catch_warnings(), tempfile.NamedTemporaryFile() as file:
            warnings.simplefilter("ignore")
            path = Path(file.name)
            path.write_bytes(content)
            try:
                entries, generator = checkpoint.opened(path, identity)
                saved = checkpoint_record.Saved(identity, generator, entries)
                again = b"".join(container.buffers(checkpoint_record.record_of(saved)))
                path.write_bytes(again)
                saved = saved._replace(entries=checkpoint.opened(path, identity)[0])
                twice = b"".join(container.buffers(checkpoint_record.record_of(saved)))
                assert twice == again
                gm.fit(X, resume=path, **arguments)
            except gm.ModelFileError as error:
                assert str(error).isprintable() and len(str(error)) < 2000, error
                return False
            except gm.InvalidInputError as error:
                assert str(error).startswith("resume: "), error  # of another fit
            except gm.DegenerateFitError:  # numbers that lead nowhere
                return True
            else:
                return True
    return False


def main():
    """Run libFuzzer with the arguments of the command line."""
    import atheris

    with atheris.instrument_imports(include=["gaussmix"]):
        import gaussmix.algorithms.results
        import gaussmix.fitting.checkpoint
        import gaussmix.fitting.fit
        import gaussmix.persistence
        import gaussmix.selection.selection
        import gaussmix.streams.online  # noqa: F401

    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
