"""The inputs that fuzzing has found, each of which went a way of its own through the reader."""

import importlib.util
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "fuzz"


@pytest.fixture(scope="module")
def fuzzer():
    spec = importlib.util.spec_from_file_location("fuzz_model_files", FOLDER / "model_files.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_fuzzing_found_is_refused_or_comes_back_the_same(fuzzer):
    inputs = [path.read_bytes() for path in sorted((FOLDER / "corpus").iterdir())]
    assert len(inputs) > 100
    models = sum(fuzzer.check(data) for data in inputs)
    assert 0 < models < len(inputs)


def test_golden_files_are_models_to_the_fuzzer(fuzzer):
    for path in (FOLDER.parent / "data" / "v1").glob("*.gmix"):
        data = fuzzer.input_of(path.read_bytes())
        assert fuzzer.framed(data) == path.read_bytes()
        assert fuzzer.check(data)
