# The EM loop over ordinary iterations: M-step, pass over the rows, checks, stopping rule.
#
# What is not ordinary is left to algorithms/em.py, which does that iteration and comes back;
# `state` then still is what it was before.

from libc.math cimport fabs
from libc.string cimport memcpy


# ---- States ----

cdef Py_ssize_t point_state(const Problem *problem, int step, double *base,
                            State *state) except -1:
    """Set the pointers of a state that begins at `base`; returns its length in doubles."""
    cdef Py_ssize_t size = accumulator_size(problem)  # refuses what cannot be addressed
    cdef Py_ssize_t n_components = problem.model.n_components
    cdef Py_ssize_t n_features = problem.model.n_features
    cdef Py_ssize_t covariances = n_components * n_features, factors = covariances
    if step == STEP_SPHERICAL:
        covariances = n_components
    elif step == STEP_FULL:
        covariances = factors = n_components * n_features * n_features
    elif step == STEP_TIED:
        covariances = factors = n_features * n_features
    state.weights = base
    state.means = state.weights + n_components
    state.covariances = state.means + n_components * n_features
    state.coefficients = state.covariances + covariances
    state.factors = state.coefficients + n_components
    state.centre = state.factors + factors
    place_sums(problem, state.centre + n_features, state)
    return state.mass + size - base


cdef void place_sums(const Problem *problem, double *sums, State *state) except *:
    """Set the pointers of a state's sums, an accumulator that begins at `sums`."""
    cdef Py_ssize_t n_components = problem.model.n_components
    state.mass = sums
    state.first = state.mass + n_components
    state.second = state.first + n_components * problem.model.n_features
    state.scalars = state.mass + accumulator_size(problem) - N_SCALARS


cdef int read_state(Views *views, object array, str name, const Problem *problem, int step,
                    State *state, bint writable=True) except -1:
    """The state that a flat array holds, which is only read unless it is `writable`."""
    cdef State unused
    cdef Py_ssize_t[1] shape = [0]
    cdef Py_buffer *buffer = view(views, array, name, 1, "d", writable)
    shape[0] = point_state(problem, step, NULL, &unused)
    check_contiguous(buffer, name, shape)
    point_state(problem, step, <double *>buffer.buf, state)
    return 0


cdef int read_step(Views *views, object step, Problem *problem, Fit *fit) except -1:
    """The M-step, and of the model what follows from it."""
    cdef Model *model = &problem.model
    code, n_components, n_features, scale, relative = step
    fit.step = code
    fit.relative = relative
    fit.n_components = model.n_components = n_components
    fit.n_features = model.n_features = n_features
    if not 0 <= fit.step <= STEP_MEANS:
        raise ValueError(f"step is {code}; use one of the STEP_ codes.")
    if not (1 <= model.n_components <= INT32_MAX and 1 <= model.n_features <= INT32_MAX):
        raise ValueError(f"n_components is {n_components} and n_features {n_features}; both must "
                         "be from 1 to 2**31 - 1.")
    fit.scale = numbers(views, scale, "scale", n_features)
    model.padded = padded_features(n_features)
    model.factor_kind = FACTOR_DIAG
    problem.layout = LAYOUT_SPHERICAL
    if fit.step == STEP_FULL:
        model.factor_kind, problem.layout = FACTOR_FULL, LAYOUT_FULL
    elif fit.step == STEP_TIED:
        model.factor_kind, problem.layout = FACTOR_SHARED, LAYOUT_POOLED
    elif fit.step == STEP_DIAG:
        problem.layout = LAYOUT_DIAG
    return 0


cdef double *allocate_fit(Fit *fit, Py_ssize_t state_size, int n_threads=1) except NULL:
    """One allocation for a state, which stands first, and for the M-step's scratch."""
    cdef Py_ssize_t square = fit.n_features * fit.n_features
    cdef Py_ssize_t offsets = fit.n_components * fit.n_features
    cdef double *memory
    fit.n_threads = n_threads
    memory = <double *>reserve(<size_t>(
        state_size + offsets + 2 * square * threads_with_components(fit)) * sizeof(double))
    if memory == NULL:
        raise MemoryError(f"the M-step of {fit.n_components} components in {fit.n_features} "
                          "features does not fit into memory")
    fit.offset = memory + state_size
    fit.matrix = fit.offset + offsets
    fit.upper = fit.matrix + square
    return memory


def maximise(state, step, then, n_threads=1):
    """Write the M-step from `state` into `then`; whether it was an ordinary one.

    As ``kernels.contract`` states; threads share the components. O(K D^2), O(K D^3) with matrices.
    """
    cdef Problem problem
    cdef Views views
    cdef Fit fit
    cdef State now, after
    cdef double *memory = NULL
    memset(&problem, 0, sizeof(Problem))
    views.n = 0
    try:
        read_step(&views, step, &problem, &fit)
        read_state(&views, state, "state", &problem, fit.step, &now)
        read_state(&views, then, "then", &problem, fit.step, &after)
        memory = allocate_fit(
            &fit, 0, startable_threads(<int>max(1, min(n_threads, MOST_THREADS))))
        with nogil:
            ordinary = maximise_state(&fit, &now, &after)
        return ordinary
    finally:
        free(memory)
        release(&views)


# ---- The loop ----

cdef void point_model(Model *model, const State *state) noexcept nogil:
    """Let a pass be made under the mixture of `state`."""
    model.coefficients, model.means = state.coefficients, state.means
    model.factors, model.centre = state.factors, state.centre


cdef bint sums_are_finite(const Problem *problem, const State *state) noexcept nogil:
    # Eight sums at a time, or each addition would wait for the last.
    cdef Py_ssize_t i = 0, j
    cdef double[8] totals = [0.0] * 8
    while i + 8 <= problem.accumulator_size:
        for j in range(8):
            totals[j] += fabs(state.mass[i + j])
        i += 8
    for j in range(problem.accumulator_size - i):
        totals[j] += fabs(state.mass[i + j])
    for j in range(1, 8):
        totals[0] += totals[j]
    return totals[0] * 0.0 == 0.0


cdef bint same_mixture(const State *a, const State *b) noexcept nogil:
    """Whether weights, means and covariances are equal, number by number."""
    cdef Py_ssize_t i
    for i in range(a.coefficients - a.weights):
        if a.weights[i] != b.weights[i]:
            return False
    return True


cdef bint gather_sums(Problem *problem, Workspace *workspaces, int n_threads,
                      Py_ssize_t n_pieces, State *state) noexcept nogil:
    """One pass over the rows under the state's mixture; False if a row or a sum is not finite."""
    cdef int thread
    point_model(&problem.model, state)
    derive_means(&problem.model)
    run_pieces(problem, workspaces, True, n_pieces, n_threads, state.mass)
    for thread in range(n_threads):
        if workspaces[thread].bad_row >= 0:
            return False
    return sums_are_finite(problem, state)


cdef struct Trace:  # what has been reached, and when to stop
    double *values  # (length, 2): log-likelihood and classification log-likelihood
    Py_ssize_t length
    Py_ssize_t done
    double tol
    double before  # the objective before the state's; NaN if there was none


# An objective that falls by less than this part of the likelihoods does so by rounding; it is the
# part of em.rounding_bound that does not depend on the mixture.
cdef double ROUNDING = 64.0 * 2.0 ** -52


cdef int iterate_states(Problem *problem, Workspace *workspaces, int n_threads,
                        Py_ssize_t n_pieces, const Fit *fit, bint fresh, State *now, State *then,
                        Trace *trace) noexcept nogil:
    """Iterations until `trace` is full or something has to be decided: a LOOP_ code.

    `now` is the last state, also afterwards, and `then` the other memory.
    """
    cdef int objective = 1 if problem.rule.code == RULE_HARD else 0  # number of its scalar
    cdef double value = now.scalars[objective], before = trace.before, change
    cdef bint unchanged, same_labels
    if fresh:
        if not gather_sums(problem, workspaces, n_threads, n_pieces, then):
            return LOOP_HANDED_BACK
        value = then.scalars[objective]
        now[0], then[0] = then[0], now[0]
        record(trace, now)
    change = INFINITY if before != before else (value - before) / now.scalars[3]
    while trace.done < trace.length:
        before = value
        if not (maximise_state(fit, now, then)
                and gather_sums(problem, workspaces, n_threads, n_pieces, then)):
            return LOOP_HANDED_BACK
        value = then.scalars[objective]
        if before - value > ROUNDING * (fabs(now.scalars[0]) + fabs(now.scalars[1])):
            return LOOP_HANDED_BACK
        unchanged = value == before and same_mixture(now, then)
        same_labels = (problem.rule.code == RULE_HARD
                       and labels_of(now.scalars + 4) == labels_of(then.scalars + 4))
        now[0], then[0] = then[0], now[0]
        record(trace, now)
        if fabs(change) < trace.tol:
            return LOOP_SETTLED
        if same_labels:
            return LOOP_SAME_LABELS
        if unchanged:
            return LOOP_UNCHANGED
        change = (value - before) / now.scalars[3]
    return LOOP_FULL


cdef void record(Trace *trace, const State *state) noexcept nogil:
    trace.values[2 * trace.done] = state.scalars[0]
    trace.values[2 * trace.done + 1] = state.scalars[1]
    trace.done += 1


def iterate(X, sample_weight, state, step, fresh, rule, accumulators, plan, tol, before, trace,
            n_threads):
    """Do EM iterations in place; how many were done, and a LOOP_ code.

    As ``kernels.contract`` states. O(N K D^2) for each, or O(N K D) for diagonal factors.
    """
    cdef Problem problem
    cdef Views views
    cdef Fit fit
    cdef State now, then
    cdef double *home
    cdef Trace history
    cdef Py_ssize_t n_pieces, state_size
    cdef Py_ssize_t[2] shape
    cdef int code, threads
    cdef bint is_fresh = fresh
    cdef Workspace *workspaces = NULL
    cdef double *memory = NULL
    cdef void *scratch = NULL
    memset(&problem, 0, sizeof(Problem))
    views.n = 0
    try:
        read_rows(&views, X, &problem)
        read_step(&views, step, &problem, &fit)
        if problem.X.n_features != fit.n_features or problem.X.n_rows < 1:
            raise ValueError(f"X has shape {X.shape}; rows of {fit.n_features} columns are needed.")
        n_pieces = read_sums(&views, &problem, sample_weight, 0, rule, accumulators, plan)
        if problem.rule.code not in (RULE_SOFT, RULE_HARD):
            raise ValueError(f"rule is {rule}; the loop knows RULE_SOFT and RULE_HARD.")
        read_state(&views, state, "state", &problem, fit.step, &now)
        buffer = view(&views, trace, "trace", 2, "d", True)
        shape = [buffer.shape[0], 2]
        check_contiguous(buffer, "trace", shape)
        if is_fresh and buffer.shape[0] < 1:
            raise ValueError("trace is empty; the first pass needs an element. Make it longer.")
        history = Trace(<double *>buffer.buf, buffer.shape[0], 0, tol, before)
        state_size = now.mass + problem.accumulator_size - now.weights
        threads = startable_threads(<int>max(1, min(n_threads, n_pieces, MOST_THREADS)))
        memory = allocate_fit(&fit, state_size, threads)
        point_state(&problem, fit.step, memory, &then)
        home = now.weights
        memcpy(memory, home, state_size * sizeof(double))  # for the pass that is `fresh`
        point_model(&problem.model, &then)
        workspaces = <Workspace *>reserve(threads * sizeof(Workspace))
        if workspaces == NULL:
            raise MemoryError(f"workspaces of {threads} threads")
        scratch = allocate(&problem, True, threads, workspaces)
        with nogil:
            code = iterate_states(&problem, workspaces, threads, n_pieces, &fit, is_fresh, &now,
                                  &then, &history)
            if problem.layout == LAYOUT_FULL or problem.layout == LAYOUT_POOLED:
                mirror(now.second, fit.n_components if problem.layout == LAYOUT_FULL else 1,
                       fit.n_features)
            if now.weights != home:
                memcpy(home, now.weights, state_size * sizeof(double))
        return history.done, code
    finally:
        free(scratch)
        free(workspaces)
        free(memory)
        release(&views)
