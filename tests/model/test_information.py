"""Entropy and Kullback-Leibler divergence: closed forms, quadrature, and honest standard errors."""

import math

import numpy as np
import pytest

import gaussmix as gm
from mixtures import TYPES, random_mixture

SIGMAS = 5.0  # of a standard error: one seed in two million lies beyond
LINE = gm.Mixture([0.3, 0.7], [0.0, 2.0], [1.0, 0.5], "spherical")
OTHER = gm.Mixture([0.5, 0.5], [-1.0, 2.5], [2.0, 1.0], "spherical")


def integral(function):
    """Trapezoidal rule over the line, exact to rounding for what decays like a Gaussian."""
    x = np.linspace(-30, 30, 60_001)
    return (x[1] - x[0]) * function(x).sum()


def single(covariance_type, seed):
    mixture = random_mixture(covariance_type, n_components=1, n_features=3, seed=seed)
    return mixture, mixture.means[0], mixture.dense_covariances()[0]


@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_entropy_of_one_gaussian_is_exact(covariance_type):
    mixture, _, covariance = single(covariance_type, 0)
    found = mixture.entropy(n=10, seed=0)
    expected = 0.5 * np.linalg.slogdet(2 * math.pi * math.e * covariance)[1]
    assert found.value == pytest.approx(expected, rel=1e-13)
    assert found.standard_error == 0.0


def test_the_entropy_of_a_mixture_is_the_integrals():
    expected = integral(lambda x: -LINE.pdf(x) * LINE.logpdf(x))
    found = LINE.entropy(seed=1)
    assert abs(found.value - expected) < SIGMAS * found.standard_error
    assert 0 < found.standard_error < 2e-3


def test_far_components_add_the_entropy_of_their_weights():
    mixture = gm.Mixture([0.25, 0.75], [0.0, 1e4], [1.0, 1.0], "spherical")
    expected = 0.5 * math.log(2 * math.pi * math.e) - 0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert mixture.entropy(n=1000, seed=0).value == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_divergence_of_two_gaussians_is_the_closed_form(covariance_type):
    one, mean, covariance = single(covariance_type, 0)
    other, other_mean, other_covariance = single("full", 3)
    inverse = np.linalg.inv(other_covariance)
    gap = other_mean - mean
    expected = 0.5 * (
        np.trace(inverse @ covariance)
        + gap @ inverse @ gap
        - 3
        + np.linalg.slogdet(other_covariance)[1]
        - np.linalg.slogdet(covariance)[1]
    )
    found = one.kl(other, seed=2)
    assert abs(found.value - expected) < SIGMAS * found.standard_error


def test_the_divergence_of_mixtures_is_the_integrals():
    expected = integral(lambda x: LINE.pdf(x) * (LINE.logpdf(x) - OTHER.logpdf(x)))
    found = LINE.kl(OTHER, seed=3)
    assert abs(found.value - expected) < SIGMAS * found.standard_error


def test_a_mixture_does_not_diverge_from_itself():
    mixture = random_mixture("tied")
    assert mixture.kl(mixture, n=100, seed=0) == (0.0, 0.0)


@pytest.mark.parametrize("estimate", [LINE.entropy, lambda **how: LINE.kl(OTHER, **how)])
def test_standard_errors_are_the_spread_over_seeds(estimate):
    n_seeds = 400
    found = [estimate(n=200, seed=seed) for seed in range(n_seeds)]
    spread = np.std([one.value for one in found], ddof=1)
    stated = math.sqrt(np.mean([one.standard_error**2 for one in found]))
    # A standard deviation from 400 near-normal values is known to 1 / sqrt(2 * 400).
    assert abs(stated / spread - 1) < 4.5 / math.sqrt(2 * n_seeds)


def test_the_same_seed_gives_the_same_estimate_whatever_the_threads():
    mixture = random_mixture("full")
    assert mixture.entropy(50_000, 7, n_threads=1) == mixture.entropy(50_000, 7, n_threads=3)
    assert mixture.entropy(50_000, 7) != mixture.entropy(50_000, 8)


def test_components_of_weight_zero_change_nothing():
    mixture = gm.Mixture([0.3, 0.0, 0.7], [0.0, 9.0, 2.0], [1.0, 3.0, 0.5], "spherical")
    expected = integral(lambda x: -LINE.pdf(x) * LINE.logpdf(x))
    found = mixture.entropy(seed=1)
    assert abs(found.value - expected) < SIGMAS * found.standard_error


def test_a_density_out_of_range_is_an_infinite_divergence():
    narrow = gm.Mixture([1.0], [0.0], [1e-300], "spherical")
    far = gm.Mixture([1.0], [1e150], [1.0], "spherical")
    assert far.kl(narrow, n=10, seed=0) == (math.inf, math.inf)


def test_what_does_not_fit_is_refused():
    with pytest.raises(gm.InvalidInputError, match="other is a int, not a Mixture"):
        LINE.kl(3)
    with pytest.raises(gm.InvalidInputError, match="other has 4 features, this mixture 1"):
        LINE.kl(random_mixture("full"))
    with pytest.raises(gm.InvalidInputError, match="n is 1, out of range"):
        LINE.entropy(1)
    with pytest.raises(gm.InvalidInputError, match="seed"):
        LINE.kl(OTHER, seed=-1)
