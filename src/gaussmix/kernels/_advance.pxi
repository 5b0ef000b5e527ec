# One step of online EM: the sums of a batch mixed into the running ones, their M-step, and the sums
# moved to the means that it makes.
#
# streams/advance.py states it in NumPy, and does what `advance` declines.

cdef Py_ssize_t JACOBI_FEATURES = 16  # with more, LAPACK's eigenvalues cost less, for all of NumPy
cdef int JACOBI_SWEEPS = 40  # it takes 5 to 10


cdef bint advance_state(const Fit *fit, double needed, const State *now, State *then,
                        int64_t *marks) noexcept nogil:
    """The next mixture and its sums; marks components held or raised. False if not ordinary."""
    cdef Py_ssize_t n_features = fit.n_features, k
    cdef bint ordinary
    if not move_unless_held(fit, needed, now, then, marks):
        return False
    if fit.step == STEP_FULL:
        ordinary = advance_full(fit, now, then, marks)
    elif fit.step == STEP_TIED:
        ordinary = advance_tied(fit, now, then, marks)
    elif fit.step == STEP_DIAG:
        ordinary = advance_diag(fit, now, then, marks)
    else:
        ordinary = advance_spherical(fit, now, then, marks)
    for k in range(fit.n_components):
        # They hold log det P_k so far.
        then.coefficients[k] = log(then.weights[k]) + then.coefficients[k] - (
            0.5 * n_features * LOG_2_PI)
    return ordinary


cdef bint move_unless_held(const Fit *fit, double needed, const State *now, State *then,
                           int64_t *marks) noexcept nogil:
    """Weights, means and centre; the first moments around the new means. Offsets of held are 0."""
    cdef Py_ssize_t n_features = fit.n_features, k, d, i
    cdef double total = 0.0, least
    for k in range(fit.n_components):
        total += now.mass[k]
    if not (total > 0.0 and total * 0.0 == 0.0):
        return False
    least = max(needed, EMPTY_SHARE * total)
    for d in range(n_features):
        then.centre[d] = 0.0
    for k in range(fit.n_components):
        marks[k] = MARK_NONE if now.mass[k] >= least else MARK_HELD
        then.weights[k] = now.mass[k] / total
        for d in range(n_features):
            i = k * n_features + d
            fit.offset[i] = 0.0 if marks[k] == MARK_HELD else now.first[i] / now.mass[k]
            then.first[i] = now.first[i] if marks[k] == MARK_HELD else 0.0
            then.means[i] = now.means[i] + fit.offset[i]
            then.centre[d] += rounded_product(then.weights[k], then.means[i])
    return True


cdef bint advance_full(const Fit *fit, const State *now, State *then,
                       int64_t *marks) noexcept nogil:
    """Covariances of the components that moved, mass times which are their second moments."""
    cdef Py_ssize_t n = fit.n_features, k, d, e, i
    cdef double *covariance
    cdef const double *second
    cdef const double *offset
    for k in range(fit.n_components):
        covariance, second = then.covariances + k * n * n, now.second + k * n * n
        offset = fit.offset + k * n
        if marks[k] == MARK_HELD:
            for i in range(k * n * n, (k + 1) * n * n):
                then.covariances[i], then.second[i] = now.covariances[i], now.second[i]
        else:
            for d in range(n):
                for e in range(d + 1):
                    covariance[d * n + e] = covariance[e * n + d] = (
                        second[d * n + e] / now.mass[k] - offset[d] * offset[e])
            for i in range(k * n * n, (k + 1) * n * n):
                then.second[i] = now.mass[k] * then.covariances[i]
        if not factorise_or_raise(fit, covariance, then.factors + k * n * n,
                                  then.coefficients + k, marks + k):
            return False
    return True


cdef bint advance_tied(const Fit *fit, const State *now, State *then,
                       int64_t *marks) noexcept nogil:
    """The covariance around the means, those held where they were; not if all were."""
    cdef Py_ssize_t n = fit.n_features, k, d, e
    cdef double total = 0.0
    cdef int64_t mark = MARK_NONE, held = 0
    for k in range(fit.n_components):
        total += now.mass[k]
        held += marks[k] == MARK_HELD
    if held == fit.n_components:
        return False
    moments_of_offsets(fit, now, fit.matrix)
    for d in range(n):
        for e in range(d + 1):
            then.second[d * n + e] = then.second[e * n + d] = (
                now.second[d * n + e] - fit.matrix[d * n + e])
            then.covariances[d * n + e] = then.covariances[e * n + d] = (
                then.second[d * n + e] / total)
    if not factorise_or_raise(fit, then.covariances, then.factors, then.coefficients, &mark):
        return False
    for k in range(fit.n_components):
        then.coefficients[k] = then.coefficients[0]
        if marks[k] != MARK_HELD:
            marks[k] = mark
    return True


cdef bint advance_diag(const Fit *fit, const State *now, State *then,
                       int64_t *marks) noexcept nogil:
    """Variances of the components that moved, mass times which are their second moments."""
    cdef Py_ssize_t n_features = fit.n_features, k, d, i
    cdef double log_determinant
    for k in range(fit.n_components):
        log_determinant = 0.0
        for d in range(n_features):
            i = k * n_features + d
            move_variance(fit, now, then, marks, k, i)
            then.covariances[i] = now.covariances[i] if marks[k] == MARK_HELD else (
                then.second[i] / now.mass[k])
            if not raise_variance(fit, then.covariances + i,
                                  fit.relative * (fit.scale[d] * fit.scale[d]), marks + k):
                return False
            then.factors[i] = 1.0 / sqrt(then.covariances[i])
            log_determinant += log(then.factors[i])
        then.coefficients[k] = log_determinant
    return True


cdef bint advance_spherical(const Fit *fit, const State *now, State *then,
                            int64_t *marks) noexcept nogil:
    """Mean variances over the features, by which the sums are kept."""
    cdef Py_ssize_t n_features = fit.n_features, k, d, i
    cdef double squares, lowest = 0.0
    for d in range(n_features):
        lowest = max(lowest, fit.relative * (fit.scale[d] * fit.scale[d]))
    for k in range(fit.n_components):
        squares = 0.0
        for i in range(k * n_features, (k + 1) * n_features):
            move_variance(fit, now, then, marks, k, i)
            squares += then.second[i]
        then.covariances[k] = now.covariances[k] if marks[k] == MARK_HELD else (
            squares / (now.mass[k] * n_features))
        if not raise_variance(fit, then.covariances + k, lowest, marks + k):
            return False
        for i in range(k * n_features, (k + 1) * n_features):
            then.factors[i] = 1.0 / sqrt(then.covariances[k])
        then.coefficients[k] = n_features * log(then.factors[k * n_features])
    return True


cdef inline void move_variance(const Fit *fit, const State *now, State *then,
                               const int64_t *marks, Py_ssize_t k, Py_ssize_t i) noexcept nogil:
    """The second moment `i`, of component `k`, around the new mean."""
    then.second[i] = now.second[i] if marks[k] == MARK_HELD else now.mass[k] * (
        now.second[i] / now.mass[k] - fit.offset[i] * fit.offset[i])


cdef inline bint raise_variance(const Fit *fit, double *variance, double lowest,
                                int64_t *mark) noexcept nogil:
    """Raise it to `lowest`; False if it then is not positive and finite."""
    if variance[0] < lowest:
        variance[0] = lowest
        if mark[0] != MARK_HELD:
            mark[0] = MARK_RAISED
    return is_variance(variance[0], lowest)


cdef bint factorise_or_raise(const Fit *fit, double *covariance, double *factor,
                             double *log_determinant, int64_t *mark) noexcept nogil:
    """The precision factor of a covariance, which is raised if it lies below the floor."""
    cdef Py_ssize_t n = fit.n_features
    if factorise_above_floor(fit, covariance, factor, log_determinant):
        return True
    if fit.relative == 0.0 or n > JACOBI_FEATURES or not raise_eigenvalues(fit, covariance):
        return False
    if not cholesky_rows(covariance, fit.upper, n):
        return False
    log_determinant[0] = invert_rows(fit.upper, factor, n)
    if mark[0] != MARK_HELD:
        mark[0] = MARK_RAISED
    return True


cdef bint raise_eigenvalues(const Fit *fit, double *covariance) noexcept nogil:
    """Raise eigenvalues, in scaled coordinates, to the floor; False if something is not finite.

    The cyclic Jacobi method (Golub & Van Loan, Matrix Computations, 4th ed., section 8.5).
    """
    cdef Py_ssize_t n = fit.n_features, p, q, d, e
    cdef double *matrix = fit.matrix
    cdef double *vectors = fit.upper  # a row each
    cdef double off, diagonal, lift
    cdef int sweep
    for d in range(n):
        for e in range(n):
            matrix[d * n + e] = covariance[d * n + e] / (fit.scale[d] * fit.scale[e])
            vectors[d * n + e] = d == e
    for sweep in range(JACOBI_SWEEPS + 1):
        off = diagonal = 0.0
        for p in range(n):
            diagonal += matrix[p * n + p] * matrix[p * n + p]
            for q in range(p):
                off += matrix[p * n + q] * matrix[p * n + q]
        if off <= EMPTY_SHARE * EMPTY_SHARE * diagonal:
            break
        if sweep == JACOBI_SWEEPS or not off * 0.0 == 0.0:
            return False
        for p in range(n):
            for q in range(p):
                if matrix[p * n + q] != 0.0:
                    rotate(matrix, vectors, n, p, q)
    for p in range(n):
        lift = fit.relative - matrix[p * n + p]
        if lift > 0.0:
            for d in range(n):
                for e in range(d + 1):
                    covariance[d * n + e] += lift * (vectors[p * n + d] * fit.scale[d]) * (
                        vectors[p * n + e] * fit.scale[e])
                    covariance[e * n + d] = covariance[d * n + e]
    return True


cdef void rotate(double *matrix, double *vectors, Py_ssize_t n, Py_ssize_t p,
                 Py_ssize_t q) noexcept nogil:
    """Make the entry (p, q) of a symmetric matrix 0 by a rotation, which the vectors follow."""
    cdef double ratio = (matrix[q * n + q] - matrix[p * n + p]) / (2.0 * matrix[p * n + q])
    cdef double tangent = 1.0 / (fabs(ratio) + sqrt(ratio * ratio + 1.0))
    cdef double cosine = 1.0 / sqrt(tangent * tangent + 1.0), sine, x, y
    cdef Py_ssize_t i
    sine = cosine * tangent if ratio >= 0.0 else -cosine * tangent
    for i in range(n):
        x, y = matrix[i * n + p], matrix[i * n + q]
        matrix[i * n + p], matrix[i * n + q] = cosine * x - sine * y, sine * x + cosine * y
    for i in range(n):
        x, y = matrix[p * n + i], matrix[q * n + i]
        matrix[p * n + i], matrix[q * n + i] = cosine * x - sine * y, sine * x + cosine * y
        x, y = vectors[p * n + i], vectors[q * n + i]
        vectors[p * n + i], vectors[q * n + i] = cosine * x - sine * y, sine * x + cosine * y
    matrix[p * n + q] = matrix[q * n + p] = 0.0


cdef bint mix_sums(Problem *problem, Workspace *workspaces, int n_threads, Py_ssize_t n_pieces,
                   const Fit *fit, double kept, double share, State *now,
                   State *batch) noexcept nogil:
    """now.mass and on become `kept` times what they are and `share` times the sums of the rows.

    False if a row or a sum of the rows is not finite. The memory of `batch` gets the latter.
    """
    cdef Py_ssize_t i
    if n_pieces > 0:
        if not gather_sums(problem, workspaces, n_threads, n_pieces, batch):
            return False
        for i in range(problem.accumulator_size):
            now.mass[i] = kept * now.mass[i] + share * batch.mass[i]
    else:
        for i in range(problem.accumulator_size):
            now.mass[i] *= kept
    if problem.layout == LAYOUT_FULL or problem.layout == LAYOUT_POOLED:
        # Of the rows there are lower triangles alone.
        mirror(now.second, fit.n_components if problem.layout == LAYOUT_FULL else 1,
               fit.n_features)
    return True


def advance(X, sample_weight, state, step, kept, share, needed, accumulators, plan, then, marks,
            n_threads):
    """Write the next mixture and its sums into `then`; -1 if declined, else whether any is marked.

    As ``kernels.contract`` states. O(n K D^2), O(K D^3) with matrices.
    """
    cdef Problem problem
    cdef Views views
    cdef Fit fit
    cdef State now, after, batch
    cdef Py_buffer *buffer
    cdef Py_ssize_t[1] shape
    cdef double least = needed, old = kept, new = share
    cdef Workspace *workspaces = NULL
    cdef double *memory = NULL
    cdef void *scratch = NULL
    cdef Py_ssize_t i, n_pieces, any_marked = 0
    cdef int threads
    memset(&problem, 0, sizeof(Problem))
    views.n = 0
    try:
        read_rows(&views, X, &problem)
        read_step(&views, step, &problem, &fit)
        if fit.step == STEP_MEANS:
            raise ValueError(f"step is {fit.step}; `advance` knows all but STEP_MEANS.")
        if problem.X.n_features != fit.n_features:
            raise ValueError(f"X has shape {X.shape}; rows of {fit.n_features} columns are needed.")
        if fit.step == STEP_SPHERICAL:
            problem.layout = LAYOUT_DIAG
        n_pieces = read_sums(&views, &problem, sample_weight, 0, (RULE_SOFT, 1.0, 0, 0),
                             accumulators, plan)
        read_state(&views, state, "state", &problem, fit.step, &now, False)
        read_state(&views, then, "then", &problem, fit.step, &after)
        buffer = view(&views, marks, "marks", 1, "lq", True)
        shape = [fit.n_components]
        check_contiguous(buffer, "marks", shape)
        if buffer.itemsize != sizeof(int64_t):
            raise ValueError(f"marks has dtype {marks.dtype}; int64 is needed.")
        point_model(&problem.model, &now)
        threads = startable_threads(<int>max(1, min(n_threads, n_pieces, MOST_THREADS)))
        workspaces = <Workspace *>reserve(threads * sizeof(Workspace))
        if workspaces == NULL:
            raise MemoryError(f"workspaces of {threads} threads")
        memory = allocate_fit(&fit, problem.accumulator_size)
        scratch = allocate(&problem, True, threads, workspaces)
        memcpy(memory, now.mass, <size_t>problem.accumulator_size * sizeof(double))
        batch = now
        place_sums(&problem, after.mass, &batch)
        place_sums(&problem, memory, &now)
        with nogil:
            if not mix_sums(&problem, workspaces, threads, n_pieces, &fit, old, new, &now, &batch):
                any_marked = -1
            else:
                # Masses, what is left of the pooled layout's pairs, and the scalars stay.
                memcpy(after.mass, now.mass, <size_t>problem.accumulator_size * sizeof(double))
                if not advance_state(&fit, least, &now, &after, <int64_t *>buffer.buf):
                    any_marked = -1
            if any_marked == 0:
                for i in range(fit.n_components):
                    any_marked |= (<int64_t *>buffer.buf)[i] != MARK_NONE
        return any_marked
    finally:
        free(scratch)
        free(memory)
        free(workspaces)
        release(&views)
