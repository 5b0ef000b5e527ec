"""One EM step from covariances to covariances, and the scores, against long double.

Every backend, through the public functions: factors, densities, responsibilities, sums, M-step.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

import gaussmix as gm
import oracle

EPS = np.finfo(np.float64).eps
TYPES = ("full", "tied", "diag", "spherical")
# N is no multiple of a block (64 to 256 rows) or of a slot (1024); D and K no larger together than
# leaves each component rows enough.
SHAPES = [  # N, D, K
    (77, 1, 1), (301, 1, 7), (2077, 1, 20), (173, 2, 3), (3001, 3, 20), (301, 4, 2),
    (1277, 5, 7), (301, 8, 1), (771, 8, 20), (515, 17, 3), (515, 33, 2), (515, 40, 2),
]  # fmt: skip
ROUGH = 2.0**10  # spread of float32 data at the offset: there they are multiples of 8
CONDITION = 4.0  # of the covariances, at most


@dataclass(frozen=True)
class Case:
    covariance_type: str
    n_rows: int
    n_features: int
    n_components: int
    dtype: str
    offset: float
    weighted: bool

    def __str__(self):
        shape = f"N{self.n_rows}D{self.n_features}K{self.n_components}"
        weighted = "-weighted" * self.weighted
        return f"{self.covariance_type}-{shape}-{self.dtype}-{self.offset:g}{weighted}"


def make_cases():
    """Half of the shapes for each type; dtype, offset and weights dealt out evenly by a seed."""
    rng = np.random.default_rng(20240608)
    cases = []
    for i, covariance_type in enumerate(TYPES):
        shapes = SHAPES[i % 2 :: 2]
        deals = [rng.permutation(np.resize([0, 1], len(shapes))) for _ in range(3)]
        for shape, dtype, offset, weighted in zip(shapes, *deals, strict=True):
            dtype, offset = ("float32", "float64")[dtype], (0.0, 1e8)[offset]
            cases.append(Case(covariance_type, *shape, dtype, offset, bool(weighted)))
    return cases


CASES = make_cases()


@dataclass(frozen=True)
class Expected:
    """A problem, the oracle's numbers for it, and bounds on rounding errors."""

    X: np.ndarray
    sample_weight: np.ndarray | None
    mixture: gm.Mixture
    joint: np.ndarray
    joint_error: np.ndarray  # (N, 1), absolute
    share_error: float  # of responsibilities, relative
    step: tuple  # weights, means, covariances
    spread: float  # mean of squared differences within a component, at most


@cache
def expect(case):
    rng = np.random.default_rng(CASES.index(case))
    n_components, n_features = case.n_components, case.n_features
    unit = ROUGH if case.offset and case.dtype == "float32" else 1.0
    centres = 1.5 * rng.normal(size=(n_components, n_features))
    X = centres[np.arange(case.n_rows) % n_components]
    X = (case.offset + unit * (X + rng.normal(size=X.shape))).astype(case.dtype)
    weight = rng.random(case.n_rows) + 0.5 if case.weighted else None
    means = case.offset + unit * (centres + 0.2 * rng.normal(size=centres.shape))
    covariances = make_covariances(rng, case) * unit**2
    weights = rng.dirichlet(np.full(n_components, 20.0))
    mixture = gm.Mixture(weights, means, covariances, case.covariance_type)
    given = (mixture.weights, means, covariances, case.covariance_type)
    joint = oracle.log_joint(X, *given)
    joint_error = density_error(X, means, covariances, case, joint)
    # exp(joint - largest) / sum: twice the error of a log joint density, and the roundings of a
    # difference of at most 800 (beyond it is 0), of exp, of K additions and of the quotient.
    largest = np.abs(joint).max() if n_components > 1 else 0.0
    rounding = EPS * (min(800.0, 2.0 * float(largest)) + n_components + 8)
    share_error = float(np.expm1(2.0 * joint_error.max() + rounding))
    # Of pooled sums, differences between means are a part too.
    widest = np.abs(X.astype(float)[:, None] - means).max(axis=(0, 1))
    own = np.abs(X - means[np.arange(case.n_rows) % n_components]).max(axis=0)
    spread = float(np.max(widest if case.covariance_type == "tied" else own) ** 2)
    step = oracle.em_step(X, *given, weight)
    return Expected(X, weight, mixture, joint, joint_error, share_error, step, spread)


def make_covariances(rng, case):
    """With eigenvalues from 1/2 to CONDITION / 2."""
    n_components, n_features = case.n_components, case.n_features
    values = 0.5 * CONDITION ** rng.random((n_components, n_features))
    turns = np.linalg.qr(rng.normal(size=(n_components, n_features, n_features)))[0]
    dense = np.einsum("kde,ke,kfe->kdf", turns, values, turns)
    dense = 0.5 * (dense + dense.swapaxes(1, 2))
    return {"full": dense, "tied": dense[0], "diag": values, "spherical": values[:, 0].copy()}[
        case.covariance_type
    ]


def density_error(X, means, covariances, case, joint):
    """(N, 1) bounds on the errors of log joint densities.

    A Cholesky factor L is that of a covariance which differs by (D + 1) eps |L| |L|^T, at most
    D (D + 1) eps in norm, and its inverse by as much again (Higham 2002, theorems 10.3 and 14.7);
    times the condition number that is relative in |z|^2 = |P (x - mean)|^2 and log |P|. Without
    correlations these are a root and a quotient. To z each of at most D products adds D + 2
    roundings, relative to a = |P| |x - mean|, or to distances from the centre of all means where
    these are whitened: (2 |z| + error) times the error of |z|.
    """
    n_features = case.n_features
    dense = case.covariance_type in ("full", "tied")
    factor_error = EPS * (2 * n_features * (n_features + 1) * CONDITION if dense else 8)
    error = np.zeros((len(X), 1))
    X = X.astype(np.float64)
    centre = means.mean(axis=0)
    for k, mean in enumerate(means):
        matrix = oracle.dense_covariance(covariances, case.covariance_type, k, n_features)
        factor = oracle.precision_factor(matrix).astype(np.float64)
        size = np.abs(X - mean)
        if case.covariance_type == "tied":
            size = np.abs(X - centre) + np.abs(mean - centre)
        length = np.linalg.norm((X - mean) @ factor.T, axis=1)
        off = (n_features + 2) * EPS * np.linalg.norm(size @ np.abs(factor).T, axis=1)
        squared = length**2 + n_features
        error[:, 0] = np.maximum(error[:, 0], (length + off) * off + factor_error * squared)
    return error + 4 * EPS * np.abs(joint).max(axis=1, keepdims=True).astype(float)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_scores_equal_the_oracle(backend, case):
    e = expect(case)
    n_components = case.n_components
    joint = e.mixture.log_joint(e.X, n_threads=2)
    assert (np.abs(joint - e.joint) <= e.joint_error).all()
    resp = oracle.responsibilities(e.joint)
    found = e.mixture.predict_proba(e.X, n_threads=2)
    assert (np.abs(found - resp) <= e.share_error * resp + 1e-300).all()
    logpdf = oracle.logpdf(e.joint)
    error = e.joint_error[:, 0] + EPS * (np.abs(logpdf) + n_components + 8)
    assert (np.abs(e.mixture.logpdf(e.X, n_threads=2) - logpdf) <= error).all()


# At an offset of 1e8 a fit says that float64 rounds its means; what it rounds them to is compared.
@pytest.mark.filterwarnings("ignore::gaussmix.errors.PrecisionWarning")
@pytest.mark.filterwarnings("ignore::gaussmix.errors.ConvergenceWarning")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_em_step_equals_the_oracle(backend, case):
    e = expect(case)
    result = gm.fit(
        e.X, case.n_components, covariance_type=case.covariance_type, start=e.mixture,
        sample_weight=e.sample_weight, reg_covar=0.0, tol=0.0, max_iter=1, n_threads=2,
    )  # fmt: skip
    assert result.n_iter == 1
    weight = np.ones(case.n_rows) if e.sample_weight is None else e.sample_weight
    # Each term of a sum has the error of its responsibility and four roundings, then N additions.
    unit = e.share_error + (case.n_rows + case.n_components + 4) * EPS
    logpdf = oracle.logpdf(e.joint)
    error = (weight * (e.joint_error[:, 0] + unit * (np.abs(logpdf) + 1))).sum()
    assert abs(result.log_likelihood[0] - (weight * logpdf).sum()) <= error
    weights, means, covariances = e.step
    assert (np.abs(result.mixture.weights - weights) <= 2 * unit * weights).all()
    # With d = first / mass, of relative error 2 unit in sums of absolute values of at most the
    # root of `spread`: the new mean adds a rounding; the covariance is second / mass - d d^T.
    error = 2 * unit * np.sqrt(e.spread) + EPS * np.abs(means)
    assert (np.abs(result.mixture.means - means) <= error).all()
    assert np.abs(result.mixture.covariances - covariances).max() <= 8 * unit * e.spread
