"""Gaussian mixture regression: the mean of one feature given another, and how sure it is.

    python examples/regression.py regression.png

A mixture is fitted to points around a curve that splits in two. `regress` gives the mean and the
variance of y given x; `condition` its whole density and quantiles, with two peaks on the right.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import gaussmix as gm

rng = np.random.default_rng(0)
x = rng.uniform(-3, 3, 1500)
branch = np.where(rng.random(len(x)) < 0.5, 1.0, -1.0) * (x > 1.2)  # two answers on the right
y = np.sin(1.5 * x) + branch * (x - 1.2) + (0.1 + 0.06 * (x + 3)) * rng.normal(size=len(x))

mixture = gm.fit(np.column_stack([x, y]), 7, n_starts=10, seed=0).mixture

grid = np.linspace(-3, 3, 400)
mean, covariance = mixture.regress(grid, features=0)
deviation = np.sqrt(covariance[:, 0, 0])
conditionals = mixture.condition(0, grid[:, None])
y_axis = np.linspace(y.min(), y.max(), 300)
density = np.column_stack([one.pdf(y_axis) for one in conditionals])
low, high = np.transpose([one.quantile([0.05, 0.95]) for one in conditionals])

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True, layout="constrained")
left.scatter(x, y, s=4, color="#9e9e9e", linewidths=0)
left.fill_between(
    grid, mean[:, 0] - deviation, mean[:, 0] + deviation, color="#0072B2", alpha=0.25, lw=0
)
left.plot(grid, mean[:, 0], color="#0072B2", linewidth=2)
left.set_title("regress: mean and standard deviation of y given x")
left.set_ylabel("y")

image = right.pcolormesh(grid, y_axis, density, cmap="Greys", vmax=2.0, rasterized=True)
figure.colorbar(image, ax=right, label="density of y given x", extend="max")
right.plot(grid, np.column_stack([low, high]), color="#D55E00", linewidth=1.2)
right.set_title("condition: the density, and its quantiles at 5 and 95 %")
for panel in (left, right):
    panel.set_xlabel("x")

inside = np.mean((y > np.interp(x, grid, low)) & (y < np.interp(x, grid, high)))
print(f"{inside:.1%} of the points lie between the quantiles at 5 and 95 %")
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "regression.png", dpi=110)
