"""The rows of a stream that are kept until there are enough to start from."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..covariance import family
from ..errors import InvalidInputError

# Numbers in the rows of a start for each free parameter. K = 16, D = 8, full, 15 mixtures, with
# starts by k-means and EM alone: after 20 the held-out log-likelihood was up to 3.6 % below that of
# EM on all rows, after 50 up to 1.7 %, after 100 up to 0.9 %.
START_NUMBERS = 50
LIGHT_ROWS = 10  # a start waits for its weight no longer than for so many times as many rows


FARTHEST = 1e153  # from the first row; `fit` refuses columns that span more


class FirstRows(NamedTuple):
    """Batches with their weights, copied; `with_batch` returns more and changes nothing here."""

    batches: tuple[tuple[np.ndarray, np.ndarray | None], ...] = ()
    n_positive: int = 0  # rows of positive weight
    weight: float = 0.0

    def with_batch(self, X: np.ndarray, weight: np.ndarray | None) -> FirstRows:
        """These rows and a batch of finite ones.

        Raises InvalidInputError for a row with which no fit would be possible: refused later, with
        the rows that make the start, it would stay among them and refuse all that come.
        """
        rows, weights = self.batches[0] if self.batches else (X, weight)
        _check_reach(rows[0 if weights is None else int(weights.argmax())], X, weight)
        batch = (np.array(X), None if weight is None else weight.copy())
        return FirstRows(
            (*self.batches, batch),
            self.n_positive + (len(X) if weight is None else int(np.count_nonzero(weight))),
            self.weight + (len(X) if weight is None else float(weight.sum())),
        )

    def suffice(self, start_rows: int, n_components: int) -> bool:
        """Whether there are enough for a start.

        Raises InvalidInputError if there are many rows, but with next to no weight.
        """
        if self.weight < start_rows and self.n_positive >= LIGHT_ROWS * start_rows:
            raise InvalidInputError(
                f"sample_weight sums to {self.weight:.3g} over {self.n_positive} rows, but rows "
                f"are counted by their weights, and {start_rows} are needed for a start. Scale "
                "the weights so that a row counts about 1."
            )
        least = max(n_components, start_rows // LIGHT_ROWS)
        return self.weight >= start_rows and self.n_positive >= least

    def joined(self) -> tuple[np.ndarray, np.ndarray | None]:
        """All rows in one array, and their weights if some have such."""
        X = np.concatenate([rows for rows, _ in self.batches])
        if all(weight is None for _, weight in self.batches):
            return X, None
        weights = [np.ones(len(rows)) if w is None else w for rows, w in self.batches]
        return X, np.concatenate(weights)


@lru_cache(maxsize=64)
def default_rows(covariance_type: str, n_components: int, n_features: int) -> int:
    """Rows for a start that hold 50 numbers for each free parameter."""
    own = family(covariance_type).n_parameters(n_components, n_features)
    n_parameters = n_components - 1 + n_components * n_features + own
    return -(-START_NUMBERS * n_parameters // n_features)


def _check_reach(origin: np.ndarray, X: np.ndarray, weight: np.ndarray | None) -> None:
    """Raise if a row of positive weight is so far from `origin` that squares leave float64."""
    with np.errstate(over="ignore"):
        ways = np.abs(X - origin.astype(float))  # float32 has no room for the difference of any two
    if weight is not None:
        ways[weight == 0.0] = 0.0
    if ways.max() > FARTHEST:
        row, feature = np.unravel_index(int(ways.argmax()), ways.shape)
        raise InvalidInputError(
            f"X[{row}, {feature}] is {X[row, feature]:.3g}, {ways[row, feature]:.3g} from the "
            "first row of the stream, and sums of such squares leave the range of float64. Leave "
            "the row out, or rescale the column."
        )
