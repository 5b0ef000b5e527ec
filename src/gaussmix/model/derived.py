"""The methods of `Mixture` that have modules of their own, loaded when they are first called."""

from typing import NamedTuple

import numpy as np

from ..kernels import contract
from .exchange import Exchange


class MixtureArrays(NamedTuple):
    """A mixture as `gaussmix.numba_api` reads it: float64, C-contiguous, read-only."""

    weights: np.ndarray  # (K,)
    log_coefficients: np.ndarray  # (K,): log w_k + log det P_k - D/2 log 2 pi; -inf if w_k = 0
    means: np.ndarray  # (K, D)
    # Precision factors: (K, D, D), (1, D, D) where all components share one, or diagonals
    # (K, 1, D). |P_k (x - mu_k)|^2 is the squared Mahalanobis distance.
    factors: np.ndarray


class Derived(Exchange):
    """What follows from a mixture: the nearest component, parts of it, regression, hills."""

    __slots__ = ()

    def scorer(self):
        """This mixture frozen for scoring a row, or a few, at the least cost of a call.

        Returns
        -------
        Scorer
            With `logpdf`, `predict`, `predict_proba`, `nearest` and `responsibilities_into`, whose
            results are the bits of this class's methods. O(K D^2) to make.

        Examples
        --------
        >>> import gaussmix as gm
        >>> mixture = gm.Mixture([0.4, 0.6], [[0.0, 0.0], [5.0, 5.0]], [1.0, 2.0], "spherical")
        >>> scorer = mixture.scorer()
        >>> scorer.predict([4.0, 6.0])
        1
        """
        from ..embedding.scorer import make

        return make(self)

    def as_arrays(self) -> MixtureArrays:
        """What the functions of `gaussmix.numba_api` read: a named tuple of read-only arrays.

        Returns
        -------
        MixtureArrays
            The same types for every covariance type, so that Numba compiles once.
        """
        kind, coefficients, means, factors, _ = self.kernel_parameters
        if kind == contract.FACTOR_DIAG:
            factors = factors[:, None, :]
        elif kind == contract.FACTOR_SHARED:
            factors = factors[None]
        arrays = (self.weights, coefficients.view(), means.view(), factors.view())
        for array in arrays[1:]:
            array.setflags(write=False)
        return MixtureArrays(*arrays)

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

    def marginal(self, features):
        """The mixture of some features alone.

        Parameters
        ----------
        features : int or sequence of int
            Columns, from 0 to D - 1, each once; the new mixture has them in this order.

        Returns
        -------
        Mixture
            Of the same covariance type, with the same weights. O(K M^3) for M features.
        """
        from .conditional import marginal

        return marginal(self, features)

    def condition(self, features, values):
        """The mixture of the other features, given the values of some.

        Parameters
        ----------
        features : int or sequence of int
            The given columns F, each once, and not all of them.
        values : array_like (F,), or (N, F) for many
            Their values, in the order of `features`.

        Returns
        -------
        Mixture or ConditionalMixtures
            Over the M = D - F other features in their old order, of the same covariance type. For
            (N, F) values a sequence of N mixtures, with the arrays ``weights`` (N, K), ``means``
            (N, K, M) and the ``covariances`` that all of them share.

        Raises
        ------
        InvalidInputError
            If features or values do not fit, or the given features determine each other.

        Notes
        -----
        Weights are the posteriors given the values; a component's mean moves along its regression
        line, and its covariance is the Schur complement, taken from a Cholesky factor. Bishop
        (2006), Pattern Recognition and Machine Learning, 2.3.1. O(K D^3 + N K (F^2 + F M)).
        """
        from .conditional import condition

        return condition(self, features, values)

    def regress(
        self, X_given, features, with_covariance: bool = True, n_threads: int | None = None
    ):
        """Mean and covariance of the other features given some: Gaussian mixture regression.

        Parameters
        ----------
        X_given : array_like (N, F); (N,) if F = 1
            Values of the given features, in the order of `features`.
        features : int or sequence of int
            The columns of the mixture that X_given holds, each once, and not all of them.
        with_covariance : bool
            False leaves the (N, M, M) covariances out.
        n_threads : int, optional

        Returns
        -------
        Regression
            A named tuple: ``mean`` (N, M) of the M = D - F other features in their old order, and
            ``covariance`` (N, M, M), or None. Each row's numbers are the same to the bit whatever
            the batch.

        Notes
        -----
        The moments of `condition`'s mixtures: the means weighted by the posteriors, and by the law
        of total covariance the spread within components and between them. Ghahramani & Jordan
        (1994), Supervised learning from incomplete data via an EM approach, NIPS 6.
        O(K D^3 + N K (F^2 + F M + M^2)); holds a few MB beside what it returns.
        """
        from .conditional import regress

        return regress(self, X_given, features, with_covariance, n_threads)

    def entropy(self, n: int = 100_000, seed=None, n_threads: int | None = None):
        """Differential entropy in nats, estimated from `n` points of the mixture.

        Parameters
        ----------
        n : int, >= 2
            Points to draw; the standard error falls with its square root.
        seed : int or numpy.random.Generator, optional
        n_threads : int, optional

        Returns
        -------
        Estimate
            A named tuple: ``value`` and ``standard_error``, both in nats.

        Notes
        -----
        The entropy of a point and its component together is known; what is estimated is how
        uncertain the component is given the point, at most log K. So the error vanishes where
        components are far apart, and for one component the value is exact. Cover & Thomas (2006),
        Elements of Information Theory, 2.2. O(n K D^2).
        """
        from .information import entropy

        return entropy(self, n, seed, n_threads)

    def kl(self, other, n: int = 100_000, seed=None, n_threads: int | None = None):
        """Kullback-Leibler divergence of `other` from this mixture, estimated from `n` points.

        Parameters
        ----------
        other : Mixture
            Of the same features, in any covariance type and number of components.
        n : int, >= 2
            Points to draw from this mixture.
        seed : int or numpy.random.Generator, optional
        n_threads : int, optional

        Returns
        -------
        Estimate
            A named tuple: ``value``, the mean over this mixture's points of its log density minus
            that of `other`, and its ``standard_error``, both in nats. The divergence is at least 0;
            an estimate may lie below by its error. Infinite where a log density overflows.
        """
        from .information import kl

        return kl(self, other, n, seed, n_threads)

    def cdf(self, x, upper: bool = False):
        """The share of the distribution up to x, for a mixture of one feature.

        Parameters
        ----------
        x : float or array_like (N,) or (N, 1)
            In data units; infinities are allowed.
        upper : bool
            The share above x instead, whose small values would be lost in 1 - cdf.

        Returns
        -------
        float or ndarray (N,)
            P(X <= x), also in the tail to the digits that float64 leaves of z, the distance in
            standard deviations: to about 2 (1 + z^2) units in the last place. O(N K).

        Raises
        ------
        InvalidInputError
            If the mixture has several features, or x does not fit or is NaN.
        """
        from .univariate import cdf

        return cdf(self, x, upper)

    def quantile(self, p, upper: bool = False):
        """Where `cdf` reaches p, for a mixture of one feature.

        Parameters
        ----------
        p : float or array_like (N,) or (N, 1)
            Probabilities; 0 and 1 give infinities.
        upper : bool
            Where the share above is p, for probabilities near 1.

        Returns
        -------
        float or ndarray (N,)
            In data units, to near machine precision in the tails and between components as well:
            the tails on either side of x are compared, not sums close to 1. About ten evaluations
            of `cdf`, by Newton's method within a bracket.

        Raises
        ------
        InvalidInputError
            If the mixture has several features, or p lies outside 0..1.
        """
        from .univariate import quantile

        return quantile(self, p, upper)

    def modes(self, tol: float = 1e-6):
        """Every mode of the density, the highest first: the peaks of its hills.

        Parameters
        ----------
        tol : float, > 0
            Modes closer than this many standard deviations are one.

        Returns
        -------
        Modes
            ``positions`` (M, D), ``logpdf`` (M,), and ``component_mode`` (K,): the mode that each
            component's mean climbs to, -1 for a component of weight 0.

        Raises
        ------
        InvalidInputError
            If `tol` is not a positive number.

        Notes
        -----
        In one dimension the roots of the derivative are isolated, so that no mode is missed, and
        there are at most K. In more there can be more than K; they are sought from the means and
        from points between overlapping components (Carreira-Perpinan 2000). Costs some tens of
        steps of O(K^2 D^2).

        Examples
        --------
        >>> import gaussmix as gm
        >>> gm.Mixture([0.5, 0.5], [0.0, 1.0], [1.0, 1.0], "spherical").modes().component_mode
        array([0, 0])
        """
        from ..hills.modes import find

        return find(self, tol)

    def hills(self, X, method: str = "ascent", n_threads: int | None = None) -> np.ndarray:
        """The hill of each row: the mode of the density that it climbs to.

        Parameters
        ----------
        X : array_like (N, D); (N,) if D = 1
        method : {"ascent", "component"}
            "ascent" climbs from the row itself; a row on a saddle goes to the nearest mode, in
            standard deviations. "component" takes the hill of the row's most probable component,
            for one pass of `predict`; it differs where a component spreads over several hills.
        n_threads : int, optional

        Returns
        -------
        ndarray (N,) int64
            Indices into ``modes().positions``. A row's does not depend on the other rows, the
            memory order or the threads.

        Raises
        ------
        InvalidInputError
            If X does not fit or holds NaN or an infinity.

        Notes
        -----
        O(N K D^2) for each of a few steps, and O(N D^3) where covariances are full. Memory beyond
        the result does not grow with N.
        """
        from ..hills.hills import assign

        return assign(self, X, method, n_threads)
