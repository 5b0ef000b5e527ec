"""Starts that users give: what is taken, and what is said of what is not."""

import numpy as np
import pytest

from gaussmix.errors import InvalidInputError
from gaussmix.fitting import given_start


def test_good_starts_are_converted():
    assert given_start.means([[1, 2], [3, 4]], 2, 2).dtype == np.float64
    assert given_start.means([1, 2], 2, 1).shape == (2, 1)
    assert given_start.labels(np.array([0, 1, 1], np.uint8), 3, 2).dtype == np.int64
    almost = [[0.3, 0.7 + 5e-7], [1, 0]]
    np.testing.assert_array_equal(given_start.responsibilities(almost, 2, 2), almost)


STARTS = {
    "means, shape": (given_start.means, [[1, 2]], 2, 2, "shape (1, 2), but (2, 2)"),
    "means, NaN": (given_start.means, [[1, 2], [np.nan, 4]], 2, 2, "(means)[1, 0] is nan"),
    "means, inf": (given_start.means, [[1, np.inf], [3, 4]], 2, 2, "(means)[0, 1] is inf"),
    "labels, shape": (given_start.labels, [0, 1], 3, 2, "shape (2,), but (3,)"),
    "labels, type": (given_start.labels, [0.0, 1.0, 1.0], 3, 2, "type float64"),
    "labels, boolean": (given_start.labels, [True, False, True], 3, 2, "type bool"),
    "labels, negative": (given_start.labels, [0, -1, 1], 3, 2, "(labels)[1] is -1"),
    "labels, high": (given_start.labels, [0, 1, 2], 3, 2, "(labels)[2] is 2"),
    "responsibilities, shape": (
        given_start.responsibilities, [[1.0, 0.0]], 2, 2, "shape (1, 2), but (2, 2)",
    ),
    "responsibilities, NaN": (
        given_start.responsibilities, [[1, 0], [np.nan, 1]], 2, 2, "[1, 0] is nan",
    ),
    "responsibilities, negative": (
        given_start.responsibilities, [[1, 0], [-0.5, 1.5]], 2, 2, "[1, 0] is -0.5",
    ),
    "responsibilities, sum": (
        given_start.responsibilities, [[1, 0], [0.5, 0.6]], 2, 2, "[1] sums to 1.1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STARTS)
def test_a_bad_start_is_a_named_error(case):
    check, value, n, k, fragment = STARTS[case]
    with pytest.raises(InvalidInputError) as caught:
        check(value, n, k)
    assert fragment in str(caught.value)
