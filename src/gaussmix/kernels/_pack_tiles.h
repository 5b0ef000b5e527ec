/* The pack stage's check of a packed tile. */
#ifndef GAUSSMIX_PACK_TILES_H
#define GAUSSMIX_PACK_TILES_H

#include "_vector.h"

/* Sum of |x| over n values (a multiple of LANES): NaN or inf if any value is. */
static double absolute_sum(const double *x, ptrdiff_t n) {
    vec sum = v_set(0.0);
    for (ptrdiff_t i = 0; i < n; i += LANES) sum += v_abs(v_load(x + i));
    return v_sum(sum);
}

#endif
