# A mixture arranged once for scoring again and again, a row or a few at a time.
#
# A few rows go one by one, with components as lanes; more go through the tiles of evaluate. Either
# way a row gets the same bits (_row_tiles.h). Nothing here needs the GIL or writes to the mixture.

from gaussmix cimport (
    GAUSSMIX_API_VERSION, GAUSSMIX_BAD_ARGUMENT, GAUSSMIX_NO_MEMORY, GAUSSMIX_NOT_FINITE,
    GAUSSMIX_OK, GAUSSMIX_OTHER_MODEL, gaussmix_api, gaussmix_model,
)

cdef extern from "_row_tiles.h" nogil:
    Py_ssize_t TRIANGLE(Py_ssize_t n)
    int read_row(const char *row, Py_ssize_t step, Py_ssize_t n_features, Py_ssize_t item,
                 double *x)
    void arrange_factor(const double *factor, Py_ssize_t n_features, double *to)
    void row_full(const double *x, const double *block, Py_ssize_t n_blocks,
                  const double *coefficients, Py_ssize_t n_features, double *difference,
                  double *joint)
    void row_diag(const double *x, const double *block, Py_ssize_t n_blocks,
                  const double *coefficients, Py_ssize_t n_features, double *joint)
    void row_whitened(const double *z, const double *block, Py_ssize_t n_blocks,
                      const double *coefficients, Py_ssize_t n_features, double *joint)
    void whiten_row(const double *x, const double *centre, const double *columns,
                    Py_ssize_t n_features, Py_ssize_t padded, double *z)
    double row_log_density(double *joint, Py_ssize_t n, Py_ssize_t n_components)
    void row_responsibilities(double *joint, Py_ssize_t n, Py_ssize_t n_components,
                              const double *coefficients)
    Py_ssize_t row_label(const double *joint, Py_ssize_t n, Py_ssize_t n_components,
                         const double *coefficients, double *best)

cdef enum:
    WANT_NEAREST = 5  # beside contract's: the label by distance alone, or -1 beyond the gate
    STACK_NUMBERS = 2048  # scratch that is taken from the stack; more is allocated
    # Up to FEW_LANES / LANES rows go one by one, and up to 2 LANES in narrow tiles. Zen 4, D=8, K=16,
    # full: with AVX-512 a row takes 0.12 us, a narrow tile of 8 rows 0.35, a wide one of 32 1.3.
    FEW_LANES = 32


cdef gaussmix_api table  # filled in _table.pxi


cdef struct Frozen:
    gaussmix_model face  # first: what C programs know is a pointer to the whole
    Model model  # the arrays belong to the parameters that the owner holds
    const double *weights
    Py_ssize_t padded_components  # to whole vectors
    Py_ssize_t padded_features
    double *blocks
    double *columns  # of the shared factor
    double *coefficients  # padded with -inf
    double *levels  # 0, or -inf for a component of weight 0: what nearest needs for coefficients
    void *memory


cdef Py_ssize_t block_vectors(const Model *model) noexcept nogil:
    """Vectors of a block of LANES components."""
    cdef Py_ssize_t n_features = model.n_features
    if model.factor_kind == FACTOR_FULL:
        return n_features + TRIANGLE(n_features)
    return n_features * (2 if model.factor_kind == FACTOR_DIAG else 1)


cdef void carve_frozen(Carver *carver, Frozen *frozen) noexcept nogil:
    cdef Model *model = &frozen.model
    cdef Py_ssize_t padded = frozen.padded_components
    frozen.coefficients = carve(carver, padded)
    frozen.levels = carve(carver, padded)
    frozen.blocks = carve(carver, padded * block_vectors(model))
    if model.factor_kind == FACTOR_SHARED:
        model.whitened_means = carve(carver, model.n_components * model.n_features)
        model.narrow_tiles = carve(carver, 3 * LANES * NARROW * model.n_features)
        frozen.columns = carve(carver, model.n_features * frozen.padded_features)


cdef int freeze(Frozen *frozen) except -1:
    """Allocate and fill what follows from `model` and `weights`, which are set."""
    cdef Carver carver = Carver(NULL, 0)
    cdef Model *model = &frozen.model
    cdef size_t size
    cdef Py_ssize_t n_features = model.n_features
    frozen.padded_components = (model.n_components + LANES - 1) // LANES * LANES
    frozen.padded_features = (n_features + LANES - 1) // LANES * LANES
    carve_frozen(&carver, frozen)
    size = carver.used
    frozen.memory = reserve_pieces(&carver)
    if frozen.memory == NULL:
        raise MemoryError(f"{size} bytes of a scorer's parameters")
    memset(carver.base, 0, size)
    carve_frozen(&carver, frozen)
    derive_means(model)
    arrange(frozen)
    frozen.face.size = sizeof(gaussmix_model)
    frozen.face.api = &table
    frozen.face.version = GAUSSMIX_API_VERSION
    frozen.face.covariance_type = model.factor_kind
    frozen.face.n_components = model.n_components
    frozen.face.n_features = n_features
    return 0


cdef void arrange(Frozen *frozen) noexcept nogil:
    """The mixture's numbers in the order in which a row meets them."""
    cdef const Model *model = &frozen.model
    cdef Py_ssize_t n_features = model.n_features, size = block_vectors(model) * LANES, k, d, e
    cdef const double *means = model.means
    cdef double *lane
    if model.factor_kind == FACTOR_SHARED:
        means = model.whitened_means
        for e in range(n_features):
            for d in range(e, n_features):
                frozen.columns[e * frozen.padded_features + d] = model.factors[d * n_features + e]
    for k in range(frozen.padded_components):
        frozen.coefficients[k] = frozen.levels[k] = -INFINITY
    for k in range(model.n_components):
        frozen.coefficients[k] = model.coefficients[k]
        if frozen.weights[k] > 0.0:
            frozen.levels[k] = 0.0
        lane = frozen.blocks + k // LANES * size + k % LANES
        for d in range(n_features):
            lane[d * LANES] = means[k * n_features + d]
        lane += n_features * LANES
        if model.factor_kind == FACTOR_FULL:
            arrange_factor(model.factors + k * n_features * n_features, n_features, lane)
        elif model.factor_kind == FACTOR_DIAG:
            for d in range(n_features):
                lane[d * LANES] = model.factors[k * n_features + d]


# ---- One row ----

cdef Py_ssize_t row_scratch(const Frozen *frozen) noexcept nogil:
    """Doubles of scratch for a row: itself, its joint densities, and D vectors or one."""
    cdef Py_ssize_t vectors = frozen.padded_features
    if frozen.model.factor_kind == FACTOR_FULL:
        vectors = frozen.model.n_features * LANES
    return frozen.padded_features + frozen.padded_components + vectors


cdef inline void row_joint(const Frozen *frozen, const double *coefficients, const double *x,
                           double *scratch, double *joint) noexcept nogil:
    cdef const Model *model = &frozen.model
    cdef Py_ssize_t n_blocks = frozen.padded_components // LANES
    if model.factor_kind == FACTOR_FULL:
        row_full(x, frozen.blocks, n_blocks, coefficients, model.n_features, scratch, joint)
    elif model.factor_kind == FACTOR_DIAG:
        row_diag(x, frozen.blocks, n_blocks, coefficients, model.n_features, joint)
    else:
        whiten_row(x, model.centre, frozen.columns, model.n_features, frozen.padded_features,
                   scratch)
        row_whitened(scratch, frozen.blocks, n_blocks, coefficients, model.n_features, joint)


cdef inline int score_row(const Frozen *frozen, int want, double gate, const char *row,
                          Py_ssize_t step, Py_ssize_t item, double *scratch,
                          void *out) noexcept nogil:
    """What is wanted of one row, whose numbers of `item` bytes lie `step` bytes apart."""
    cdef Py_ssize_t n_components = frozen.model.n_components, padded = frozen.padded_components
    cdef double *joint = scratch + frozen.padded_features
    cdef const double *coefficients = frozen.coefficients
    cdef double best
    cdef int64_t label
    if not read_row(row, step, frozen.model.n_features, item, scratch):
        return GAUSSMIX_NOT_FINITE
    if want == WANT_NEAREST:
        coefficients = frozen.levels
    row_joint(frozen, coefficients, scratch, joint + padded, joint)
    if want == WANT_LOGPDF:
        (<double *>out)[0] = row_log_density(joint, padded, n_components)
    elif want == WANT_RESPONSIBILITIES:
        row_responsibilities(joint, padded, n_components, coefficients)
        memcpy(out, joint, <size_t>n_components * sizeof(double))
    else:
        label = row_label(joint, padded, n_components, coefficients, &best)
        # A negative gate refuses nothing. Not "at least": an overflow to NaN is outside as well.
        if want == WANT_NEAREST and gate >= 0.0 and not sqrt(0.0 - 2.0 * best) < gate:
            label = -1
        (<int64_t *>out)[0] = label
    return GAUSSMIX_OK


# ---- Rows ----

cdef int score_rows(const Frozen *frozen, int want, double gate, const Rows *X, void *out,
                    Py_ssize_t *bad_row) noexcept nogil:
    """What is wanted of all rows of X into `out`, C-contiguous; a GAUSSMIX_ code."""
    cdef double[STACK_NUMBERS + 8] stack
    cdef double *scratch = stack
    cdef void *memory = NULL
    cdef Problem problem
    cdef Workspace workspace
    cdef Carver carver
    cdef bint few = X.n_rows <= FEW_LANES // LANES or want == WANT_NEAREST
    cdef size_t needed
    cdef int code
    carver.base = NULL
    carver.used = 0
    if few:
        carve(&carver, row_scratch(frozen))
    else:
        state(frozen, want, X, out, &problem)
        carve_workspace(&carver, &problem, False, &workspace)
    needed = carver.used
    if needed > STACK_NUMBERS * sizeof(double):
        memory = reserve(needed + 64)
        if memory == NULL:
            return GAUSSMIX_NO_MEMORY
        scratch = <double *>memory
    carver.base = <char *>scratch + (64 - <size_t>scratch % 64) % 64
    carver.used = 0
    if few:
        code = score_few(frozen, want, gate, X, out, <double *>carver.base, bad_row)
    else:
        carve_workspace(&carver, &problem, False, &workspace)
        code = score_blocks(&problem, &workspace, bad_row)
    free(memory)
    return code


cdef int score_few(const Frozen *frozen, int want, double gate, const Rows *X, void *out,
                   double *scratch, Py_ssize_t *bad_row) noexcept nogil:
    """Row by row."""
    cdef Py_ssize_t row, width = 8
    cdef int code
    if want == WANT_RESPONSIBILITIES:
        width *= frozen.model.n_components
    for row in range(X.n_rows):
        code = score_row(frozen, want, gate, X.data + row * X.row_stride, X.feature_stride,
                         X.item, scratch, <char *>out + row * width)
        if code != GAUSSMIX_OK:
            bad_row[0] = row
            return code
    return GAUSSMIX_OK


cdef void state(const Frozen *frozen, int want, const Rows *X, void *out,
                Problem *problem) noexcept nogil:
    """The call as `evaluate` would see it, in blocks of one tile: scratch fits on the stack."""
    memset(problem, 0, sizeof(Problem))
    problem.X = X[0]
    problem.model = frozen.model
    problem.want = want
    problem.out = out
    problem.wide = X.n_rows > 2 * LANES
    problem.block = LANES * (WIDE if problem.wide else NARROW)


cdef int score_blocks(const Problem *problem, Workspace *workspace,
                      Py_ssize_t *bad_row) noexcept nogil:
    """Block by block, as `evaluate` does."""
    cdef Py_ssize_t piece
    for piece in range((problem.X.n_rows + problem.block - 1) // problem.block):
        bad_row[0] = evaluate_block(problem, workspace, piece)
        if bad_row[0] >= 0:
            return GAUSSMIX_NOT_FINITE
    return GAUSSMIX_OK
