"""A progress bar for long fits; needs tqdm (the extra `cli`)."""

from __future__ import annotations

from collections.abc import Callable

from ..algorithms.results import IterationState


class Progress:
    """A callback that shows iteration and mean log-likelihood, then asks the user's callback."""

    def __init__(self, max_iter: int, callback: Callable[[IterationState], object] | None) -> None:
        self._bar = _tqdm()(total=max_iter, unit="it", desc="EM")
        self._callback = callback
        self._start = 0

    def __call__(self, state: IterationState) -> object:
        if state.start != self._start or state.iteration < self._bar.n:
            self._start = state.start
            self._bar.reset()
            self._bar.set_description(f"EM, start {state.start}")
        self._bar.update(state.iteration - self._bar.n)
        self._bar.set_postfix_str(f"log-likelihood {state.log_likelihood:.8g}")
        return self._callback(state) if self._callback is not None else None

    def close(self) -> None:
        """Finish the bar's line."""
        self._bar.close()


class Steps:
    """A bar with the steps of a sweep; of a sweep of one step, with the iterations of its fits."""

    def __init__(self, n_steps: int, max_iter: int) -> None:
        self.observe = Progress(max_iter, None) if n_steps == 1 else None
        self._bar = None if n_steps == 1 else _tqdm()(total=n_steps, unit="fit", desc="select")

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *_: object) -> None:
        (self.observe if self._bar is None else self._bar).close()

    def step(self) -> None:
        """One more step is done."""
        if self._bar is not None:
            self._bar.update()


def _tqdm():
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError(
            'progress=True needs tqdm: pip install "gaussmix[cli]", or leave it off.'
        ) from error
    return tqdm
