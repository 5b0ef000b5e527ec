# Stage 3, rule: log joint densities -> weighted responsibilities and the likelihoods' sums.

from libc.math cimport INFINITY

cdef struct Rule:
    int code
    double beta  # tempered
    uint64_t key  # stochastic: of the iteration's draws


cdef struct Sums:  # the parts of one accumulator
    double *mass
    double *first
    double *second
    double *pairs
    double *scalars


cdef double NEGLIGIBLE = 1e-20  # of a component's sums: 10,000 such rows are below rounding
cdef bint leave_out_negligible = True


def set_leave_out_negligible(bint leave_out):
    """Whether rows that cannot change a component's sums are left out; returns what held before.

    For tests, which compare both; nothing else turns it off.
    """
    global leave_out_negligible
    before = leave_out_negligible
    leave_out_negligible = leave_out
    return before


cdef void negligible_limits(const Model *model, double largest_weight, const double *mass,
                            double *limits) noexcept nogil:
    """Where a responsibility is too small to matter to the sums gathered so far.

    A row adds at most w r (1 + d2) to a component's mass and whitened second moments, in units in
    which these are about `mass`. With r <= exp(a), d2 = 2 (c - log joint) and
    log(1 + d2) <= 5.92 + SLOPE d2 / 2, it may be left out where
    log w + a + 5.92 + SLOPE (c - log joint) < log(NEGLIGIBLE mass); with log joint = a + max, where
    a - SLOPE / (1 - SLOPE) max < (log(NEGLIGIBLE mass / w) - 5.92 - SLOPE c) / (1 - SLOPE).
    A max above 0 is taken as 0, which leaves out less: it would outgrow the limits' own bounds.
    While the mass is 0, only where exp(a) could underflow. `mass` belongs to the accumulator, so
    what is left out depends on the rows and their numbers alone.
    """
    cdef Py_ssize_t k
    cdef double limit
    for k in range(model.n_components):
        limits[k] = LEAST_LIMIT
        if (leave_out_negligible and mass[k] > 0.0 and largest_weight > 0.0
                and model.coefficients[k] > -INFINITY):
            limit = (log_below(NEGLIGIBLE * (mass[k] / largest_weight)) - 5.92
                     - SLOPE * model.coefficients[k]) / (1.0 - SLOPE)
            limits[k] = max(LEAST_LIMIT, min(MOST_LIMIT, limit))


cdef void rule_tiles(const Rule *rule, const Model *model, uint64_t first_row, Py_ssize_t begin,
                     Py_ssize_t end, const double *weight, int unit_weights, const double *limits,
                     double *joint, bint each, RuleSums *sums) noexcept nogil:
    """Tiles [begin, end) of a block: joint[tile][k][row] becomes weight * responsibility.

    `sums` are those of all tiles or, with `each`, one for each tile of the block. `first_row` is
    the global number of the block's first row.
    """
    cdef Py_ssize_t tile, rows = LANES * WIDE
    if not each:
        clear_sums(sums)
    joint += begin * model.n_components * rows
    weight += begin * rows
    first_row += <uint64_t>(begin * rows)
    sums += begin if each else 0
    for tile in range(begin, end):
        if each:
            clear_sums(sums)
        if rule.code == RULE_SOFT:
            soft_tile(joint, model.n_components, model.coefficients, weight, limits, sums,
                      unit_weights)
        elif rule.code == RULE_HARD:
            hard_tile(joint, model.n_components, model.coefficients, weight, first_row,
                      unit_weights, sums)
        elif rule.code == RULE_STOCHASTIC:
            stochastic_tile(joint, model.n_components, model.coefficients, weight, rule.key,
                            first_row, unit_weights, sums)
        else:
            tempered_tile(joint, model.n_components, model.coefficients, weight, limits, rule.beta,
                          sums)
        sums += each
        joint += model.n_components * rows
        weight += rows
        first_row += <uint64_t>rows


cdef void add_tiles(const Rule *rule, RuleSums *sums, Py_ssize_t n_sums,
                    double *scalars) noexcept nogil:
    """Add a block's sums, in the order of its tiles, to an accumulator's scalars."""
    cdef Py_ssize_t tile
    for tile in range(1, n_sums):
        join_sums(sums + tile, sums)
    add_sums(sums, scalars)
    if rule.code == RULE_HARD:
        add_labels(sums, scalars + 4)


cdef void score_tile(int want, const Model *model, int vectors, Py_ssize_t count, double *joint,
                     double *row_values, void *out, Py_ssize_t first) noexcept nogil:
    """What scoring wants of a tile: rows [first, first + count) of `out`."""
    cdef Py_ssize_t rows = vectors * LANES, n_components = model.n_components, row, k
    cdef double *numbers = <double *>out + first * (
        1 if want == WANT_LOGPDF else n_components)
    if want == WANT_LOGPDF:
        log_density_tile(joint, n_components, vectors, row_values)
        for row in range(count):
            numbers[row] = row_values[row]
        return
    if want == WANT_LABELS:
        label_tile(joint, n_components, model.coefficients, vectors, row_values)
        for row in range(count):
            (<int64_t *>out)[first + row] = <int64_t>row_values[row]
        return
    if want == WANT_RESPONSIBILITIES:
        responsibility_tile(joint, n_components, model.coefficients, vectors)
    elif want == WANT_MAHALANOBIS:
        distance_tile(joint, n_components * rows)
    for row in range(count):
        for k in range(n_components):
            numbers[row * n_components + k] = joint[k * rows + row]
