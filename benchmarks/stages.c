/* Times the four stages of a block, full covariances, on one core: see stages.py.
 *
 * stages D K: prints nanoseconds per 1,000 rows and component of pack, density, rule and moments,
 * the best of many blocks, and then the same number for D^2 multiply-adds at the rate that a loop
 * of independent ones reaches.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "_vector.h"

#include "_density_tiles.h"
#include "_moments_tiles.h"
#include "_pack_tiles.h"
#include "_rule_tiles.h"

enum { ROWS = 256, TILES = ROWS / TILE_ROWS, REPEATS = 400, STAGES = 4 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
static double *zeros(size_t n) {
    size_t bytes = (n * sizeof(double) + 127) / 64 * 64;
    double *p = aligned_alloc(64, bytes);
    if (!p) exit(1);
    return memset(p, 0, bytes);
}
static double uniform(void) { return rand() / (double)RAND_MAX - 0.5; }

/* Seconds of one vector multiply-add among enough independent ones. */
static double multiply_add(void) {
    enum { SUMS = 12, STEPS = 2000000 };
    vec sum[SUMS], a = v_set(0.999999), b = v_set(1e-9);
    double begin = now(), total = 0.0, seconds;
    for (int i = 0; i < SUMS; i++) sum[i] = v_set(1.0 + 0.01 * i);
    for (long step = 0; step < STEPS; step++)
        UNROLL for (int i = 0; i < SUMS; i++) sum[i] = sum[i] * a + b;
    seconds = (now() - begin) / ((double)STEPS * SUMS);
    for (int i = 0; i < SUMS; i++) total += v_sum(sum[i]);
    return total == 0.0 ? 0.0 : seconds; /* the sums must be computed */
}

int main(int argc, char **argv) {
    if (argc != 3) return 1;
    const int D = atoi(argv[1]), K = atoi(argv[2]);
    double *x = zeros(ROWS * D), *tiles = zeros(ROWS * D), *means = zeros(K * D);
    double *factor = zeros(D * D), *difference = zeros(TILE_ROWS * D), *joint = zeros(ROWS * K);
    double *coefficients = zeros(K), *limits = zeros(K), *weight = zeros(ROWS);
    double *scalars = zeros(4), *mass = zeros(K), *first = zeros(K * D), *second = zeros((size_t)K * D * D);
    double *scaled = zeros(BAND * (ROWS + LANES)), best[STAGES] = {1.0, 1.0, 1.0, 1.0};
    Place all[ROWS / LANES], some[ROWS / LANES];
    for (int i = 0; i < ROWS * D; i++) x[i] = 3.0 * uniform();
    for (int i = 0; i < K * D; i++) means[i] = uniform();
    for (int i = 0; i < D; i++)
        for (int j = 0; j <= i; j++) factor[i * D + j] = i == j ? 1.0 : 0.2 * uniform() / D;
    for (int i = 0; i < ROWS; i++) weight[i] = 1.0;
    for (int k = 0; k < K; k++) limits[k] = MOST_LIMIT;
    all_places(K * TILE_ROWS, D, TILES, all);
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double at[STAGES + 1];
        RuleSums sums;
        at[0] = now();
        for (int t = 0; t < TILES; t++)
            pack_rows((const char *)(x + t * TILE_ROWS * D), D * 8, D, 8, tiles + t * TILE_ROWS * D);
        at[1] = now();
        for (int k = 0; k < K; k++)
            density_full(tiles, TILE_ROWS * D, TILES, means + k * D, factor, -1.0, D, difference,
                         joint + k * TILE_ROWS, K * TILE_ROWS, 1);
        at[2] = now();
        clear_sums(&sums);
        for (int t = 0; t < TILES; t++)
            soft_tile(joint + t * K * TILE_ROWS, K, coefficients, weight + t * TILE_ROWS, limits,
                      &sums, 1);
        add_sums(&sums, scalars);
        at[3] = now();
        for (int k = 0; k < K; k++) {
            const double *w = joint + k * TILE_ROWS, *mean = means + k * D;
            double *to = second + (size_t)k * D * D;
            if (D <= FEW) {
                moments_few_features(tiles, w, K * TILE_ROWS, TILES, mean, D, 1, 0, mass + k,
                                     first + k * D, to);
                continue;
            }
            const Share share = share_of(w, K * TILE_ROWS, TILES);
            const Place *places = used_places(w, &share, all, ROWS / LANES, some);
            mass[k] += share.mass;
            multiply_vectors(tiles, D, w, places, share.vectors, mean, scaled, ROWS + LANES,
                             first + k * D, to, 0, 1);
        }
        at[4] = now();
        for (int i = 0; i < STAGES; i++)
            if (at[i + 1] - at[i] < best[i]) best[i] = at[i + 1] - at[i];
    }
    for (int i = 0; i < STAGES; i++) printf("%.1f ", best[i] / ROWS / K * 1e12);
    printf("%.1f\n", multiply_add() / LANES * D * D * 1e12);
    /* Used, or the compiler would leave out the logarithm and half of the entropy. */
    return scalars[0] == 0.0;
}
