/* Derivatives of the log density and small linear systems, of LANES rows at a time.
 *
 * Arrays of vectors: element i of all rows is x[i * LANES ...]. Lower triangles lie row by row,
 * element (d, e) at d (d + 1) / 2 + e. No lane looks at another.
 */
#ifndef GAUSSMIX_SLOPES_TILES_H
#define GAUSSMIX_SLOPES_TILES_H

#include "_vector.h"

#define ELEMENT(d, e) (((d) * ((d) + 1) / 2 + (e)) * LANES)
#define TOGETHER 4 /* components whose multiples are added in one pass over the sums */

/* sums[i] = sum_k share_k table[k][i] for i < width; rows of the table are `step` apart. */
static void weighted_sums(const double *share, const double *table, ptrdiff_t n_components,
                          ptrdiff_t step, ptrdiff_t width, double *sums) {
    for (ptrdiff_t i = 0; i < width; i++) v_store(sums + i * LANES, v_set(0.0));
    ptrdiff_t k = 0;
    for (; k + TOGETHER <= n_components; k += TOGETHER) {
        vec own[TOGETHER];
        UNROLL for (int j = 0; j < TOGETHER; j++) own[j] = v_load(share + (k + j) * LANES);
        for (ptrdiff_t i = 0; i < width; i++) {
            vec sum = v_load(sums + i * LANES);
            UNROLL for (int j = 0; j < TOGETHER; j++)
                sum += own[j] * v_set(table[(k + j) * step + i]);
            v_store(sums + i * LANES, sum);
        }
    }
    for (; k < n_components; k++) {
        const vec own = v_load(share + k * LANES);
        for (ptrdiff_t i = 0; i < width; i++)
            v_store(sums + i * LANES, v_load(sums + i * LANES) + own * v_set(table[k * step + i]));
    }
}

/* pull = P^T P (mean - z) for lower triangular P. Through the factor: the precision alone would
 * lose digits of narrow components. `white` is scratch, 2 n vectors. */
static void pull_of(const double *factor, const double *mean, const double *z, ptrdiff_t n,
                    double *white, double *pull) {
    double *gap = white + n * LANES;
    for (ptrdiff_t d = 0; d < n; d++) {
        v_store(gap + d * LANES, v_set(mean[d]) - v_load(z + d * LANES));
        vec sum = v_set(0.0);
        for (ptrdiff_t e = 0; e <= d; e++)
            sum += v_set(factor[d * n + e]) * v_load(gap + e * LANES);
        v_store(white + d * LANES, sum);
    }
    for (ptrdiff_t e = 0; e < n; e++) {
        vec sum = v_set(0.0);
        for (ptrdiff_t d = e; d < n; d++)
            sum += v_set(factor[d * n + e]) * v_load(white + d * LANES);
        v_store(pull + e * LANES, sum);
    }
}

/* curvature -= share (pull - gradient)(pull - gradient)^T; `pull` is overwritten. */
static void subtract_spread(const double *share, double *pull, const double *gradient, ptrdiff_t n,
                            double *curvature) {
    const vec root = v_sqrt(v_load(share));
    for (ptrdiff_t d = 0; d < n; d++) {
        const vec one = root * (v_load(pull + d * LANES) - v_load(gradient + d * LANES));
        v_store(pull + d * LANES, one);
        for (ptrdiff_t e = 0; e <= d; e++) {
            double *to = curvature + ELEMENT(d, e);
            v_store(to, v_load(to) - one * v_load(pull + e * LANES));
        }
    }
}

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

/* x becomes the solution, by factors of `cholesky_lanes`. */
static void solve_lanes(const double *lower, ptrdiff_t n, double *x) {
    for (ptrdiff_t d = 0; d < n; d++) {
        vec sum = v_load(x + d * LANES);
        for (ptrdiff_t m = 0; m < d; m++)
            sum -= v_load(lower + ELEMENT(d, m)) * v_load(x + m * LANES);
        v_store(x + d * LANES, sum * v_load(lower + ELEMENT(d, d)));
    }
    for (ptrdiff_t d = n - 1; d >= 0; d--) {
        vec sum = v_load(x + d * LANES);
        for (ptrdiff_t m = d + 1; m < n; m++)
            sum -= v_load(lower + ELEMENT(m, d)) * v_load(x + m * LANES);
        v_store(x + d * LANES, sum * v_load(lower + ELEMENT(d, d)));
    }
}

/* The fixed-point iteration's step from z, and its length |C^T step|: `sums` hold the triangle of
 * the mean precision, C C^T, which is overwritten, and the mean pull of the origin. */
static void step_lanes(double *sums, const double *z, ptrdiff_t n, double *step, double *length) {
    double *target = sums + ELEMENT(n, 0);
    (void)cholesky_lanes(sums, n, v_set(0.0));
    solve_lanes(sums, n, target);
    vec square = v_set(0.0);
    for (ptrdiff_t d = 0; d < n; d++)
        v_store(step + d * LANES, v_load(target + d * LANES) - v_load(z + d * LANES));
    for (ptrdiff_t d = 0; d < n; d++) {
        vec sum = v_load(step + d * LANES) / v_load(sums + ELEMENT(d, d));
        for (ptrdiff_t m = d + 1; m < n; m++)
            sum += v_load(sums + ELEMENT(m, d)) * v_load(step + m * LANES);
        square += sum * sum;
    }
    v_store(length, v_sqrt(square));
}

/* Gradient, precision and curvature, then Newton's step by factors in `lower`; `positive` is 1
 * in lanes in which no pivot is below `concave` times the mean precision, else 0. `pull` (K, n) and
 * `white` (2 n) are scratch. */
static void slopes_lanes(const double *z, const double *share, const double *means,
                         const double *factors, const double *table, ptrdiff_t n_components,
                         ptrdiff_t n, double concave, double *pull, double *white, double *lower,
                         double *gradient, double *precision, double *curvature, double *newton,
                         double *positive) {
    const ptrdiff_t triangle = n * (n + 1) / 2;
    vec least = v_set(0.0);
    for (ptrdiff_t d = 0; d < n; d++) v_store(gradient + d * LANES, v_set(0.0));
    for (ptrdiff_t k = 0; k < n_components; k++) {
        const vec own = v_load(share + k * LANES);
        double *of = pull + k * n * LANES;
        if (!v_nonzero(own)) continue;
        pull_of(factors + k * n * n, means + k * n, z, n, white, of);
        for (ptrdiff_t d = 0; d < n; d++)
            v_store(gradient + d * LANES,
                    v_load(gradient + d * LANES) + own * v_load(of + d * LANES));
    }
    weighted_sums(share, table, n_components, triangle + n, triangle, precision);
    memcpy(curvature, precision, (size_t)(triangle * LANES) * sizeof(double));
    for (ptrdiff_t k = 0; k < n_components; k++)
        if (v_nonzero(v_load(share + k * LANES)))
            subtract_spread(share + k * LANES, pull + k * n * LANES, gradient, n, curvature);
    for (ptrdiff_t d = 0; d < n; d++)
        least += v_set(concave / (double)n) * v_load(precision + ELEMENT(d, d));
    memcpy(lower, curvature, (size_t)(triangle * LANES) * sizeof(double));
    memcpy(newton, gradient, (size_t)(n * LANES) * sizeof(double));
    v_store(positive, cholesky_lanes(lower, n, least));
    solve_lanes(lower, n, newton);
}

#endif
