"""How starts choose rows: samples of large data, draws in proportion to weights."""

import numpy as np
import pytest

from gaussmix.start import _pick, _spread


@pytest.mark.parametrize(("n_rows", "count"), [(7, 7), (7, 3), (30_001, 20_000), (400_000, 20_000)])
def test_a_sample_of_rows_has_distinct_increasing_numbers(n_rows, count):
    rows = _spread(n_rows, count, np.random.default_rng(0))
    assert rows.shape == (count,)
    assert rows[0] >= 0 and rows[-1] < n_rows
    assert (np.diff(rows) > 0).all()


def test_every_row_is_as_likely_to_be_in_a_sample():
    n_rows, count, n_samples = 10, 4, 4_000  # runs of 2 and 3 rows
    rng = np.random.default_rng(0)
    found = sum(
        np.bincount(_spread(n_rows, count, rng), minlength=n_rows) for _ in range(n_samples)
    )
    share = count / n_rows
    deviation = np.sqrt(n_samples * share * (1.0 - share))  # binomial, one for each row
    assert np.abs(found - n_samples * share).max() < 5.0 * deviation


def test_a_row_without_weight_is_never_picked():
    weight = np.array([0.0, 2.0, 0.0, 1.0, 0.0])
    uniforms = np.linspace(0.0, np.nextafter(1.0, 0.0), 1_001)
    assert set(_pick(weight, uniforms).tolist()) == {1, 3}


def test_an_end_that_rounds_to_the_sum_picks_the_last_row_with_weight():
    assert _pick(np.array([5e-324, 0.0]), np.array([np.nextafter(1.0, 0.0)])) == 0
