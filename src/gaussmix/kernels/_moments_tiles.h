/* Weighted sums of a block's rows around a component's mean: the loops of the moments stage.
 *
 * Three shapes. Up to FEW features a lane is a row, and all sums of a component stay in registers
 * over the block. With more features a lane still is a row where a component has a share in many of
 * them: pairs of features are multiplied in register tiles and the lanes are summed at the end of a
 * block. Where it has a share in few rows, these are gathered (a row with weight 0 costs nothing)
 * and a lane is a feature, so that no sum runs across lanes.
 */
#ifndef GAUSSMIX_MOMENTS_TILES_H
#define GAUSSMIX_MOMENTS_TILES_H

#include "_vector.h"

#define FEW 4
#define COLUMN_STEP (LANES > 4 ? LANES : 4) /* row-major scratch is padded to a multiple */

/* ---- A lane is a row: x[tile][d][row], weights[tile][k][row] ---- */

/* mass, first and second moments of component `k`; second is D x D (lower triangle) or D.
 * `guarded`: some x is so large that x - mean may be infinite; 0 * inf must not become NaN. */
TILE void moments_few(const double *x, const double *weight, ptrdiff_t weight_step,
                      ptrdiff_t tiles, const int vectors, const double *mean,
                      const int n_features, const int full, const int guarded, double *mass,
                      double *first, double *second) {
    vec mass_sum = v_set(0.0), first_sum[FEW], second_sum[FEW * FEW];
    UNROLL for (int d = 0; d < n_features; d++) first_sum[d] = v_set(0.0);
    UNROLL for (int i = 0; i < FEW * FEW; i++) second_sum[i] = v_set(0.0);
    for (ptrdiff_t tile = 0; tile < tiles; tile++) {
        for (int v = 0; v < vectors; v++) {
            vec w = v_load(weight + tile * weight_step + v * LANES), t[FEW];
            mass_sum += w;
            UNROLL for (int d = 0; d < n_features; d++) {
                t[d] = v_load(x + ((tile * n_features + d) * vectors + v) * LANES)
                       - v_set(mean[d]);
                if (guarded) t[d] = v_select_less(v_set(0.0), w, t[d], v_set(0.0));
                vec wt = w * t[d];
                first_sum[d] += wt;
                if (full) {
                    UNROLL for (int e = 0; e <= d; e++) second_sum[d * FEW + e] += wt * t[e];
                } else {
                    second_sum[d] += wt * t[d];
                }
            }
        }
    }
    *mass += v_sum(mass_sum);
    UNROLL for (int d = 0; d < n_features; d++) {
        first[d] += v_sum(first_sum[d]);
        if (full) {
            UNROLL for (int e = 0; e <= d; e++)
                second[d * n_features + e] += v_sum(second_sum[d * FEW + e]);
        } else {
            second[d] += v_sum(second_sum[d]);
        }
    }
}

#define MOMENTS_FEW(D, FULL, GUARDED) \
    moments_few(x, weight, weight_step, tiles, vectors, mean, D, FULL, GUARDED, mass, first, second)
#define MOMENTS_FEW_CASES(D) \
    case D: \
        if (guarded) { \
            if (full) MOMENTS_FEW(D, 1, 1); \
            else MOMENTS_FEW(D, 0, 1); \
        } else { \
            if (full) MOMENTS_FEW(D, 1, 0); \
            else MOMENTS_FEW(D, 0, 0); \
        } \
        return;

static void moments_few_features(const double *x, const double *weight, ptrdiff_t weight_step,
                                 ptrdiff_t tiles, const double *mean, ptrdiff_t n_features,
                                 int full, int guarded, double *mass, double *first,
                                 double *second) {
    const int vectors = WIDE;
    switch (n_features) {
        MOMENTS_FEW_CASES(1)
        MOMENTS_FEW_CASES(2)
        MOMENTS_FEW_CASES(3)
        MOMENTS_FEW_CASES(4)
    }
}

/* A component's vectors of rows in which some weight is not 0: where they begin in x, in the weights
 * and in the block. Offsets, as to compute them again in each loop costs as much as an FMA or two. */
typedef struct {
    ptrdiff_t x, weight, row;
} Place;

/* Writes the places and returns how many; `n_rows` counts the rows with a weight. */
static ptrdiff_t used_vectors(const double *weight, ptrdiff_t weight_step, ptrdiff_t n_features,
                              ptrdiff_t tiles, Place *places, ptrdiff_t *n_rows) {
    ptrdiff_t n = 0, rows = 0;
    for (ptrdiff_t tile = 0; tile < tiles; tile++)
        for (int v = 0; v < WIDE; v++) {
            ptrdiff_t at = tile * weight_step + v * LANES;
            unsigned set = v_nonzero(v_load(weight + at));
            places[n].x = (tile * n_features * WIDE + v) * LANES;
            places[n].weight = at;
            places[n].row = (tile * WIDE + v) * LANES;
            n += set != 0;
            rows += v_count(set);
        }
    *n_rows = rows;
    return n;
}

static double sum_used(const double *weight, const Place *places, ptrdiff_t n) {
    vec sum = v_set(0.0);
    for (ptrdiff_t i = 0; i < n; i++) sum += v_load(weight + places[i].weight);
    return v_sum(sum);
}

/* first += sum of w t, second += sum of w t^2 for t = x - mean: features [d, d + n). */
TILE void square_features(const double *x, const double *weight, const Place *places,
                          ptrdiff_t n_places, const double *mean, ptrdiff_t d, double *first,
                          double *second, const int n) {
    vec sum[4], squares[4];
    double sums[8] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
    UNROLL for (int j = 0; j < 4; j++) sum[j] = squares[j] = v_set(0.0);
    for (ptrdiff_t i = 0; i < n_places; i++) {
        vec w = v_load(weight + places[i].weight);
        const double *row = x + places[i].x + d * WIDE * LANES;
        UNROLL for (int j = 0; j < n; j++) {
            vec t = v_load(row + j * WIDE * LANES) - v_set(mean[d + j]);
            vec wt = w * t;
            sum[j] += wt;
            squares[j] += wt * t;
        }
    }
    v_add_sums(sum, sums);
    v_add_sums(squares, sums + 4);
    for (int j = 0; j < n; j++) {
        first[d + j] += sums[j];
        second[d + j] += sums[4 + j];
    }
}
static void square_vectors(const double *x, ptrdiff_t n_features, const double *weight,
                           const Place *places, ptrdiff_t n_places, const double *mean,
                           double *first, double *second) {
    ptrdiff_t d = 0;
    for (; d + 4 <= n_features; d += 4)
        square_features(x, weight, places, n_places, mean, d, first, second, 4);
    for (; d < n_features; d++)
        square_features(x, weight, places, n_places, mean, d, first, second, 1);
}

/* A component's second moments as products of runs. A run is w (x - mean) of one feature in all used
 * vectors; a band, of BAND features (or as many as are left), stays in the first-level cache while
 * the other factor, x - mean, is formed again for each register tile: that costs less than the
 * traffic of storing it. No product lies above the diagonal, and no broadcast is loaded. */
typedef struct {
    const double *x; /* tiles of the block */
    ptrdiff_t n_features;
    const double *weight; /* of this component */
    const Place *places;
    ptrdiff_t n_places;
    const double *mean;
    double *scaled; /* the band: `run` doubles from feature to feature */
    ptrdiff_t run;
    double *first, *second;
} Products;

#if GAUSSMIX_REGISTERS >= 32
#define BAND 4
#else
#define BAND 3
#endif

/* The band of the features [d, d + n), n <= 4, from `to` on; adds to first. */
TILE void scale_features(const Products *p, ptrdiff_t d, double *to, const int n) {
    vec sum[4];
    double sums[4] = {0.0, 0.0, 0.0, 0.0};
    UNROLL for (int j = 0; j < 4; j++) sum[j] = v_set(0.0);
    for (ptrdiff_t i = 0; i < p->n_places; i++) {
        vec w = v_load(p->weight + p->places[i].weight);
        const double *row = p->x + p->places[i].x + d * WIDE * LANES;
        UNROLL for (int j = 0; j < n; j++) {
            vec wt = w * (v_load(row + j * WIDE * LANES) - v_set(p->mean[d + j]));
            v_store(to + j * p->run + i * LANES, wt);
            sum[j] += wt;
        }
    }
    v_add_sums(sum, sums);
    for (int j = 0; j < n; j++) p->first[d + j] += sums[j];
}

/* Rows [i, i + rows) of `second` in the columns [j, j + columns), both <= BAND; with `triangle`,
 * j = i and what lies above the diagonal is left out. */
TILE void pair_tile(const Products *p, ptrdiff_t i, ptrdiff_t j, const int rows,
                    const int columns, const int triangle) {
    vec sum[BAND][4];
    const double *x = p->x + j * WIDE * LANES, *mean = p->mean + j;
    const Place *places = p->places;
    const ptrdiff_t n_places = p->n_places;
    UNROLL for (int r = 0; r < BAND; r++)
        UNROLL for (int c = 0; c < 4; c++) sum[r][c] = v_set(0.0);
    for (ptrdiff_t at = 0; at < n_places; at++) {
        const double *row = x + places[at].x;
        vec t[BAND];
        UNROLL for (int c = 0; c < columns; c++)
            t[c] = v_load(row + c * WIDE * LANES) - v_set(mean[c]);
        UNROLL for (int r = 0; r < rows; r++) {
            vec wt = v_load(p->scaled + r * p->run + at * LANES);
            UNROLL for (int c = 0; c < columns; c++)
                if (!triangle || c <= r) sum[r][c] += wt * t[c];
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        double *to = p->second + (i + r) * p->n_features + j;
        if (!triangle && columns == 4) {
            v_add_sums(sum[r], to);
        } else {
            double sums[4] = {0.0, 0.0, 0.0, 0.0};
            v_add_sums(sum[r], sums);
            UNROLL for (int c = 0; c < columns; c++)
                if (!triangle || c <= r) to[c] += sums[c];
        }
    }
}

/* The features [i, i + n), n <= BAND, against themselves and all before them. */
TILE void narrow_band(const Products *p, ptrdiff_t i, const int n) {
    scale_features(p, i, p->scaled, n);
    for (ptrdiff_t j = 0; j < i; j += BAND) pair_tile(p, i, j, n, BAND, 0);
    pair_tile(p, i, i, n, n, 1);
}

/* first += sum of w t, second (lower triangle) += sum of w t t^T for t = x - mean. */
static void multiply_vectors(const double *x, ptrdiff_t n_features, const double *weight,
                             const Place *places, ptrdiff_t n_places, const double *mean,
                             double *scaled, ptrdiff_t run, double *first, double *second) {
    const Products p = {x,    n_features, weight, places, n_places,
                        mean, scaled,     run,    first,  second};
    ptrdiff_t i = 0;
    for (; i + BAND <= n_features; i += BAND) narrow_band(&p, i, BAND);
    switch (n_features - i) {
    case 1: narrow_band(&p, i, 1); break;
    case 2: narrow_band(&p, i, 2); break;
    case 3: narrow_band(&p, i, 3); break;
    }
}

/* Pooled layout. What a block adds is, with j the label of a row, delta = x - mean_j and
 * half = sum_k r_k (x - mean_k) - w delta / 2 (r_k times the weight w), the sum over rows of
 * delta half^T + half delta^T, and what lies between means. Both are runs, feature after feature. */

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

/* ---- A lane is a feature: x[row][padded], scratch likewise ---- */

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

static double sum_gathered(const double *gathered, ptrdiff_t n) {
    vec sum = v_set(0.0);
    for (ptrdiff_t i = 0; i < n; i += LANES) sum += v_load(gathered + i);
    return v_sum(sum);
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
