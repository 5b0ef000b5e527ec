"""Segment a photograph by its colours: every pixel is a row of three features.

    python examples/colour_segmentation.py colour_segmentation.png

The picture is the one of a Chinese temple that comes with scikit-learn. A mixture with full
covariances finds groups of colours that are long and slanted, as light and shadow make them. Each
pixel is painted with the mean of its most probable component; a second picture shows in grey how
sure that is.
"""

import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

import gaussmix as gm

N_COLOURS = 12


def main(path):
    """Fit to a twentieth of the pixels, paint all of them."""
    photograph = load_sample_image("china.jpg")
    height, width, _ = photograph.shape
    # Each of the 256 levels stands for an interval. A number drawn from it keeps pixels of one
    # level from becoming a component without width.
    rng = np.random.default_rng(0)
    pixels = (photograph.reshape(-1, 3) + rng.random((width * height, 3))) / 256.0

    some = pixels[rng.choice(len(pixels), len(pixels) // 20, replace=False)]
    result = gm.fit(some, N_COLOURS, n_starts=3, max_iter=500, seed=0)
    mixture = result.mixture

    posterior = mixture.predict_proba(pixels)
    labels = posterior.argmax(axis=1)
    painted = mixture.means[labels].reshape(height, width, 3).clip(0.0, 1.0)
    doubt = 1.0 - posterior.max(axis=1).reshape(height, width)

    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    panels = axes.ravel()
    panels[0].imshow(photograph)
    panels[0].set_title(f"{width} x {height} pixels")
    panels[1].imshow(painted)
    panels[1].set_title(f"the means of {N_COLOURS} components")
    panels[2].imshow(doubt, cmap="gray_r", vmin=0.0, vmax=0.7)
    panels[2].set_title("dark: the component is in doubt")
    order = np.argsort(mixture.weights)
    panels[3].barh(
        range(N_COLOURS), mixture.weights[order], color=mixture.means[order].clip(0.0, 1.0)
    )
    panels[3].set(title="weights and mean colours", xlabel="share of the pixels", yticks=[])
    for panel in panels[:3]:
        panel.set_axis_off()
    figure.savefig(path, dpi=110)

    print(mixture)
    print(f"{len(pixels):,} pixels; {result.n_iter} iterations, {result.timings['total']:.1f} s")
    print(f"in doubt by more than a tenth: {(doubt > 0.1).mean():.0%} of the pixels")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "colour_segmentation.png")
