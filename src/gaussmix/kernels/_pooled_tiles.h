/* The moments of the pooled layout for more than FEW features; lanes are rows.
 *
 * What a block adds is, with j the label of a row, delta = x - mean_j and
 * half = sum_k r_k (x - mean_k) - w delta / 2 (r_k times the weight w), the sum over rows of
 * delta half^T + half delta^T, and what lies between means. Both are runs, feature after feature.
 */
#ifndef GAUSSMIX_POOLED_TILES_H
#define GAUSSMIX_POOLED_TILES_H

#include "_moments_tiles.h"

#define POOL_FEATURES (GAUSSMIX_REGISTERS >= 32 ? 4 : 2)

/* delta of the rows of a block, whose labels' means are turned while they are in registers
 * (`padded` doubles from mean to mean). Where x - mean may be infinite (`guarded`), 0 in rows
 * without weight. */
TILE void pool_deltas_any(const double *x, ptrdiff_t n_tiles, ptrdiff_t n_features,
                          const double *weight, const int32_t *labels, const double *means,
                          ptrdiff_t padded, double *delta, ptrdiff_t run, const int guarded) {
    for (ptrdiff_t row = 0; row < n_tiles * WIDE * LANES; row += LANES) {
        const double *at = x + row / (WIDE * LANES) * n_features * WIDE * LANES + row % (WIDE * LANES);
        const vec w = v_load(weight + row);
        for (ptrdiff_t d = 0; d < n_features; d += LANES) {
            vec square[LANES];
            UNROLL for (int i = 0; i < LANES; i++)
                square[i] = v_load_anywhere(means + labels[row + i] * padded + d);
            v_transpose(square);
            UNROLL for (int j = 0; j < LANES; j++)
                if (d + j < n_features) {
                    vec t = v_load(at + (d + j) * WIDE * LANES) - square[j];
                    if (guarded) t = v_select_less(v_set(0.0), w, t, v_set(0.0));
                    v_store(delta + (d + j) * run + row, t);
                }
        }
    }
}
static void pool_deltas(const double *x, ptrdiff_t n_tiles, ptrdiff_t n_features,
                        const double *weight, const int32_t *labels, const double *means,
                        ptrdiff_t padded, double *delta, ptrdiff_t run, int guarded) {
    if (guarded)
        pool_deltas_any(x, n_tiles, n_features, weight, labels, means, padded, delta, run, 1);
    else
        pool_deltas_any(x, n_tiles, n_features, weight, labels, means, padded, delta, run, 0);
}

/* The components with a share in a tile; returns how many. */
static ptrdiff_t active_components(const double *weight, ptrdiff_t n_components, int32_t *active) {
    ptrdiff_t n = 0;
    for (ptrdiff_t k = 0; k < n_components; k++) {
        vec any = v_set(0.0); /* weights are not negative */
        UNROLL for (int v = 0; v < WIDE; v++) any += v_load(weight + (k * WIDE + v) * LANES);
        active[n] = (int32_t)k;
        n += v_nonzero(any) != 0;
    }
    return n;
}

/* half = sum_k w_k (x - mean_k) - w delta / 2 of a tile, the features [d, d + n), in registers over
 * all active components; `first` of the tile's rows in the runs. */
TILE void pool_half(const double *x, ptrdiff_t n_features, const double *shares,
                    const int32_t *active, ptrdiff_t n_active, const double *means,
                    const double *weight, ptrdiff_t d, const double *delta, double *half,
                    ptrdiff_t run, const int n, const int guarded) {
    vec sum[4][WIDE];
    x += d * WIDE * LANES;
    UNROLL for (int j = 0; j < n; j++)
        UNROLL for (int v = 0; v < WIDE; v++) sum[j][v] = v_set(0.0);
    for (ptrdiff_t i = 0; i < n_active; i++) {
        const double *mean = means + active[i] * n_features + d;
        const double *w = shares + active[i] * WIDE * LANES;
        UNROLL for (int j = 0; j < n; j++) {
            vec m = v_set(mean[j]);
            UNROLL for (int v = 0; v < WIDE; v++) {
                vec t = v_load(x + (j * WIDE + v) * LANES) - m, share = v_load(w + v * LANES);
                if (guarded) t = v_select_less(v_set(0.0), share, t, v_set(0.0));
                sum[j][v] += share * t;
            }
        }
    }
    UNROLL for (int j = 0; j < n; j++)
        UNROLL for (int v = 0; v < WIDE; v++) {
            ptrdiff_t at = (d + j) * run + v * LANES;
            vec w = v_load(weight + v * LANES) * v_set(0.5);
            v_store(half + at, sum[j][v] - w * v_load(delta + at));
        }
}
TILE void pool_halves_any(const double *x, ptrdiff_t n_features, const double *shares,
                          const int32_t *active, ptrdiff_t n_active, const double *means,
                          const double *weight, const double *delta, double *half, ptrdiff_t run,
                          const int guarded) {
    ptrdiff_t d = 0;
    for (; d + POOL_FEATURES <= n_features; d += POOL_FEATURES)
        pool_half(x, n_features, shares, active, n_active, means, weight, d, delta, half, run,
                  POOL_FEATURES, guarded);
    for (; d < n_features; d++)
        pool_half(x, n_features, shares, active, n_active, means, weight, d, delta, half, run, 1,
                  guarded);
}
static void pool_halves(const double *x, ptrdiff_t n_features, const double *shares,
                        const int32_t *active, ptrdiff_t n_active, const double *means,
                        const double *weight, const double *delta, double *half, ptrdiff_t run,
                        int guarded) {
    if (guarded)
        pool_halves_any(x, n_features, shares, active, n_active, means, weight, delta, half, run, 1);
    else
        pool_halves_any(x, n_features, shares, active, n_active, means, weight, delta, half, run, 0);
}

/* pairs[label][k] += w_k of a tile's rows: squares of the weights are turned, so that a row's weights
 * are added as vectors. What lands at k = label is of no use: the means do not differ there. */
static void pool_pairs(const double *shares, ptrdiff_t n_components, const int32_t *labels,
                       double *pairs) {
    for (int row = 0; row < WIDE * LANES; row += LANES) {
        ptrdiff_t k = 0;
        for (; k + LANES <= n_components; k += LANES) {
            vec square[LANES], any = v_set(0.0);
            UNROLL for (int i = 0; i < LANES; i++) {
                square[i] = v_load(shares + (k + i) * WIDE * LANES + row);
                any += square[i];
            }
            if (!v_nonzero(any)) continue;
            v_transpose(square);
            UNROLL for (int i = 0; i < LANES; i++) {
                double *to = pairs + labels[row + i] * n_components + k;
                v_store_anywhere(to, v_load_anywhere(to) + square[i]);
            }
        }
        for (; k < n_components; k++)
            for (int i = 0; i < LANES; i++)
                pairs[labels[row + i] * n_components + k] += shares[k * WIDE * LANES + row + i];
    }
}

/* A component's sum of w (x - mean) in its used vectors: the features [d, d + n). */
TILE void first_features(const double *x, const double *weight, const Place *places,
                         ptrdiff_t n_places, const double *mean, ptrdiff_t d, double *first,
                         const int n, const int guarded) {
    vec sum[8];
    double sums[8];
    UNROLL for (int j = 0; j < 8; j++) sum[j] = v_set(0.0), sums[j] = 0.0;
    for (ptrdiff_t i = 0; i < n_places; i++) {
        vec w = v_load(weight + places[i].weight);
        const double *row = x + places[i].x + d * WIDE * LANES;
        UNROLL for (int j = 0; j < n; j++) {
            vec t = v_load(row + j * WIDE * LANES) - v_set(mean[d + j]);
            if (guarded) t = v_select_less(v_set(0.0), w, t, v_set(0.0));
            sum[j] += w * t;
        }
    }
    v_add_sums(sum, sums);
    if (n > 4) v_add_sums(sum + 4, sums + 4);
    UNROLL for (int j = 0; j < n; j++) first[d + j] += sums[j];
}
#define FIRST_FEATURES(N, GUARDED) \
    for (; d + N <= n_features; d += N) \
        first_features(x, weight, places, n_places, mean, d, first, N, GUARDED);
static void first_vectors(const double *x, ptrdiff_t n_features, const double *weight,
                          const Place *places, ptrdiff_t n_places, const double *mean,
                          double *first, int guarded) {
    ptrdiff_t d = 0;
    if (guarded) FIRST_FEATURES(1, 1);
    FIRST_FEATURES(8, 0);
    FIRST_FEATURES(4, 0);
    FIRST_FEATURES(1, 0);
}

/* Each sum takes two multiplications, so that fewer are enough. */
#if GAUSSMIX_REGISTERS >= 32
#define TWIN_BAND 4
#else
#define TWIN_BAND 3
#endif

TILE void twin_tile(const double *delta, const double *half, ptrdiff_t run, ptrdiff_t n_rows,
                    ptrdiff_t n_features, ptrdiff_t i, ptrdiff_t j, double *second,
                    const int rows, const int columns, const int triangle) {
    vec sum[TWIN_BAND][4];
    UNROLL for (int r = 0; r < TWIN_BAND; r++)
        UNROLL for (int c = 0; c < 4; c++) sum[r][c] = v_set(0.0);
    for (ptrdiff_t row = 0; row < n_rows; row += LANES) {
        vec t[TWIN_BAND], h[TWIN_BAND];
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
    for (ptrdiff_t j = 0; j < i; j += TWIN_BAND)
        twin_tile(delta, half, run, n_rows, n_features, i, j, second, n, TWIN_BAND, 0);
    twin_tile(delta, half, run, n_rows, n_features, i, i, second, n, n, 1);
}

/* second (lower triangle) += sum over rows of delta half^T + half delta^T: the rows of a band, the
 * features from i on. */
static void multiply_twins(const double *delta, const double *half, ptrdiff_t run,
                           ptrdiff_t n_rows, ptrdiff_t n_features, ptrdiff_t i, double *second) {
    if (i + TWIN_BAND <= n_features) {
        twin_band(delta, half, run, n_rows, n_features, i, second, TWIN_BAND);
        return;
    }
    switch (n_features - i) {
    case 1: twin_band(delta, half, run, n_rows, n_features, i, second, 1); break;
    case 2: twin_band(delta, half, run, n_rows, n_features, i, second, 2); break;
    case 3: twin_band(delta, half, run, n_rows, n_features, i, second, 3); break;
    }
}

#endif
