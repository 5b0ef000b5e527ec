/* The rules that give a row to one component, and the numbers that they count by.
 *
 * joint[k * rows + row] as in _rule_tiles.h. A row's 64 random bits, and those that stand for its
 * label, follow from its global number alone.
 */
#ifndef GAUSSMIX_LABEL_TILES_H
#define GAUSSMIX_LABEL_TILES_H

#include "_rule_tiles.h"

/* SplitMix64 (Steele, Lea & Flood 2014, OOPSLA, 453-472; constants: Stafford's variant 13): output
 * n, counted from 0, of the generator seeded with s is mix(s + (n + 1) * GOLDEN). */
#define GOLDEN 0x9E3779B97F4A7C15u

TILE bits v_mix(bits z) {
    z = (z ^ (z >> 30)) * (uint64_t)0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * (uint64_t)0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint64_t splitmix(uint64_t seed, uint64_t n) {
    uint64_t z = seed + (n + 1) * GOLDEN;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* What is mixed, seed aside, for the outputs of numbers first, first + 1, ... */
TILE bits v_steps(uint64_t first) {
    static const uint64_t lanes[8] = {GOLDEN,     2 * GOLDEN, 3 * GOLDEN, 4 * GOLDEN,
                                      5 * GOLDEN, 6 * GOLDEN, 7 * GOLDEN, 8 * GOLDEN};
    bits steps;
    memcpy(&steps, lanes, sizeof steps);
    return steps + first * GOLDEN;
}

/* a == b ? x : 0, lane by lane. */
TILE vec v_where_equal(vec a, vec b, vec x) {
#if LANES == 1
    return a == b ? x : 0.0;
#elif defined(GAUSSMIX_AVX512)
    return (vec)_mm512_maskz_mov_pd(
        _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_EQ_OQ), (__m512d)x);
#else
    return (vec)((bits)(a == b) & (bits)x);
#endif
}

/* What stands for (row, label) in the sum over all rows: the row's output of the generator that is
 * seeded with the label, or 0 for a row of weight 0. */
TILE bits label_bits(bits steps, vec label, vec weight) {
    bits index = v_bits(label + v_set(0x1p52)) - v_bits(v_set(0x1p52)); /* label as an integer */
#if LANES == 1
    return weight > 0.0 ? v_mix(steps + index) : 0;
#else
    return (bits)(v_set(0.0) < weight) & v_mix(steps + index);
#endif
}

/* exp of log joint - max, but 0 where that would not change a sum of which 1 is a part. */
TILE vec noticed_exp(vec difference, mask noticed) {
    return v_keep(noticed, v_exp_normal(v_keep(noticed, difference)));
}

/* Adds a vector's likelihoods and weights. Of the former, w log s is left out where unweighted
 * rows share one logarithm per tile, of the product of their s (each 1 to K). */
TILE void add_likelihood(vec w, vec sum, vec peak, vec *product, int unit_weights,
                         RuleSums *sums) {
    sums->classification += peak;
    sums->likelihood += peak;
    sums->weight += w;
    if (unit_weights) *product *= v_select_less(v_set(0.0), w, sum, v_set(1.0));
    else sums->likelihood += w * v_log(sum);
}

/* Hard: joint becomes the weight at the most probable component (the lowest, of equal ones) and 0
 * elsewhere; `first` is the global number of the tile's first row. */
static void hard_tile(double *joint, ptrdiff_t n_components, const double *coefficients,
                      const double *weight, uint64_t first, int unit_weights, RuleSums *sums) {
    enum { ROWS = WIDE * LANES };
    vec best[WIDE], label[WIDE], sum[WIDE], product = v_set(1.0);
    UNROLL for (int v = 0; v < WIDE; v++) {
        best[v] = v_max(v_load(joint + v * LANES), v_set(UNREACHED));
        label[v] = sum[v] = v_set(0.0);
    }
    for (ptrdiff_t k = 1; k < n_components; k++)
        UNROLL for (int v = 0; v < WIDE; v++) {
            vec value = v_load(joint + k * ROWS + v * LANES);
            label[v] = v_select_less(best[v], value, v_set((double)k), label[v]);
            best[v] = v_max(value, best[v]);
        }
    UNROLL for (int v = 0; v < WIDE; v++)
        if (some_unreached(best[v])) { /* rare */
            label[v] = column_argmax(joint + v * LANES, n_components, ROWS, coefficients, &best[v]);
            share_unreached(joint + v * LANES, n_components, ROWS, coefficients);
        }
    for (ptrdiff_t k = 0; k < n_components; k++) {
        double *values = joint + k * ROWS;
        vec difference[WIDE];
        mask noticed[WIDE], some = (mask){0};
        UNROLL for (int v = 0; v < WIDE; v++) {
            difference[v] = v_load(values + v * LANES) - best[v];
            noticed[v] = v_at_least(difference[v], v_set(MOST_LIMIT));
            some |= noticed[v];
            v_store(values + v * LANES,
                    v_where_equal(v_set((double)k), label[v], v_load(weight + v * LANES)));
        }
        if (v_any(some))
            UNROLL for (int v = 0; v < WIDE; v++)
                sum[v] += noticed_exp(difference[v], noticed[v]);
    }
    UNROLL for (int v = 0; v < WIDE; v++) {
        vec w = v_load(weight + v * LANES), peak = weighted(w, restored(best[v]));
        add_likelihood(w, sum[v], peak, &product, unit_weights, sums);
        sums->labels += label_bits(v_steps(first + v * LANES), label[v], w);
    }
    if (unit_weights) sums->likelihood += v_log(product);
}

/* Stochastic: joint becomes the weight at a component drawn from the posterior probabilities, the
 * first whose cumulative share exceeds the row's uniform number, and 0 elsewhere. */
static void stochastic_tile(double *joint, ptrdiff_t n_components, const double *coefficients,
                            const double *weight, uint64_t key, uint64_t first, int unit_weights,
                            RuleSums *sums) {
    enum { ROWS = WIDE * LANES };
    vec best[WIDE], sum[WIDE], threshold[WIDE], below[WIDE], product = v_set(1.0);
    UNROLL for (int v = 0; v < WIDE; v++) best[v] = v_set(UNREACHED);
    for (ptrdiff_t k = 0; k < n_components; k++)
        UNROLL for (int v = 0; v < WIDE; v++)
            best[v] = v_max(v_load(joint + k * ROWS + v * LANES), best[v]);
    UNROLL for (int v = 0; v < WIDE; v++) {
        if (some_unreached(best[v])) /* rare */
            share_unreached(joint + v * LANES, n_components, ROWS, coefficients);
        sum[v] = v_set(0.0);
    }
    for (ptrdiff_t k = 0; k < n_components; k++) {
        double *values = joint + k * ROWS;
        vec difference[WIDE];
        mask noticed[WIDE], some = (mask){0};
        UNROLL for (int v = 0; v < WIDE; v++) {
            difference[v] = v_load(values + v * LANES) - best[v];
            noticed[v] = v_at_least(difference[v], v_set(MOST_LIMIT));
            some |= noticed[v];
        }
        if (v_any(some))
            UNROLL for (int v = 0; v < WIDE; v++)
                sum[v] += noticed_exp(difference[v], noticed[v]);
        UNROLL for (int v = 0; v < WIDE; v++) v_store(values + v * LANES, sum[v]);
    }
    UNROLL for (int v = 0; v < WIDE; v++) {
        vec w = v_load(weight + v * LANES), peak = weighted(w, restored(best[v]));
        bits random = v_mix(v_steps(first + v * LANES) + key);
        /* The upper 52 bits as the digits of a number in [1, 2). The threshold is at most
         * (1 - 2^-52) sum, which rounds to less than sum: one share is beyond it. */
        vec uniform = v_from_bits((random >> 12) | v_bits(v_set(1.0))) - v_set(1.0);
        threshold[v] = uniform * sum[v];
        below[v] = w; /* of shares so far that do not reach beyond the threshold */
        add_likelihood(w, sum[v], peak, &product, unit_weights, sums);
    }
    if (unit_weights) sums->likelihood += v_log(product);
    for (ptrdiff_t k = 0; k < n_components; k++)
        UNROLL for (int v = 0; v < WIDE; v++) {
            double *share = joint + k * ROWS + v * LANES;
            vec still = v_select_less(threshold[v], v_load(share), v_set(0.0), below[v]);
            v_store(share, below[v] - still); /* the weight, or 0, exactly */
            below[v] = still;
        }
}

/* Adds a block's to a sum modulo 2^64 whose halves are two doubles. */
static void add_labels(const RuleSums *sums, double *halves) {
    uint64_t lanes[LANES], sum = (uint64_t)halves[0] + ((uint64_t)halves[1] << 32);
    memcpy(lanes, &sums->labels, sizeof lanes);
    for (int lane = 0; lane < LANES; lane++) sum += lanes[lane];
    halves[0] = (double)(sum & 0xFFFFFFFFu);
    halves[1] = (double)(sum >> 32);
}

/* The whole of such a sum; its halves may have been added up since. */
static uint64_t labels_of(const double *halves) {
    return (uint64_t)halves[0] + ((uint64_t)halves[1] << 32);
}

#endif
