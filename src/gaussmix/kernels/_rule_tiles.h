/* Log joint densities -> responsibilities and log-likelihoods, for one tile of rows.
 *
 * joint[k * rows + row], rows = vectors * LANES. Every function takes the vectors of a tile one by
 * one: what a row gets does not depend on the tile.
 */
#ifndef GAUSSMIX_RULE_TILES_H
#define GAUSSMIX_RULE_TILES_H

#include "_vector.h"

/* Stands for -inf inside, so that -inf - -inf gives 0: a row that no component reaches gets equal
 * responsibilities instead of NaN. */
#define LOWEST (-1.7e308)

/* The sums of a tile's rows, lane by lane, kept over a block. */
typedef struct {
    vec likelihood, classification, entropy, weight;
} RuleSums;

TILE vec column_maximum(const double *joint, ptrdiff_t n_components, ptrdiff_t rows) {
    vec best = v_set(LOWEST);
    for (ptrdiff_t k = 0; k < n_components; k++) best = v_max(v_load(joint + k * rows), best);
    return best;
}

/* The lowest index of the maximum, as a double; 0 for rows that no component reaches. */
TILE vec column_argmax(const double *joint, ptrdiff_t n_components, ptrdiff_t rows) {
    vec best = v_max(v_load(joint), v_set(LOWEST)), label = v_set(0.0);
    for (ptrdiff_t k = 1; k < n_components; k++) {
        vec value = v_load(joint + k * rows);
        label = v_select_less(best, value, v_set((double)k), label);
        best = v_max(value, best);
    }
    return label;
}

TILE vec restored(vec maximum) { /* LOWEST back to -inf */
    return v_select_less(v_set(LOWEST), maximum, maximum, v_set(-INFINITY));
}

/* 0 where the weight is 0: a padded row, or one that the user switched off, may be at -inf. */
TILE vec weighted(vec weight, vec value) {
    return v_select_less(v_set(0.0), weight, weight * value, v_set(0.0));
}

/* Soft: joint becomes weight * responsibility; 0 where the row cannot change the component's sums:
 * where a - SLOPE * log joint < limits[k] (see rule_block). The sum over k takes in all the same.
 * With a = log joint - max: r = exp(a)/s, -sum r log r = log s - (sum exp(a) a)/s.
 * Unweighted rows share one logarithm per tile, of the product of their s (each 1 to K). */
#define SLOPE 0.002

TILE void soft_tile_any(double *joint, ptrdiff_t n_components, const double *weight,
                        const double *limits, RuleSums *sums, const int unit_weights) {
    enum { ROWS = WIDE * LANES };
    vec product = v_set(1.0);
    for (int v = 0; v < WIDE; v++) {
        double *column = joint + v * LANES;
        vec w = v_load(weight + v * LANES);
        vec best = column_maximum(column, n_components, ROWS);
        vec sum = v_set(0.0), tilt = v_set(0.0);
        for (ptrdiff_t k = 0; k < n_components; k++) {
            vec value = v_max(v_load(column + k * ROWS), v_set(LOWEST));
            vec a = value - best;
            vec e = v_exp(a);
            v_store(column + k * ROWS, v_select_less(a - v_set(SLOPE) * value, v_set(limits[k]),
                                                     v_set(0.0), e));
            sum += e;
            tilt += e * a;
        }
        vec share = w / sum;
        for (ptrdiff_t k = 0; k < n_components; k++)
            v_store(column + k * ROWS, v_load(column + k * ROWS) * share);
        vec peak = weighted(w, restored(best));
        sums->classification += peak;
        sums->weight += w;
        sums->entropy -= share * tilt;
        if (unit_weights) {
            product *= v_select_less(v_set(0.0), w, sum, v_set(1.0));
            sums->likelihood += peak;
        } else {
            vec log_sum = w * v_log(sum);
            sums->likelihood += peak + log_sum;
            sums->entropy += log_sum;
        }
    }
    if (unit_weights) {
        vec log_product = v_log(product);
        sums->likelihood += log_product;
        sums->entropy += log_product;
    }
}

/* Hard: joint becomes the weight at the (first) most probable component and 0 elsewhere. */
static void hard_tile(double *joint, ptrdiff_t n_components, const double *weight,
                      RuleSums *sums) {
    enum { ROWS = WIDE * LANES };
    for (int v = 0; v < WIDE; v++) {
        double *column = joint + v * LANES;
        vec w = v_load(weight + v * LANES);
        vec best = column_maximum(column, n_components, ROWS);
        vec label = column_argmax(column, n_components, ROWS);
        vec sum = v_set(0.0);
        for (ptrdiff_t k = 0; k < n_components; k++) {
            vec index = v_set((double)k), zero = v_set(0.0);
            sum += v_exp(v_max(v_load(column + k * ROWS), v_set(LOWEST)) - best);
            vec here = v_select_less(index, label, zero, w);
            v_store(column + k * ROWS, v_select_less(label, index, zero, here));
        }
        vec peak = weighted(w, restored(best));
        sums->classification += peak;
        sums->likelihood += peak + w * v_log(sum);
        sums->weight += w;
    }
}

static void soft_tile(double *joint, ptrdiff_t n_components, const double *weight,
                      const double *limits, RuleSums *sums, int unit_weights) {
    if (unit_weights) soft_tile_any(joint, n_components, weight, limits, sums, 1);
    else soft_tile_any(joint, n_components, weight, limits, sums, 0);
}

static void clear_sums(RuleSums *sums) {
    sums->likelihood = sums->classification = sums->entropy = sums->weight = v_set(0.0);
}
static void add_sums(const RuleSums *sums, double *scalars) {
    scalars[0] += v_sum(sums->likelihood);
    scalars[1] += v_sum(sums->classification);
    scalars[2] += v_sum(sums->entropy);
    scalars[3] += v_sum(sums->weight);
}

/* What scoring wants of a tile. The results go to `row_out` (rows) or replace the log joint
 * densities. */
static void log_density_tile(const double *joint, ptrdiff_t n_components, int vectors,
                             double *row_out) {
    ptrdiff_t rows = (ptrdiff_t)vectors * LANES;
    for (int v = 0; v < vectors; v++) {
        const double *column = joint + v * LANES;
        vec best = column_maximum(column, n_components, rows), sum = v_set(0.0);
        for (ptrdiff_t k = 0; k < n_components; k++)
            sum += v_exp(v_max(v_load(column + k * rows), v_set(LOWEST)) - best);
        v_store(row_out + v * LANES, restored(best) + v_log(sum));
    }
}

static void responsibility_tile(double *joint, ptrdiff_t n_components, int vectors) {
    ptrdiff_t rows = (ptrdiff_t)vectors * LANES;
    for (int v = 0; v < vectors; v++) {
        double *column = joint + v * LANES;
        vec best = column_maximum(column, n_components, rows), sum = v_set(0.0);
        for (ptrdiff_t k = 0; k < n_components; k++) {
            vec e = v_exp(v_max(v_load(column + k * rows), v_set(LOWEST)) - best);
            v_store(column + k * rows, e);
            sum += e;
        }
        for (ptrdiff_t k = 0; k < n_components; k++)
            v_store(column + k * rows, v_load(column + k * rows) / sum);
    }
}

static void label_tile(const double *joint, ptrdiff_t n_components, int vectors,
                       double *row_out) {
    ptrdiff_t rows = (ptrdiff_t)vectors * LANES;
    for (int v = 0; v < vectors; v++)
        v_store(row_out + v * LANES, column_argmax(joint + v * LANES, n_components, rows));
}

/* Log joint densities -> Mahalanobis distances, when the coefficients were all 0. */
static void distance_tile(double *joint, ptrdiff_t n_values) {
    for (ptrdiff_t i = 0; i < n_values; i += LANES)
        v_store(joint + i, v_sqrt(v_set(0.0) - v_set(2.0) * v_load(joint + i)));
}

#endif
