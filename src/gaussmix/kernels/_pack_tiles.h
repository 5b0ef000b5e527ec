/* Squares of LANES rows and as many features, turned while they are in registers: rows of the data
 * that are contiguous -> feature-major tiles, and tiles -> padded rows for the moments. */
#ifndef GAUSSMIX_PACK_TILES_H
#define GAUSSMIX_PACK_TILES_H

#include "_vector.h"

/* Sum of |x| over n values (a multiple of LANES): NaN or inf if any value is. Four sums, or each
 * addition would wait for the one before. */
static double absolute_sum(const double *x, ptrdiff_t n) {
    vec sum[4] = {v_set(0.0), v_set(0.0), v_set(0.0), v_set(0.0)};
    ptrdiff_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        UNROLL for (int j = 0; j < 4; j++) sum[j] += v_abs(v_load(x + i + j * LANES));
    for (; i < n; i += LANES) sum[0] += v_abs(v_load(x + i));
    return v_sum(sum[0] + sum[1] + (sum[2] + sum[3]));
}

/* Bytes of each of `parts` pieces that hold all of them: whole cache lines; 0 if there are none. */
static ptrdiff_t fetched_piece(ptrdiff_t bytes, ptrdiff_t parts) {
    return bytes ? (bytes / parts / 64 + 1) * 64 : 0;
}

/* Asks for [begin, begin + size) of the bytes from `at` on, into the second-level cache. */
static void fetch_piece(const char *at, ptrdiff_t bytes, ptrdiff_t begin, ptrdiff_t size) {
    ptrdiff_t line = begin, end = begin + size < bytes ? begin + size : bytes;
    for (; line < end; line += 64) FETCH(at + line, 0, 2);
}

#if LANES == 1
typedef float floats;
#else
typedef float floats __attribute__((vector_size(4 * LANES), may_alias, aligned(4)));
#endif

TILE vec load_numbers(const char *at, const int single) {
    if (!single) return v_load_anywhere((const double *)at);
#if LANES == 1
    return *(const float *)at;
#else
    return __builtin_convertvector(*(const floats *)at, vec);
#endif
}

/* x[i] + 0.0, which turns -0.0 into +0.0: equal numbers get equal bits. */
TILE double load_number(const char *at, ptrdiff_t i, const int single) {
    return (single ? (double)((const float *)at)[i] : ((const double *)at)[i]) + 0.0;
}

TILE void pack_contiguous(const char *rows, ptrdiff_t row_step, ptrdiff_t n_features,
                          double *tile, const int single) {
    enum { TILE_ROWS = WIDE * LANES };
    const ptrdiff_t item = single ? 4 : 8;
    for (int row = 0; row < TILE_ROWS; row += LANES) {
        const char *at = rows + row * row_step;
        ptrdiff_t d = 0;
        for (; d + LANES <= n_features; d += LANES) {
            vec square[LANES];
            UNROLL for (int i = 0; i < LANES; i++)
                square[i] = load_numbers(at + i * row_step + d * item, single) + v_set(0.0);
            v_transpose(square);
            UNROLL for (int i = 0; i < LANES; i++)
                v_store(tile + (d + i) * TILE_ROWS + row, square[i]);
        }
        for (; d < n_features; d++)
            UNROLL for (int i = 0; i < LANES; i++)
                tile[d * TILE_ROWS + row + i] = load_number(at + i * row_step, d, single);
    }
}

/* One tile of WIDE * LANES rows whose features are contiguous; a row begins every `row_step` bytes,
 * with floats (`item` 4) or doubles. */
static void pack_rows(const char *rows, ptrdiff_t row_step, ptrdiff_t n_features, ptrdiff_t item,
                      double *tile) {
    if (item == 4) pack_contiguous(rows, row_step, n_features, tile, 1);
    else pack_contiguous(rows, row_step, n_features, tile, 0);
}

/* tiles[tile][d][row] -> rows[row][d]; columns from n_features to `padded`, a multiple of LANES,
 * become 0. */
static void turn_tiles(const double *tiles, ptrdiff_t n_tiles, ptrdiff_t n_features,
                       ptrdiff_t padded, double *rows) {
    enum { TILE_ROWS = WIDE * LANES };
    for (ptrdiff_t tile = 0; tile < n_tiles; tile++)
        for (int row = 0; row < TILE_ROWS; row += LANES) {
            const double *at = tiles + tile * n_features * TILE_ROWS + row;
            for (ptrdiff_t d = 0; d < padded; d += LANES) {
                vec square[LANES];
                UNROLL for (int i = 0; i < LANES; i++)
                    square[i] = d + i < n_features ? v_load(at + (d + i) * TILE_ROWS) : v_set(0.0);
                v_transpose(square);
                UNROLL for (int i = 0; i < LANES; i++)
                    v_store(rows + (tile * TILE_ROWS + row + i) * padded + d, square[i]);
            }
        }
}

#endif
