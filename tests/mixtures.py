"""Mixtures that several tests draw at random."""

import numpy as np

import gaussmix as gm
import oracle

TYPES = ("full", "tied", "diag", "spherical")


def random_mixture(covariance_type, n_components=3, n_features=4, seed=0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n_components, n_features, n_features))
    full = root @ root.transpose(0, 2, 1) + 0.5 * np.eye(n_features)
    covariances = oracle.of_type(full, covariance_type)
    weights = rng.dirichlet(np.full(n_components, 5.0))
    means = 3.0 * rng.normal(size=(n_components, n_features))
    return gm.Mixture(weights, means, covariances, covariance_type)


def overlapping_mixture(covariance_type, n_components, n_features, seed, spread=2.0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n_components, n_features, n_features)) / np.sqrt(n_features)
    full = root @ root.transpose(0, 2, 1) + 0.05 * np.eye(n_features)
    covariances = oracle.of_type(full, covariance_type)
    weights = rng.dirichlet(np.full(n_components, 5.0))
    means = spread * rng.normal(size=(n_components, n_features))
    return gm.Mixture(weights, means, covariances, covariance_type)


def as_type(covariance_type, variance, n_components, n_features):
    """The covariances of equal round components."""
    dense = variance * np.eye(n_features)
    return {
        "full": np.tile(dense, (n_components, 1, 1)),
        "tied": dense,
        "diag": np.full((n_components, n_features), variance),
        "spherical": np.full(n_components, variance),
    }[covariance_type]


def parameters(mixture):
    return mixture.weights, mixture.means, mixture.dense_covariances()
