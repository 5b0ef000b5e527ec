/* Log joint densities of one tile of rows: the innermost loops of the density stage.
 *
 * A tile is `width` vectors of rows, feature-major: x[d * width * LANES + row]. A lane meets the
 * same operations in the same order in a wide tile and in a narrow one, wherever its row stands:
 * one row alone and the same row in a batch agree bit for bit.
 */
#ifndef GAUSSMIX_DENSITY_TILES_H
#define GAUSSMIX_DENSITY_TILES_H

#include "_vector.h"

/* A register tile: sums of 4 factor rows times this many vectors of rows. Measured on Zen 3 with 16
 * registers: 4 x 2, 3 x 4, 6 x 2 and 4 x 3 all reach 46 to 49 of 63 GFLOP/s in long rows; 4 x 2
 * is ahead in short ones (45 against 28 to 42 at 8 columns) and needs no spills at row ends. */
#define FACTOR_ROWS 4
#if GAUSSMIX_REGISTERS >= 32
#define DENSITY_VECTORS 4
#else
#define DENSITY_VECTORS 2
#endif

#define FIXED 8 /* features for which there is code of its own; Zen 4, D = 8: 48 cycles for 68 */

/* log joint = c - d2/2. A distance that overflowed (inf, or NaN from inf - inf) becomes inf. */
TILE vec v_distance(vec squared) {
    return v_select_less(squared, v_set(INFINITY), squared, v_set(INFINITY));
}
TILE void log_joint_from(vec squared, double coefficient, double *out) {
    v_store(out, v_set(coefficient) - v_set(0.5) * v_distance(squared));
}

/* squared += |rows [row, row + n) of P times difference|^2, the rows of P being `stride` apart. */
TILE void add_whitened_rows(const double *difference, const double *factor, ptrdiff_t stride,
                            ptrdiff_t row, const int n, const int width, vec *squared) {
    vec sum[FACTOR_ROWS][WIDE];
    UNROLL for (int r = 0; r < n; r++)
        UNROLL for (int v = 0; v < width; v++) sum[r][v] = v_set(0.0);
    factor += row * stride;
    for (ptrdiff_t d = 0; d < row; d++) {
        vec x[WIDE];
        UNROLL for (int v = 0; v < width; v++) x[v] = v_load(difference + (d * width + v) * LANES);
        UNROLL for (int r = 0; r < n; r++) {
            vec p = v_set(factor[r * stride + d]);
            UNROLL for (int v = 0; v < width; v++) sum[r][v] += p * x[v];
        }
    }
    UNROLL for (int e = 0; e < n; e++) { /* the triangle at the end of these rows */
        vec x[WIDE];
        UNROLL for (int v = 0; v < width; v++)
            x[v] = v_load(difference + ((row + e) * width + v) * LANES);
        UNROLL for (int r = e; r < n; r++) {
            vec p = v_set(factor[r * stride + row + e]);
            UNROLL for (int v = 0; v < width; v++) sum[r][v] += p * x[v];
        }
    }
    UNROLL for (int r = 0; r < n; r++)
        UNROLL for (int v = 0; v < width; v++) squared[v] += sum[r][v] * sum[r][v];
}

TILE void whitened_square(const double *difference, const double *factor, ptrdiff_t n_features,
                          const int width, vec *squared) {
    ptrdiff_t row = 0;
    UNROLL for (int v = 0; v < width; v++) squared[v] = v_set(0.0);
    for (; row + FACTOR_ROWS <= n_features; row += FACTOR_ROWS)
        add_whitened_rows(difference, factor, n_features, row, FACTOR_ROWS, width, squared);
    switch (n_features - row) {
    case 3:
        add_whitened_rows(difference, factor, n_features, row, 3, width, squared);
        break;
    case 2:
        add_whitened_rows(difference, factor, n_features, row, 2, width, squared);
        break;
    case 1:
        add_whitened_rows(difference, factor, n_features, row, 1, width, squared);
        break;
    }
}

/* Full covariances, one component: `width` vectors of a tile of `tile_width`. `difference` is
 * scratch: x - mean is formed exactly there, once; P x - P mean would cancel. */
TILE void density_full_part(const double *x, const double *mean, const double *factor,
                            double coefficient, ptrdiff_t n_features, double *difference,
                            double *out, const int tile_width, const int width) {
    vec squared[WIDE];
    for (ptrdiff_t d = 0; d < n_features; d++) {
        vec m = v_set(mean[d]);
        UNROLL for (int v = 0; v < width; v++)
            v_store(difference + (d * width + v) * LANES,
                    v_load(x + (d * tile_width + v) * LANES) - m);
    }
    whitened_square(difference, factor, n_features, width, squared);
    UNROLL for (int v = 0; v < width; v++)
        log_joint_from(squared[v], coefficient, out + v * LANES);
}
TILE void density_full_any(const double *x, const double *mean, const double *factor,
                           double coefficient, ptrdiff_t n_features, double *difference,
                           double *out, const int tile_width) {
    const int width = tile_width < DENSITY_VECTORS ? tile_width : DENSITY_VECTORS;
    for (int v = 0; v < tile_width; v += width)
        density_full_part(x + v * LANES, mean, factor, coefficient, n_features, difference,
                          out + v * LANES, tile_width, width);
}

/* The same with D fixed at compile time, up to FIXED: the differences are scratch of the compiler's,
 * in registers as far as these go, and no loop has an end to find. */
TILE void density_full_fixed(const double *x, const double *mean, const double *factor,
                             double coefficient, const int n_features, double *out,
                             const int width) {
    vec difference[FIXED][WIDE], squared[WIDE];
    UNROLL for (int d = 0; d < n_features; d++)
        UNROLL for (int v = 0; v < width; v++)
            difference[d][v] = v_load(x + (d * width + v) * LANES) - v_set(mean[d]);
    UNROLL for (int v = 0; v < width; v++) squared[v] = v_set(0.0);
    UNROLL for (int e = 0; e < n_features; e++) {
        vec sum[WIDE];
        UNROLL for (int d = 0; d <= e; d++) {
            vec p = v_set(factor[e * n_features + d]);
            UNROLL for (int v = 0; v < width; v++)
                if (d == 0) sum[v] = v_first_term(p, difference[d][v]);
                else sum[v] += p * difference[d][v];
        }
        UNROLL for (int v = 0; v < width; v++) squared[v] += sum[v] * sum[v];
    }
    UNROLL for (int v = 0; v < width; v++)
        log_joint_from(squared[v], coefficient, out + v * LANES);
}

/* Diagonal covariances, one component; `scale` holds the factor's diagonal. */
TILE void density_diag_any(const double *x, const double *mean, const double *scale,
                           double coefficient, ptrdiff_t n_features, double *out,
                           const int width) {
    vec squared[WIDE];
    UNROLL for (int v = 0; v < width; v++) squared[v] = v_set(0.0);
    for (ptrdiff_t d = 0; d < n_features; d++) {
        vec m = v_set(mean[d]), p = v_set(scale[d]);
        UNROLL for (int v = 0; v < width; v++) {
            vec y = (v_load(x + (d * width + v) * LANES) - m) * p;
            squared[v] += y * y;
        }
    }
    UNROLL for (int v = 0; v < width; v++)
        log_joint_from(squared[v], coefficient, out + v * LANES);
}

/* One component against rows that are whitened already (shared factor). */
TILE void density_whitened_any(const double *z, const double *whitened_mean, double coefficient,
                               ptrdiff_t n_features, double *out, const int width) {
    vec squared[WIDE];
    UNROLL for (int v = 0; v < width; v++) squared[v] = v_set(0.0);
    for (ptrdiff_t d = 0; d < n_features; d++) {
        vec m = v_set(whitened_mean[d]);
        UNROLL for (int v = 0; v < width; v++) {
            vec y = v_load(z + (d * width + v) * LANES) - m;
            squared[v] += y * y;
        }
    }
    UNROLL for (int v = 0; v < width; v++)
        log_joint_from(squared[v], coefficient, out + v * LANES);
}

/* z = P (x - centre) for a tile; `difference` is scratch of the tile's size. */
TILE void whiten_rows(const double *difference, const double *factor, ptrdiff_t stride,
                      ptrdiff_t row, const int n, double *z, const int width) {
    vec sum[4][WIDE];
    UNROLL for (int r = 0; r < n; r++)
        UNROLL for (int v = 0; v < width; v++) sum[r][v] = v_set(0.0);
    factor += row * stride;
    for (ptrdiff_t d = 0; d < row + n; d++) {
        const double *x = difference + d * width * LANES;
        UNROLL for (int r = 0; r < n; r++) {
            /* Above the diagonal the array may hold anything. */
            vec p = v_set(d <= row + r ? factor[r * stride + d] : 0.0);
            UNROLL for (int v = 0; v < width; v++) sum[r][v] += p * v_load(x + v * LANES);
        }
    }
    UNROLL for (int r = 0; r < n; r++)
        UNROLL for (int v = 0; v < width; v++)
            v_store(z + ((row + r) * width + v) * LANES, sum[r][v]);
}
TILE void whiten_any(const double *x, const double *centre, const double *factor,
                     ptrdiff_t n_features, double *difference, double *z, const int width) {
    ptrdiff_t row = 0;
    for (ptrdiff_t d = 0; d < n_features; d++)
        UNROLL for (int v = 0; v < width; v++) {
            ptrdiff_t at = (d * width + v) * LANES;
            v_store(difference + at, v_load(x + at) - v_set(centre[d]));
        }
    for (; row + 2 <= n_features; row += 2)
        whiten_rows(difference, factor, n_features, row, 2, z, width);
    if (row < n_features) whiten_rows(difference, factor, n_features, row, 1, z, width);
}

/* What the density stage calls: one component, `n_tiles` tiles that lie `x_step` apart, results
 * `out_step` apart; `wide` chooses between the two instantiations. */
#define EACH_TILE(CALL) \
    for (ptrdiff_t tile = 0; tile < n_tiles; tile++, x += x_step, out += out_step) CALL
#define FULL_CASES(WIDTH) \
    switch (n_features) { \
    case 1: EACH_TILE(density_full_fixed(x, mean, factor, coefficient, 1, out, WIDTH)); return; \
    case 2: EACH_TILE(density_full_fixed(x, mean, factor, coefficient, 2, out, WIDTH)); return; \
    case 3: EACH_TILE(density_full_fixed(x, mean, factor, coefficient, 3, out, WIDTH)); return; \
    case 4: EACH_TILE(density_full_fixed(x, mean, factor, coefficient, 4, out, WIDTH)); return; \
    case 5: EACH_TILE(density_full_fixed(x, mean, factor, coefficient, 5, out, WIDTH)); return; \
    case 6: EACH_TILE(density_full_fixed(x, mean, factor, coefficient, 6, out, WIDTH)); return; \
    case 7: EACH_TILE(density_full_fixed(x, mean, factor, coefficient, 7, out, WIDTH)); return; \
    case 8: EACH_TILE(density_full_fixed(x, mean, factor, coefficient, 8, out, WIDTH)); return; \
    } \
    EACH_TILE(density_full_any(x, mean, factor, coefficient, n_features, difference, out, WIDTH))

static void density_full(const double *x, ptrdiff_t x_step, ptrdiff_t n_tiles, const double *mean,
                         const double *factor, double coefficient, ptrdiff_t n_features,
                         double *difference, double *out, ptrdiff_t out_step, int wide) {
    if (wide) {
        FULL_CASES(WIDE);
    } else {
        FULL_CASES(NARROW);
    }
}

static void density_diag(const double *x, ptrdiff_t x_step, ptrdiff_t n_tiles, const double *mean,
                         const double *scale, double coefficient, ptrdiff_t n_features,
                         double *out, ptrdiff_t out_step, int wide) {
    if (wide) EACH_TILE(density_diag_any(x, mean, scale, coefficient, n_features, out, WIDE));
    else EACH_TILE(density_diag_any(x, mean, scale, coefficient, n_features, out, NARROW));
}

static void density_whitened(const double *z, const double *whitened_mean, double coefficient,
                             ptrdiff_t n_features, double *out, int wide) {
    if (wide) density_whitened_any(z, whitened_mean, coefficient, n_features, out, WIDE);
    else density_whitened_any(z, whitened_mean, coefficient, n_features, out, NARROW);
}

static void whiten(const double *x, const double *centre, const double *factor,
                   ptrdiff_t n_features, double *difference, double *z, int wide) {
    if (wide) whiten_any(x, centre, factor, n_features, difference, z, WIDE);
    else whiten_any(x, centre, factor, n_features, difference, z, NARROW);
}

#endif
