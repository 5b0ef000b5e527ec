"""What the estimator prints with `verbose`, in scikit-learn's words."""

from __future__ import annotations

from time import perf_counter

from ..algorithms.results import FitResult, IterationState


class Printer:
    """A callback that prints every `interval`-th iteration of each start.

    Parameters
    ----------
    level : int
        1 prints iterations, 2 adds times and changes of the mean log-likelihood.
    interval : int
        Iterations from one line to the next.
    """

    def __init__(self, level: int, interval: int) -> None:
        self._level = int(level)
        self._interval = interval
        self._start = -1
        self._began = self._last = perf_counter()

    def __call__(self, state: IterationState) -> None:
        if state.start != self._start:
            self._start = state.start
            print(f"Initialization {state.start}")
        if state.iteration % self._interval:
            return
        line = f"  Iteration {state.iteration}"
        if self._level >= 2:
            now = perf_counter()
            line += f"\t time lapse {now - self._last:.5f}s\t ll change {state.change:.5f}"
            self._last = now
        print(line)

    def finish(self, result: FitResult) -> None:
        """Print how the best start ended."""
        if len(result.starts) > 1:
            tried = [report for report in result.starts if report.error is None]
            print(f"Best of {len(result.starts)} starts ({len(tried)} worked):")
        line = f"Initialization {'converged' if result.converged else 'did not converge'}."
        if self._level >= 2:
            mean = result.log_likelihood[-1] / result.statistics.weight
            line += f" time lapse {perf_counter() - self._began:.5f}s\t lower bound {mean:.5f}."
        print(line)
