/* Weighted sums of a block's rows around a component's mean: the loops of the moments stage.
 *
 * Three shapes. Up to FEW features a lane is a row, and all sums of a component stay in registers
 * over the block. With more features a lane still is a row where a component has a share in many of
 * them: pairs of features are multiplied in register tiles and the lanes are summed at the end of a
 * block. Where it has a share in few rows, these are gathered: _gathered_tiles.h.
 */
#ifndef GAUSSMIX_MOMENTS_TILES_H
#define GAUSSMIX_MOMENTS_TILES_H

#include "_vector.h"

#define FEW 4

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

/* Up to FIXED features: the rows [begin, end) of `second` with all their columns, in registers; no
 * run is stored. */
#define FIXED 8
TILE void fixed_rows(const Products *p, const int begin, const int end) {
    vec sum[FIXED][FIXED], first[FIXED];
    UNROLL for (int r = begin; r < end; r++) {
        first[r] = v_set(0.0);
        UNROLL for (int c = 0; c < FIXED; c++) sum[r][c] = v_set(0.0);
    }
    for (ptrdiff_t at = 0; at < p->n_places; at++) {
        const double *row = p->x + p->places[at].x;
        vec w = v_load(p->weight + p->places[at].weight), wt[FIXED];
        UNROLL for (int r = begin; r < end; r++) {
            wt[r] = w * (v_load(row + r * WIDE * LANES) - v_set(p->mean[r]));
            first[r] += wt[r];
        }
        UNROLL for (int c = 0; c < end; c++) {
            vec t = v_load(row + c * WIDE * LANES) - v_set(p->mean[c]);
            UNROLL for (int r = begin > c ? begin : c; r < end; r++) sum[r][c] += wt[r] * t;
        }
    }
    UNROLL for (int r = begin; r < end; r++) {
        double sums[FIXED] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
        v_add_sums(sum[r], sums);
        if (r >= 4) v_add_sums(sum[r] + 4, sums + 4);
        UNROLL for (int c = 0; c <= r; c++) p->second[r * p->n_features + c] += sums[c];
        p->first[r] += v_sum(first[r]);
    }
}

/* As many rows at once as the registers hold sums for. */
TILE void fixed_triangle(const Products *p, const int n) {
#if GAUSSMIX_REGISTERS >= 32
    fixed_rows(p, 0, 5);
    if (n > 5) fixed_rows(p, 5, n);
#else
    fixed_rows(p, 0, 3);
    fixed_rows(p, 3, 5);
    UNROLL for (int r = 5; r < n; r++) fixed_rows(p, r, r + 1);
#endif
}

/* first += sum of w t, second (lower triangle) += sum of w t t^T for t = x - mean. */
static void multiply_vectors(const double *x, ptrdiff_t n_features, const double *weight,
                             const Place *places, ptrdiff_t n_places, const double *mean,
                             double *scaled, ptrdiff_t run, double *first, double *second) {
    const Products p = {x,    n_features, weight, places, n_places,
                        mean, scaled,     run,    first,  second};
    ptrdiff_t i = 0;
    switch (n_features) { /* no fewer: see FEW */
    case 5: fixed_triangle(&p, 5); return;
    case 6: fixed_triangle(&p, 6); return;
    case 7: fixed_triangle(&p, 7); return;
    case 8: fixed_triangle(&p, 8); return;
    }
    for (; i + BAND <= n_features; i += BAND) narrow_band(&p, i, BAND);
    switch (n_features - i) {
    case 1: narrow_band(&p, i, 1); break;
    case 2: narrow_band(&p, i, 2); break;
    case 3: narrow_band(&p, i, 3); break;
    }
}

#endif
