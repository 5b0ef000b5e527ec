/* Log joint densities of one tile of rows: the innermost loops of the density stage.
 *
 * A tile is `width` vectors of rows, feature-major: x[d * width * LANES + row]. A lane meets the
 * same operations in the same order in a wide tile and in a narrow one, wherever its row stands:
 * one row alone and the same row in a batch agree bit for bit.
 */
#ifndef GAUSSMIX_DENSITY_TILES_H
#define GAUSSMIX_DENSITY_TILES_H

#include "_vector.h"

/* A register tile: sums of so many rows of the factor, at most, times so many vectors of rows. On an
 * Intel Xeon that begins two FMAs of 512 bits a cycle, tiles of 6 x 4, 8 x 3 and 12 x 2 reach 1.75 to
 * 1.85 of them, 4 x 4 1.70; with 16 registers of 256 bits 6 x 2 and 4 x 3 reach 2.0, 4 x 2 1.75. */
#define BAND_ROWS 6
#if GAUSSMIX_REGISTERS >= 32
#define DENSITY_VECTORS 4
#else
#define DENSITY_VECTORS 2
#endif

#define FIXED 8 /* features for which there is code of its own */

/* log joint = c - d2/2. A distance that overflowed (inf, or NaN from inf - inf) becomes inf. */
TILE vec v_distance(vec squared) { return v_min(squared, v_set(INFINITY)); }
TILE void log_joint_from(vec squared, double coefficient, double *out) {
    v_store(out, v_set(coefficient) - v_set(0.5) * v_distance(squared));
}

/* squared += |rows [row, row + n) of P times x - mean|^2. `difference` holds x - mean of the features
 * before; those of the triangle at the end of these rows are formed here, once, between its
 * multiplications, and kept for the rows that follow. P x - P mean would cancel. */
TILE void add_whitened_rows(const double *x, const double *mean, const double *factor,
                            ptrdiff_t n_features, ptrdiff_t row, const int n, double *difference,
                            const int tile_width, const int width, const int keep,
                            vec *squared) {
    vec sum[FIXED][WIDE];
    UNROLL for (int r = 0; r < n; r++)
        UNROLL for (int v = 0; v < width; v++) sum[r][v] = v_set(0.0);
    factor += row * n_features;
    for (ptrdiff_t d = 0; d < row; d++) {
        vec t[WIDE];
        UNROLL for (int v = 0; v < width; v++) t[v] = v_load(difference + (d * width + v) * LANES);
        UNROLL for (int r = 0; r < n; r++) {
            vec p = v_set(factor[r * n_features + d]);
            UNROLL for (int v = 0; v < width; v++) sum[r][v] += p * t[v];
        }
    }
    UNROLL for (int e = 0; e < n; e++) {
        ptrdiff_t d = row + e;
        vec t[WIDE];
        UNROLL for (int v = 0; v < width; v++) {
            t[v] = v_load(x + (d * tile_width + v) * LANES) - v_set(mean[d]);
            if (keep) v_store(difference + (d * width + v) * LANES, t[v]);
        }
        UNROLL for (int r = e; r < n; r++) {
            vec p = v_set(factor[r * n_features + d]);
            UNROLL for (int v = 0; v < width; v++) sum[r][v] += p * t[v];
        }
    }
    UNROLL for (int r = 0; r < n; r++)
        UNROLL for (int v = 0; v < width; v++) squared[v] += sum[r][v] * sum[r][v];
}

#define WHITENED_ROWS(ROW, N, KEEP) \
    add_whitened_rows(x, mean, factor, n_features, ROW, N, difference, tile_width, width, KEEP, \
                      squared)

/* Full covariances, one component: `width` vectors of a tile of `tile_width`. The first `larger` of
 * the bands of the factor have base + 1 rows, the others base, 4 to BAND_ROWS. */
TILE void density_full_part(const double *x, const double *mean, const double *factor,
                            double coefficient, ptrdiff_t n_features, ptrdiff_t base,
                            ptrdiff_t larger, double *difference, double *out,
                            const int tile_width, const int width) {
    vec squared[WIDE];
    UNROLL for (int v = 0; v < width; v++) squared[v] = v_set(0.0);
    for (ptrdiff_t row = 0; row < n_features;) {
        ptrdiff_t n = base + (larger-- > 0);
        switch (n) {
        case 4: WHITENED_ROWS(row, 4, 1); break;
        case 5: WHITENED_ROWS(row, 5, 1); break;
        case 6: WHITENED_ROWS(row, 6, 1); break;
        }
        row += n;
    }
    UNROLL for (int v = 0; v < width; v++)
        log_joint_from(squared[v], coefficient, out + v * LANES);
}
TILE void density_full_any(const double *x, const double *mean, const double *factor,
                           double coefficient, ptrdiff_t n_features, ptrdiff_t base,
                           ptrdiff_t larger, double *difference, double *out,
                           const int tile_width) {
    const int width = tile_width < DENSITY_VECTORS ? tile_width : DENSITY_VECTORS;
    for (int v = 0; v < tile_width; v += width)
        density_full_part(x + v * LANES, mean, factor, coefficient, n_features, base, larger,
                          difference, out + v * LANES, tile_width, width);
}

/* The same with D fixed at compile time, up to FIXED: one band, or two, and as many vectors of rows
 * as leave all its sums in registers. */
TILE void density_full_fixed(const double *x, const double *mean, const double *factor,
                             double coefficient, const int n_features, double *difference,
                             double *out, const int tile_width) {
    const int many = GAUSSMIX_REGISTERS >= 32;
    const int width = tile_width < WIDE || n_features <= (many ? 6 : 3) ? tile_width : 2;
    const int n = n_features <= (many ? FIXED : BAND_ROWS) ? n_features : (n_features + 1) / 2;
    UNROLL for (int v = 0; v < tile_width; v += width) {
        vec squared[WIDE];
        UNROLL for (int u = 0; u < width; u++) squared[u] = v_set(0.0);
        WHITENED_ROWS(0, n, n < n_features);
        if (n < n_features) WHITENED_ROWS(n, n_features - n, 0);
        UNROLL for (int u = 0; u < width; u++)
            log_joint_from(squared[u], coefficient, out + u * LANES);
        x += width * LANES;
        out += width * LANES;
    }
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
#define FIXED_CASE(D, WIDTH) \
    case D: \
        EACH_TILE(density_full_fixed(x, mean, factor, coefficient, D, difference, out, WIDTH)); \
        return;
#define FULL_CASES(WIDTH) \
    switch (n_features) { \
        FIXED_CASE(1, WIDTH) \
        FIXED_CASE(2, WIDTH) \
        FIXED_CASE(3, WIDTH) \
        FIXED_CASE(4, WIDTH) \
        FIXED_CASE(5, WIDTH) \
        FIXED_CASE(6, WIDTH) \
        FIXED_CASE(7, WIDTH) \
        FIXED_CASE(8, WIDTH) \
    } \
    EACH_TILE(density_full_any(x, mean, factor, coefficient, n_features, base, larger, difference, \
                               out, WIDTH))

static void density_full(const double *x, ptrdiff_t x_step, ptrdiff_t n_tiles, const double *mean,
                         const double *factor, double coefficient, ptrdiff_t n_features,
                         double *difference, double *out, ptrdiff_t out_step, int wide) {
    const ptrdiff_t bands = (n_features + BAND_ROWS - 1) / BAND_ROWS;
    const ptrdiff_t base = n_features / bands, larger = n_features % bands;
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
