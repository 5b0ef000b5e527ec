# Threads that work on one slot together: which slots, and how they are cut.

cdef struct Team:  # threads that work on one slot together
    Workspace *workspaces
    Py_ssize_t next_piece  # of the moments, that nobody has begun
    Py_ssize_t arrived  # how often one of them has come to a barrier
    Py_ssize_t bad_row  # or -1


# Multiply-adds between two waits from which sharing pays; about 25 us. EPYC (Zen 4), us of three
# slots on two threads, the third not shared and shared: full, D = 16, K = 16: 419 335.
cdef double SHARED_PRODUCTS = 1 << 19
cdef double MOST_BLOCK = 256  # rows that count, those of contract.plan
# How much less than the busiest thread with whole slots a team is to have: it costs about a tenth.
cdef double SHARED_REST = 0.8
# A slot's multiply-adds for each number of an accumulator from which another one may be filled.
# EPYC (Zen 4), tied, D = 6, K = 2,000, where they are 11: an iteration took 1.6 times as long.
cdef double HALVED_PRODUCTS = 256


cdef double products_of_row(const Problem *problem) noexcept nogil:
    """Its multiply-adds, about, with the exponentials."""
    cdef double n_features = problem.model.n_features, n_components = problem.model.n_components
    if problem.layout == LAYOUT_FULL:
        return n_components * n_features * n_features
    if problem.layout == LAYOUT_POOLED:
        return 1.5 * n_features * n_features + n_components * (4.0 * n_features + 20.0)
    return n_components * (4.0 * n_features + 20.0)


cdef bint rule_in_tiles(const Problem *problem) noexcept nogil:
    """Whether a team shares the rule of a block, so that each tile has sums of its own.

    Where it is worth it: these cost something on one thread as well, as they must depend neither on
    who shares nor on how many rows a call has.
    """
    return (problem.model.n_features > FEW and problem.layout != LAYOUT_POOLED
            and problem.model.n_components >= 16
            and products_of_row(problem) >= SHARED_PRODUCTS / MOST_BLOCK)


cdef bint in_halves(const Problem *problem) noexcept nogil:
    """Whether every other block of a slot is added to sums apart, and these to the others' sums.

    So two threads share a slot without a word in between. With the pooled layout, unless its sums
    are too many for what a slot costs.
    """
    return (problem.layout == LAYOUT_POOLED and problem.model.n_features > FEW
            and problem.slot_rows > problem.block
            and HALVED_PRODUCTS * problem.accumulator_size
            <= problem.slot_rows * products_of_row(problem))


cdef Py_ssize_t parts_of_component(const Problem *problem, int n_threads) noexcept nogil:
    """2 where threads cannot have as many whole components each, and its moments have bands."""
    return 2 if (problem.layout == LAYOUT_FULL and problem.model.n_features > FIXED
                 and problem.model.n_components % n_threads) else 1


cdef double rows_of_busiest(const Problem *problem, Py_ssize_t rows, int n_threads) noexcept nogil:
    """So many of the rows, in the time they take, has the busiest of a team that shares them."""
    cdef Py_ssize_t n_tiles = problem.block // (LANES * WIDE), block = problem.block
    cdef Py_ssize_t n_pieces = problem.model.n_components * parts_of_component(problem, n_threads)
    if in_halves(problem):
        return rows // (2 * block) * block + min(block, rows % (2 * block))
    # Half is done tile by tile, half piece by piece.
    return rows * (0.5 * ((n_tiles + n_threads - 1) // n_threads) / n_tiles
                   + 0.5 * ((n_pieces + n_threads - 1) // n_threads) / n_pieces)


cdef Py_ssize_t slots_alone(const Problem *problem, int n_threads) noexcept nogil:
    """How many slots, from the first on, are one thread's each; the others are a team's.

    Seven slots would be four for one thread and three for another. What is left over when all
    have as many is worked on block by block, if that pays: each packs the block itself, takes a
    part of its tiles for what rows need of their own (of the rule see `rule_in_tiles`), and then
    component after component for the moments; or two take every other block (see `in_halves`). No
    sum gets other terms by that, or in another order: the bits are those of one thread.
    """
    cdef Py_ssize_t whole = problem.X.n_rows // problem.slot_rows
    cdef Py_ssize_t alone = whole - whole % n_threads
    cdef Py_ssize_t n_slots = whole + (problem.X.n_rows % problem.slot_rows > 0)
    cdef Py_ssize_t rest = problem.X.n_rows - alone * problem.slot_rows
    cdef double most = min(rest, problem.slot_rows)  # that a thread takes of it by slots
    cdef double shared = min(<double>problem.block, MOST_BLOCK)  # for `rule_in_tiles`, see there
    if in_halves(problem):
        shared = problem.slot_rows
    elif problem.layout == LAYOUT_POOLED:
        return n_slots
    if (n_threads <= 1 or problem.model.n_features <= FEW
            or shared * products_of_row(problem) < SHARED_PRODUCTS):
        return n_slots
    return alone if rows_of_busiest(problem, rest, n_threads) < SHARED_REST * most else n_slots
