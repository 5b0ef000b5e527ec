"""What the hostile cases share: how an outcome is judged, and data on a dyadic grid.

Each file holds a table of cases. The letter and number of a case name the kind of trouble:
A values and scale, B degenerate data, C form and type of arrays, D parameters and starts,
E the EM iteration, F scoring and sampling, G threads and processes, H memory, L environment.
For each one the outcome is the right number, a named warning, or a named error.
"""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def grid_clusters():
    """``build(seed, n_rows, n_features, bits)``: two clusters on multiples of ``2**-bits``.

    Adding a multiple of the grid, or multiplying by a power of two, is then exact as long as
    the sum fits in 53 bits.
    """

    def build(seed=0, n_rows=600, n_features=3, bits=16):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((n_rows, n_features))
        X[: n_rows // 3] = 0.5 * X[: n_rows // 3] + 5.0
        return np.round(X * 2.0**bits) / 2.0**bits

    return build


@pytest.fixture(scope="session")
def judge():
    """``judge(call, error=..., warning=..., says=...)``: the call's value, its outcome checked."""

    def check(call, error=None, warning=None, says=()):
        fragments = (says,) if isinstance(says, str) else says
        value = None
        if error is not None:
            with pytest.raises(error) as caught:
                call()
            messages = [str(caught.value)]
        elif warning is not None:
            with pytest.warns(warning) as caught:
                value = call()
            messages = [str(one.message) for one in caught if issubclass(one.category, warning)]
        else:
            value, messages = call(), []
        for fragment in fragments:
            assert any(fragment in message for message in messages), (fragment, messages)
        return value

    return check
