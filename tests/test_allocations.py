import sys

import numpy as np
import pytest

import gaussmix as gm
from cancelling import rows
from gaussmix import backends

pytestmark = pytest.mark.skipif(
    backends.active().name != "cython", reason="only compiled kernels allocate by themselves"
)


def failing(call):
    """The errors of `call` whose first, second, ... allocation of a kernel fails."""
    kernels = sys.modules[f"gaussmix.kernels._cython_{backends.active().level}"]
    errors = []
    for number in range(1000):
        kernels.fail_allocation(number)
        try:
            call()
        except MemoryError as error:
            errors.append(str(error))
        finally:
            happened = kernels.fail_allocation(-1)
        if not happened:
            return errors
        assert len(errors) == number + 1, "a failure has been passed over"
    raise AssertionError("no call came to its end")


@pytest.mark.filterwarnings("ignore::gaussmix.ConvergenceWarning")
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_each_failing_allocation_of_a_fit_is_a_memory_error_that_says_of_what(covariance_type):
    X = rows(300)

    def fit():
        return gm.fit(X, 3, covariance_type=covariance_type, seed=0, n_starts=3, max_iter=5)

    expected = fit().mixture
    errors = failing(fit)
    assert fit().mixture == expected
    assert len(errors) > 10 and all(errors)


def test_each_failing_allocation_of_scoring_is_a_memory_error():
    X = rows(50_000)
    mixture = gm.fit(X[:300], 3, seed=0).mixture
    expected = mixture.logpdf(X)
    assert "bytes of kernel workspace" in failing(lambda: mixture.logpdf(X))[-1]
    assert len(failing(lambda: mixture.predict(X[:5]))) == 1
    np.testing.assert_array_equal(mixture.logpdf(X), expected)


def test_an_estimator_and_a_stream_are_as_before():
    pytest.importorskip("sklearn")
    X = rows(300)
    model = gm.GaussianMixture(3, random_state=0).fit(X)
    online = gm.OnlineMixture(3, start=model.mixture_, start_rows=3)
    before = model.mixture_
    for number in range(5):
        kernels = sys.modules[f"gaussmix.kernels._cython_{backends.active().level}"]
        for call in (model.fit, model.partial_fit, online.update):
            kernels.fail_allocation(number if call == model.fit else 0)
            try:
                with pytest.raises(MemoryError):
                    call(X + 1.0)
            finally:
                kernels.fail_allocation(-1)
    assert model.mixture_ is before and model.n_samples_seen_ == 300
    assert online.n_rows_seen == 0 and online.mixture == before
