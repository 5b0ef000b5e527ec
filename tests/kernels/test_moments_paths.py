"""The moments stage takes a component's rows as they lie or gathered: both must be right."""

import numpy as np
import pytest

import gaussmix as gm
from gaussmix.kernels import contract, reference

N_ROWS = 700  # not a multiple of any block


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
@pytest.mark.parametrize("n_features", [5, 6, 7, 8, 9, 12, 13, 19, 33])
@pytest.mark.parametrize("distance", [0.0, 0.8, 40.0], ids=["all", "many", "few"])
def test_shares_in_all_many_or_few_rows_give_the_same_sums(covariance_type, n_features, distance):
    rng = np.random.default_rng(n_features)
    means = distance * rng.standard_normal((5, n_features))
    X = means[rng.integers(0, 5, N_ROWS)] + rng.standard_normal((N_ROWS, n_features))
    shape = {"full": (1, n_features, n_features), "diag": (1, n_features), "spherical": (1,)}
    one = np.eye(n_features)[None] if covariance_type == "full" else np.ones(shape[covariance_type])
    covariances = np.repeat(one, 5, axis=0)
    mixture = gm.Mixture(np.full(5, 0.2), means, covariances, covariance_type)
    statistics = mixture.statistics(X)

    layout = contract.LAYOUTS[covariance_type]
    plan = contract.plan(5, n_features, layout)
    sums = np.zeros((plan.n_accumulators, contract.offsets(5, n_features, layout).size))
    parameters = mixture.kernel_parameters
    bad = reference.accumulate(X, None, 0, parameters, layout, contract.SOFT, sums, plan, 1)
    assert bad == -1
    total = contract.combine(sums, parameters.means, layout)
    part = contract.offsets(5, n_features, layout)
    second = total[part.second : part.pairs].reshape(statistics.second.shape)
    if covariance_type == "full":
        second = np.tril(second) + np.tril(second, -1).swapaxes(-1, -2)
    # Sums of at most N_ROWS terms, each with a handful of roundings; squares as the yardstick.
    scale = (
        np.abs(np.diagonal(second, axis1=1, axis2=2)).max() if second.ndim == 3 else second.max()
    )
    atol = 8 * N_ROWS * np.finfo(float).eps * scale
    np.testing.assert_allclose(statistics.second, second, rtol=0, atol=atol)
    first = total[part.first : part.second].reshape(means.shape)
    np.testing.assert_allclose(statistics.first, first, rtol=0, atol=atol)
    np.testing.assert_allclose(statistics.mass, total[: part.first], rtol=1e-12)
