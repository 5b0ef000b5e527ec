"""The exponentials of every backend and instruction set, seen through responsibilities.

Of two components one has a factor of 0, so that its log joint density is 0 in every row, and the
other has -x^2 / 2, which is exact for the x here.
"""

import numpy as np

import oracle
from gaussmix.kernels import contract
from kernel_calls import evaluate

EPS = np.finfo(np.float64).eps
EXP_ULP = 1.25  # the bound stated in _vector.h
PARAMETERS = contract.Parameters(
    contract.FACTOR_DIAG, np.zeros(2), np.zeros((2, 1)), np.array([[0.0], [1.0]]), np.zeros(1)
)


def shares(backend, low, high):
    """Responsibilities of both components, and the exact logarithm of their ratio."""
    numbers = np.random.default_rng(5).integers(int(low * 2**20), int(high * 2**20), 100_000)
    x = numbers / 2**20  # at most 26 bits: the square is exact
    found = evaluate(backend, x[:, None], PARAMETERS, contract.WANT_RESPONSIBILITIES)
    return found, (-x * x / 2).astype(oracle.LONG)


def test_small_responsibilities_are_exponentials_within_their_bound(backend):
    # Below exp(-38) the sum is 1, and the responsibility the exponential itself.
    found, logarithm = shares(backend, 8.72, 37.6)
    exact = np.exp(logarithm)
    error = np.abs(found[:, 1] - exact) / np.spacing(exact.astype(np.float64))
    assert error.max() <= EXP_ULP


def test_responsibilities_of_two_are_quotients_of_an_exponential(backend):
    found, logarithm = shares(backend, 0.0, 8.72)
    exact = np.exp(logarithm)
    exact /= 1 + exact
    # Twice the exponential's error, in itself and in the sum, and half an ulp for sum and quotient.
    assert np.abs(found[:, 1] / exact - 1).max() <= (2 * EXP_ULP + 1) * EPS
