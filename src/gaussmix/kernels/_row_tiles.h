/* One row against all components: what a call for a single row costs least with.
 *
 * Lanes are components here, so that no lane repeats another's work. The mixture lies in blocks of
 * LANES components, each number of theirs as one vector, in the order in which it is read. A
 * component meets the same operations in the same order as in the tiles of rows, and the sum over
 * components is taken one by one, as there: so a row gets the same bits either way.
 */
#ifndef GAUSSMIX_ROW_TILES_H
#define GAUSSMIX_ROW_TILES_H

#include "_density_tiles.h"
#include "_rule_tiles.h"

#define FACTOR_ROWS 4 /* of the factor, whose sums are under way at once */

/* Vectors of a block: its means, then of its factors the lower triangles (FULL) or diagonals. */
#define TRIANGLE(N) ((N) * ((N) + 1) / 2)

/* Doubles -> x, with -0.0 made +0.0; 0 if one of them is NaN or infinite. */
TILE int read_numbers(const char *row, ptrdiff_t step, ptrdiff_t n_features, const int single,
                      double *x) {
    double total = 0.0;
    for (ptrdiff_t d = 0; d < n_features; d++) {
        const char *at = row + d * step;
        x[d] = (single ? (double)*(const float *)at : *(const double *)at) + 0.0;
        total += x[d] - x[d];
    }
    return total == 0.0;
}
static int read_row(const char *row, ptrdiff_t step, ptrdiff_t n_features, ptrdiff_t item,
                    double *x) {
    if (item == 4) return read_numbers(row, step, n_features, 1, x);
    if (step == 8) return read_numbers(row, 8, n_features, 0, x);
    return read_numbers(row, step, n_features, 0, x);
}

/* The vectors of rows [row, row + n) of a factor, as `square_rows_of` reads them: column by column,
 * in each from the top down. Returns the place behind them. */
static double *arrange_rows(const double *factor, ptrdiff_t n_features, ptrdiff_t row, int n,
                            double *to) {
    for (ptrdiff_t d = 0; d < row + n; d++)
        for (int r = 0; r < n; r++)
            if (d <= row + r) {
                *to = factor[(row + r) * n_features + d];
                to += LANES;
            }
    return to;
}
/* A factor's lower triangle into one lane of a block. */
static void arrange_factor(const double *factor, ptrdiff_t n_features, double *to) {
    for (ptrdiff_t row = 0; row < n_features; row += FACTOR_ROWS) {
        ptrdiff_t n = n_features - row < FACTOR_ROWS ? n_features - row : FACTOR_ROWS;
        to = arrange_rows(factor, n_features, row, (int)n, to);
    }
}

TILE const double *square_rows_of(const double *factor, const double *difference, ptrdiff_t row,
                                  const int n, vec *squared) {
    vec sum[FACTOR_ROWS];
    UNROLL for (int r = 0; r < n; r++) sum[r] = v_set(0.0);
    for (ptrdiff_t d = 0; d < row; d++) {
        vec x = v_load(difference + d * LANES);
        UNROLL for (int r = 0; r < n; r++, factor += LANES) sum[r] += v_load(factor) * x;
    }
    UNROLL for (int e = 0; e < n; e++) {
        vec x = v_load(difference + (row + e) * LANES);
        UNROLL for (int r = e; r < n; r++, factor += LANES) sum[r] += v_load(factor) * x;
    }
    UNROLL for (int r = 0; r < n; r++) *squared += sum[r] * sum[r];
    return factor;
}

TILE void store_joint(vec squared, const double *coefficients, double *joint) {
    v_store(joint, v_load(coefficients) - v_set(0.5) * v_distance(squared));
}

/* Log joint densities of row x: joint[k], k below n_blocks * LANES; -inf for what only pads.
 * `difference` is scratch of D vectors. */
static void row_full(const double *x, const double *block, ptrdiff_t n_blocks,
                     const double *coefficients, ptrdiff_t n_features, double *difference,
                     double *joint) {
    const ptrdiff_t size = (n_features + TRIANGLE(n_features)) * LANES;
    for (ptrdiff_t b = 0; b < n_blocks; b++, block += size) {
        const double *factor = block + n_features * LANES;
        vec squared = v_set(0.0);
        ptrdiff_t row = 0;
        for (ptrdiff_t d = 0; d < n_features; d++)
            v_store(difference + d * LANES, v_set(x[d]) - v_load(block + d * LANES));
        for (; row + FACTOR_ROWS <= n_features; row += FACTOR_ROWS)
            factor = square_rows_of(factor, difference, row, FACTOR_ROWS, &squared);
        switch (n_features - row) {
        case 3: square_rows_of(factor, difference, row, 3, &squared); break;
        case 2: square_rows_of(factor, difference, row, 2, &squared); break;
        case 1: square_rows_of(factor, difference, row, 1, &squared); break;
        }
        store_joint(squared, coefficients + b * LANES, joint + b * LANES);
    }
}

static void row_diag(const double *x, const double *block, ptrdiff_t n_blocks,
                     const double *coefficients, ptrdiff_t n_features, double *joint) {
    for (ptrdiff_t b = 0; b < n_blocks; b++, block += 2 * n_features * LANES) {
        const double *scale = block + n_features * LANES;
        vec squared = v_set(0.0);
        for (ptrdiff_t d = 0; d < n_features; d++) {
            vec y = (v_set(x[d]) - v_load(block + d * LANES)) * v_load(scale + d * LANES);
            squared += y * y;
        }
        store_joint(squared, coefficients + b * LANES, joint + b * LANES);
    }
}

/* `block` holds whitened means, z a whitened row. */
static void row_whitened(const double *z, const double *block, ptrdiff_t n_blocks,
                         const double *coefficients, ptrdiff_t n_features, double *joint) {
    for (ptrdiff_t b = 0; b < n_blocks; b++, block += n_features * LANES) {
        vec squared = v_set(0.0);
        for (ptrdiff_t d = 0; d < n_features; d++) {
            vec y = v_set(z[d]) - v_load(block + d * LANES);
            squared += y * y;
        }
        store_joint(squared, coefficients + b * LANES, joint + b * LANES);
    }
}

/* z = P (x - centre); lanes are features of z. Column e of P lies at columns + e * padded, 0 above
 * the diagonal: adding 0 changes no sum. */
static void whiten_row(const double *x, const double *centre, const double *columns,
                       ptrdiff_t n_features, ptrdiff_t padded, double *z) {
    for (ptrdiff_t d = 0; d < padded; d += LANES) {
        ptrdiff_t end = d + LANES < n_features ? d + LANES : n_features;
        vec sum = v_set(0.0);
        for (ptrdiff_t e = 0; e < end; e++)
            sum += v_load(columns + e * padded + d) * v_set(x[e] - centre[e]);
        v_store(z + d, sum);
    }
}

/* The largest of n joint densities (a multiple of LANES), at least UNREACHED. */
static double row_maximum(const double *joint, ptrdiff_t n) {
    vec most = v_set(UNREACHED);
    double lane[LANES], best;
    for (ptrdiff_t k = 0; k < n; k += LANES) most = v_max(v_load(joint + k), most);
    v_store_anywhere(lane, most);
    best = lane[0];
    for (int i = 1; i < LANES; i++) best = lane[i] > best ? lane[i] : best;
    return best;
}

/* joint[k] becomes exp(joint[k] - best); returns the sum over the components, in their order. */
TILE double exp_row(double *joint, ptrdiff_t n, ptrdiff_t n_components, double best,
                    const double lowest) {
    double sum = 0.0;
    for (ptrdiff_t k = 0; k < n; k += LANES)
        v_store(joint + k, v_exp(v_max(v_load(joint + k), v_set(lowest)) - v_set(best)));
    for (ptrdiff_t k = 0; k < n_components; k++) sum += joint[k];
    return sum;
}

/* Of a row's joint densities: its log density. They are overwritten. */
static double row_log_density(double *joint, ptrdiff_t n, ptrdiff_t n_components) {
    double best = row_maximum(joint, n), lane[LANES];
    double sum = exp_row(joint, n, n_components, best, UNREACHED);
    v_store_anywhere(lane, restored(v_set(best)) + v_log(v_set(sum)));
    return lane[0];
}

/* Its responsibilities, in place. */
static void row_responsibilities(double *joint, ptrdiff_t n, ptrdiff_t n_components,
                                 const double *coefficients) {
    double best = row_maximum(joint, n), sum;
    if (!(best > UNREACHED)) /* rare: as share_unreached */
        for (ptrdiff_t k = 0; k < n_components; k++)
            if (coefficients[k] > -INFINITY) joint[k] = UNREACHED;
    sum = exp_row(joint, n, n_components, best, -INFINITY);
    for (ptrdiff_t k = 0; k < n; k += LANES) v_store(joint + k, v_load(joint + k) / v_set(sum));
}

/* The lowest index of the maximum, which goes to `best`; where no component reaches the row, the
 * lowest of positive weight. */
static ptrdiff_t row_label(const double *joint, ptrdiff_t n, ptrdiff_t n_components,
                           const double *coefficients, double *best) {
    ptrdiff_t k = 0;
    *best = row_maximum(joint, n);
    if (!(*best > UNREACHED)) {
        while (k < n_components - 1 && !(coefficients[k] > -INFINITY)) k++;
        return k;
    }
    while (!v_any(v_at_least(v_load(joint + k), v_set(*best)))) k += LANES;
    while (joint[k] < *best) k++;
    return k;
}

#endif
