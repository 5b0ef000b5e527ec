/* Log joint densities -> responsibilities and log-likelihoods, for one tile of rows.
 *
 * joint[k * rows + row], rows = vectors * LANES. Every function takes the vectors of a tile one by
 * one: what a row gets does not depend on the tile.
 */
#ifndef GAUSSMIX_RULE_TILES_H
#define GAUSSMIX_RULE_TILES_H

#include "_vector.h"

/* The maximum of a row that no component reaches, below every finite log joint density (a squared
 * distance is at most 1.8e308); and what stands for -inf where 0 times it has to be 0. */
#define UNREACHED (-1e308)
#define LOWEST (-1.7e308)

/* The sums of a tile's rows, lane by lane; of a block's tiles, added up in their order. */
typedef struct {
    vec likelihood, classification, entropy, weight;
    bits labels; /* see _label_tiles.h */
} RuleSums;

/* At most log(a), and less by log 2 at the most, for normal a > 0: from the exponent alone. For a
 * subnormal a or 0, -709. */
static double log_below(double a) {
    uint64_t b;
    memcpy(&b, &a, sizeof b);
    return ((double)(b >> 52) - 1023.0) * 0.6931471805599453;
}

/* The largest of n values >= 0, n a multiple of LANES. */
static double largest_of(const double *values, ptrdiff_t n) {
    vec most = v_set(0.0);
    double lane[LANES], largest = 0.0;
    for (ptrdiff_t i = 0; i < n; i += LANES) most = v_max(v_load(values + i), most);
    v_store_anywhere(lane, most);
    for (int i = 0; i < LANES; i++) largest = lane[i] > largest ? lane[i] : largest;
    return largest;
}

TILE vec column_maximum(const double *joint, ptrdiff_t n_components, ptrdiff_t rows) {
    vec best = v_set(UNREACHED);
    for (ptrdiff_t k = 0; k < n_components; k++) best = v_max(v_load(joint + k * rows), best);
    return best;
}

TILE int some_unreached(vec best) { return v_any(v_at_least(v_set(UNREACHED), best)); }

/* Where no component reaches a row, those of positive weight (coefficient above -inf) share it:
 * their -inf becomes UNREACHED, which is the row's maximum. Changes nothing for other rows. */
static void share_unreached(double *joint, ptrdiff_t n_components, ptrdiff_t rows,
                            const double *coefficients) {
    for (ptrdiff_t k = 0; k < n_components; k++)
        if (coefficients[k] > -INFINITY)
            v_store(joint + k * rows, v_max(v_load(joint + k * rows), v_set(UNREACHED)));
}

/* The lowest index of the maximum, as a double; where no component reaches a row, the lowest of
 * positive weight. The maximum goes to `best`. */
TILE vec column_argmax(const double *joint, ptrdiff_t n_components, ptrdiff_t rows,
                       const double *coefficients, vec *best) {
    vec label = v_set(0.0);
    *best = v_max(v_load(joint), v_set(UNREACHED));
    for (ptrdiff_t k = 1; k < n_components; k++) {
        vec value = v_load(joint + k * rows);
        label = v_select_less(*best, value, v_set((double)k), label);
        *best = v_max(value, *best);
    }
    if (some_unreached(*best)) { /* rare */
        ptrdiff_t first = 0;
        while (first < n_components - 1 && !(coefficients[first] > -INFINITY)) first++;
        label = v_select_less(v_set(UNREACHED), *best, label, v_set((double)first));
    }
    return label;
}

TILE vec restored(vec maximum) { /* UNREACHED back to -inf */
    return v_select_less(v_set(UNREACHED), maximum, maximum, v_set(-INFINITY));
}

/* 0 where the weight is 0: a padded row, or one that the user switched off, may be at -inf. */
TILE vec weighted(vec weight, vec value) {
    return v_select_less(v_set(0.0), weight, weight * value, v_set(0.0));
}

/* Soft: joint becomes weight * responsibility; 0 where the row cannot change the component's sums:
 * where a - SLOPE_SHARE min(max, 0) < limits[k] (see negligible_limits), with a = log joint - max.
 * What is left out does not change the sum s over k of exp(a) either, which is 1 to K, since then
 * a < MOST_LIMIT. r = exp(a)/s, -sum r log r = log s - (sum exp(a) a)/s.
 * Unweighted rows share one logarithm per tile, of the product of their s. */
#define SLOPE 0.002
#define SLOPE_SHARE (SLOPE / (1.0 - SLOPE))
#define MOST_LIMIT (-44.0) /* exp of it is 8e-20 */
#define LEAST_LIMIT (-400.0) /* together with LEAST_OFFSET: exp never underflows */
#define LEAST_OFFSET (-300.0) /* of SLOPE_SHARE max */

TILE void soft_tile_any(double *joint, ptrdiff_t n_components, const double *coefficients,
                        const double *weight, const double *limits, RuleSums *sums,
                        const int unit_weights) {
    enum { ROWS = WIDE * LANES };
    vec best[WIDE], offset[WIDE], sum[WIDE], tilt[WIDE], product = v_set(1.0);
    UNROLL for (int v = 0; v < WIDE; v++) best[v] = v_set(UNREACHED);
    for (ptrdiff_t k = 0; k < n_components; k++)
        UNROLL for (int v = 0; v < WIDE; v++)
            best[v] = v_max(v_load(joint + k * ROWS + v * LANES), best[v]);
    UNROLL for (int v = 0; v < WIDE; v++) {
        if (some_unreached(best[v])) /* rare */
            share_unreached(joint + v * LANES, n_components, ROWS, coefficients);
        offset[v] = v_max(v_set(SLOPE_SHARE) * v_min(best[v], v_set(0.0)), v_set(LEAST_OFFSET));
        sum[v] = tilt[v] = v_set(0.0);
    }
    for (ptrdiff_t k = 0; k < n_components; k++) {
        double *values = joint + k * ROWS;
        const vec limit = v_set(limits[k]);
        vec a[WIDE], e[WIDE];
        mask matters[WIDE], some = (mask){0};
        UNROLL for (int v = 0; v < WIDE; v++) {
            /* What is raised here is below any limit still. */
            e[v] = a[v] = v_max(v_load(values + v * LANES) - best[v], v_set(-708.0));
            matters[v] = v_at_least(a[v] - offset[v], limit);
            some |= matters[v];
        }
        if (!v_any(some)) { /* no exponential for a component that none of these rows needs */
            UNROLL for (int v = 0; v < WIDE; v++) v_store(values + v * LANES, v_set(0.0));
            continue;
        }
        v_exp_chosen(e, matters, WIDE);
        UNROLL for (int v = 0; v < WIDE; v++) {
            v_store(values + v * LANES, e[v]);
            sum[v] += e[v];
            tilt[v] += e[v] * a[v];
        }
    }
    UNROLL for (int v = 0; v < WIDE; v++) {
        vec w = v_load(weight + v * LANES), share = w / sum[v];
        vec peak = weighted(w, restored(best[v]));
        sums->classification += peak;
        sums->weight += w;
        sums->entropy -= share * tilt[v];
        if (unit_weights) {
            product *= v_select_less(v_set(0.0), w, sum[v], v_set(1.0));
            sums->likelihood += peak;
        } else {
            vec log_sum = w * v_log(sum[v]);
            sums->likelihood += peak + log_sum;
            sums->entropy += log_sum;
        }
        sum[v] = share;
    }
    if (unit_weights) {
        vec log_product = v_log(product);
        sums->likelihood += log_product;
        sums->entropy += log_product;
    }
    for (ptrdiff_t k = 0; k < n_components; k++)
        UNROLL for (int v = 0; v < WIDE; v++) {
            double *value = joint + k * ROWS + v * LANES;
            v_store(value, v_load(value) * sum[v]);
        }
}

static void soft_tile(double *joint, ptrdiff_t n_components, const double *coefficients,
                      const double *weight, const double *limits, RuleSums *sums,
                      int unit_weights) {
    if (unit_weights) soft_tile_any(joint, n_components, coefficients, weight, limits, sums, 1);
    else soft_tile_any(joint, n_components, coefficients, weight, limits, sums, 0);
}

/* Tempered: as soft, of beta times the log joint densities, 0 < beta <= 1. The likelihoods are those
 * of the mixture all the same, the entropy is that of the tempered responsibilities. */
static void tempered_tile(double *joint, ptrdiff_t n_components, const double *coefficients,
                          const double *weight, const double *limits, double beta,
                          RuleSums *sums) {
    enum { ROWS = WIDE * LANES };
    for (int v = 0; v < WIDE; v++) {
        double *column = joint + v * LANES;
        vec w = v_load(weight + v * LANES);
        vec best = column_maximum(column, n_components, ROWS);
        vec sum = v_set(0.0), tilt = v_set(0.0), total = v_set(0.0);
        if (some_unreached(best)) share_unreached(column, n_components, ROWS, coefficients);
        for (ptrdiff_t k = 0; k < n_components; k++) {
            vec value = v_max(v_load(column + k * ROWS), v_set(LOWEST));
            vec a = v_set(beta) * (value - best);
            vec e = v_exp(a);
            vec offset = v_set(SLOPE) * v_min(value, v_set(0.0));
            v_store(column + k * ROWS,
                    v_select_less(a - offset, v_set(limits[k]), v_set(0.0), e));
            sum += e;
            tilt += e * a;
            total += v_exp(value - best);
        }
        vec share = w / sum;
        for (ptrdiff_t k = 0; k < n_components; k++)
            v_store(column + k * ROWS, v_load(column + k * ROWS) * share);
        vec peak = weighted(w, restored(best));
        sums->classification += peak;
        sums->likelihood += peak + w * v_log(total);
        sums->entropy += w * v_log(sum) - share * tilt;
        sums->weight += w;
    }
}

static void clear_sums(RuleSums *sums) {
    sums->labels = (bits){0};
    sums->likelihood = sums->classification = sums->entropy = sums->weight = v_set(0.0);
}
static void join_sums(const RuleSums *tile, RuleSums *sums) {
    sums->likelihood += tile->likelihood;
    sums->classification += tile->classification;
    sums->entropy += tile->entropy;
    sums->weight += tile->weight;
    sums->labels += tile->labels;
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
            sum += v_exp(v_max(v_load(column + k * rows), v_set(UNREACHED)) - best);
        v_store(row_out + v * LANES, restored(best) + v_log(sum));
    }
}

static void responsibility_tile(double *joint, ptrdiff_t n_components, const double *coefficients,
                                int vectors) {
    ptrdiff_t rows = (ptrdiff_t)vectors * LANES;
    for (int v = 0; v < vectors; v++) {
        double *column = joint + v * LANES;
        vec best = column_maximum(column, n_components, rows), sum = v_set(0.0);
        if (some_unreached(best)) share_unreached(column, n_components, rows, coefficients);
        for (ptrdiff_t k = 0; k < n_components; k++) {
            vec e = v_exp(v_load(column + k * rows) - best);
            v_store(column + k * rows, e);
            sum += e;
        }
        for (ptrdiff_t k = 0; k < n_components; k++)
            v_store(column + k * rows, v_load(column + k * rows) / sum);
    }
}

static void label_tile(const double *joint, ptrdiff_t n_components, const double *coefficients,
                       int vectors, double *row_out) {
    ptrdiff_t rows = (ptrdiff_t)vectors * LANES;
    for (int v = 0; v < vectors; v++) {
        vec best;
        v_store(row_out + v * LANES,
                column_argmax(joint + v * LANES, n_components, rows, coefficients, &best));
    }
}

/* Log joint densities -> Mahalanobis distances, when the coefficients were all 0. */
static void distance_tile(double *joint, ptrdiff_t n_values) {
    for (ptrdiff_t i = 0; i < n_values; i += LANES)
        v_store(joint + i, v_sqrt(v_set(0.0) - v_set(2.0) * v_load(joint + i)));
}

#endif
