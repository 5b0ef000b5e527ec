# What Python calls, and how the work is shared among threads. The stages, the slots, the workspaces
# and the reading of arguments stand in the files included before.

from cython.parallel cimport parallel, threadid


cdef extern from *:
    """
    #if defined(__VERSION__) && defined(__clang__)
    #define GAUSSMIX_COMPILER __VERSION__
    #elif defined(__VERSION__)
    #define GAUSSMIX_COMPILER "GCC " __VERSION__
    #else
    #define GAUSSMIX_COMPILER "unknown"
    #endif
    """
    const char *GAUSSMIX_COMPILER


cdef Py_ssize_t evaluate_block(const Problem *problem, Workspace *workspace,
                               Py_ssize_t number) noexcept nogil:
    """Pack, density and score for block `number`; -1, or its first row with NaN or inf."""
    cdef const Model *model = &problem.model
    cdef int vectors = WIDE if problem.wide else NARROW, huge = 0
    cdef Py_ssize_t tile_rows = LANES * vectors, first = number * problem.block, tile, bad
    cdef Py_ssize_t count = min(problem.block, problem.X.n_rows - first)
    cdef Py_ssize_t n_tiles = (count + tile_rows - 1) // tile_rows
    cdef Bytes unknown = Bytes(NULL, 0)  # another thread may take what follows
    bad = pack_block(&problem.X, first, count, tile_rows, workspace.tiles, &huge)
    if bad >= 0:
        return first + bad
    density_block(model, workspace.tiles, n_tiles, problem.wide,
                  problem.want == WANT_MAHALANOBIS, &unknown, workspace.difference,
                  workspace.whitened, workspace.joint)
    for tile in range(n_tiles):
        score_tile(problem.want, model, vectors,
                   min(tile_rows, count - tile * tile_rows),
                   workspace.joint + tile * tile_rows * model.n_components, workspace.row_values,
                   problem.out, first + tile * tile_rows)
    return -1


cdef void run_pieces(const Problem *problem, Workspace *workspaces, bint accumulating,
                     Py_ssize_t n_pieces, int n_threads, double *total) noexcept nogil:
    """Share the pieces (accumulators or blocks) among threads; bad rows land in the workspaces.

    `total`, unless it is NULL, gets the sum of the accumulators. One thread never enters OpenMP:
    the process may be the child of a fork, where it would hang. More than one have been promised by
    `startable_threads`.
    """
    cdef Py_ssize_t piece, n_slots = slots_alone(problem, n_threads) if accumulating else n_pieces
    cdef Py_ssize_t alone = min(n_pieces, n_slots)
    cdef Team team = Team(workspaces, 0, 0, -1)
    cdef int thread
    if n_threads <= 1:
        for piece in range(n_pieces):
            run_piece(problem, workspaces, accumulating, piece, n_slots)
        if total != NULL:
            add_accumulators(problem, workspaces, n_pieces, total, NULL)
        return
    for thread in range(n_threads):
        workspaces[thread].due = 0
        workspaces[thread].next_piece = range_begin(alone, n_slots, thread, n_threads)
    with parallel(num_threads=n_threads):
        run_ranges(problem, workspaces, accumulating, alone, n_slots, n_threads)
        if accumulating:
            run_team(problem, workspaces + threadid(), n_slots, &team)
        if total != NULL:
            add_accumulators(problem, workspaces + threadid(), n_pieces, total, &team)


cdef void add_accumulators(const Problem *problem, Workspace *workspace, Py_ssize_t count,
                           double *total, Team *team) noexcept nogil:
    """total = the sum of the first `count` accumulators, folded; each of a team does a part."""
    cdef int number = 0, n_threads = 1
    cdef Sums sums = sums_at(problem, total)
    if team != NULL:
        number, n_threads = threadid(), team_size()
        wait_for_team(&team.arrived, &workspace.due)
        if team.bad_row >= 0:
            return  # there may be accumulators that nobody has begun
    combine_part(problem.accumulators, count, problem.accumulator_size, total, number, n_threads)
    if problem.layout == LAYOUT_POOLED and problem.model.n_features > FEW:
        if team != NULL:
            wait_for_team(&team.arrived, &workspace.due)
        fold(sums.pairs, &problem.model, &workspace.fold, sums.second, number, n_threads)


cdef void run_ranges(const Problem *problem, Workspace *workspaces, bint accumulating,
                     Py_ssize_t n_pieces, Py_ssize_t n_slots, int n_threads) noexcept nogil:
    """Each thread has a range of pieces, the same in every pass, so that their rows and sums stay
    in its cache; when it is through it goes on with what others have not begun.
    """
    cdef int own = threadid(), i, owner
    cdef Py_ssize_t piece, end
    for i in range(n_threads):
        owner = (own + i) % n_threads
        end = range_begin(n_pieces, n_slots, owner + 1, n_threads)
        while True:
            piece = take_next(&workspaces[owner].next_piece, NULL)
            if piece >= end:
                break
            run_piece(problem, workspaces + own, accumulating, piece, n_slots)


cdef Py_ssize_t range_begin(Py_ssize_t n_pieces, Py_ssize_t n_slots, int thread,
                            int n_threads) noexcept nogil:
    """Where a thread's range begins, so that all have about as many slots.

    Of the pieces, accumulators, the first ones may have a slot more than the others.
    """
    cdef Py_ssize_t each, more, slot = n_slots * thread // n_threads
    if n_pieces == 0:
        return 0
    each, more = n_slots // n_pieces, n_slots % n_pieces
    if slot <= more * (each + 1):
        return (slot + (each + 1) // 2) // (each + 1)
    return more + (slot - more * (each + 1) + each // 2) // each


cdef void run_piece(const Problem *problem, Workspace *workspace, bint accumulating,
                    Py_ssize_t piece, Py_ssize_t n_slots) noexcept nogil:
    cdef Py_ssize_t bad
    if accumulating:
        bad = run_accumulator(problem, workspace, piece, n_slots)
    else:
        bad = evaluate_block(problem, workspace, piece)
    note_bad_row(workspace, bad)


cdef bint is_brief(const Problem *problem) noexcept nogil:
    """Whether a call takes so short a time that Python threads do better to wait for it.

    To give the lock away and take it back costs 10 us where others want it; 16 threads scoring
    100 rows each (D = K = 8) did a third of what one did.
    """
    cdef const Model *model = &problem.model
    cdef double values = <double>problem.X.n_rows * model.n_components * (model.n_features + 8)
    if model.factor_kind == FACTOR_FULL:
        values *= model.n_features
    return values < BRIEF_VALUES


cdef double BRIEF_VALUES = 1 << 18  # 5 to 50 us


cdef Py_ssize_t run(Problem *problem, bint accumulating, Py_ssize_t n_pieces,
                    Py_ssize_t n_threads) except -2:
    """Allocate, share the work out, free; -1, or the first row with NaN or inf."""
    cdef int threads = startable_threads(<int>max(1, min(n_threads, n_pieces, MOST_THREADS)))
    cdef int thread
    cdef Workspace single
    cdef Workspace *workspaces = &single
    cdef void *memory = NULL
    cdef Py_ssize_t bad = -1, found
    if threads > 1:
        workspaces = <Workspace *>reserve(threads * sizeof(Workspace))
        if workspaces == NULL:
            raise MemoryError(f"workspaces of {threads} threads")
    try:
        memory = allocate(problem, accumulating, threads, workspaces)
        if threads == 1 and is_brief(problem):
            run_pieces(problem, workspaces, accumulating, n_pieces, threads, NULL)
        else:
            with nogil:
                run_pieces(problem, workspaces, accumulating, n_pieces, threads, NULL)
        for thread in range(threads):
            found = workspaces[thread].bad_row
            if found >= 0 and (bad < 0 or found < bad):
                bad = found
    finally:
        free(memory)
        if threads > 1:
            free(workspaces)
    return bad


# ---- Entry points ----

def accumulate(X, sample_weight, first_row, parameters, layout, rule, accumulators, plan,
               n_threads):
    """Add the rows of X to the accumulators; -1, or the first row with NaN or inf.

    As ``kernels.reference`` states. `X` and `sample_weight` are only read; `accumulators` is
    written, and its content means nothing if a row is returned. O(N K D^2), or O(N K D) for
    diagonal factors; O(N (D^2 + K D)) for shared ones with the pooled layout.
    """
    cdef Problem problem
    cdef Views views
    cdef Py_ssize_t n_pieces
    memset(&problem, 0, sizeof(Problem))
    views.n = 0
    try:
        read_rows(&views, X, &problem)
        read_model(&views, parameters, &problem)
        problem.layout = layout
        if not 0 <= problem.layout <= LAYOUT_POOLED:
            raise ValueError(f"layout is {layout}; use one of the LAYOUT_ codes.")
        n_pieces = read_sums(&views, &problem, sample_weight, first_row, rule, accumulators, plan)
        return run(&problem, True, n_pieces, n_threads)
    finally:
        release(&views)


cdef Py_ssize_t read_sums(Views *views, Problem *problem, object sample_weight, object first_row,
                          object rule, object accumulators, object plan) except -1:
    """What is summed and how; returns how many accumulators take part.

    X, the sizes of the model and the layout must have been read.
    """
    cdef Py_ssize_t n_slots, start = first_row, tile_rows = LANES * WIDE
    cdef Py_ssize_t[2] shape
    code, beta, seed, iteration = rule
    problem.rule.code = code
    if not 0 <= problem.rule.code <= RULE_STOCHASTIC:
        raise ValueError(f"rule is {rule}; use one of the RULE_ codes.")
    problem.rule.beta = beta
    problem.rule.key = splitmix(seed, iteration)
    problem.block, problem.slot_rows, problem.n_accumulators = plan
    if (problem.block < 1 or problem.block > 1 << 20 or problem.block % tile_rows
            or problem.slot_rows < 1 or problem.slot_rows % problem.block
            or problem.n_accumulators < 1):
        raise ValueError(f"{plan} is no plan: slot_rows has to be a multiple of block, and "
                         f"block of {tile_rows}. Use plan().")
    # Few rows get a small workspace; they are one block either way.
    problem.block = min(problem.block, (problem.X.n_rows // tile_rows + 1) * tile_rows)
    if start < 0 or start % problem.slot_rows:
        raise ValueError(f"first_row is {first_row}; a multiple of slot_rows = "
                         f"{problem.slot_rows} is needed. Cut the rows at slot boundaries.")
    if sample_weight is not None:
        problem.weight = numbers(views, sample_weight, "sample_weight", problem.X.n_rows)
    problem.first_slot = start // problem.slot_rows
    problem.accumulator_size = accumulator_size(problem)
    shape = [problem.n_accumulators, problem.accumulator_size]
    buffer = view(views, accumulators, "accumulators", 2, "d", True)
    check_contiguous(buffer, "accumulators", shape)
    problem.accumulators = <double *>buffer.buf
    n_slots = problem.X.n_rows // problem.slot_rows + (problem.X.n_rows % problem.slot_rows > 0)
    return min(n_slots, problem.n_accumulators)


cdef Py_ssize_t accumulator_size(const Problem *problem) except -1:
    cdef Py_ssize_t n_components = problem.model.n_components
    cdef Py_ssize_t n_features = problem.model.n_features, second
    if (<double>n_components * n_features * n_features + <double>n_components * n_components
            > <double>(1 << 58)):
        raise MemoryError(f"accumulators of {n_components} components in {n_features} features")
    if problem.layout == LAYOUT_SPHERICAL:
        second = n_components
    elif problem.layout == LAYOUT_DIAG:
        second = n_components * n_features
    elif problem.layout == LAYOUT_FULL:
        second = n_components * n_features * n_features
    else:
        second = n_features * n_features + n_components * n_components
    return n_components + n_components * n_features + second + N_SCALARS


def evaluate(X, parameters, want, out, n_threads):
    """Write what `want` names into `out`; -1, or the first row of X with NaN or inf.

    As ``kernels.contract`` states. A row's result does not depend on the other rows. `out` is
    C-contiguous: (n,) int64 for labels, (n,) float64 for log densities, else (n, K) float64.
    """
    cdef Problem problem
    cdef Views views
    cdef Py_ssize_t[2] shape
    cdef Py_ssize_t n_rows, tile_rows = LANES * WIDE
    memset(&problem, 0, sizeof(Problem))
    views.n = 0
    try:
        read_rows(&views, X, &problem)
        read_model(&views, parameters, &problem)
        problem.want = want
        if not 0 <= problem.want <= WANT_MAHALANOBIS:
            raise ValueError(f"want is {want}; use one of the WANT_ codes.")
        n_rows = problem.X.n_rows
        shape = [n_rows, problem.model.n_components]
        if problem.want == WANT_LABELS:
            buffer = view(&views, out, "out", 1, "lq", True)
            if buffer.itemsize != sizeof(int64_t):
                raise ValueError(f"out has dtype {out.dtype}; int64 is needed for labels.")
        elif problem.want == WANT_LOGPDF:
            buffer = view(&views, out, "out", 1, "d", True)
        else:
            buffer = view(&views, out, "out", 2, "d", True)
        check_contiguous(buffer, "out", shape)
        problem.out = buffer.buf
        problem.wide = n_rows > LANES
        if not problem.wide:
            tile_rows = LANES * NARROW
        problem.block = min(evaluate_block_rows(&problem.model),
                            max(1, (n_rows + tile_rows - 1) // tile_rows) * tile_rows)
        return run(&problem, False, (n_rows + problem.block - 1) // problem.block, n_threads)
    finally:
        release(&views)


cdef Py_ssize_t evaluate_block_rows(const Model *model) noexcept:
    """Rows of a block in scoring; what comes out does not depend on it."""
    cdef Py_ssize_t block = 64
    while block < 512 and 16 * block * (model.n_features + model.n_components) <= 1 << 17:
        block *= 2
    return block


def cpu_supports():
    """The instruction-set levels this machine can run: a dict of level name -> bool."""
    cdef int level = machine_level()
    return {"base": True, "avx2": level >= 1, "avx512": level >= 2}


def openmp_threads():
    """How many threads OpenMP would use now: ``omp_get_max_threads`` of the calling thread."""
    return openmp_max_threads()


watch_forks()
LEVEL = GAUSSMIX_LEVEL.decode()
LANES_PER_VECTOR = LANES
OPENMP = GAUSSMIX_OPENMP  # the version, as the macro _OPENMP gives it; 0 without
COMPILER = GAUSSMIX_COMPILER.decode()
