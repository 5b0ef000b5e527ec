"""_parameters: single values, checked, and named in the message when they are refused."""

import numpy as np
import pytest

from gaussmix.errors import InvalidInputError
from gaussmix.inputs import validate


@pytest.mark.parametrize("value", [1, 5, np.int32(3), np.uint8(2)])
def test_integers_are_accepted(value):
    result = validate.integer("k", value, 1, 5)
    assert type(result) is int and result == value


@pytest.mark.parametrize(
    "value", [0, 6, True, np.True_, 2.0, np.float64(2), float("nan"), "2", None]
)
def test_what_is_no_integer_in_range_is_refused_with_value_and_range(value):
    with pytest.raises(InvalidInputError, match=r"^k is .*an integer from 1 to 5\.$"):
        validate.integer("k", value, 1, 5)


@pytest.mark.parametrize("value", [0, 0.5, 1, np.float32(0.25), np.int64(1)])
def test_reals_are_accepted(value):
    result = validate.real("tol", value, 0.0, 1.0)
    assert type(result) is float and result == value


@pytest.mark.parametrize(
    "value", [-1e-300, 1.5, float("nan"), float("inf"), True, np.True_, "0.5", None, 1j, [0.5]]
)
def test_what_is_no_real_in_range_is_refused_with_value_and_range(value):
    with pytest.raises(InvalidInputError, match=r"^tol is .*a number >= 0 and <= 1\.$"):
        validate.real("tol", value, 0.0, 1.0)


def test_an_open_limit_excludes_the_limit():
    with pytest.raises(InvalidInputError, match=r"a finite number > 0\.$"):
        validate.real("x", 0.0, 0.0, low_open=True)


def test_infinity_needs_permission():
    assert validate.real("x", np.inf, 0.0, allow_inf=True) == np.inf
    for value in (np.inf, 10**400):
        with pytest.raises(InvalidInputError, match="out of range"):
            validate.real("x", value, 0.0)


def test_a_choice_is_one_of_its_options():
    assert validate.choice("start", "random", ("kmeans", "random")) == "random"
    for value in ("Random", None, 3, ["random"], np.array(["random", "kmeans"])):
        with pytest.raises(InvalidInputError, match="'kmeans', 'random'"):
            validate.choice("start", value, ("kmeans", "random"))


def test_a_seed_gives_a_stream():
    assert validate.seed(3).random() == validate.seed(np.int64(3)).random()
    assert validate.seed(3).random() != validate.seed(4).random()
    assert isinstance(validate.seed(None), np.random.Generator)


def test_a_generator_is_used_itself():
    generator = np.random.default_rng(0)
    assert validate.seed(generator) is generator


def test_a_random_state_decides_the_stream_and_moves_on():
    first, second = (np.random.RandomState(0) for _ in range(2))
    stream = validate.seed(first).random()
    assert stream == validate.seed(second).random()
    assert stream != validate.seed(first).random()


@pytest.mark.parametrize("value", [-1, True, 1.0, "1", np.array([1, 2]), float("nan")])
def test_a_bad_seed_is_a_named_error(value):
    with pytest.raises(InvalidInputError, match=r"^seed is .*an integer >= 0"):
        validate.seed(value)


def test_a_long_or_broken_repr_does_not_hide_the_message():
    class Broken:
        def __repr__(self):
            raise RuntimeError

    with pytest.raises(InvalidInputError, match="<Broken>"):
        validate.integer("k", Broken(), 1)
    with pytest.raises(InvalidInputError) as caught:
        validate.choice("k", "x\n" * 10_000, ("a",))
    assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)
