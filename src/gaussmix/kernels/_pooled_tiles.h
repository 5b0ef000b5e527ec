/* The moments of the pooled layout for more than FEW features; lanes are rows.
 *
 * What a block adds is, with j the label of a row, delta = x - mean_j and
 * half = sum_k r_k (x - mean_k) - w delta / 2 (r_k times the weight w), the sum over rows of
 * delta half^T + half delta^T, and what lies between means. Both are runs, feature after feature.
 */
#ifndef GAUSSMIX_POOLED_TILES_H
#define GAUSSMIX_POOLED_TILES_H

#include "_moments_tiles.h"

/* delta of the rows of a block; 0 where the weight is 0, as x - mean may be infinite there. */
static void pool_deltas(const double *x, ptrdiff_t n_tiles, ptrdiff_t n_features,
                        const double *weight, const int32_t *labels, const double *means,
                        double *delta, ptrdiff_t run) {
    for (ptrdiff_t d = 0; d < n_features; d++) {
        double *to = delta + d * run;
        for (ptrdiff_t row = 0; row < n_tiles * WIDE * LANES; row++)
            to[row] = means[labels[row] * n_features + d];
        for (ptrdiff_t tile = 0; tile < n_tiles; tile++)
            UNROLL for (int v = 0; v < WIDE; v++) {
                ptrdiff_t row = (tile * WIDE + v) * LANES;
                vec t = v_load(x + ((tile * n_features + d) * WIDE + v) * LANES)
                        - v_load(to + row);
                v_store(to + row,
                        v_select_less(v_set(0.0), v_load(weight + row), t, v_set(0.0)));
            }
    }
}

/* A component's w (x - mean): added to `pool`, feature after feature, and to first. */
TILE void pool_features(const double *x, const double *weight, const Place *places,
                        ptrdiff_t n_places, const double *mean, ptrdiff_t d, double *pool,
                        ptrdiff_t run, double *first, const int n) {
    vec sum[4];
    double sums[4] = {0.0, 0.0, 0.0, 0.0};
    UNROLL for (int j = 0; j < 4; j++) sum[j] = v_set(0.0);
    for (ptrdiff_t i = 0; i < n_places; i++) {
        vec w = v_load(weight + places[i].weight);
        const double *row = x + places[i].x + d * WIDE * LANES;
        double *to = pool + d * run + places[i].row;
        UNROLL for (int j = 0; j < n; j++) {
            vec t = v_load(row + j * WIDE * LANES) - v_set(mean[d + j]);
            vec wt = w * v_select_less(v_set(0.0), w, t, v_set(0.0));
            v_store(to + j * run, v_load(to + j * run) + wt);
            sum[j] += wt;
        }
    }
    v_add_sums(sum, sums);
    for (int j = 0; j < n; j++) first[d + j] += sums[j];
}
static void pool_vectors(const double *x, ptrdiff_t n_features, const double *weight,
                         const Place *places, ptrdiff_t n_places, const double *mean,
                         double *pool, ptrdiff_t run, double *first) {
    ptrdiff_t d = 0;
    for (; d + 4 <= n_features; d += 4)
        pool_features(x, weight, places, n_places, mean, d, pool, run, first, 4);
    for (; d < n_features; d++)
        pool_features(x, weight, places, n_places, mean, d, pool, run, first, 1);
}

/* A component's weights in the rows of other labels j: pairs[j] += w. */
static void pool_pairs(const double *weight, const Place *places, ptrdiff_t n_places,
                       const int32_t *labels, int32_t k, ptrdiff_t n_components, double *pairs) {
    for (ptrdiff_t i = 0; i < n_places; i++) {
        const double *w = weight + places[i].weight;
        const int32_t *label = labels + places[i].row;
        for (unsigned set = v_nonzero(v_load(w)); set; set &= set - 1) {
            int lane = v_lowest(set);
            /* Where the label is k the means do not differ: no branch, but nothing to add. */
            pairs[label[lane] * n_components] += label[lane] == k ? 0.0 : w[lane];
        }
    }
}

/* pool becomes half: less w delta / 2. */
static void pool_halves(const double *weight, const double *delta, ptrdiff_t run,
                        ptrdiff_t n_rows, ptrdiff_t n_features, double *pool) {
    for (ptrdiff_t d = 0; d < n_features; d++)
        for (ptrdiff_t row = 0; row < n_rows; row += LANES) {
            double *to = pool + d * run + row;
            vec w = v_load(weight + row) * v_set(0.5);
            v_store(to, v_load(to) - w * v_load(delta + d * run + row));
        }
}

TILE void twin_tile(const double *delta, const double *half, ptrdiff_t run, ptrdiff_t n_rows,
                    ptrdiff_t n_features, ptrdiff_t i, ptrdiff_t j, double *second,
                    const int rows, const int columns, const int triangle) {
    vec sum[BAND][4];
    UNROLL for (int r = 0; r < BAND; r++)
        UNROLL for (int c = 0; c < 4; c++) sum[r][c] = v_set(0.0);
    for (ptrdiff_t row = 0; row < n_rows; row += LANES) {
        vec t[BAND], h[BAND];
        UNROLL for (int c = 0; c < columns; c++) {
            t[c] = v_load(delta + (j + c) * run + row);
            h[c] = v_load(half + (j + c) * run + row);
        }
        UNROLL for (int r = 0; r < rows; r++) {
            vec a = v_load(delta + (i + r) * run + row), b = v_load(half + (i + r) * run + row);
            UNROLL for (int c = 0; c < columns; c++)
                if (!triangle || c <= r) sum[r][c] += a * h[c] + b * t[c];
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        double sums[4] = {0.0, 0.0, 0.0, 0.0};
        v_add_sums(sum[r], sums);
        UNROLL for (int c = 0; c < columns; c++)
            if (!triangle || c <= r) second[(i + r) * n_features + j + c] += sums[c];
    }
}
TILE void twin_band(const double *delta, const double *half, ptrdiff_t run, ptrdiff_t n_rows,
                    ptrdiff_t n_features, ptrdiff_t i, double *second, const int n) {
    for (ptrdiff_t j = 0; j < i; j += BAND)
        twin_tile(delta, half, run, n_rows, n_features, i, j, second, n, BAND, 0);
    twin_tile(delta, half, run, n_rows, n_features, i, i, second, n, n, 1);
}

/* second (lower triangle) += sum over rows of delta half^T + half delta^T. */
static void multiply_twins(const double *delta, const double *half, ptrdiff_t run,
                           ptrdiff_t n_rows, ptrdiff_t n_features, double *second) {
    ptrdiff_t i = 0;
    for (; i + BAND <= n_features; i += BAND)
        twin_band(delta, half, run, n_rows, n_features, i, second, BAND);
    switch (n_features - i) {
    case 1: twin_band(delta, half, run, n_rows, n_features, i, second, 1); break;
    case 2: twin_band(delta, half, run, n_rows, n_features, i, second, 2); break;
    case 3: twin_band(delta, half, run, n_rows, n_features, i, second, 3); break;
    }
}

#endif
