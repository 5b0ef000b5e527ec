"""GaussianMixture: the face that scikit-learn users know, over `gaussmix.fit` and `Mixture`.

No mathematics happens here. A fit computes everything first and then swaps one attribute, so
that a failed or interrupted fit leaves the estimator as it was, and so that another thread
sees either the old model or the new one.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np

try:
    from sklearn.base import BaseEstimator, DensityMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise ImportError(
        f"gaussmix.GaussianMixture needs scikit-learn 1.6 or newer ({error}). "
        'Install it with: pip install "gaussmix[sklearn]"'
    ) from error

from ..errors import DegenerateFitError, InvalidInputError, warn
from ..fitting.diagnosis import not_converged
from ..fitting.fit import run
from ..fitting.options import MOST_STARTS, FitOptions
from ..inputs import validate
from ..model.mixture import Mixture
from ..passes import sources
from ..starts.start import KINDS
from ..stopping import REASONS, within
from ..streams.online import OnlineMixture
from ..streams.stream import TOL
from . import parameters
from .rows import NO_CHUNKS, known_rows, training_rows
from .scores import FittedScores
from .state import Fitted, Streamed, only_fit_of
from .verbose import Printer

ILL_DEFINED = (
    "Fitting the mixture model failed because some components have ill-defined empirical "
    "covariance (for instance caused by singleton or collapsed samples). Try to decrease the "
    "number of components, increase reg_covar, or scale the input data."
)
NOT_CONVERGED = (
    "Best performing initialization did not converge. Try different init parameters, or increase "
    "max_iter, tol, or check for degenerate data."
)


class GaussianMixture(FittedScores, DensityMixin, BaseEstimator):
    """Gaussian mixture with scikit-learn's interface; fitted by `gaussmix.fit`.

    Changing ``from sklearn.mixture import GaussianMixture`` to
    ``from gaussmix import GaussianMixture`` is all it takes. What differs is listed in
    docs/scikit-learn.md; parameters that are not described here are as in scikit-learn.

    Parameters
    ----------
    n_components : int, default=1
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
    tol : float, default=1e-3
        The fit stops when the mean log-likelihood per unit weight changes by less, in nats.
    reg_covar : float, default=1e-6
        Floor of the covariances relative to each feature's variance in the data (scikit-learn
        adds it to the diagonal instead, in squared data units).
    max_iter : int, default=100
        0 keeps the start.
    n_init : int, default=1
        Above 1, `gaussmix.fit` tries a portfolio of short runs and continues the best.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data'}, default='kmeans'
    weights_init : array-like of shape (n_components,), default=None
    means_init : array-like of shape (n_components, n_features), default=None
    precisions_init : array-like, default=None
        Inverse covariances. If all three are given, they are the start and the data are not
        read for one; if only some, the start's own components are paired with them.
    random_state : int, RandomState, Generator or None, default=None
        An int gives the same fit, and the same draws from `sample`, each time.
    warm_start : bool, default=False
        Whether `fit` continues from the mixture at hand; `n_init` is then ignored.
    verbose : int, default=0
        1 prints iterations, 2 adds times and changes of the log-likelihood.
    verbose_interval : int, default=10
    algorithm : {'em', 'hard', 'stochastic', 'annealed'}, object or list, default='em'
        As in `gaussmix.fit`.
    n_threads : int or None, default=None
        None uses what the machine, OMP_NUM_THREADS and container limits allow.
    max_seconds : float or None, default=None
        `fit` ends after so many seconds with the best mixture so far and a ConvergenceWarning.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        Read-only, as are the other arrays. Assigning one checks it.
    means_ : ndarray of shape (n_components, n_features)
        Component means.
    covariances_ : ndarray
        (K, D, D), (D, D), (K, D) or (K,), by covariance type; squared data units.
    precisions_ : ndarray
        Inverse covariances, in the same shape.
    precisions_cholesky_ : ndarray
        Upper triangular U with U U^T the precision; inverse standard deviations if diagonal.
    converged_ : bool
        Whether the best start reached `tol`.
    n_iter_ : int
        Iterations of the best start.
    lower_bound_ : float
        Mean log-likelihood of the training data under this very mixture: ``score(X)``.
    lower_bounds_ : list of float
        The same after each of the `n_iter_` iterations.
    n_components_effective_ : int
        Components with a weight above 0.
    n_samples_seen_ : int
        Rows of the last fit and of all calls of `partial_fit` since.
    mixture_ : gaussmix.Mixture
        The fitted mixture, an immutable value.
    fit_result_ : gaussmix.FitResult
        Trace, starts, repairs and timings.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Only if `X` had string names for all features.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussmix import GaussianMixture
    >>> X = np.array([[1, 2], [1, 4], [2, 0], [10, 2], [10, 4], [11, 0]])
    >>> model = GaussianMixture(n_components=2, covariance_type="diag", random_state=0).fit(X)
    >>> bool(model.predict([[0, 0]]) == model.predict([[1, 2]]))
    True
    """

    def __init__(
        self,
        n_components=1,
        *,
        covariance_type="full",
        tol=1e-3,
        reg_covar=1e-6,
        max_iter=100,
        n_init=1,
        init_params="kmeans",
        weights_init=None,
        means_init=None,
        precisions_init=None,
        random_state=None,
        warm_start=False,
        verbose=0,
        verbose_interval=10,
        algorithm="em",
        n_threads=None,
        max_seconds=None,
    ):
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.algorithm = algorithm
        self.n_threads = n_threads
        self.max_seconds = max_seconds

    # -- fitting

    def fit(self, X, y=None, sample_weight=None):
        """Fit the mixture to `X`; returns the estimator itself.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            May be a memory-mapped file. Data in chunks are for `gaussmix.fit` and `partial_fit`.
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional
            A weight of 2 equals the row twice, 0 equals no row.

        Returns
        -------
        self : GaussianMixture

        Raises
        ------
        InvalidInputError
            If a parameter or the data cannot be used; the estimator is unchanged then.
        DegenerateFitError
            If no start leads to a valid mixture; the estimator is unchanged then.
        FitStoppedError
            If `max_seconds` ended the fit before there was a mixture; it is unchanged then.
        RuntimeError
            If another thread is fitting this object.
        """
        with only_fit_of(self), within(self.max_seconds):
            fitted, _ = self._fit(X, sample_weight)
            self._adopt(fitted)
        return self

    def fit_predict(self, X, y=None, sample_weight=None):
        """Fit the mixture to `X`, then (N,) the most probable component of each row."""
        with only_fit_of(self):
            with within(self.max_seconds):
                fitted, rows = self._fit(X, sample_weight)
            labels = fitted.mixture.predict(rows, n_threads=self.n_threads)
            self._adopt(fitted)
        return labels

    def partial_fit(self, X, y=None, sample_weight=None):
        """Go on with a batch of a stream; returns the estimator itself.

        Every row is looked at once: `gaussmix.OnlineMixture` with its defaults, which tells more.
        After `fit` it goes on from the fitted mixture, whose rows count as seen; another `fit`
        begins anew. Until there are rows enough for a start, the mixture is the fit to those so
        far, made when it is asked for; with fewer rows than components there is none.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            A batch; one without rows changes nothing.
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self : GaussianMixture

        Raises
        ------
        InvalidInputError
            If a parameter or the batch cannot be used; the estimator is unchanged then.
        DegenerateFitError
            If no valid mixture follows; the estimator is unchanged then.
        RuntimeError
            If another thread is fitting this object.
        """
        with only_fit_of(self):
            streamed = self._streamed(X, sample_weight)
            if streamed.online.n_rows_seen:  # a first batch without rows tells nothing
                self._adopt(streamed)
        return self

    def _streamed(self, X, sample_weight) -> Streamed:
        """What a batch leaves behind; the estimator itself is not touched."""
        self._check_parameters()
        if self.algorithm != "em":
            raise InvalidInputError(
                f"algorithm={validate.shown(self.algorithm)} is for fit, and partial_fit is "
                "online EM. Set algorithm='em'."
            )
        fitted = vars(self).get("_fitted")
        if fitted is None:
            rows, names = training_rows(X, min_rows=0)
        else:
            sources.refuse_chunks(X, NO_CHUNKS)
            rows, names = known_rows(self, X, fitted), fitted.feature_names
        online = self._stream(fitted, rows.shape[1])
        return Streamed(online.update(rows, sample_weight), names)

    def _stream(self, fitted: Fitted | None, n_features: int) -> OnlineMixture:
        """A stream that may be changed: a copy of the one at hand, or a new one."""
        options = self._options()
        if fitted is None:
            given = parameters.Given.of(self, n_features)
            adapt = None if given.complete or given.empty else given.put_into
            start = given.mixture() if given.complete else self.init_params
            options = replace(options, tol=min(options.tol, TOL))
            return OnlineMixture._of(options, start, self._generator(), adapt)
        if fitted.online is not None:
            at_hand = (fitted.online.n_components, fitted.online.covariance_type)
        else:
            at_hand = (fitted.mixture.n_components, fitted.mixture.covariance_type)
        if at_hand != (self.n_components, self.covariance_type):
            raise InvalidInputError(
                f"partial_fit goes on with {at_hand[0]} components and covariance_type="
                f"{at_hand[1]!r}, but n_components={self.n_components} and covariance_type="
                f"{self.covariance_type!r} are set now. Call fit to begin anew."
            )
        if fitted.online is not None:
            return copy.copy(fitted.online)
        start = fitted.mixture if fitted.result is None else fitted.result
        return OnlineMixture._of(options, start, self._generator(), None)

    def _fit(self, X, sample_weight) -> tuple[Fitted, np.ndarray]:
        """What a fit to `X` leaves behind, and the rows; the estimator itself is not touched."""
        self._check_parameters()
        rows, names = training_rows(X)
        weights = validate.sample_weight(sample_weight, len(rows))
        if len(rows) < self.n_components:
            raise InvalidInputError(
                f"n_samples={len(rows)} < n_components={self.n_components}. Expected n_samples >= "
                "n_components: lower n_components or pass more rows."
            )
        options = self._options()
        rng = self._generator()
        printer = Printer(self.verbose, self.verbose_interval) if self.verbose else None
        try:
            start = self._start(rows, weights)
            named = isinstance(start["start"], str)
            result = run(
                rows,
                options if named else replace(options, n_starts=1),
                sample_weight=weights,
                seed=rng,
                callback=printer,
                **start,
            )
        except DegenerateFitError as error:
            raise DegenerateFitError(f"{ILL_DEFINED} Found: {error}") from error
        if printer is not None:
            printer.finish(result)
        if message := not_converged(result):
            limit = "" if result.stop_reason in REASONS else f"{NOT_CONVERGED} "
            warn(limit + message, ConvergenceWarning)
        return Fitted(result.mixture, names, result), rows

    def _check_parameters(self) -> None:
        """Check what `gaussmix.fit` does not know or calls by another name."""
        validate.integer("n_components", self.n_components, 1)
        validate.integer("n_init", self.n_init, 1, MOST_STARTS)
        validate.choice("init_params", self.init_params, KINDS)
        validate.flag("warm_start", self.warm_start)
        if not isinstance(self.verbose, (bool, np.bool_)):
            validate.integer("verbose", self.verbose, 0)
        validate.integer("verbose_interval", self.verbose_interval, 1)

    def _options(self) -> FitOptions:
        return FitOptions(
            self.n_components,
            self.covariance_type,
            self.n_init,
            self.tol,
            self.max_iter,
            self.reg_covar,
            self.n_threads,
            self.algorithm,
        )

    def _generator(self) -> np.random.Generator:
        state = self.random_state
        if state is None or state is np.random:
            state = check_random_state(None)  # NumPy's global one, as everywhere in scikit-learn
        return validate.seed(state, name="random_state")

    def _start(self, rows, weights) -> dict[str, Any]:
        """What `run` starts from, as its keyword arguments."""
        fitted = vars(self).get("_fitted")
        if self.warm_start and fitted is not None and fitted.ready:
            fitted.check_fits(self.n_components, self.covariance_type, rows.shape[1])
            total = len(rows) if weights is None else weights.sum()
            previous = fitted.previous_log_likelihood(total)
            return {"start": fitted.mixture, "previous_log_likelihood": previous}
        given = parameters.Given.of(self, rows.shape[1])
        if given.complete:
            return {"start": given.mixture()}
        if given.empty:
            return {"start": self.init_params}
        return {"start": self.init_params, "adapt": given.put_into}

    # -- hooks of scikit-learn's class that its own tests call

    def _n_parameters(self) -> int:
        return self.mixture_.n_parameters

    def _set_parameters(self, params) -> None:
        weights, means, covariances, _ = params
        weights = np.array(weights)
        self.mixture_ = Mixture(weights / weights.sum(), means, covariances, self.covariance_type)

    def _initialize(self, X, resp) -> None:
        """Set the parameters that a fit to `X` from responsibilities `resp` would start with."""
        n_components = np.shape(resp)[1]
        options = replace(self._options(), n_components=n_components, n_starts=1, max_iter=0)
        start = run(validate.data(X), options, start=resp).mixture
        self.mixture_ = parameters.Given.of(self, start.n_features, n_components).put_into(start)

    # -- drawing

    def sample(self, n_samples=1):
        """Random draws from the fitted mixture, in random order.

        Parameters
        ----------
        n_samples : int, default=1

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        y : ndarray of shape (n_samples,)
            The component that each row was drawn from.

        Raises
        ------
        InvalidInputError
            If `n_samples` is below 1.
        """
        check_is_fitted(self)
        try:
            count = validate.integer("n_samples", n_samples, 1)
        except InvalidInputError as error:
            raise InvalidInputError(
                f"Invalid value for 'n_samples': {validate.shown(n_samples)} . The sampling "
                f"requires at least one sample. {error}"
            ) from None
        return self.mixture_.sample(count, seed=self._generator())
