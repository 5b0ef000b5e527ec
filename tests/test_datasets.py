"""The embedded data sets hold the published values."""

import numpy as np
import pytest

from gaussmix import InvalidInputError, datasets


def test_faithful_has_the_published_moments():
    dataset = datasets.load("faithful")
    assert dataset.X.shape == (272, 2)
    assert dataset.X.dtype == np.float64
    assert dataset.feature_names == ("eruptions", "waiting")
    # Sums over the 272 rows of R's `faithful`, exact in the decimals that are published.
    np.testing.assert_allclose(dataset.X.sum(axis=0), [948.677, 19284.0], rtol=1e-14)
    np.testing.assert_array_equal(dataset.X[0], [3.6, 79.0])
    np.testing.assert_array_equal(dataset.X[-1], [4.467, 74.0])
    assert "Azzalini" in dataset.source and "minutes" in dataset.source


def test_every_name_loads_under_its_own_name():
    for name in datasets.names():
        assert datasets.load(name).name == name


def test_each_load_gives_an_array_of_its_own():
    datasets.load("faithful").X[:] = 0
    assert datasets.load("faithful").X.min() > 0


@pytest.mark.parametrize("name", ["iris", "", "../faithful", None, ["faithful"]])
def test_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(InvalidInputError, match="Use one of: faithful"):
        datasets.load(name)
