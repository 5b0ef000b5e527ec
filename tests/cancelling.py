"""What tests of fits that end early share: fits to cancel, and a token that cancels them."""

import numpy as np

from gaussmix.rules import Annealed, Stochastic

ALGORITHMS = {
    "em": "em",
    "hard": "hard",
    "stochastic": Stochastic(),
    "average": Stochastic(average=True),
    "annealed": Annealed(n_iter=8),
    "list": ["hard", Annealed(n_iter=4), Stochastic()],
}


class After:
    """A token that is set once it has been asked `count` times."""

    def __init__(self, count):
        self.count = self.asked = count

    def is_set(self):
        self.count -= 1
        return self.count < 0


def rows(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)) + 3.0 * rng.integers(0, 3, size=(n, 1))
