"""What tests of resumed fits share: a fit that is interrupted and goes on is one that was not."""

import numpy as np

import gaussmix as gm
from cancelling import After


def same(a, b):
    """Whether two results agree in every bit that does not depend on clocks."""
    for name in ("log_likelihood", "classification"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name in ("weights", "means", "covariances", "precision_factors"):
        np.testing.assert_array_equal(getattr(a.mixture, name), getattr(b.mixture, name))
    for name in ("mass", "first", "second", "label_sum", "entropy"):
        np.testing.assert_array_equal(getattr(a.statistics, name), getattr(b.statistics, name))
    assert (a.n_iter, a.stop_reason, a.converged) == (b.n_iter, b.stop_reason, b.converged)
    assert list(map(repr, a.starts)) == list(map(repr, b.starts))
    assert a.repairs == b.repairs
    for one, other in zip(a.stages, b.stages, strict=True):
        assert (one.begin, one.end, one.stop_reason, one.best) == (
            other.begin,
            other.end,
            other.stop_reason,
            other.best,
        )
        for name in ("weights", "means", "betas"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def check_resumed(tmp_path, X, n=6, seed=0, **arguments):
    """A fit cancelled at `n` places, and resumed there, is the fit that was not cancelled."""
    path, never = tmp_path / "fit.gmix", After(1_000_000)
    keep = {"checkpoint": path, "checkpoint_seconds": 0.0}
    whole = gm.fit(X, seed=seed, cancel=never, **keep, **arguments)
    n_checks = never.asked - never.count
    same(gm.fit(X, seed=seed, **arguments), whole)
    for count in np.linspace(1, n_checks - 1, n).astype(int).tolist():
        path.unlink()
        try:
            gm.fit(X, seed=seed, cancel=After(count), **keep, **arguments)
        except gm.FitStoppedError:
            pass
        # Interrupted once more, and then left to end.
        try:
            gm.fit(X, resume=path, cancel=After(n_checks // 5), **keep, **arguments)
        except gm.FitStoppedError:
            pass
        same(gm.fit(X, resume=path, **arguments), whole)
    return whole
