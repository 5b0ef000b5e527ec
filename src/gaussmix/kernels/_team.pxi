# Threads that work on one block together: which blocks, and how they are cut.

cdef struct Team:  # threads that work on one block together
    Workspace *workspaces
    Py_ssize_t next_piece  # of the moments, that nobody has begun
    Py_ssize_t arrived  # how often one of them has come to a barrier
    Py_ssize_t bad_row  # or -1


# Multiply-adds of a block from which sharing pays; about 25 us. EPYC (Zen 4), us of three slots on
# two threads, the third not shared and shared: full, D = 16, K = 16: 419 335; tied, 32, 16: 387 349.
cdef double SHARED_PRODUCTS = 1 << 19
cdef double MOST_BLOCK = 256  # rows that count, those of contract.plan
# How much less than the busiest thread with whole slots a team is to have: it costs about a tenth.
cdef double SHARED_REST = 0.8


cdef double products_of_row(const Problem *problem) noexcept nogil:
    """Its multiply-adds, about, with the exponentials."""
    cdef double n_features = problem.model.n_features, n_components = problem.model.n_components
    if problem.layout == LAYOUT_FULL:
        return n_components * n_features * n_features
    if problem.layout == LAYOUT_POOLED:
        return 1.5 * n_features * n_features + n_components * (4.0 * n_features + 20.0)
    return n_components * (4.0 * n_features + 20.0)


cdef bint rule_in_tiles(const Problem *problem) noexcept nogil:
    """Whether a team shares the rule, so that each tile has sums of its own.

    With the pooled layout wherever there is a team (see `slots_alone`), since rows are pooled by
    whoever has their tile, with no wait in between; else where it is worth it: sums of their own
    cost something on one thread as well, as they must depend neither on who shares nor on how many
    rows a call has.
    """
    return (problem.model.n_features > FEW
            and (problem.layout == LAYOUT_POOLED or problem.model.n_components >= 16)
            and products_of_row(problem) >= SHARED_PRODUCTS / MOST_BLOCK)


cdef Py_ssize_t parts_of_component(const Problem *problem, int n_threads) noexcept nogil:
    """2 where threads cannot have as many whole components each, and its moments have bands."""
    return 2 if (problem.layout == LAYOUT_FULL and problem.model.n_features > FIXED
                 and problem.model.n_components % n_threads) else 1


cdef double share_of_busiest(const Problem *problem, int n_threads) noexcept nogil:
    """The part of a block's time that the busiest of a team needs."""
    cdef Py_ssize_t n_tiles = problem.block // (LANES * WIDE)
    cdef Py_ssize_t n_pieces = problem.model.n_components * parts_of_component(problem, n_threads)
    if problem.layout == LAYOUT_POOLED:
        n_pieces += (problem.model.n_features + TWIN_BAND - 1) // TWIN_BAND
    # Half is done tile by tile, half piece by piece.
    return (0.5 * ((n_tiles + n_threads - 1) // n_threads) / n_tiles
            + 0.5 * ((n_pieces + n_threads - 1) // n_threads) / n_pieces)


cdef Py_ssize_t slots_alone(const Problem *problem, int n_threads) noexcept nogil:
    """How many slots, from the first on, are one thread's each; the others are a team's.

    Seven slots would be four for one thread and three for another. What is left over when all
    have as many is worked on block by block, if that pays: each packs the block itself, takes a
    part of its tiles for what rows need of their own (of the rule see `rule_in_tiles`), and then
    component after component (with the pooled layout, also band after band) for the moments. No
    sum gets other terms by that, or in another order: the bits are those of one thread.
    """
    cdef Py_ssize_t whole = problem.X.n_rows // problem.slot_rows
    cdef Py_ssize_t alone = whole - whole % n_threads
    cdef Py_ssize_t n_slots = whole + (problem.X.n_rows % problem.slot_rows > 0)
    cdef double rest = problem.X.n_rows - alone * problem.slot_rows
    cdef double most = min(rest, <double>problem.slot_rows)  # that a thread takes of it by slots
    cdef double block = min(<double>problem.block, MOST_BLOCK)  # for `rule_in_tiles`, see there
    if (n_threads <= 1 or problem.model.n_features <= FEW
            or block * products_of_row(problem) < SHARED_PRODUCTS):
        return n_slots
    return alone if rest * share_of_busiest(problem, n_threads) < SHARED_REST * most else n_slots
