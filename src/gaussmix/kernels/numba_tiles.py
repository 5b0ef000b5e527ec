"""The innermost loops of the Numba backend: exp, log, and triangular products over a block of rows.

A block is ROWS rows, feature-major in flat arrays: feature d of row i stands at ``d * ROWS + i``.
SIMD lanes are rows. ROWS is a compile-time constant and indices are flat because LLVM then knows
how far the features of a tile are apart, and needs no check per pair of pointers to vectorise a
loop. It also must not see Numba's handling of negative indices: in the loops they are unsigned.
"""

from __future__ import annotations

import sys

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# EPYC 7003, full, K=16, one thread: 64 is 44 % slower at D=8 and 6 % at D=128, 256 is 2 to 8 %
# faster there but 27 % slower for diag at D=16, and it doubles the cost of a single row.
ROWS = 128
LANES = np.uint64(ROWS)
PANEL = 32  # features of a block that stay in cache while all others pass: twice as fast at D=128
LARGEST = sys.float_info.max
LOG2_E = 1.4426950408889634
LN2_HIGH = 6.93147180369123816490e-01  # 32 significant bits: exact times any exponent
LN2_LOW = 1.90821492927058770002e-10
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
ONE_BITS = 0x3FF0000000000000
MANTISSA_BITS = 0x000FFFFFFFFFFFFF
ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer, kept in the low bits
ROUND_BITS = 0x4338000000000000
EXP_LOWEST = -708.0  # below it exp is taken as 0, which spares subnormal numbers

# Only compiled code calls these functions. Without the entries for Python and for C, which are
# compiled like any other code, the whole backend compiles in four fifths of the time.
_OPTIONS = {
    "nogil": True,
    "error_model": "numpy",
    "boundscheck": None,  # NUMBA_BOUNDSCHECK decides
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
# contract: fused multiply-add. Nothing else may change, so NaN and infinity keep their meaning.
stage = njit(fastmath={"contract"}, **_OPTIONS)
# Sums over rows may be split over SIMD lanes. These functions only add up products, whose factors
# they read from memory or get from a `stage`, so no difference of large numbers can be torn apart.
reduction = njit(fastmath={"contract", "reassoc"}, **_OPTIONS)
# The operations as they stand: the same bits in whichever compiled function they become a part of.
exact = njit(**_OPTIONS)


@intrinsic
def _bits(typingctx, value):
    """The bits of a float64 as an int64."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), codegen


@intrinsic
def _from_bits(typingctx, bits):
    """The float64 with the bits of an int64."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


@stage
def exp_below_zero(t):
    """exp(t) for t <= 0 to about 1 ulp; 0 below EXP_LOWEST and for NaN.

    exp(t) = 2^n exp(r) with |r| <= ln(2)/2, and exp(r) = 1 + r + r^2 q(r) with the polynomial q
    of ``v_exp_normal`` (_vector.h), fitted in the Chebyshev sense to 1.3e-17.
    """
    inside = t > EXP_LOWEST
    t = t if inside else EXP_LOWEST
    rounded = t * LOG2_E + ROUND
    n = rounded - ROUND
    r = (t - n * LN2_HIGH) - n * LN2_LOW
    q = 2.510038549551032e-08
    q = q * r + 2.7620088445409746e-07
    q = q * r + 2.7557268459997064e-06
    q = q * r + 2.4801521295954376e-05
    q = q * r + 0.00019841269863053618
    q = q * r + 0.0013888888917213717
    q = q * r + 0.008333333333330062
    q = q * r + 0.04166666666662413
    q = q * r + 0.16666666666666669
    q = q * r + 0.5
    p = q * (r * r) + r
    power = _from_bits((_bits(rounded) + 1023) << 52)
    return power + power * p if inside else 0.0


@stage
def log_above_one(s):
    """log(s) for finite s >= 1 to about 1 ulp.

    s = 2^n (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2); with q = f / (2 + f),
    log(1 + f) = 2 (q + q^3/3 + q^5/5 + ...), the terms after the first as ``v_log`` of _vector.h
    has them, fitted to 9e-18.
    """
    shifted = _bits(s) + (ONE_BITS - SQRT_HALF_BITS)
    n = _from_bits((shifted >> 52) + (ROUND_BITS - 1023)) - ROUND
    f = _from_bits((shifted & MANTISSA_BITS) + SQRT_HALF_BITS) - 1.0
    q = f / (2.0 + f)
    u = q * q
    p = 0.14616585424888623
    p = p * u + 0.15331710618210773
    p = p * u + 0.18182889455674947
    p = p * u + 0.22222211130259878
    p = p * u + 0.2857142862600327
    p = p * u + 0.39999999999899444
    p = p * u + 0.666666666666667
    # log(1 + f) = f - q (f - u p): the rounding of q enters multiplied by f only.
    return n * LN2_HIGH + (f - (q * (f - u * p) - n * LN2_LOW))


@stage
def splitmix(seed, n):
    """Output number `n`, counted from 0, of SplitMix64; all unsigned, as `contract` states."""
    z = seed + (n + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@stage
def unit_uniform(key, n):
    """A number in [0, 1) from the upper 52 bits of ``splitmix(key, n)``."""
    return float(splitmix(key, n) >> np.uint64(12)) * 2.0**-52


@stage
def feature(d):
    """Where feature d of a block begins, unsigned."""
    return np.uint64(d * ROWS)


@stage
def difference(x, centre, c, n_features, y):
    """Block y = x - centre[c : c + D]."""
    for d in range(n_features):
        at = feature(d)
        mean = centre[c + d]
        for i in range(LANES):
            y[at + i] = x[at + i] - mean


@stage
def lower_product(P, p, n_features, y, z, squared, q):
    """Block z = L y for the lower triangle L at P[p : p + D * D]; adds |z|^2 at squared[q].

    Two rows of L times four rows of y at once: 8 factors stay in registers, and each pass over the
    block does 8 fused operations for 6 loads and 2 stores. The last such pass does the triangle at
    the end of the two rows as well.
    """
    for panel in range(0, n_features - 1, PANEL):
        for d in range(panel, n_features - 1, 2):
            u = p + d * n_features
            v = u + n_features
            z0, z1 = feature(d), feature(d + 1)
            begin = panel + d % 4
            if d == 0:
                _first_rows(P, u, v, y, z, squared, q)
                continue
            if panel == 0:
                _first_columns(P, u, v, begin, y, z, z0, z1)
            ends = d < begin + PANEL
            joined = ends and begin < d
            for e in range(begin, d - 4 if joined else min(d, begin + PANEL), 4):
                y0, y1, y2, y3 = feature(e), feature(e + 1), feature(e + 2), feature(e + 3)
                u0, u1, u2, u3 = P[u + e], P[u + e + 1], P[u + e + 2], P[u + e + 3]
                v0, v1, v2, v3 = P[v + e], P[v + e + 1], P[v + e + 2], P[v + e + 3]
                for i in range(LANES):
                    a, b, c, f = y[y0 + i], y[y1 + i], y[y2 + i], y[y3 + i]
                    z[z0 + i] += u0 * a + u1 * b + u2 * c + u3 * f
                    z[z1 + i] += v0 * a + v1 * b + v2 * c + v3 * f
            if joined:
                _last_columns(P, u, v, d, y, z, squared, q)
            elif ends:
                u0, v0, v1 = P[u + d], P[v + d], P[v + d + 1]
                for i in range(LANES):
                    a = z[z0 + i] + u0 * y[z0 + i]
                    b = z[z1 + i] + v0 * y[z0 + i] + v1 * y[z1 + i]
                    z[z0 + i] = a
                    z[z1 + i] = b
                    squared[q + i] += a * a + b * b
    if n_features % 2:
        _last_row(P, p + (n_features - 1) * n_features, n_features - 1, y, z, squared, q)


@stage
def _first_rows(P, u, v, y, z, squared, q):
    """Rows 0 and 1 of `lower_product`."""
    u0, v0, v1 = P[u], P[v], P[v + 1]
    for i in range(LANES):
        a = u0 * y[i]
        b = v0 * y[i] + v1 * y[LANES + i]
        z[i] = a
        z[LANES + i] = b
        squared[q + i] += a * a + b * b


@stage
def _last_columns(P, u, v, d, y, z, squared, q):
    """Ends rows d and d + 1 of `lower_product` with the columns from d - 4 on."""
    z0, z1, e = feature(d), feature(d + 1), d - 4
    y0, y1, y2, y3 = feature(e), feature(e + 1), feature(e + 2), feature(e + 3)
    u0, u1, u2, u3, u4 = P[u + e], P[u + e + 1], P[u + e + 2], P[u + e + 3], P[u + d]
    v0, v1, v2, v3, v4 = P[v + e], P[v + e + 1], P[v + e + 2], P[v + e + 3], P[v + d]
    v5 = P[v + d + 1]
    for i in range(LANES):
        a, b, c, f = y[y0 + i], y[y1 + i], y[y2 + i], y[y3 + i]
        g, h = y[z0 + i], y[z1 + i]
        s = z[z0 + i] + (u0 * a + u1 * b + u2 * c + u3 * f) + u4 * g
        t = z[z1 + i] + (v0 * a + v1 * b + v2 * c + v3 * f) + v4 * g + v5 * h
        z[z0 + i] = s
        z[z1 + i] = t
        squared[q + i] += s * s + t * t


@stage
def _first_columns(P, u, v, count, y, z, z0, z1):
    """Begins two rows of `lower_product` with their first `count` columns, 0 or 2."""
    if count:
        u0, u1, v0, v1 = P[u], P[u + 1], P[v], P[v + 1]
        for i in range(LANES):
            z[z0 + i] = u0 * y[i] + u1 * y[LANES + i]
            z[z1 + i] = v0 * y[i] + v1 * y[LANES + i]
    else:
        for i in range(LANES):
            z[z0 + i] = 0.0
            z[z1 + i] = 0.0


@stage
def _last_row(P, u, d, y, z, squared, q):
    """Row d of `lower_product`, d even, for an odd number of features."""
    z0 = feature(d)
    u0 = P[u + d]
    for i in range(LANES):
        z[z0 + i] = u0 * y[z0 + i]
    for e in range(0, d, 2):
        y0, y1 = feature(e), feature(e + 1)
        u0, u1 = P[u + e], P[u + e + 1]
        for i in range(LANES):
            z[z0 + i] += u0 * y[y0 + i] + u1 * y[y1 + i]
    for i in range(LANES):
        squared[q + i] += z[z0 + i] * z[z0 + i]


@reduction
def row_sum(block, row):
    """Sum over the rows of the stretch of a block that begins at `row`."""
    total = 0.0
    for i in range(LANES):
        total += block[row + i]
    return total


@reduction
def add_products(v, y, count, n_features, out, o):
    """Adds v y^T, summed over the block's first `count` (unsigned) rows, to `out`.

    To the lower triangle at out[o : o + D * D], that is.
    """
    for panel in range(0, n_features - 1, PANEL):
        for d in range(panel, n_features - 1, 2):
            r = o + d * n_features
            s = r + n_features
            v0, v1 = feature(d), feature(d + 1)
            begin = panel + d % 4
            if begin == 2:
                _add_tile(v, v0, v1, y, 0, count, out, r, s)
            for e in range(begin, min(d, begin + PANEL), 4):
                _add_wide_tile(v, v0, v1, y, e, count, out, r, s)
            if d < begin + PANEL:
                a = b = c = 0.0
                for i in range(count):
                    a += v[v0 + i] * y[v0 + i]
                    b += v[v1 + i] * y[v0 + i]
                    c += v[v1 + i] * y[v1 + i]
                out[r + d] += a
                out[s + d] += b
                out[s + d + 1] += c
    if n_features % 2:
        v0 = feature(n_features - 1)
        for e in range(n_features):
            out[o + (n_features - 1) * n_features + e] += _dot(v, v0, y, feature(e), count)


@reduction
def _add_wide_tile(v, v0, v1, y, e, count, out, r, s):
    """Adds two rows of v times features e..e+4 of y to `out`."""
    y0, y1, y2, y3 = feature(e), feature(e + 1), feature(e + 2), feature(e + 3)
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = 0.0
    for i in range(count):
        a0 += v[v0 + i] * y[y0 + i]
        a1 += v[v0 + i] * y[y1 + i]
        a2 += v[v0 + i] * y[y2 + i]
        a3 += v[v0 + i] * y[y3 + i]
        b0 += v[v1 + i] * y[y0 + i]
        b1 += v[v1 + i] * y[y1 + i]
        b2 += v[v1 + i] * y[y2 + i]
        b3 += v[v1 + i] * y[y3 + i]
    out[r + e] += a0
    out[r + e + 1] += a1
    out[r + e + 2] += a2
    out[r + e + 3] += a3
    out[s + e] += b0
    out[s + e + 1] += b1
    out[s + e + 2] += b2
    out[s + e + 3] += b3


@reduction
def _add_tile(v, v0, v1, y, e, count, out, r, s):
    """Adds two rows of v times features e and e + 1 of y to `out`."""
    y0, y1 = feature(e), feature(e + 1)
    a0 = a1 = b0 = b1 = 0.0
    for i in range(count):
        a0 += v[v0 + i] * y[y0 + i]
        a1 += v[v0 + i] * y[y1 + i]
        b0 += v[v1 + i] * y[y0 + i]
        b1 += v[v1 + i] * y[y1 + i]
    out[r + e] += a0
    out[r + e + 1] += a1
    out[s + e] += b0
    out[s + e + 1] += b1


@reduction
def _dot(v, v0, y, y0, count):
    """Sum over the block's rows of the product of two features."""
    total = 0.0
    for i in range(count):
        total += v[v0 + i] * y[y0 + i]
    return total
