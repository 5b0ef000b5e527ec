"""Handwritten digits: find prototypes without labels, and write new digits.

    python examples/digits.py digits.png

The 1797 digits of 8 x 8 pixels come with scikit-learn. A mixture with one covariance matrix for all
components is fitted to their 64 features as they are. Its means are prototypes; drawing from it
makes digits that nobody wrote. The labels are used only to count, at the end, how well components
and digits agree.
"""

import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import gaussmix as gm

N_COMPONENTS = 30
SHAPE = 8, 8


def sheet(digits, n_columns):
    """One picture of many digits, with white lines between them."""
    padded = np.pad(digits.reshape(-1, *SHAPE), ((0, 0), (1, 1), (1, 1)))
    rows = [np.hstack(padded[i : i + n_columns]) for i in range(0, len(padded), n_columns)]
    return np.vstack(rows)


def main(path):
    """Fit, draw, count."""
    digits = load_digits()
    # Some pixels are 0 in all pictures: noise of a standard deviation of 1, the difference between
    # two of the 17 grey levels, gives them a variance.
    rng = np.random.default_rng(0)
    X = digits.data + rng.normal(scale=1.0, size=digits.data.shape)
    result = gm.fit(X, N_COMPONENTS, covariance_type="tied", n_starts=5, max_iter=500, seed=0)
    mixture = result.mixture

    labels = mixture.predict(X)
    counts = np.zeros((N_COMPONENTS, 10), dtype=int)
    np.add.at(counts, (labels, digits.target), 1)
    order = np.argsort(counts.argmax(axis=1), kind="stable")
    agreement = counts.max(axis=1).sum() / len(X)
    drawn, _ = mixture.sample(N_COMPONENTS, seed=1)

    figure, panels = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    contents = {
        f"{N_COMPONENTS} of the handwritten digits": digits.data[:N_COMPONENTS],
        f"the means of {N_COMPONENTS} components": mixture.means[order],
        f"{N_COMPONENTS} digits drawn from the mixture": drawn,
    }
    for panel, (title, pictures) in zip(panels, contents.items(), strict=True):
        panel.imshow(sheet(pictures, 6), cmap="gray_r", vmin=0.0, vmax=16.0)
        panel.set_title(title)
        panel.set_axis_off()
    figure.savefig(path, dpi=110)

    print(f"log-likelihood {result.log_likelihood[-1]:.0f} nats after {result.n_iter} iterations")
    print(f"{agreement:.1%} of the digits are what their component mostly holds")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "digits.png")
