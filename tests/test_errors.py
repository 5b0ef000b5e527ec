"""errors: the exceptions' bases, and warnings that point at the user's line."""

import inspect
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import gaussmix
from gaussmix import errors


@pytest.mark.parametrize("name", ["InvalidInputError", "DegenerateFitError", "ModelFileError"])
def test_errors_are_value_errors_of_the_package(name):
    assert issubclass(getattr(errors, name), (errors.GaussmixError, ValueError))
    assert issubclass(getattr(errors, name), errors.GaussmixError)


def test_a_wrong_kind_of_input_is_both_a_value_error_and_a_type_error():
    assert issubclass(errors.InvalidTypeError, errors.InvalidInputError)
    assert issubclass(errors.InvalidTypeError, TypeError)


@pytest.mark.parametrize(
    "name",
    ["DegenerateComponentWarning", "PrecisionWarning", "ConvergenceWarning", "BackendWarning"],
)
def test_warnings_are_user_warnings_of_the_package(name):
    assert issubclass(getattr(errors, name), errors.GaussmixWarning)
    assert issubclass(errors.GaussmixWarning, UserWarning)


def _inside_the_package(depth: int):
    """A function that calls `errors.warn` from `depth` frames with file names of the package."""
    source = "def call(depth):\n    call(depth - 1) if depth else warn('text', BackendWarning)\n"
    filename = str(Path(errors.__file__).parent / "kernels" / "somewhere.py")
    namespace = {"warn": errors.warn, "BackendWarning": errors.BackendWarning}
    exec(compile(source, filename, "exec"), namespace)
    return lambda: namespace["call"](depth)


@pytest.mark.parametrize("depth", [0, 1, 7])
def test_a_warning_points_at_the_first_line_outside_the_package(depth):
    namespace = {"call": _inside_the_package(depth)}
    # The lambda above stands in this file, and so does its caller; what counts is the first.
    with pytest.warns(errors.BackendWarning, match="text") as caught:
        namespace["call"]()
    assert caught[0].filename == __file__
    assert caught[0].lineno == inspect.getsourcelines(_inside_the_package)[1] + 6


def test_warnings_of_public_calls_point_at_the_users_line():
    X = np.column_stack([np.arange(60.0) % 7, np.full(60, 3.0)])
    calls = (
        lambda: gaussmix.fit(X, 1),
        lambda: gaussmix.select(X, 1, covariance_types="diag"),
        lambda: gaussmix.OnlineMixture(1, start_rows=20).update(X),
        lambda: gaussmix.GaussianMixture(1).fit(X),
    )
    for call in calls:
        with pytest.warns(errors.DegenerateComponentWarning, match="column 1") as caught:
            call()
        assert {warning.filename for warning in caught} == {__file__}


def test_one_user_line_is_told_once_by_the_default_filter():
    call = _inside_the_package(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            call()
    assert len(caught) == 1


def test_a_warning_from_frames_of_the_package_alone_is_still_issued():
    filename = str(Path(errors.__file__).parent / "alone.py")
    source = "warn('text', BackendWarning)"
    code = compile(source, filename, "exec")
    namespace = {"warn": errors.warn, "BackendWarning": errors.BackendWarning}
    with pytest.warns(errors.BackendWarning, match="text"):
        exec(code, namespace)


def test_recorded_warnings_are_kept_and_those_of_other_threads_issued():
    inside, told = threading.Event(), threading.Event()

    def work():
        inside.wait()
        errors.warn("from another thread", errors.PrecisionWarning)
        told.set()

    worker = threading.Thread(target=work)
    worker.start()
    with pytest.warns(errors.PrecisionWarning, match="from another thread") as issued:
        with errors.recorded() as kept:
            errors.warn("outer", errors.PrecisionWarning)
            with errors.recorded() as inner:
                errors.warn("inner", errors.BackendWarning)
            inside.set()
            told.wait()
    worker.join()
    assert kept == [("outer", errors.PrecisionWarning)]
    assert inner == [("inner", errors.BackendWarning)]
    assert len(issued) == 1
