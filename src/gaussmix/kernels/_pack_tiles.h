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

enum { TILE_ROWS = WIDE * LANES };

/* Columns [d, d + n) of LANES rows, n <= LANES; LANES numbers are read of each row. */
TILE void pack_square(const char *at, ptrdiff_t row_step, ptrdiff_t d, const int n, double *to,
                      const int single) {
    const ptrdiff_t item = single ? 4 : 8;
    vec square[LANES];
    UNROLL for (int i = 0; i < LANES; i++)
        square[i] = load_numbers(at + i * row_step + d * item, single) + v_set(0.0);
    v_transpose(square);
    UNROLL for (int i = 0; i < n; i++) v_store(to + (d + i) * TILE_ROWS, square[i]);
}

/* At least LANES features. What is left of the last square overlaps the one before: to turn some
 * columns twice takes less than to take the rest one by one. */
TILE void pack_wide(const char *rows, ptrdiff_t row_step, ptrdiff_t n_features, double *tile,
                    const int single) {
    for (int row = 0; row < TILE_ROWS; row += LANES) {
        const char *at = rows + row * row_step;
        ptrdiff_t d = 0;
        for (; d + LANES <= n_features; d += LANES)
            pack_square(at, row_step, d, LANES, tile + row, single);
        if (d < n_features)
            pack_square(at, row_step, n_features - LANES, LANES, tile + row, single);
    }
}

/* Fewer, of rows that follow one another: what is read beyond a row are the next ones, and of the
 * tile's last rows a copy is read. */
TILE void pack_narrow(const char *rows, const int n_features, double *tile, const int single) {
    const ptrdiff_t row_step = n_features * (single ? 4 : 8);
    double copy[(LANES + 1) * LANES];
    char *last = (char *)copy;
    memcpy(last, rows + (TILE_ROWS - LANES) * row_step, LANES * row_step);
    memset(last + LANES * row_step, 0, LANES * 8);
    UNROLL for (int row = 0; row < TILE_ROWS; row += LANES)
        pack_square(row + LANES < TILE_ROWS ? rows + row * row_step : last, row_step, 0,
                    n_features, tile + row, single);
}

TILE void pack_single(const char *rows, double *tile, const int single) { /* one feature */
    UNROLL for (int row = 0; row < TILE_ROWS; row += LANES)
        v_store(tile + row, load_numbers(rows + row * (single ? 4 : 8), single) + v_set(0.0));
}

TILE void pack_pairs(const char *rows, double *tile, const int single) { /* two features */
#if LANES >= 4
    const ptrdiff_t half = LANES * (single ? 4 : 8);
    UNROLL for (int row = 0; row < TILE_ROWS; row += LANES, rows += 2 * half) {
        vec a = load_numbers(rows, single) + v_set(0.0);
        vec b = load_numbers(rows + half, single) + v_set(0.0);
#if LANES == 4
        v_store(tile + row, SHUFFLE(a, b, 0, 2, 4, 6));
        v_store(tile + TILE_ROWS + row, SHUFFLE(a, b, 1, 3, 5, 7));
#else
        v_store(tile + row, SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14));
        v_store(tile + TILE_ROWS + row, SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15));
#endif
    }
#endif
}

#define PACK_NARROW(D) \
    case D: \
        if (D < LANES) pack_narrow(rows, D < LANES ? D : 1, tile, single); \
        return;

TILE void pack_any(const char *rows, ptrdiff_t row_step, ptrdiff_t n_features, double *tile,
                   const int single) {
    if (n_features >= LANES) {
        pack_wide(rows, row_step, n_features, tile, single);
    } else if (row_step == n_features * (single ? 4 : 8)) {
        switch (n_features) {
        case 1: pack_single(rows, tile, single); return;
        case 2: pack_pairs(rows, tile, single); return;
            PACK_NARROW(3)
            PACK_NARROW(4)
            PACK_NARROW(5)
            PACK_NARROW(6)
            PACK_NARROW(7)
        }
    } else {
        for (int row = 0; row < TILE_ROWS; row++)
            for (ptrdiff_t d = 0; d < n_features; d++)
                tile[d * TILE_ROWS + row] = load_number(rows + row * row_step, d, single);
    }
}

/* One tile of WIDE * LANES rows whose features are contiguous; a row begins every `row_step` bytes,
 * with floats (`item` 4) or doubles. */
static void pack_rows(const char *rows, ptrdiff_t row_step, ptrdiff_t n_features, ptrdiff_t item,
                      double *tile) {
    if (item == 4) pack_any(rows, row_step, n_features, tile, 1);
    else pack_any(rows, row_step, n_features, tile, 0);
}

/* tiles[tile][d][row] -> rows[row][d]; columns from n_features to `padded`, a multiple of LANES,
 * become 0. */
static void turn_tiles(const double *tiles, ptrdiff_t n_tiles, ptrdiff_t n_features,
                       ptrdiff_t padded, double *rows) {
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
