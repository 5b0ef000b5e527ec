"""Four algorithms from the same poor starts: EM, hard, stochastic and annealed EM.

    python examples/algorithms.py algorithms.png

Sixteen clusters on a grid, and twenty starts whose means all lie in one corner of the data. On the
left what each algorithm reaches (a line marks the median, which is printed too); on the right how
one stochastic chain gets there, with the EM iterations that polish its best mixture.
"""

import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np

import gaussmix as gm

COLOURS = {"em": "#000000", "hard": "#E69F00", "stochastic": "#0072B2", "annealed": "#009E73"}
STARTS = 20
# From such starts some components end on a few rows, which is what this is about.
warnings.simplefilter("ignore", gm.GaussmixWarning)

rng = np.random.default_rng(0)
grid = 4.0 * np.stack(np.meshgrid(np.arange(4), np.arange(4)), axis=-1).reshape(-1, 2)
X = grid[rng.integers(16, size=2000)] + rng.normal(size=(2000, 2))
corner = X[np.argsort(X.sum(axis=1))[:200]]
starts = [rng.permutation(corner)[:16] for _ in range(STARTS)]

reached = {}
for algorithm in COLOURS:
    fits = [
        gm.fit(X, 16, start=means, algorithm=algorithm, max_iter=200, seed=seed)
        for seed, means in enumerate(starts)
    ]
    reached[algorithm] = np.array([fit.log_likelihood[-1] for fit in fits]) / len(X)
    if algorithm == "stochastic":
        chain = fits[0]

print("mean log-likelihood in nats: median and best of", STARTS, "starts")
for algorithm, values in reached.items():
    print(f"{algorithm:12}{np.median(values):9.4f}{values.max():9.4f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
for place, (algorithm, values) in enumerate(reached.items()):
    across = place + np.linspace(-0.2, 0.2, STARTS)
    left.plot(across, np.sort(values), "o", color=COLOURS[algorithm], alpha=0.6, markersize=4)
    left.hlines(np.median(values), place - 0.3, place + 0.3, color=COLOURS[algorithm])
left.set_xticks(range(len(reached)), list(reached))
left.set_ylabel("mean log-likelihood (nats)")
left.set_title(f"reached from {STARTS} starts in one corner")

for stage in chain.stages:
    part = slice(stage.begin, stage.end + 1)
    right.plot(
        np.arange(stage.begin, stage.end + 1),
        chain.log_likelihood[part] / len(X),
        color=COLOURS[stage.algorithm],
        label="polish: EM" if stage.algorithm == "em" else "drawn labels",
    )
best = chain.stages[0].best
right.plot(best, chain.log_likelihood[best] / len(X), "*", color="#D55E00", markersize=11,
           label="best draw")  # fmt: skip
right.set_ylim(np.percentile(chain.log_likelihood[1:], 3) / len(X), None)
right.set_xlabel("iteration")
right.set_title("one stochastic chain")
right.legend(loc="lower right", frameon=False)
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "algorithms.png", dpi=110)
