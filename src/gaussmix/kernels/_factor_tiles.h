/* The innermost loop of Cholesky factorisations and of inverting triangles; lanes are columns. */
#ifndef GAUSSMIX_FACTOR_TILES_H
#define GAUSSMIX_FACTOR_TILES_H

#include "_vector.h"

/* So many rows of a matrix are reduced together: each row above them is loaded once for all. */
#define FACTOR_ROWS 4
#define FACTOR_VECTORS (GAUSSMIX_REGISTERS >= 32 ? 4 : 2)

/* targets[r][c] -= factors[m][r] rows[m][c], for m = 0, 1, ... one after the other: `height`
 * targets, `step` apart, and `width` vectors of columns. Factors and rows are n apart. */
TILE void subtract_tile(const double *factors, const double *rows, ptrdiff_t n, ptrdiff_t n_rows,
                        double *targets, ptrdiff_t step, const int height, const int width) {
    vec sum[FACTOR_ROWS][FACTOR_VECTORS];
    UNROLL for (int r = 0; r < height; r++)
        UNROLL for (int v = 0; v < width; v++)
            sum[r][v] = v_load_anywhere(targets + r * step + v * LANES);
    for (ptrdiff_t m = 0; m < n_rows; m++) {
        vec t[FACTOR_VECTORS];
        UNROLL for (int v = 0; v < width; v++) t[v] = v_load_anywhere(rows + m * n + v * LANES);
        UNROLL for (int r = 0; r < height; r++) {
            vec f = v_set(factors[m * n + r]);
            UNROLL for (int v = 0; v < width; v++) sum[r][v] -= f * t[v];
        }
    }
    UNROLL for (int r = 0; r < height; r++)
        UNROLL for (int v = 0; v < width; v++)
            v_store_anywhere(targets + r * step + v * LANES, sum[r][v]);
}

/* The same for `count` columns. With a `triangle` row m is 0 beyond its column m. Behind the last
 * column rows are loaded to the end of a vector, which has to be the caller's memory. */
TILE void subtract_rows_any(const double *factors, const double *rows, ptrdiff_t n,
                            ptrdiff_t n_rows, ptrdiff_t count, double *targets, int triangle,
                            const int height) {
    ptrdiff_t c = 0;
#define COLUMNS(WIDTH) \
    for (; c + WIDTH * LANES <= count; c += WIDTH * LANES) { \
        ptrdiff_t m = triangle ? c : 0; \
        subtract_tile(factors + m * n, rows + m * n + c, n, n_rows - m, targets + c, n, height, \
                      WIDTH); \
    }
#if FACTOR_VECTORS > 2
    COLUMNS(4)
#endif
    COLUMNS(2)
    COLUMNS(1)
#undef COLUMNS
    if (c < count) {
        double last[FACTOR_ROWS * LANES];
        ptrdiff_t m = triangle ? c : 0;
        for (int r = 0; r < height; r++)
            for (ptrdiff_t lane = 0; lane < LANES; lane++)
                last[r * LANES + lane] = c + lane < count ? targets[r * n + c + lane] : 0.0;
        subtract_tile(factors + m * n, rows + m * n + c, n, n_rows - m, last, LANES, height, 1);
        for (int r = 0; r < height; r++)
            for (ptrdiff_t lane = 0; c + lane < count; lane++)
                targets[r * n + c + lane] = last[r * LANES + lane];
    }
}
static void subtract_rows(const double *factors, const double *rows, ptrdiff_t n,
                          ptrdiff_t n_rows, ptrdiff_t count, double *targets, int triangle,
                          ptrdiff_t height) {
    switch (height) {
    case 1: subtract_rows_any(factors, rows, n, n_rows, count, targets, triangle, 1); break;
    case 2: subtract_rows_any(factors, rows, n, n_rows, count, targets, triangle, 2); break;
    case 3: subtract_rows_any(factors, rows, n, n_rows, count, targets, triangle, 3); break;
    case 4: subtract_rows_any(factors, rows, n, n_rows, count, targets, triangle, 4); break;
    }
}

#endif
