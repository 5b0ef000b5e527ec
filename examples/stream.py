"""Follow clusters that drift: OnlineMixture with a half-life, against one that never forgets.

    python examples/stream.py stream.png

Three clusters turn around the origin while 20,000 rows stream past in batches of 50. With
half_life=500 the mixture stays on them; with alpha=1 its statistics are the mean over all rows.
"""

import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

import gaussmix as gm

N_BATCHES, BATCH = 400, 50
COLOURS = ("#0072B2", "#D55E00", "#009E73")  # told apart by colour-blind eyes too


def centres_at(i):
    """(3, 2) centres of the clusters at batch i: two fifths of a turn in all."""
    angles = 2.0 * np.pi * (np.arange(3) / 3 + 0.4 * i / N_BATCHES)
    return 6.0 * np.column_stack([np.cos(angles), np.sin(angles)])


def batches(rng):
    """The stream: rows around centres that move from batch to batch."""
    for i in range(N_BATCHES):
        z = rng.integers(3, size=BATCH)
        yield centres_at(i)[z] + rng.standard_normal((BATCH, 2))


def ellipse(mean, covariance):
    """(2, 100) the points two standard deviations from the mean."""
    values, vectors = np.linalg.eigh(covariance)
    angles = np.linspace(0.0, 2.0 * np.pi, 100)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    return mean[:, None] + vectors @ (2.0 * np.sqrt(values)[:, None] * circle)


def main(path):
    """Stream, follow, draw."""
    models = {
        "half_life=500": gm.OnlineMixture(3, seed=0, half_life=500),
        "alpha=1: forgets nothing": gm.OnlineMixture(3, seed=0, alpha=1.0, t0=0.0),
    }
    rows, means = [], {name: [] for name in models}
    scores = {name: [] for name in models}
    for batch in batches(np.random.default_rng(0)):
        rows.append(batch)
        for name, model in models.items():
            if model.started:  # each batch is scored before it is learnt from
                scores[name].append(model.mixture.score(batch))
                means[name].append(model.mixture.means)
            model.update(batch)

    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    everything, last = np.concatenate(rows), np.concatenate(rows[-10:])
    truth = np.array([centres_at(i) for i in range(N_BATCHES)])
    for axis, (name, model) in zip(axes, models.items(), strict=False):
        axis.plot(*everything[::5].T, ".", color="0.85", markersize=2, label="all rows")
        axis.plot(*last.T, ".", color="0.45", markersize=3, label="the last 500")
        path_of = np.array(means[name])
        for k, colour in enumerate(COLOURS):
            axis.plot(*truth[:, k].T, ":", color="black", linewidth=1, zorder=1)
            axis.plot(*path_of[:, k].T, color=colour, linewidth=1.5)
            covariance = model.mixture.covariances[k]
            axis.plot(*ellipse(model.mixture.means[k], covariance), color=colour, linewidth=2)
        axis.set(title=name, xlabel="feature 0", ylabel="feature 1", aspect="equal")
    axes[0].legend(loc="upper left", fontsize="small", markerscale=3)
    n_scored = min(map(len, scores.values()))
    seen = BATCH * np.arange(N_BATCHES - n_scored, N_BATCHES)
    width = 10  # batches to average over
    for (name, values), grey in zip(scores.items(), ("black", "0.6"), strict=True):
        smooth = np.convolve(values[-n_scored:], np.ones(width) / width, "valid")
        axes[2].plot(seen[width - 1 :], smooth, color=grey, label=name)
    axes[2].set(title="each batch before it is learnt", xlabel="rows seen")
    axes[2].set(ylabel="log-likelihood per row (nats)")
    axes[2].legend(loc="lower left", fontsize="small")
    figure.savefig(path, dpi=110)
    print(models["half_life=500"])
    print(
        f"last 100 batches: {np.mean(scores['half_life=500'][-100:]):.2f} nats per row, against "
        f"{np.mean(scores['alpha=1: forgets nothing'][-100:]):.2f} without forgetting"
    )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "stream.png")
