"""scikit-learn's conformance suite, on several settings of the estimator."""

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks

from gaussmix.estimator.gaussian_mixture import GaussianMixture

pytestmark = [
    # The suite fits a few, often equal, rows, and is about the interface.
    pytest.mark.filterwarnings("ignore::gaussmix.errors.GaussmixWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

SETTINGS = [
    GaussianMixture(),
    GaussianMixture(max_iter=5, n_init=2),  # what scikit-learn tests its own class with
    GaussianMixture(n_components=2, covariance_type="diag", warm_start=True),
    GaussianMixture(n_components=2, covariance_type="tied", init_params="random"),
    GaussianMixture(n_components=2, covariance_type="spherical", n_threads=2),
]


@parametrize_with_checks(SETTINGS)
def test_estimator_passes_check(estimator, check):
    if estimator.n_components > 1 and "sample_weight_equivalence" in str(check):
        pytest.skip("that check shuffles the rows, and with them the random start")
    check(estimator)
