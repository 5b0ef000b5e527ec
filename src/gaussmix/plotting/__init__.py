"""Pictures of mixtures and fits. Needs matplotlib; changes no global settings, shows nothing.

Each ``plot_`` function draws into the Axes given as `ax`, or into a new figure, and returns the
Axes it drew on: save the picture with ``ax.figure.savefig("mixture.png")``. pyplot is not imported;
where you have imported it, new figures are pyplot's, and ``plt.show()`` shows them.
"""

from .curves import plot_selection, plot_trace
from .figures import file_types, fit_figure, plot_mixture
from .hill_plot import plot_hills

__all__ = ["file_types", "fit_figure", "plot_hills", "plot_mixture", "plot_selection", "plot_trace"]
