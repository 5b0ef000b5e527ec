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

/* Of so few features, two vectors in turn have second moments of their own, or a sum would wait for
 * itself longer than the multiplications of a short vector take. */
#define ALTERNATING (GAUSSMIX_REGISTERS < 32 ? 2 : 0)

/* first and second moments of features [begin, end) of a component, and the mass with the first of
 * them; second is D x D (lower triangle: with all features up to its own) or D. `guarded`: some x is
 * so large that x - mean may be infinite; 0 * inf must not become NaN. */
TILE void moments_few(const double *x, const double *weight, ptrdiff_t weight_step,
                      ptrdiff_t tiles, const double *mean, const int n_features, const int begin,
                      const int end, const int full, const int guarded, double *mass,
                      double *first, double *second) {
    enum { SETS = 2 };
    const int sets = end <= ALTERNATING ? 2 : 1;
    vec mass_sum = v_set(0.0), first_sum[FEW], second_sum[SETS][FEW * FEW];
    UNROLL for (int d = 0; d < FEW; d++) first_sum[d] = v_set(0.0);
    UNROLL for (int i = 0; i < FEW * FEW; i++) second_sum[0][i] = second_sum[1][i] = v_set(0.0);
    for (ptrdiff_t tile = 0; tile < tiles; tile++) {
        for (int v = 0; v < WIDE; v += sets) {
            UNROLL for (int s = 0; s < sets; s++) {
                vec w = v_load(weight + tile * weight_step + (v + s) * LANES), t[FEW];
                if (begin == 0) mass_sum += w;
                UNROLL for (int d = full ? 0 : begin; d < end; d++) {
                    t[d] = v_load(x + ((tile * n_features + d) * WIDE + v + s) * LANES)
                           - v_set(mean[d]);
                    if (guarded) t[d] = v_select_less(v_set(0.0), w, t[d], v_set(0.0));
                }
                UNROLL for (int d = begin; d < end; d++) {
                    vec wt = w * t[d];
                    first_sum[d] += wt;
                    if (full) {
                        UNROLL for (int e = 0; e <= d; e++)
                            second_sum[s][d * FEW + e] += wt * t[e];
                    } else {
                        second_sum[s][d] += wt * t[d];
                    }
                }
            }
        }
    }
    if (sets == 2)
        UNROLL for (int i = 0; i < FEW * FEW; i++) second_sum[0][i] += second_sum[1][i];
    if (begin == 0) *mass += v_sum(mass_sum);
    UNROLL for (int d = begin; d < end; d++) {
        first[d] += v_sum(first_sum[d]);
        if (full) {
            UNROLL for (int e = 0; e <= d; e++)
                second[d * n_features + e] += v_sum(second_sum[0][d * FEW + e]);
        } else {
            second[d] += v_sum(second_sum[0][d]);
        }
    }
}

#define MOMENTS_ROWS(D, BEGIN, END, FULL, GUARDED) \
    moments_few(x, weight, weight_step, tiles, mean, D, BEGIN, END, FULL, GUARDED, mass, first, \
                second)
/* 15 sums of four features do not fit into 16 registers: two features and then two. */
#define MOMENTS_FEW(D, FULL, GUARDED) \
    do { \
        if (FULL && D == 4 && GAUSSMIX_REGISTERS < 32) { \
            MOMENTS_ROWS(D, 0, 2, FULL, GUARDED); \
            MOMENTS_ROWS(D, 2, D, FULL, GUARDED); \
        } else { \
            MOMENTS_ROWS(D, 0, D, FULL, GUARDED); \
        } \
    } while (0)
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
    switch (n_features) {
        MOMENTS_FEW_CASES(1)
        MOMENTS_FEW_CASES(2)
        MOMENTS_FEW_CASES(3)
        MOMENTS_FEW_CASES(4)
    }
}

/* A vector of rows: where it begins in x, the weights and the block. Offsets, as to compute them
 * again in each loop costs as much as an FMA or two. */
typedef struct {
    ptrdiff_t x, weight, row;
} Place;

/* What a component has in a block: vectors of rows with some weight that is not 0, the rows that
 * have one, and the sum of the weights. */
typedef struct {
    ptrdiff_t vectors, rows;
    double mass;
} Share;

/* The places of all vectors of a block. */
static void all_places(ptrdiff_t weight_step, ptrdiff_t n_features, ptrdiff_t tiles,
                       Place *places) {
    for (ptrdiff_t tile = 0; tile < tiles; tile++)
        for (ptrdiff_t v = 0; v < WIDE; v++, places++) {
            places->x = (tile * n_features * WIDE + v) * LANES;
            places->weight = tile * weight_step + v * LANES;
            places->row = (tile * WIDE + v) * LANES;
        }
}

static Share share_of(const double *weight, ptrdiff_t weight_step, ptrdiff_t tiles) {
    Share share = {0, 0, 0.0};
    vec sum[WIDE];
    UNROLL for (int v = 0; v < WIDE; v++) sum[v] = v_set(0.0);
    for (ptrdiff_t tile = 0; tile < tiles; tile++, weight += weight_step)
        UNROLL for (int v = 0; v < WIDE; v++) {
            vec w = v_load(weight + v * LANES);
            unsigned set = v_nonzero(w);
            share.vectors += set != 0;
            share.rows += v_count(set);
            sum[v] += w;
        }
    share.mass = v_sum(sum[0] + sum[1] + (sum[2] + sum[3]));
    return share;
}

/* The places of the vectors that count: `all` of the block's, or those written to `some`. */
static const Place *used_places(const double *weight, const Share *share, const Place *all,
                                ptrdiff_t n, Place *some) {
    ptrdiff_t used = 0;
    if (share->vectors == n) return all;
    for (ptrdiff_t i = 0; i < n; i++) {
        some[used] = all[i];
        used += v_nonzero(v_load(weight + all[i].weight)) != 0;
    }
    return some;
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
 * traffic of storing it (Intel Xeon, 48 KB and 2 MB, AVX-512: 1.5 times at D = 16, 1.4 at 32, the
 * same at 128). No product lies above the diagonal, and no broadcast is loaded. */
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

/* A register tile: up to BAND features of runs times PAIR_COLUMNS others. With few registers it is
 * long, since the runs are in the first-level cache and the others may not be (EPYC, AVX2: 6 x 2 took
 * 11 % less than 3 x 3 at D = 16, 13 % at 64). */
#if GAUSSMIX_REGISTERS >= 32
#define BAND 4
#define PAIR_COLUMNS 4
#else
#define BAND 6
#define PAIR_COLUMNS 2
#endif

/* Of the features from i on, those in [begin, end): their runs, `first`, and their products with the
 * features [from, end), lower triangle; end - from <= 4. */
TILE void diagonal_tile(const Products *p, ptrdiff_t i, const int begin, const int end,
                        const int from) {
    vec sum[BAND][4], first[4];
    const double *x = p->x + i * WIDE * LANES, *weight = p->weight;
    const Place *places = p->places;
    const ptrdiff_t n_places = p->n_places, run = p->run;
    double mean[BAND], *scaled = p->scaled, *second = p->second + i * p->n_features + i;
    UNROLL for (int r = begin; r < end; r++) FETCH(second + r * p->n_features, 1, 3);
    UNROLL for (int r = from; r < end; r++) mean[r] = p->mean[i + r];
    UNROLL for (int r = 0; r < 4; r++) first[r] = v_set(0.0);
    UNROLL for (int r = begin; r < end; r++)
        UNROLL for (int c = 0; c < 4; c++) sum[r][c] = v_set(0.0);
    for (ptrdiff_t at = 0; at < n_places; at++) {
        vec w = v_load(weight + places[at].weight), t[BAND];
        const double *row = x + places[at].x;
        UNROLL for (int r = from; r < end; r++) {
            vec wt;
            t[r] = v_load(row + r * WIDE * LANES) - v_set(mean[r]);
            if (r < begin) continue;
            wt = w * t[r];
            v_store(scaled + r * run + at * LANES, wt);
            first[r - begin] += wt;
            UNROLL for (int c = from; c <= r; c++) sum[r][c - from] += wt * t[c];
        }
    }
    double sums[4] = {0.0, 0.0, 0.0, 0.0};
    v_add_sums(first, sums);
    UNROLL for (int r = begin; r < end; r++) p->first[i + r] += sums[r - begin];
    UNROLL for (int r = begin; r < end; r++) {
        double *to = second + r * p->n_features + from, row[4] = {0.0, 0.0, 0.0, 0.0};
        if (end - from == 4) {
            v_add_sums(sum[r], to); /* 0 above the diagonal */
        } else {
            v_add_sums(sum[r], row);
            UNROLL for (int c = from; c <= r; c++) to[c - from] += row[c - from];
        }
    }
}

/* The n features from i on, whose runs stand at `scaled`, against m from j on, j + m <= i. */
TILE void pair_tile(const Products *p, ptrdiff_t i, const double *scaled, ptrdiff_t j, const int n,
                    const int m) {
    enum { SUMS = 16 };
    vec sum[SUMS];
    const double *x = p->x + j * WIDE * LANES, *mean = p->mean + j;
    const Place *places = p->places;
    const ptrdiff_t n_places = p->n_places, run = p->run;
    /* Of many components, the sums have left the cache since the last block. */
    UNROLL for (int r = 0; r < n; r++) FETCH(p->second + (i + r) * p->n_features + j, 1, 3);
    UNROLL for (int s = 0; s < SUMS; s++) sum[s] = v_set(0.0);
    for (ptrdiff_t at = 0; at < n_places; at++) {
        const double *row = x + places[at].x;
        vec t[4];
        UNROLL for (int c = 0; c < m; c++)
            t[c] = v_load(row + c * WIDE * LANES) - v_set(mean[c]);
        UNROLL for (int r = 0; r < n; r++) {
            vec wt = v_held(v_load(scaled + r * run + at * LANES));
            UNROLL for (int c = 0; c < m; c++) sum[r * m + c] += wt * t[c];
        }
    }
    double sums[SUMS] = {0.0}, *to = p->second + i * p->n_features + j;
    UNROLL for (int s = 0; s < n * m; s += 4)
        v_add_sums(sum + s, m == 4 ? to + s / 4 * p->n_features : sums + s);
    if (m == 4) return;
    UNROLL for (int r = 0; r < n; r++)
        UNROLL for (int c = 0; c < m; c++) to[r * p->n_features + c] += sums[r * m + c];
}

/* The features [i, i + n), n <= BAND, against themselves and all before them. */
TILE void narrow_band(const Products *p, ptrdiff_t i, const int n) {
    ptrdiff_t j = 0;
    if (BAND == 4) {
        diagonal_tile(p, i, 0, n, 0);
    } else { /* in parts, of no more sums than there are registers */
        diagonal_tile(p, i, 0, 3, 0);
        if (n > 3) diagonal_tile(p, i, 3, n, n == 4 ? 0 : 3);
        if (n > 4) pair_tile(p, i + 3, p->scaled + 3 * p->run, i, n - 3, 3);
    }
    for (; j + PAIR_COLUMNS <= i; j += PAIR_COLUMNS)
        pair_tile(p, i, p->scaled, j, n, PAIR_COLUMNS);
    if (PAIR_COLUMNS == 2 && j < i) pair_tile(p, i, p->scaled, j, n, 1);
}

/* Up to FIXED features: the rows [begin, end) of `second` with all their columns, in registers; no
 * run is stored. */
#define FIXED 8
TILE void fixed_rows(const Products *p, const int begin, const int end) {
    vec sum[FIXED][FIXED], first[2 * FIXED];
    UNROLL for (int r = 0; r < FIXED; r++) first[begin + r] = v_set(0.0);
    UNROLL for (int r = begin; r < end; r++) {
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
    double *second = p->second, firsts[FIXED] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0};
    UNROLL for (int r = begin; r < end; r++) {
        double *to = second + r * p->n_features, sums[4] = {0.0, 0.0, 0.0, 0.0};
        v_add_sums(sum[r], to); /* 0 above the diagonal */
        if (r < 4) continue;
        v_add_sums(sum[r] + 4, sums);
        UNROLL for (int c = 4; c <= r; c++) to[c] += sums[c - 4];
    }
    v_add_sums(first + begin, firsts);
    v_add_sums(first + begin + 4, firsts + 4);
    UNROLL for (int r = begin; r < end; r++) p->first[r] += firsts[r - begin];
}

/* As many rows at once as the registers hold sums for. */
TILE void fixed_triangle(const Products *p, const int n) {
#if GAUSSMIX_REGISTERS >= 32
    fixed_rows(p, 0, 5);
    if (n > 5) fixed_rows(p, 5, n);
#else
    fixed_rows(p, 0, 3);
    fixed_rows(p, 3, n);
#endif
}

/* The first of `bands` bands that part `part` of `parts` takes: each has about as many products. */
static ptrdiff_t first_band(ptrdiff_t bands, ptrdiff_t part, ptrdiff_t parts) {
    ptrdiff_t band = 0;
    while ((band + 1) * (band + 1) * parts <= bands * bands * part) band++;
    return band;
}

/* first += sum of w t, second (lower triangle) += sum of w t t^T for t = x - mean: what part `part` of
 * `parts` takes of it, and with up to FIXED features all. */
static void multiply_vectors(const double *x, ptrdiff_t n_features, const double *weight,
                             const Place *places, ptrdiff_t n_places, const double *mean,
                             double *scaled, ptrdiff_t run, double *first, double *second,
                             ptrdiff_t part, ptrdiff_t parts) {
    const Products p = {x,    n_features, weight, places, n_places,
                        mean, scaled,     run,    first,  second};
    const ptrdiff_t bands = (n_features + BAND - 1) / BAND;
    const ptrdiff_t begin = first_band(bands, part, parts), end = first_band(bands, part + 1, parts);
    ptrdiff_t i = 0;
    switch (n_features) { /* no fewer: see FEW */
    case 5: fixed_triangle(&p, 5); return;
#if GAUSSMIX_REGISTERS >= 32
    case 6: fixed_triangle(&p, 6); return;
    case 7: fixed_triangle(&p, 7); return;
    case 8: fixed_triangle(&p, 8); return;
    }
    for (i = begin * BAND; i + BAND <= n_features && i < end * BAND; i += BAND)
        narrow_band(&p, i, BAND);
    if (end < bands) return;
    switch (n_features - i) {
    case 1: narrow_band(&p, i, 1); break;
    case 2: narrow_band(&p, i, 2); break;
    case 3: narrow_band(&p, i, 3); break;
    }
#else
    }
    /* Bands of about equal sizes: a tile of few rows waits for its own sums. */
    const ptrdiff_t base = n_features / bands;
    for (ptrdiff_t left = bands; left > bands - end; left--) {
        const ptrdiff_t n = base + (left <= n_features % bands);
        if (left <= bands - begin) switch (n) {
        case 3: narrow_band(&p, i, 3); break;
        case 4: narrow_band(&p, i, 4); break;
        case 5: narrow_band(&p, i, 5); break;
        case 6: narrow_band(&p, i, 6); break;
        }
        i += n;
    }
#endif
}

#endif
