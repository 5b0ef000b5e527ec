"""A mixture as one C99 file that needs nothing but math.h."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from ..errors import InvalidInputError, PrecisionWarning, warn
from ..inputs import validate
from ..kernels import contract

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_DTYPES = {"float64": ("double", ""), "float32": ("float", "f")}
_FEW_UNITS = 1e3  # rows rounded by up to half a thousandth of a standard deviation


def to_c(mixture, name: str, dtype: str) -> str:
    """The C file; see `Mixture.to_c`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"name is {validate.shown(name)}; functions are called after it, so it must be a "
            "letter and up to 39 letters, digits and underscores."
        )
    validate.choice("dtype", dtype, tuple(_DTYPES))
    real, suffix = _DTYPES[dtype]
    kind, coefficients, means, factors, centre = mixture.kernel_parameters
    if mixture.covariance_type == "spherical":
        kind, factors = "spherical", factors[:, 0]
    constants = {"coefficients": coefficients, "means": means, "factors": _packed(factors, kind)}
    if kind == contract.FACTOR_SHARED:
        constants["means"] = np.einsum("de,ke->kd", factors, means - centre)
        constants["centre"] = centre
    tables = [_table(name, key, values, dtype) for key, values in constants.items()]
    warn_if_coarse(mixture, dtype)
    text = "\n".join([_HEAD, *tables, "", _DISTANCES[kind], _BODY])
    for old, new in (
        ("NAME", name),
        ("UPPER", name.upper()),
        ("REAL", real),
        ("N_COMPONENTS_", str(mixture.n_components)),
        ("N_FEATURES_", str(mixture.n_features)),
        ("TYPE_", mixture.covariance_type),
    ):
        text = re.sub(rf"@{old}@", new, text)
    # exp, log, sqrt of the type; 0.5 and the like.
    return re.sub(
        r"\b(exp|log|sqrt)\(", rf"\1{suffix}(", re.sub(r"(\d\.\d)@", rf"\1{suffix}", text)
    )


def held(key: str, values: np.ndarray, dtype: str) -> np.ndarray:
    """The values in `dtype`. Raises InvalidInputError if one overflows or vanishes."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = values.astype(dtype)
    lost = (np.isinf(rounded) & np.isfinite(values)) | ((rounded == 0.0) & (values != 0.0))
    if lost.any():
        value = values[lost][0]
        raise InvalidInputError(
            f"{key} of the mixture hold {value:.6g}, which {dtype} cannot. Scale the features, or "
            'use dtype="float64".'
        )
    return rounded


def warn_if_coarse(mixture, dtype: str) -> None:
    """A PrecisionWarning if float32 holds rows near a component to few digits of its spread."""
    if dtype == "float64":  # which the mixture itself is in
        return
    with np.errstate(over="ignore", invalid="ignore"):
        units = mixture.standard_deviations / np.spacing(abs(mixture.means).astype(dtype))
    component, feature = np.unravel_index(units.argmin(), units.shape)
    if units[component, feature] < _FEW_UNITS:
        warn(
            f"component {component} spreads by {units[component, feature]:.3g} units in the last "
            f"place of {dtype} around its mean {mixture.means[component, feature]:.6g} in column "
            f'{feature}. Take the offset off before the fit, or use dtype="float64".',
            PrecisionWarning,
        )


def _packed(factors: np.ndarray, kind) -> np.ndarray:
    """Lower triangles row after row; diagonals as they are."""
    if kind not in (contract.FACTOR_FULL, contract.FACTOR_SHARED):
        return factors
    rows, columns = np.tril_indices(factors.shape[-1])
    return factors[..., rows, columns]


def _table(name: str, key: str, values: np.ndarray, dtype: str) -> str:
    """A constant array, its numbers exact: hexadecimal, as C99 reads them."""
    rounded = held(key, values, dtype)
    suffix = _DTYPES[dtype][1]
    texts = ["-INFINITY" if np.isinf(v) else f"{float(v).hex()}{suffix}" for v in rounded.ravel()]
    lines = ",\n".join(f"    {', '.join(part)}" for part in _chunks(texts, 3))
    return f"static const @REAL@ @NAME@_{key}[{len(texts)}] = {{\n{lines}\n}};"


def _chunks(items: list[str], size: int) -> Iterable[list[str]]:
    return (items[i : i + size] for i in range(0, len(items), size))


_HEAD = """\
/* A mixture of @N_COMPONENTS_@ Gaussians in @N_FEATURES_@ dimensions, @TYPE_@ covariances.
 * Written by gaussmix.
 *
 * C99, and nothing but math.h. No allocation, no state: safe to call from any thread. The stack
 * holds a few numbers for each component and feature. Do not compile with -ffast-math: infinities
 * and NaN mean something here.
 */
#include <math.h>

#define @UPPER@_N_COMPONENTS @N_COMPONENTS_@
#define @UPPER@_N_FEATURES @N_FEATURES_@

/* Log density of x[@UPPER@_N_FEATURES], in nats; NaN if x is not finite. */
@REAL@ @NAME@_logpdf(const @REAL@ *x);

/* Posterior probability of each component, into out[@UPPER@_N_COMPONENTS]; NaN if x is not
 * finite. */
void @NAME@_responsibilities(const @REAL@ *x, @REAL@ *out);

/* The most probable component, the first of equals; -1 if x is not finite. */
int @NAME@_predict(const @REAL@ *x);

/* The component of the smallest Mahalanobis distance, the first of equals; -1 unless that is
 * below gate (in standard deviations; INFINITY gates nothing), and if x is not finite. */
int @NAME@_nearest(const @REAL@ *x, @REAL@ gate);

/* log of weight and determinants; the factors P are such that |P (x - mean)| is the distance. */"""

_FULL = """\
/* Squared Mahalanobis distance to each component. */
static void @NAME@_distances(const @REAL@ *x, @REAL@ *out) {
    const @REAL@ *factor = @NAME@_factors;
    @REAL@ difference[@UPPER@_N_FEATURES];
    for (int k = 0; k < @UPPER@_N_COMPONENTS; k++) {
        @REAL@ total = 0;
        for (int d = 0; d < @UPPER@_N_FEATURES; d++) {
            @REAL@ z = 0;
            difference[d] = x[d] - @NAME@_means[k * @UPPER@_N_FEATURES + d];
            for (int e = 0; e <= d; e++) z += *factor++ * difference[e];
            total += z * z;
        }
        out[k] = total;
    }
}
"""

_SHARED = """\
/* Squared Mahalanobis distance to each component; the means are P (mean - centre). */
static void @NAME@_distances(const @REAL@ *x, @REAL@ *out) {
    const @REAL@ *factor = @NAME@_factors;
    @REAL@ difference[@UPPER@_N_FEATURES], z[@UPPER@_N_FEATURES];
    for (int d = 0; d < @UPPER@_N_FEATURES; d++) {
        difference[d] = x[d] - @NAME@_centre[d];
        z[d] = 0;
        for (int e = 0; e <= d; e++) z[d] += *factor++ * difference[e];
    }
    for (int k = 0; k < @UPPER@_N_COMPONENTS; k++) {
        @REAL@ total = 0;
        for (int d = 0; d < @UPPER@_N_FEATURES; d++) {
            @REAL@ gap = z[d] - @NAME@_means[k * @UPPER@_N_FEATURES + d];
            total += gap * gap;
        }
        out[k] = total;
    }
}
"""

_DIAG = """\
/* Squared Mahalanobis distance to each component. */
static void @NAME@_distances(const @REAL@ *x, @REAL@ *out) {
    for (int k = 0; k < @UPPER@_N_COMPONENTS; k++) {
        @REAL@ total = 0;
        for (int d = 0; d < @UPPER@_N_FEATURES; d++) {
            int at = k * @UPPER@_N_FEATURES + d;
            @REAL@ z = (x[d] - @NAME@_means[at]) * @NAME@_factors[FACTOR];
            total += z * z;
        }
        out[k] = total;
    }
}
"""

_DISTANCES = {
    contract.FACTOR_FULL: _FULL,
    contract.FACTOR_SHARED: _SHARED,
    contract.FACTOR_DIAG: _DIAG.replace("FACTOR", "at"),
    "spherical": _DIAG.replace("FACTOR", "k"),
}

_BODY = """\
/* Log joint densities of x and each component; the largest of them is out[the result]. */
static int @NAME@_joint(const @REAL@ *x, @REAL@ *out) {
    int best = -1;
    for (int d = 0; d < @UPPER@_N_FEATURES; d++)
        if (!isfinite(x[d])) return -1;
    @NAME@_distances(x, out);
    for (int k = 0; k < @UPPER@_N_COMPONENTS; k++) {
        out[k] = @NAME@_coefficients[k] - 0.5@ * out[k];
        if (@NAME@_coefficients[k] > -INFINITY && (best < 0 || out[k] > out[best])) best = k;
    }
    return best;
}

@REAL@ @NAME@_logpdf(const @REAL@ *x) {
    @REAL@ joint[@UPPER@_N_COMPONENTS], sum = 0;
    int best = @NAME@_joint(x, joint);
    if (best < 0) return NAN;
    if (!isfinite(joint[best])) return -INFINITY;
    for (int k = 0; k < @UPPER@_N_COMPONENTS; k++) sum += exp(joint[k] - joint[best]);
    return joint[best] + log(sum);
}

void @NAME@_responsibilities(const @REAL@ *x, @REAL@ *out) {
    int best = @NAME@_joint(x, out);
    @REAL@ most, sum = 0;
    if (best < 0) {
        for (int k = 0; k < @UPPER@_N_COMPONENTS; k++) out[k] = NAN;
        return;
    }
    most = out[best];
    for (int k = 0; k < @UPPER@_N_COMPONENTS; k++) {
        /* So far out that squares overflow, nothing is left to tell the components apart. */
        if (isfinite(most)) out[k] = exp(out[k] - most);
        else out[k] = @NAME@_coefficients[k] > -INFINITY ? 1 : 0;
        sum += out[k];
    }
    for (int k = 0; k < @UPPER@_N_COMPONENTS; k++) out[k] /= sum;
}

int @NAME@_predict(const @REAL@ *x) {
    @REAL@ joint[@UPPER@_N_COMPONENTS];
    return @NAME@_joint(x, joint);
}

int @NAME@_nearest(const @REAL@ *x, @REAL@ gate) {
    @REAL@ distances[@UPPER@_N_COMPONENTS];
    int best = -1;
    for (int d = 0; d < @UPPER@_N_FEATURES; d++)
        if (!isfinite(x[d])) return -1;
    @NAME@_distances(x, distances);
    for (int k = 0; k < @UPPER@_N_COMPONENTS; k++)
        if (@NAME@_coefficients[k] > -INFINITY && (best < 0 || distances[k] < distances[best]))
            best = k;
    return sqrt(distances[best]) < gate || gate == INFINITY ? best : -1;
}
"""
