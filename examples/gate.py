"""The nearest component and its gate: where the two metrics differ.

    python examples/gate.py gate.png

A wide and two narrow components. By the Mahalanobis distance a component reaches as far as it is
wide; by the Euclidean one the nearest mean decides first, and then the gate of that component. Grey
is what the gate rejects.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Ellipse

import gaussmix as gm

GATE = 2.5
COLOURS = ["#bdbdbd", "#0072B2", "#D55E00", "#009E73"]  # -1 is the first
TITLES = {
    "mahalanobis": "nearest in standard deviations",
    "euclidean": "nearest mean, then its gate",
}

mixture = gm.Mixture(
    weights=[0.6, 0.2, 0.2],
    means=[[0.0, 0.0], [3.0, 0.6], [-1.0, 3.0]],
    covariances=[[[3.0, 0.8], [0.8, 1.2]], [[0.15, -0.1], [-0.1, 0.3]], [[1.0, 0.0], [0.0, 0.1]]],
)
X, _ = mixture.sample(1500, seed=0)

x, y = np.linspace(-6, 6, 600), np.linspace(-4, 5, 450)
plane = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)

figure, panels = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True, layout="constrained")
for panel, (metric, title) in zip(panels, TITLES.items(), strict=True):
    areas = mixture.nearest(plane, GATE, metric).reshape(len(y), len(x))
    labels = mixture.nearest(X, GATE, metric)
    panel.pcolormesh(
        x, y, areas, cmap=ListedColormap(COLOURS), vmin=-1, vmax=2, alpha=0.3, rasterized=True
    )
    panel.scatter(*X.T, s=4, c=np.array(COLOURS)[labels + 1], linewidths=0)
    for mean, covariance in zip(mixture.means, mixture.covariances, strict=True):
        (minor, major), axes = np.linalg.eigh(covariance)
        angle = np.degrees(np.arctan2(axes[1, 1], axes[0, 1]))
        size = 2 * GATE * np.sqrt([major, minor])
        panel.add_patch(Ellipse(mean, *size, angle=angle, fill=False, linewidth=1.2))
        panel.plot(*mean, "k+", markersize=9)
    rejected = (labels < 0).mean()
    panel.set_title(f'metric="{metric}": {title}\n{rejected:.1%} of the points rejected')
    panel.set(xlabel="x1", aspect="equal")
panels[0].set_ylabel("x2")

calibrated = (mixture.nearest(X, GATE, calibrated=True) < 0).mean()
print(f"rejected at {GATE} standard deviations: {(mixture.nearest(X, GATE) < 0).mean():.1%}")
print(f"at the radius that rejects in two dimensions what {GATE} does in one: {calibrated:.1%}")
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "gate.png", dpi=110)
