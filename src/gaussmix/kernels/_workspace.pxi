# What a call reads (Problem), a thread's scratch (Workspace), and the one allocation for all of it.

from libc.string cimport memset

cdef struct FoldScratch:
    double *first  # padded; what it gets is of no use
    double *roots  # FOLD_ROWS + LANES
    double *panels  # as MomentScratch has them, of FOLD_ROWS rows
    int32_t *rows  # FOLD_ROWS


cdef struct Workspace:  # one per thread: scratch for a block
    double *tiles  # block * D
    double *joint  # block * K
    double *weight  # block
    double *limits  # K
    RuleSums *rule_sums  # of each tile of the block
    double *row_values  # one tile
    double *difference  # one tile of D
    double *whitened  # one tile of D
    MomentScratch moments
    FoldScratch fold  # pooled only
    double *apart  # an accumulator, where slots are `in_halves`
    Py_ssize_t bad_row
    Py_ssize_t next_piece  # of its range of the call, that nobody has begun
    Py_ssize_t due  # arrivals of its team that it waits for


cdef struct Problem:  # a call, as all threads read it
    Rows X
    Model model
    const double *weight  # NULL: all 1
    Py_ssize_t block
    # accumulate
    int layout
    Rule rule
    Py_ssize_t slot_rows
    Py_ssize_t first_slot
    Py_ssize_t n_accumulators
    Py_ssize_t accumulator_size
    double *accumulators
    # evaluate
    int want
    int wide
    void *out


# ---- Workspaces ----

cdef struct Carver:  # cuts aligned pieces off one allocation, or only adds up their sizes
    char *base
    size_t used


cdef inline double *carve(Carver *carver, Py_ssize_t n) noexcept nogil:
    """A piece of n doubles, on a cache line of its own; NULL while sizes are being added up."""
    cdef size_t at = carver.used
    carver.used += (<size_t>n * sizeof(double) + 63) // 64 * 64
    return <double *>(carver.base + at) if carver.base != NULL else NULL


cdef void *reserve_pieces(Carver *carver) noexcept nogil:
    """Memory, to be freed, for the sizes added up, to be carved off once more; or NULL."""
    cdef void *memory = reserve(carver.used + 64)
    carver.base = <char *>memory + (64 - <size_t>memory % 64) % 64
    carver.used = 0
    return memory


cdef inline Place *carve_places(Carver *carver, Py_ssize_t n) noexcept nogil:
    return <Place *>carve(carver, n * (sizeof(Place) // sizeof(double)))


cdef void carve_workspace(Carver *carver, const Problem *problem, bint accumulating,
                          Workspace *workspace) noexcept nogil:
    cdef Py_ssize_t n_features = problem.model.n_features, padded = problem.model.padded
    cdef Py_ssize_t block = problem.block, tile_rows = LANES * WIDE
    cdef MomentScratch *moments = &workspace.moments
    memset(workspace, 0, sizeof(Workspace))
    workspace.bad_row = -1
    workspace.tiles = carve(carver, block * n_features)
    workspace.joint = carve(carver, block * problem.model.n_components)
    workspace.weight = carve(carver, block)
    workspace.row_values = carve(carver, tile_rows)
    workspace.difference = carve(carver, tile_rows * n_features)
    workspace.whitened = carve(carver, tile_rows * n_features)
    if not accumulating:
        return
    workspace.limits = carve(carver, problem.model.n_components)
    workspace.rule_sums = <RuleSums *>carve(
        carver, block // tile_rows * (sizeof(RuleSums) // sizeof(double)))
    moments.column_first = carve(carver, padded)
    moments.column_second = carve(carver, max(padded, FEW * FEW))
    if n_features <= FEW:
        return
    moments.all_places = carve_places(carver, block // LANES)
    moments.places = carve_places(carver, block // LANES)
    moments.weights = carve(carver, block + LANES + 1)
    # A line more, or all runs (panels) begin at the same cache sets.
    moments.run = block + LANES
    if problem.layout == LAYOUT_POOLED:
        moments.delta = carve(carver, n_features * moments.run)
        moments.half = carve(carver, n_features * moments.run)
        moments.active = <int32_t *>carve(carver, problem.model.n_components)
        moments.labels = <int32_t *>carve(carver, block)
        moments.n_active = <int32_t *>carve(carver, block // tile_rows)
        carve_fold(carver, padded, &workspace.fold)
        if in_halves(problem):
            workspace.apart = carve(carver, problem.accumulator_size)
        return
    moments.rows = carve(carver, block * padded)
    moments.gathered = <int32_t *>carve(carver, block + 1)
    moments.panel = (block + 2) * LANES  # of two rows more, one of them for a pair
    if problem.layout == LAYOUT_FULL:
        moments.panels = carve(carver, padded // LANES * moments.panel)
        moments.scaled = carve(carver, BAND * moments.run)


cdef void carve_shared(Carver *carver, Problem *problem, bint accumulating) noexcept nogil:
    """What all threads read: the means in two derived forms."""
    cdef Model *model = &problem.model
    if model.factor_kind == FACTOR_SHARED:
        model.whitened_means = carve(carver, model.n_components * model.n_features)
        model.narrow_tiles = carve(carver, 3 * LANES * NARROW * model.n_features)
    if accumulating:
        model.padded_means = carve(carver, model.n_components * model.padded)


# Bytes between the workspaces of two threads: a core fetches ahead, beyond what it reads and writes,
# lines that another is writing. EPYC (Zen 4), two threads, D = 4, K = 16: with 64 the second one
# packed at a third of the rate of the first, with 4,096 at half of it, from 12,288 on at the same.
cdef size_t APART = 16384


cdef void *allocate(Problem *problem, bint accumulating, int n_threads,
                    Workspace *workspaces) except NULL:
    """One allocation for the call: shared parts, then a workspace per thread. To be freed."""
    cdef Carver carver
    cdef Workspace unused
    cdef size_t shared, each, total
    cdef void *memory
    cdef int thread
    cdef Model *model = &problem.model
    # Seven arrays of block * padded doubles at most, and one of block * K; `apart` is smaller.
    if 64.0 * problem.block * (8.0 * model.padded + model.n_components + 64.0) > (1 << 60):
        raise MemoryError("a block's workspace does not fit into memory")
    carver.base = NULL
    carver.used = 0
    carve_shared(&carver, problem, accumulating)
    shared = carver.used
    carver.used = 0
    carve_workspace(&carver, problem, accumulating, &unused)
    each = carver.used + (APART if n_threads > 1 else 0)
    if <double>each * n_threads + <double>shared > (1 << 60):
        raise MemoryError("the threads' workspaces do not fit into memory")
    total = shared + each * <size_t>n_threads + 64
    memory = reserve(total)
    if memory == NULL:
        raise MemoryError(f"{total} bytes of kernel workspace for {n_threads} threads")
    carver.base = <char *>memory + (64 - <size_t>memory % 64) % 64
    carver.used = 0
    carve_shared(&carver, problem, accumulating)
    for thread in range(n_threads):
        carver.used = shared + each * <size_t>thread
        carve_workspace(&carver, problem, accumulating, &workspaces[thread])
    if accumulating or model.factor_kind == FACTOR_SHARED:
        derive_means(model)
    return memory


cdef void derive_means(const Model *model) noexcept nogil:
    """Fill what all threads read; to be repeated when the model's means have changed."""
    if model.whitened_means != NULL:
        whiten_means(model)
    if model.padded_means != NULL:
        pad_means(model)


cdef void pad_means(const Model *model) noexcept nogil:
    cdef Py_ssize_t k, d
    for k in range(model.n_components):
        for d in range(model.padded):
            model.padded_means[k * model.padded + d] = (
                model.means[k * model.n_features + d] if d < model.n_features else 0.0)
