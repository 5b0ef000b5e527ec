# The blocks of a slot through the four stages into an accumulator, by one thread or by a team.

from cython.parallel cimport threadid
from libc.string cimport memcpy


cdef Py_ssize_t accumulate_block(const Problem *problem, Workspace *workspace, Py_ssize_t first,
                                 Py_ssize_t count, Py_ssize_t following, Sums *sums,
                                 Team *team) noexcept nogil:
    """All four stages for rows [first, first + count); -1, or the row with NaN or inf.

    Row `following` begins this thread's next block. With a `team`, all its threads make this call
    and each does a part.
    """
    cdef const Model *model = &problem.model
    cdef Py_ssize_t tile_rows = LANES * WIDE, row, bad
    cdef Py_ssize_t n_tiles = (count + tile_rows - 1) // tile_rows
    cdef int huge = 0, number = 0
    cdef bint each = rule_in_tiles(problem)
    cdef double largest = 1.0
    cdef Workspace *common = workspace
    cdef double *joint
    cdef Part part = Part(0, n_tiles, 1, NULL)
    cdef Bytes ahead = memory_of(&problem.X, following, problem.block)
    bad = pack_block(&problem.X, first, count, tile_rows, workspace.tiles, &huge)
    if bad >= 0 and team == NULL:
        return first + bad
    if bad >= 0:
        # Seen below by all, even if X is changed meanwhile.
        tell_team(&team.bad_row, first + bad)
    if problem.weight == NULL:
        for row in range(count):
            workspace.weight[row] = 1.0
    else:
        memcpy(workspace.weight, problem.weight + first, <size_t>count * sizeof(double))
    for row in range(count, n_tiles * tile_rows):
        workspace.weight[row] = 0.0
    if team != NULL:
        # Two in turn: who has its moments may begin the next block while others read this one's.
        common = team.workspaces + first // problem.block % 2
        number = threadid()
        part.begin = n_tiles * number // team_size()
        part.end = n_tiles * (number + 1) // team_size()
        part.parts = parts_of_component(problem, team_size())
        part.next_piece = &team.next_piece
    joint = common.joint
    if part.begin < part.end:
        density_block(model, workspace.tiles + part.begin * tile_rows * model.n_features,
                      part.end - part.begin, True, False, &ahead, workspace.difference,
                      workspace.whitened, joint + part.begin * tile_rows * model.n_components)
    if team != NULL:
        # The masses, by which the rule knows what is negligible, are those of all blocks before.
        wait_for_team(&team.arrived, &workspace.due)
        if team.bad_row >= 0:
            return team.bad_row
    if each or number == 0:
        if problem.weight != NULL:
            largest = largest_of(workspace.weight, n_tiles * tile_rows)
        negligible_limits(model, largest, sums.mass, workspace.limits)
        rule_tiles(&problem.rule, model,
                   <uint64_t>problem.first_slot * <uint64_t>problem.slot_rows + <uint64_t>first,
                   part.begin if each else 0, part.end if each else n_tiles, workspace.weight,
                   problem.weight == NULL, workspace.limits, joint, each, common.rule_sums)
    if team != NULL:
        if number == 0:
            team.next_piece = 0
        wait_for_team(&team.arrived, &workspace.due)
    if number == 0:
        add_tiles(&problem.rule, common.rule_sums, n_tiles if each else 1, sums.scalars)
    moments_block(model, problem.layout, workspace.tiles, n_tiles, workspace.weight, joint, huge,
                  &part, &workspace.moments, sums)
    return -1


cdef Py_ssize_t run_blocks(const Problem *problem, Workspace *workspace, Py_ssize_t first,
                           Py_ssize_t step, Py_ssize_t end, Py_ssize_t then, double *accumulator,
                           Team *team) noexcept nogil:
    """The blocks at first, first + step, ... before row `end`; likely followed by row `then`."""
    cdef Sums sums = sums_at(problem, accumulator)
    cdef Py_ssize_t following, bad
    while first < end:
        following = first + step if first + step < end else then
        bad = accumulate_block(problem, workspace, first, min(problem.block, end - first),
                               following, &sums, team)
        if bad >= 0:
            return bad
        first += step
    return -1


cdef Py_ssize_t run_slot(const Problem *problem, Workspace *workspace, Py_ssize_t slot,
                         Py_ssize_t then, Team *team) noexcept nogil:
    """The blocks of one slot of the call; slot `then` is likely this thread's next.

    -1, or its first row with NaN or inf. Of a team all threads get the same, but with slots in
    halves -1; the rows are noted then.
    """
    cdef Py_ssize_t first = slot * problem.slot_rows
    cdef Py_ssize_t end = min(first + problem.slot_rows, problem.X.n_rows)
    cdef Py_ssize_t place = (problem.first_slot + slot) % problem.n_accumulators
    cdef double *accumulator = problem.accumulators + place * problem.accumulator_size
    then *= problem.slot_rows
    if problem.first_slot + slot < problem.n_accumulators and (team == NULL or threadid() == 0):
        # Here and not by the caller: by the thread that fills it, just before it does.
        memset(accumulator, 0, <size_t>problem.accumulator_size * sizeof(double))
    if not in_halves(problem):
        return run_blocks(problem, workspace, first, problem.block, end, then, accumulator, team)
    if team != NULL and team_size() > 1:
        share_halves(problem, workspace, first, end, then, accumulator, team)
        return -1
    return run_halves(problem, workspace, first, end, then, accumulator)


cdef Py_ssize_t run_halves(const Problem *problem, Workspace *workspace, Py_ssize_t first,
                           Py_ssize_t end, Py_ssize_t then, double *accumulator) noexcept nogil:
    """The blocks of a slot, every other one and then those between; see `in_halves`."""
    cdef Py_ssize_t block = problem.block, bad, other
    if first + block >= end:
        return run_blocks(problem, workspace, first, block, end, then, accumulator, NULL)
    bad = run_blocks(problem, workspace, first, 2 * block, end, first + block, accumulator, NULL)
    memset(workspace.apart, 0, <size_t>problem.accumulator_size * sizeof(double))
    other = run_blocks(problem, workspace, first + block, 2 * block, end, then, workspace.apart,
                       NULL)
    add_values(workspace.apart, problem.accumulator_size, accumulator)
    return other if bad < 0 or 0 <= other < bad else bad


cdef void share_halves(const Problem *problem, Workspace *workspace, Py_ssize_t first,
                       Py_ssize_t end, Py_ssize_t then, double *accumulator,
                       Team *team) noexcept nogil:
    """The same by a team: the first thread has every other block, the second those between."""
    cdef Py_ssize_t block = problem.block, bad = -1
    # Two in turn: one is cleared while the other is added up.
    cdef double *apart = team.workspaces[first // problem.slot_rows % 2].apart
    if threadid() == 0:
        bad = run_blocks(problem, workspace, first, 2 * block, end, then, accumulator, NULL)
    elif threadid() == 1 and first + block < end:
        memset(apart, 0, <size_t>problem.accumulator_size * sizeof(double))
        bad = run_blocks(problem, workspace, first + block, 2 * block, end, then + block, apart,
                         NULL)
    note_bad_row(workspace, bad)
    wait_for_team(&team.arrived, &workspace.due)
    if threadid() == 0 and first + block < end:
        add_values(apart, problem.accumulator_size, accumulator)


cdef Sums sums_at(const Problem *problem, double *accumulator) noexcept nogil:
    cdef Py_ssize_t n_components = problem.model.n_components
    cdef Sums sums
    sums.mass = accumulator
    sums.first = sums.mass + n_components
    sums.second = sums.first + n_components * problem.model.n_features
    sums.scalars = accumulator + problem.accumulator_size - N_SCALARS
    sums.pairs = sums.scalars
    if problem.layout == LAYOUT_POOLED:
        sums.pairs -= n_components * n_components
    return sums


cdef inline void add_values(const double *values, Py_ssize_t n, double *sums) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        sums[i] += values[i]


cdef Py_ssize_t run_accumulator(const Problem *problem, Workspace *workspace, Py_ssize_t number,
                                Py_ssize_t n_slots) noexcept nogil:
    """Of the first `n_slots` slots of the call those number, number + V, ..., in order."""
    cdef Py_ssize_t slot = number, then, bad
    while slot < n_slots:
        then = slot + problem.n_accumulators
        # Behind its last slot the thread begins the next accumulator, if it does not change ranges.
        bad = run_slot(problem, workspace, slot, then if then < n_slots else number + 1, NULL)
        if bad >= 0:
            return bad
        slot += problem.n_accumulators
    return -1


cdef void run_team(const Problem *problem, Workspace *workspace, Py_ssize_t slot,
                   Team *team) noexcept nogil:
    """The slots from `slot` on; all threads of a parallel region make this call."""
    cdef Py_ssize_t bad = -1
    if slot * problem.slot_rows < problem.X.n_rows:
        # Nobody has waited so far, and the workspaces' blocks are shared from here on.
        wait_for_team(&team.arrived, &workspace.due)
    while bad < 0 and slot * problem.slot_rows < problem.X.n_rows:
        bad = run_slot(problem, workspace, slot, slot + 1, team)  # the same for all of them
        slot += 1
    note_bad_row(workspace, bad)


cdef void note_bad_row(Workspace *workspace, Py_ssize_t bad) noexcept nogil:
    if bad >= 0 and (workspace.bad_row < 0 or bad < workspace.bad_row):
        workspace.bad_row = bad
