"""The methods of `Mixture` that have modules of their own, loaded when they are first called."""

from __future__ import annotations

import numpy as np


class Derived:
    """What follows from a mixture: the nearest component, parts of it, regression, information."""

    __slots__ = ()

    def nearest(
        self,
        X,
        gate: float | None = 2.5,
        metric: str = "mahalanobis",
        calibrated: bool = False,
        n_threads: int | None = None,
        *,
        out=None,
    ) -> np.ndarray:
        """The nearest component of each row, or -1 where the row lies outside its gate.

        Parameters
        ----------
        X : array_like (N, D); (N,) if D = 1
        gate : float, optional
            Standard deviations, positive. A row is kept if its Mahalanobis distance to the
            component is strictly below it; in one dimension, if ``|x - mu_k| < gate sigma_k``.
            None rejects no row.
        metric : {"mahalanobis", "euclidean"}
            By what a component is the nearest: by the distance in its own standard deviations, so
            that a wide component reaches farther, or by that of its mean in data units. The gate is
            in standard deviations in both cases.
        calibrated : bool
            Use instead of `gate` the radius that rejects, in D dimensions, the share of a
            component's own points that `gate` rejects in one.
        n_threads : int, optional
        out : ndarray (N,) int64, optional
            Where to write the labels, instead of into a new array.

        Returns
        -------
        ndarray (N,) int64
            Ties go to the lowest index. Weights do not matter, but a component of weight 0 does not
            exist and is never the nearest.

        Raises
        ------
        InvalidInputError
            If `gate` is not positive, or X does not fit or holds NaN or an infinity.

        Notes
        -----
        The squared distance of a component's own points is chi-square with D degrees of freedom.
        So a fixed gate rejects more of them the more features there are:

        ===================  =====  =====  =====  =====  =====  ======  ======
        D                        1      2      3      5     10      20      50
        ===================  =====  =====  =====  =====  =====  ======  ======
        rejected at 2.5      1.2 %  4.4 %   10 %   28 %   79 %  99.9 %   100 %
        calibrated radius    2.500  2.963  3.298  3.816  4.752   6.065   8.664
        ===================  =====  =====  =====  =====  =====  ======  ======

        O(N K D^2): the cost of `predict`, and as much again for the gate if K is small. Holds a
        few MB beside the labels.
        """
        from .gate import nearest

        return nearest(self, X, gate, metric, calibrated, n_threads, out)
