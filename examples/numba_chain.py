"""A Markov chain whose target density is a mixture, compiled by Numba from end to end.

    python examples/numba_chain.py numba_chain.png

The Metropolis algorithm proposes a step and accepts it with the ratio of the densities. The whole
loop is one compiled function, and so is what it asks of the mixture in every step. Left: where the
chain has been, over contours of the density. Right: in which component it was, step by step.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from numba import njit

import gaussmix as gm
from gaussmix import numba_api

N_STEPS = 20_000


@njit
def chain(arrays, start, scale, steps, uniforms, path, labels):
    """Fill `path` (N, D) and `labels` (N,); returns the share of accepted steps."""
    x, density = start.copy(), numba_api.logpdf(arrays, start)
    accepted = 0
    for i in range(len(path)):
        proposal = x + scale * steps[i]
        its_density = numba_api.logpdf(arrays, proposal)
        if np.log(uniforms[i]) < its_density - density:
            x, density = proposal, its_density
            accepted += 1
        path[i] = x
        labels[i] = numba_api.predict(arrays, x)
    return accepted / len(path)


mixture = gm.Mixture(
    weights=[0.5, 0.3, 0.2],
    means=[[0.0, 0.0], [3.5, 1.0], [1.0, 3.5]],
    covariances=[[[1.0, 0.6], [0.6, 1.0]], [[0.6, -0.2], [-0.2, 0.5]], [[0.8, 0.0], [0.0, 0.2]]],
)
rng = np.random.default_rng(0)
path, labels = np.empty((N_STEPS, 2)), np.empty(N_STEPS, dtype=int)
steps, uniforms = rng.standard_normal((N_STEPS, 2)), 1.0 - rng.random(N_STEPS)
share = chain(mixture.as_arrays(), np.zeros(2), 1.5, steps, uniforms, path, labels)
visits = np.bincount(labels, minlength=3) / N_STEPS
print(f"accepted {share:.0%}; visits {visits.round(2)}, weights {mixture.weights}")

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
x, y = np.linspace(-4, 7, 200), np.linspace(-4, 6, 200)
density = mixture.pdf(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)).reshape(200, 200)
left.plot(*path[::5].T, ".", markersize=2, alpha=0.4)
left.contour(x, y, density, levels=8, colors="k", linewidths=0.6)
left.set(xlabel="x", ylabel="y", title="visited points and the density")
right.step(range(2000), labels[:2000], linewidth=0.6)
right.set(xlabel="step", ylabel="component", yticks=range(3), title="the first 2,000 steps")
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "numba_chain.png", dpi=150)
