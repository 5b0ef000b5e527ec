/* Cholesky factors of LANES small matrices at a time, and covariances to precision factors.
 *
 * Alone a small matrix waits for its square roots and divisions, one after the other. Arrays of
 * vectors: lower triangles row by row, element (d, e) of all lanes at d (d + 1) / 2 + e. No lane
 * looks at another.
 */
#ifndef GAUSSMIX_FACTOR_TILES_H
#define GAUSSMIX_FACTOR_TILES_H

#include "_vector.h"

#define ELEMENT(d, e) (((d) * ((d) + 1) / 2 + (e)) * LANES)
#define LANE_FEATURES 16 /* with more, the rows of one matrix fill vectors */

/* Cholesky factors of lower triangles, in place, with the inverses on the diagonal (NaN where a
 * pivot is negative); returns 1 in the lanes in which all pivots exceed `least`, else 0. */
static vec cholesky_lanes(double *lower, ptrdiff_t n, vec least) {
    vec positive = v_set(1.0);
    for (ptrdiff_t d = 0; d < n; d++)
        for (ptrdiff_t e = 0; e <= d; e++) {
            vec sum = v_load(lower + ELEMENT(d, e));
            for (ptrdiff_t m = 0; m < e; m++)
                sum -= v_load(lower + ELEMENT(d, m)) * v_load(lower + ELEMENT(e, m));
            if (e < d) {
                v_store(lower + ELEMENT(d, e), sum * v_load(lower + ELEMENT(e, e)));
            } else {
                positive = v_select_less(least, sum, positive, v_set(0.0));
                v_store(lower + ELEMENT(d, d), v_set(1.0) / v_sqrt(sum));
            }
        }
    return positive;
}

/* The inverses of triangles of `cholesky_lanes`, in place. */
static void invert_lanes(double *lower, ptrdiff_t n) {
    for (ptrdiff_t d = 0; d < n; d++) {
        const vec factor = v_load(lower + ELEMENT(d, d));
        for (ptrdiff_t e = 0; e < d; e++) {
            vec sum = v_set(0.0);
            for (ptrdiff_t m = e; m < d; m++)
                sum -= v_load(lower + ELEMENT(d, m)) * v_load(lower + ELEMENT(m, e));
            v_store(lower + ELEMENT(d, e), sum * factor);
        }
    }
}

/* Precision factors of `count` <= LANES covariances, with n <= LANE_FEATURES, and their log
 * determinants. Bit l of the result is set where lane l has one, and surely no eigenvalue in
 * coordinates scaled by `scale` is below `relative`: the trace of the inverse is small. Of the
 * others what is written means nothing. */
static unsigned factorise_lanes(const double *covariances, ptrdiff_t count, ptrdiff_t n,
                                const double *scale, double relative, double *factors,
                                double *log_determinants) {
    vec lower[LANE_FEATURES * (LANE_FEATURES + 1) / 2], trace = v_set(0.0);
    double *lanes = (double *)lower, bound[LANES];
    unsigned good = 0;
    for (ptrdiff_t lane = 0; lane < LANES; lane++) {
        const double *from = covariances + (lane < count ? lane : 0) * n * n;
        for (ptrdiff_t d = 0; d < n; d++)
            for (ptrdiff_t e = 0; e <= d; e++) lanes[ELEMENT(d, e) + lane] = from[d * n + e];
    }
    const vec positive = cholesky_lanes(lanes, n, v_set(0.0));
    invert_lanes(lanes, n);
    for (ptrdiff_t d = 0; d < n; d++)
        for (ptrdiff_t e = 0; e <= d; e++) {
            const vec entry = v_load(lanes + ELEMENT(d, e)) * v_set(scale[e]);
            trace += entry * entry;
        }
    v_store_anywhere(bound, v_select_less(v_set(0.0), positive, trace, v_set(NAN)));
    for (ptrdiff_t lane = 0; lane < count; lane++) {
        double *to = factors + lane * n * n, sum = 0.0;
        for (ptrdiff_t d = 0; d < n; d++) {
            for (ptrdiff_t e = 0; e < n; e++)
                to[d * n + e] = e <= d ? lanes[ELEMENT(d, e) + lane] : 0.0;
            sum += log(to[d * n + d]);
        }
        log_determinants[lane] = sum;
        /* The logarithm is not finite if the covariance is not. */
        if (relative * bound[lane] <= 0.5 && sum * 0.0 == 0.0) good |= 1u << lane;
    }
    return good;
}

#endif
