"""Mixture: the model as an immutable value that scores, samples and explains itself."""

from __future__ import annotations

import numpy as np

from .. import threads
from ..covariance import CovarianceFamily, family
from ..covariance.base import log_coefficients
from ..errors import InvalidInputError
from ..inputs import validate
from ..kernels import contract
from ..kernels.contract import Parameters
from ..passes.evaluation import evaluate, log_likelihood
from ..statistics import SufficientStatistics
from .derived import Derived

WEIGHT_SUM_TOLERANCE = 1e-8  # weights within it of summing to 1 are divided by their sum


class Mixture(Derived):
    """K Gaussians with weights: a density over D features. Immutable; arrays are read-only.

    Parameters
    ----------
    weights : array_like (K,)
        Non-negative, summing to 1.
    means : array_like (K, D); (K,) if D = 1
    covariances : array_like
        "full" (K, D, D), "tied" (D, D), "diag" (K, D), "spherical" (K,), in squared data units.
        In one dimension a scalar per component (or one scalar, if tied) will do for every type.
    covariance_type : {"full", "tied", "diag", "spherical"}, default "full"

    Attributes
    ----------
    weights, means, covariances : ndarray
        float64, read-only.
    covariance_type : str
    precision_factors : ndarray
        P with P S P^T = I: lower-triangular (K, D, D) or (D, D); (K, D) or (K,) diagonals.
    family : CovarianceFamily
        What the covariance type does.
    kernel_parameters : Parameters
        The mixture as the kernels read it.

    Raises
    ------
    InvalidInputError
        If a shape or value is wrong, weights do not sum to 1, or a covariance is not symmetric
        positive definite; names the component and its smallest eigenvalue.

    Notes
    -----
    Construction costs O(K D^3). Methods that take X accept (N, D) arrays of float32 or float64
    in any memory order without copying, and (N,) if D = 1; scoring converts integers piece by
    piece. They raise InvalidInputError if X has another number of columns or holds NaN or an
    infinity. `n_threads=None` means as many as the machine, ``OMP_NUM_THREADS`` and container
    limits allow; small batches use one.
    `out` takes the result instead of a new array and is what comes back: an array of the result's
    shape, float64 (int64 for labels), C-contiguous, writeable and apart from X. After an error it
    may be written in part.
    Each row's result is the same to the bit whatever the batch, memory order or threads. A row so
    far out that its squared distances overflow (1e154 standard deviations) has the log density
    -inf, which is that number rounded, and equal posteriors for all components of positive weight,
    since nothing is left to tell these apart; `predict` gives the first of them.

    Examples
    --------
    >>> import gaussmix as gm
    >>> mixture = gm.Mixture([0.4, 0.6], [0.0, 5.0], [1.0, 2.0], "spherical")
    >>> mixture.predict([-1.0, 6.0])
    array([0, 1])
    """

    def __init__(self, weights, means, covariances, covariance_type: str = "full") -> None:
        chosen = family(covariance_type)
        means = validate.array("means", means).copy()
        if means.ndim == 1:
            means = means[:, None]
        if means.ndim != 2 or 0 in means.shape:
            raise InvalidInputError(
                f"means has shape {means.shape}; it must be (n_components, n_features)."
            )
        weights = _check_weights(validate.array("weights", weights).copy(), len(means))
        shape = chosen.shape(*means.shape)
        covariances = validate.array("covariances", covariances).copy()
        if means.shape[1] == 1 and covariances.size == np.prod(shape):
            covariances = covariances.reshape(shape)
        if covariances.shape != shape:
            raise InvalidInputError(
                f"covariances has shape {covariances.shape}; for {len(means)} components, "
                f"{means.shape[1]} features and covariance_type={covariance_type!r} it must be "
                f"{shape}."
            )
        chosen.check(covariances)
        self._set(chosen, weights, means, covariances)

    @classmethod
    def _of(cls, chosen: CovarianceFamily, weights, means, covariances) -> Mixture:
        """A mixture of parameters known to be valid, as an M-step makes them."""
        mixture = object.__new__(cls)
        mixture._set(chosen, weights, means, covariances)
        return mixture

    @classmethod
    def _with(cls, chosen: CovarianceFamily, weights, covariances, parameters) -> Mixture:
        """A mixture whose precision factors and log coefficients are known as well."""
        mixture = object.__new__(cls)
        mixture._keep(chosen, weights, covariances, parameters)
        return mixture

    def _set(self, chosen: CovarianceFamily, weights, means, covariances) -> None:
        n_features = means.shape[1]
        factors, log_determinants = chosen.factor(covariances)
        # The kernels know diagonals as (K, D); a spherical family has one number for a row.
        if chosen.factor_kind == contract.FACTOR_DIAG and factors.ndim == 1:
            factors = np.repeat(factors[:, None], n_features, axis=1)
            log_determinants = n_features * log_determinants
        parameters = Parameters(
            chosen.factor_kind,
            log_coefficients(weights, log_determinants, n_features),
            np.ascontiguousarray(means),
            np.ascontiguousarray(factors),
            # One product and one sum after the other, as in the compiled M-steps: to the bit.
            np.add.accumulate(weights[:, None] * means, axis=0)[-1],
        )
        self._keep(chosen, weights, covariances, parameters)

    def _keep(self, chosen: CovarianceFamily, weights, covariances, parameters) -> None:
        kind, _, means, factors, _ = parameters
        if kind == contract.FACTOR_DIAG and covariances.ndim == 1:
            factors = factors[:, 0]
        self.__dict__.update(
            covariance_type=chosen.name,
            family=chosen,
            kernel_parameters=parameters,
            weights=frozen(weights),
            means=frozen(means),
            covariances=frozen(covariances),
            precision_factors=frozen(factors),
        )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"a Mixture is immutable; make another one instead of setting {name!r}."
        )

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def __reduce__(self):
        # Through the constructor: what comes out of a pickle is checked like anything else.
        return Mixture, (self.weights, self.means, self.covariances, self.covariance_type)

    def __eq__(self, other: object) -> bool:
        """Whether both have the same type and the same parameters, number by number."""
        if not isinstance(other, Mixture):
            return NotImplemented
        return self.covariance_type == other.covariance_type and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("weights", "means", "covariances")
        )

    def __hash__(self) -> int:
        # Adding 0.0 turns -0.0, which equals 0.0, into it.
        weights, means = (self.weights + 0.0).tobytes(), (self.means + 0.0).tobytes()
        return hash((self.covariance_type, weights, means))

    def __repr__(self) -> str:
        lines = [
            f"Mixture of {self.n_components} "
            f"{'Gaussian' if self.n_components == 1 else 'Gaussians'} in {self.n_features} "
            f"{'dimension' if self.n_features == 1 else 'dimensions'}, {self.covariance_type}"
        ]
        deviations = self.standard_deviations
        for k in range(min(self.n_components, 10)):
            shown = slice(0, 6)
            more = ", ..." if self.n_features > 6 else ""
            mean = ", ".join(f"{value:.4g}" for value in self.means[k, shown])
            deviation = ", ".join(f"{value:.3g}" for value in deviations[k, shown])
            lines.append(
                f"  {k}: weight {self.weights[k]:.4f}, mean ({mean}{more}), sd ({deviation}{more})"
            )
        if self.n_components > 10:
            lines.append(f"  ... {self.n_components - 10} more")
        return "\n".join(lines)

    @property
    def n_components(self) -> int:
        """K."""
        return self.means.shape[0]

    @property
    def n_features(self) -> int:
        """D."""
        return self.means.shape[1]

    @property
    def n_parameters(self) -> int:
        """Free parameters: K - 1 weights, K D means, and those of the covariances."""
        n_components, n_features = self.means.shape
        covariances = self.family.n_parameters(n_components, n_features)
        return n_components - 1 + n_components * n_features + covariances

    @property
    def standard_deviations(self) -> np.ndarray:
        """(K, D) standard deviation of each feature in each component, in data units."""
        return np.sqrt(np.diagonal(self.dense_covariances(), axis1=1, axis2=2))

    def dense_covariances(self) -> np.ndarray:
        """(K, D, D) covariance matrices, whatever the covariance type; read-only."""
        dense = self.family.dense(self.covariances, self.n_components, self.n_features)
        dense = dense.view()
        dense.setflags(write=False)
        return dense

    def log_joint(self, X, n_threads: int | None = None, *, out=None) -> np.ndarray:
        """(N, K) ``log w_k + log N(x; mu_k, S_k)`` in nats; O(N K D^2)."""
        return self._evaluate(X, contract.WANT_LOG_JOINT, n_threads, out)

    def logpdf(self, X, n_threads: int | None = None, *, out=None) -> np.ndarray:
        """(N,) log density of each row in nats (per unit volume of the data); O(N K D^2)."""
        return self._evaluate(X, contract.WANT_LOGPDF, n_threads, out)

    def pdf(self, X, n_threads: int | None = None, *, out=None) -> np.ndarray:
        """(N,) density of each row; may be 0 or infinite where `logpdf` is neither."""
        densities = self.logpdf(X, n_threads, out=out)
        with np.errstate(over="ignore", under="ignore"):
            return np.exp(densities, out=densities)

    def predict_proba(self, X, n_threads: int | None = None, *, out=None) -> np.ndarray:
        """(N, K) posterior probability of each component; rows sum to 1. O(N K D^2)."""
        return self._evaluate(X, contract.WANT_RESPONSIBILITIES, n_threads, out)

    def predict(self, X, n_threads: int | None = None, *, out=None) -> np.ndarray:
        """(N,) int64 most probable component, ties to the lowest index; O(N K D^2)."""
        return self._evaluate(X, contract.WANT_LABELS, n_threads, out)

    def mahalanobis(self, X, n_threads: int | None = None, *, out=None) -> np.ndarray:
        """(N, K) Mahalanobis distance to each component, in standard deviations."""
        return self._evaluate(X, contract.WANT_MAHALANOBIS, n_threads, out)

    def score(self, X, sample_weight=None, n_threads: int | None = None) -> float:
        """Mean log-likelihood per unit of sample weight, in nats; holds no N-sized array."""
        X = validate.data(X, n_features=self.n_features, piecewise=True)
        weight = validate.sample_weight(sample_weight, len(X))
        total = log_likelihood(X, weight, self.kernel_parameters, n_threads)
        return total / (len(X) if weight is None else float(weight.sum()))

    def statistics(
        self, X, sample_weight=None, n_threads: int | None = None
    ) -> SufficientStatistics:
        """Sufficient statistics of X under this mixture: one E-step, O(N K D^2).

        Statistics of parts of the data, each from this same mixture, add up with ``+``.
        """
        from ..passes.expectation import Expectation  # a service that only scores needs none of it

        X = validate.data(X, n_features=self.n_features)
        weight = validate.sample_weight(sample_weight, len(X))
        expectation = Expectation(
            X, weight, self.family.layout, self.n_components, threads.resolve(n_threads)
        )
        return expectation(self.kernel_parameters)

    def aic(self, X, sample_weight=None, n_threads: int | None = None) -> float:
        """Akaike information criterion on X; lower is better. See `gaussmix.criteria`."""
        from ..criteria import aic  # as in `statistics`

        statistics = self.statistics(X, sample_weight, n_threads)
        return aic(statistics.log_likelihood, self.n_parameters)

    def bic(self, X, sample_weight=None, n_threads: int | None = None) -> float:
        """Bayesian information criterion on X, -2 log L + parameters log n; lower is better.

        n is the sum of the sample weights. mclust reports the same number times -1.
        """
        from ..criteria import bic  # as in `statistics`

        statistics = self.statistics(X, sample_weight, n_threads)
        return bic(statistics.log_likelihood, self.n_parameters, statistics.weight)

    def icl(self, X, sample_weight=None, n_threads: int | None = None) -> float:
        """Integrated completed likelihood on X: bic + 2 x entropy; lower is better."""
        from ..criteria import icl  # as in `statistics`

        statistics = self.statistics(X, sample_weight, n_threads)
        return icl(
            statistics.log_likelihood, self.n_parameters, statistics.weight, statistics.entropy
        )

    def sample(self, n: int, seed=None) -> tuple[np.ndarray, np.ndarray]:
        """Draw `n` points: for each a component by the weights, then a point of that component.

        Parameters
        ----------
        n : int, >= 0
        seed : int or numpy.random.Generator, optional
            The same int gives the same draws; a Generator is advanced.

        Returns
        -------
        X : ndarray (n, D)
        z : ndarray (n,) int64
            The latent component of each row. Rows are in random order.

        Notes
        -----
        O(n D^2). A point is mu_z + P_z^-1 e with e standard normal.
        """
        n = validate.integer("n", n, 0)
        X = validate.result((n, self.n_features), validate.FLOAT64)
        rng = validate.seed(seed)
        z = rng.choice(self.n_components, size=n, p=self.weights / self.weights.sum())
        rng.standard_normal(out=X)
        kind, factors = self.kernel_parameters.factor_kind, self.kernel_parameters.factors
        for k in range(self.n_components):
            rows = np.flatnonzero(z == k)
            if kind == contract.FACTOR_DIAG:
                X[rows] = self.means[k] + X[rows] / factors[k]
            elif len(rows):
                factor = factors if kind == contract.FACTOR_SHARED else factors[k]
                X[rows] = self.means[k] + np.linalg.solve(factor, X[rows].T).T
        return X, z

    def _evaluate(self, X, want: int, n_threads: int | None, out) -> np.ndarray:
        X = validate.data(X, n_features=self.n_features, min_rows=0, piecewise=True)
        shape, dtype = (len(X),), validate.FLOAT64
        if want == contract.WANT_LABELS:
            dtype = validate.INT64
        elif want != contract.WANT_LOGPDF:
            shape = len(X), self.n_components
        out = (
            validate.result(shape, dtype) if out is None else validate.output(out, shape, dtype, X)
        )
        return evaluate(X, self.kernel_parameters, want, out, n_threads)


def frozen(array: np.ndarray) -> np.ndarray:
    """A read-only view that cannot be made writeable."""
    array.setflags(write=False)
    return array.view()


def _check_weights(weights: np.ndarray, n_components: int) -> np.ndarray:
    if weights.shape != (n_components,):
        raise InvalidInputError(
            f"weights has shape {weights.shape}; with {n_components} means it must be "
            f"({n_components},)."
        )
    if (weights < 0.0).any():
        component = int(np.flatnonzero(weights < 0.0)[0])
        raise InvalidInputError(
            f"weights[{component}] is {weights[component]:g}; weights must be at least 0."
        )
    total = weights.sum()
    if abs(total - 1.0) > WEIGHT_SUM_TOLERANCE:
        raise InvalidInputError(
            f"weights sum to {total:.10g}; they must sum to 1. Use weights / weights.sum()."
        )
    # Within rounding of 1 they are kept as they are: constructing a mixture from another one's
    # parameters changes no bit.
    return weights if abs(total - 1.0) <= 1e-14 * n_components else weights / total
