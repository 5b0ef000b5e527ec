"""Penalised log-likelihoods: their values, and the names of what is not a number."""

from math import inf, log, nan

import numpy as np
import pytest

from gaussmix import InvalidInputError, criteria

GIVEN = {
    "aic": {"log_likelihood": -9.0, "n_parameters": 5},
    "bic": {"log_likelihood": -9.0, "n_parameters": 5, "n_samples": 30},
    "aicc": {"log_likelihood": -9.0, "n_parameters": 5, "n_samples": 30},
    "icl": {"log_likelihood": -9.0, "n_parameters": 5, "n_samples": 30, "entropy": 2.0},
}
VALUES = {"aic": 28.0, "bic": 18.0 + 5 * log(30), "aicc": 30.5, "icl": 22.0 + 5 * log(30)}
EACH_ARGUMENT = [(name, argument) for name, given in GIVEN.items() for argument in given]


@pytest.mark.parametrize("name", GIVEN)
def test_a_criterion_follows_its_formula_for_numbers_of_any_kind(name):
    assert getattr(criteria, name)(**GIVEN[name]) == pytest.approx(VALUES[name], rel=1e-15)
    given = {argument: np.float32(value) for argument, value in GIVEN[name].items()}
    assert getattr(criteria, name)(**given) == getattr(criteria, name)(**GIVEN[name])


@pytest.mark.parametrize("value", [None, "1", 1j, [1.0], True, nan, np.zeros(2)], ids=repr)
@pytest.mark.parametrize(("name", "argument"), EACH_ARGUMENT)
def test_what_is_no_number_is_named(name, argument, value):
    with pytest.raises(InvalidInputError, match=rf"^{argument} is .*; pass a (finite )?number"):
        getattr(criteria, name)(**GIVEN[name] | {argument: value})


@pytest.mark.parametrize("name", GIVEN)
def test_fewer_parameters_than_none_are_an_error(name):
    with pytest.raises(InvalidInputError, match="n_parameters is -1, out of range"):
        getattr(criteria, name)(**GIVEN[name] | {"n_parameters": -1})


@pytest.mark.parametrize("name", GIVEN)
def test_rows_without_a_density_make_it_infinite(name):
    assert getattr(criteria, name)(**GIVEN[name] | {"log_likelihood": -inf}) == inf
