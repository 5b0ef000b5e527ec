"""Passes that score rows: how they are cut into calls of a kernel."""

from types import SimpleNamespace

import numpy as np
import pytest

import gaussmix as gm
from gaussmix import backends, threads
from gaussmix.passes import evaluation

N, D, K = 400_000, 32, 8


def _calls(monkeypatch, score, X):
    """(rows, threads) of each kernel call of `score`, none of which takes any time."""
    calls = []

    def counted(part, parameters, want, out, n_threads):
        calls.append((len(part), n_threads))
        out[...] = 0
        return -1

    covariances = np.broadcast_to(np.eye(D), (K, D, D))
    mixture = gm.Mixture(np.full(K, 1 / K), np.zeros((K, D)), covariances, "full")
    mixture.kernel_parameters  # noqa: B018 - by the backend itself
    monkeypatch.setattr(backends, "active", lambda: SimpleNamespace(evaluate=counted))
    getattr(mixture, score)(X, n_threads=8)
    return calls


@pytest.mark.parametrize("n_others", [0, 7])
@pytest.mark.parametrize("dtype", [np.float64, np.int8])
@pytest.mark.parametrize("score", ["logpdf", "score"])
def test_no_call_takes_longer_where_it_gets_fewer_threads(monkeypatch, score, dtype, n_others):
    monkeypatch.setattr(threads, "_cpus", 8)
    monkeypatch.setattr(threads, "_running", {-1: n_others} if n_others else {})
    calls = _calls(monkeypatch, score, np.zeros((N, D), dtype))
    assert sum(n_rows for n_rows, _ in calls) == N
    assert {count for _, count in calls} == {8 - n_others}
    flops = evaluation.row_flops(K, D)
    assert all(n_rows * flops <= evaluation.CALL_FLOPS * count for n_rows, count in calls)
