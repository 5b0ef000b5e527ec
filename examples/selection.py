"""How many components, and of which form? Old Faithful, by BIC and by cross-validation.

Run: python examples/selection.py selection.png
"""

import sys

from matplotlib.figure import Figure

import gaussmix as gm
from gaussmix import plotting

path = sys.argv[1] if len(sys.argv) > 1 else "selection.png"
data = gm.datasets.load("faithful")

selection = gm.select(data.X, seed=0)
print(selection)
print(selection.mixture)

held_out = gm.select(data.X, range(1, 6), criterion="cv", seed=0)
print(held_out)

figure = Figure(figsize=(11, 8), layout="constrained")
axes = figure.subplots(2, 2)
selection.plot(ax=axes[0, 0])
held_out.plot(ax=axes[0, 1])
plotting.plot_mixture(selection.mixture, data.X, ax=axes[1, 0], feature_names=data.feature_names)
tied = [
    result
    for result, row in zip(selection.results, selection.table, strict=True)
    if row["covariance_type"] == "tied" and row["n_components"] <= 4
]
plotting.plot_trace(tied, ax=axes[1, 1])
figure.savefig(path, dpi=110)
