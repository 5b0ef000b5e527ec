/* A component's moments from the rows it has a share in, gathered: lanes are features.
 *
 * x[row][padded], and scratch likewise. A row with weight 0 costs nothing, and no sum runs across
 * lanes.
 */
#ifndef GAUSSMIX_GATHERED_TILES_H
#define GAUSSMIX_GATHERED_TILES_H

#include "_vector.h"

#define COLUMN_STEP (LANES > 4 ? LANES : 4) /* row-major scratch is padded to a multiple */

/* The rows with weight != 0 and their weights; returns how many. The last row is repeated with
 * weight 0, for loops over pairs of rows, and weights of 0 fill a vector. */
static ptrdiff_t gather_rows(const double *weight, ptrdiff_t weight_step, ptrdiff_t tiles,
                             int32_t *rows, double *gathered) {
    const uint64_t ALL_ROWS = ((uint64_t)1 << (WIDE * LANES)) - 1;
    ptrdiff_t n = 0;
    for (ptrdiff_t tile = 0; tile < tiles; tile++) {
        const double *w = weight + tile * weight_step;
        uint64_t set = 0;
        for (int row = 0; row < WIDE * LANES; row += LANES)
            set |= (uint64_t)v_nonzero(v_load(w + row)) << row;
        int32_t base = (int32_t)(tile * WIDE * LANES);
        if (set == ALL_ROWS) {
            for (int row = 0; row < WIDE * LANES; row++) rows[n + row] = base + row;
            for (int row = 0; row < WIDE * LANES; row++) gathered[n + row] = w[row];
            n += WIDE * LANES;
            continue;
        }
        while (set) {
            int row = v_lowest(set);
            rows[n] = base + row;
            gathered[n++] = w[row];
            set &= set - 1;
        }
    }
    for (int lane = 0; lane < LANES + 1; lane++) gathered[n + lane] = 0.0;
    rows[n] = n > 0 ? rows[n - 1] : 0;
    return n;
}

static void root_gathered(double *gathered, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i += LANES) v_store(gathered + i, v_sqrt(v_load(gathered + i)));
}

/* The factors of second moments are stored in panels of LANES columns, panel[row][lane], `panel`
 * doubles apart: a register tile then reads whole cache lines, one after the other. */

/* One row of `scaled` per gathered row: sqrt(w) (x - mean), so that the second moments are
 * scaled^T scaled; first = sum of w (x - mean). The n vectors of columns from `x` on. */
TILE void scale_columns(const double *x, ptrdiff_t padded, const int32_t *rows,
                        const double *root, ptrdiff_t n_rows, const double *mean, double *scaled,
                        ptrdiff_t panel, double *first, const int n) {
    vec m[4], sum[4];
    UNROLL for (int v = 0; v < n; v++) m[v] = v_load(mean + v * LANES), sum[v] = v_set(0.0);
    for (ptrdiff_t i = 0; i < n_rows; i++) {
        const double *row = x + rows[i] * padded;
        vec s = v_set(root[i]);
        UNROLL for (int v = 0; v < n; v++) {
            vec t = (v_load(row + v * LANES) - m[v]) * s;
            v_store(scaled + v * panel + i * LANES, t);
            sum[v] += s * t;
        }
    }
    UNROLL for (int v = 0; v < n; v++) v_store(first + v * LANES, sum[v]);
}

/* first += w t and second += w t^2 for t = x - mean, in the same columns. */
TILE void square_columns(const double *x, ptrdiff_t padded, const int32_t *rows,
                         const double *weight, ptrdiff_t n_rows, const double *mean,
                         double *first, double *second, const int n) {
    vec m[4], sum[4], squares[4];
    UNROLL for (int v = 0; v < n; v++) {
        m[v] = v_load(mean + v * LANES);
        sum[v] = squares[v] = v_set(0.0);
    }
    for (ptrdiff_t i = 0; i < n_rows; i++) {
        const double *row = x + rows[i] * padded;
        vec w = v_set(weight[i]);
        UNROLL for (int v = 0; v < n; v++) {
            vec t = v_load(row + v * LANES) - m[v];
            vec wt = w * t;
            sum[v] += wt;
            squares[v] += wt * t;
        }
    }
    UNROLL for (int v = 0; v < n; v++) {
        v_store(first + v * LANES, sum[v]);
        v_store(second + v * LANES, squares[v]);
    }
}

/* Both over all columns, in steps of four vectors. */
static void scale_rows(const double *x, ptrdiff_t padded, const int32_t *rows, const double *root,
                       ptrdiff_t n_rows, const double *mean, double *scaled, ptrdiff_t panel,
                       double *first) {
    ptrdiff_t c = 0;
    for (; c + 4 * LANES <= padded; c += 4 * LANES)
        scale_columns(x + c, padded, rows, root, n_rows, mean + c,
                      scaled + c / LANES * panel, panel, first + c, 4);
    for (; c + 2 * LANES <= padded; c += 2 * LANES)
        scale_columns(x + c, padded, rows, root, n_rows, mean + c,
                      scaled + c / LANES * panel, panel, first + c, 2);
    if (c < padded)
        scale_columns(x + c, padded, rows, root, n_rows, mean + c,
                      scaled + c / LANES * panel, panel, first + c, 1);
}
static void square_rows(const double *x, ptrdiff_t padded, const int32_t *rows,
                        const double *weight, ptrdiff_t n_rows, const double *mean,
                        double *first, double *second) {
    ptrdiff_t c = 0;
    for (; c + 4 * LANES <= padded; c += 4 * LANES)
        square_columns(x + c, padded, rows, weight, n_rows, mean + c, first + c, second + c, 4);
    for (; c + 2 * LANES <= padded; c += 2 * LANES)
        square_columns(x + c, padded, rows, weight, n_rows, mean + c, first + c, second + c, 2);
    if (c < padded)
        square_columns(x + c, padded, rows, weight, n_rows, mean + c, first + c, second + c, 1);
}

/* second[i][j] += sum over rows of scaled[row][i] scaled[row][j], for the register tile of 4 rows i
 * from `i0` and `n` vectors of columns from `j0`; only j <= i < D is written. A tile of one vector
 * takes two rows at a time, each with its own sums, or it would wait for them. */
#define PRODUCT_ROWS 4
#if GAUSSMIX_REGISTERS >= 32
#define PRODUCT_VECTORS 5
#else
#define PRODUCT_VECTORS 3
#endif

TILE void product_tile(const double *scaled, ptrdiff_t panel, ptrdiff_t n_rows,
                       ptrdiff_t n_features, ptrdiff_t i0, ptrdiff_t j0, double *second,
                       const int n) {
    const double *left = scaled + i0 / LANES * panel + i0 % LANES;
    const double *right = scaled + j0 / LANES * panel;
    const int pairs = n == 1 ? 2 : 1;
    vec sum[2][PRODUCT_ROWS][PRODUCT_VECTORS];
    UNROLL for (int p = 0; p < pairs; p++)
        UNROLL for (int i = 0; i < PRODUCT_ROWS; i++)
            UNROLL for (int v = 0; v < n; v++) sum[p][i][v] = v_set(0.0);
    for (ptrdiff_t row = 0; row < n_rows; row += pairs) {
        UNROLL for (int p = 0; p < pairs; p++) {
            vec b[PRODUCT_VECTORS];
            UNROLL for (int v = 0; v < n; v++) b[v] = v_load(right + v * panel);
            UNROLL for (int i = 0; i < PRODUCT_ROWS; i++) {
                vec a = v_set(LANES >= PRODUCT_ROWS ? left[i]
                                                    : left[i / LANES * panel + i % LANES]);
                UNROLL for (int v = 0; v < n; v++) sum[p][i][v] += a * b[v];
            }
            left += LANES;
            right += LANES;
        }
    }
    if (pairs == 2)
        UNROLL for (int i = 0; i < PRODUCT_ROWS; i++) sum[0][i][0] += sum[1][i][0];
    second += i0 * n_features + j0;
    if (j0 + n * LANES <= i0 + 1 && i0 + PRODUCT_ROWS <= n_features) {
        UNROLL for (int i = 0; i < PRODUCT_ROWS; i++)
            UNROLL for (int v = 0; v < n; v++) {
                double *to = second + i * n_features + v * LANES;
                v_store_anywhere(to, v_load_anywhere(to) + sum[0][i][v]);
            }
        return;
    }
    /* The tile crosses the diagonal or the last row. */
    union {
        vec aligned[PRODUCT_ROWS][PRODUCT_VECTORS];
        double value[PRODUCT_ROWS][PRODUCT_VECTORS * LANES];
    } spilled;
    UNROLL for (int i = 0; i < PRODUCT_ROWS; i++)
        UNROLL for (int v = 0; v < n; v++) spilled.aligned[i][v] = sum[0][i][v];
    for (ptrdiff_t i = 0; i < PRODUCT_ROWS && i0 + i < n_features; i++)
        for (ptrdiff_t j = 0; j < n * LANES && j0 + j <= i0 + i; j++)
            second[i * n_features + j] += spilled.value[i][j];
}

/* `n_rows` must be even. */
static void product_rows(const double *scaled, ptrdiff_t panel, ptrdiff_t n_rows,
                         ptrdiff_t n_features, ptrdiff_t i0, ptrdiff_t j0, double *second,
                         int n) {
    switch (n) {
    case 1: product_tile(scaled, panel, n_rows, n_features, i0, j0, second, 1); return;
    case 2: product_tile(scaled, panel, n_rows, n_features, i0, j0, second, 2); return;
    case 3: product_tile(scaled, panel, n_rows, n_features, i0, j0, second, 3); return;
#if PRODUCT_VECTORS > 3
    case 4: product_tile(scaled, panel, n_rows, n_features, i0, j0, second, 4); return;
    case 5: product_tile(scaled, panel, n_rows, n_features, i0, j0, second, 5); return;
#endif
    }
}

#endif
