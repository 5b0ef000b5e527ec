# The whole kernel module; each instruction set's .pyx includes it under its own compiler flags.

from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint64_t

cdef extern from "_vector.h" nogil:
    const int LANES, WIDE, NARROW
    double rounded_product(double a, double b)

cdef extern from "_pack_tiles.h" nogil:
    Py_ssize_t fetched_piece(Py_ssize_t n_bytes, Py_ssize_t parts)
    void fetch_piece(const char *at, Py_ssize_t n_bytes, Py_ssize_t begin, Py_ssize_t size)
    double absolute_sum(const double *x, Py_ssize_t n)
    void pack_rows(const char *rows, Py_ssize_t row_step, Py_ssize_t n_features, Py_ssize_t item,
                   double *tile)
    void turn_tiles(const double *tiles, Py_ssize_t n_tiles, Py_ssize_t n_features,
                    Py_ssize_t padded, double *rows)

cdef extern from "_density_tiles.h" nogil:
    void density_full(const double *x, Py_ssize_t x_step, Py_ssize_t n_tiles, const double *mean,
                      const double *factor, double coefficient, Py_ssize_t n_features,
                      double *difference, double *out, Py_ssize_t out_step, int wide)
    void density_diag(const double *x, Py_ssize_t x_step, Py_ssize_t n_tiles, const double *mean,
                      const double *scale, double coefficient, Py_ssize_t n_features, double *out,
                      Py_ssize_t out_step, int wide)
    void density_whitened(const double *z, const double *whitened_mean, double coefficient,
                          Py_ssize_t n_features, double *out, int wide)
    void whiten(const double *x, const double *centre, const double *factor,
                Py_ssize_t n_features, double *difference, double *z, int wide)

cdef extern from "_rule_tiles.h" nogil:
    ctypedef struct RuleSums:
        pass
    void clear_sums(RuleSums *sums)
    void join_sums(const RuleSums *tile, RuleSums *sums)
    void add_sums(const RuleSums *sums, double *scalars)
    const double SLOPE, MOST_LIMIT, LEAST_LIMIT
    double log_below(double a)
    double largest_of(const double *values, Py_ssize_t n)
    void soft_tile(double *joint, Py_ssize_t n_components, const double *coefficients,
                   const double *weight, const double *limits, RuleSums *sums, int unit_weights)
    void tempered_tile(double *joint, Py_ssize_t n_components, const double *coefficients,
                       const double *weight, const double *limits, double beta, RuleSums *sums)
    void log_density_tile(const double *joint, Py_ssize_t n_components, int vectors,
                          double *row_out)
    void responsibility_tile(double *joint, Py_ssize_t n_components, const double *coefficients,
                             int vectors)
    void label_tile(const double *joint, Py_ssize_t n_components, const double *coefficients,
                    int vectors, double *row_out)
    void distance_tile(double *joint, Py_ssize_t n_values)

cdef extern from "_label_tiles.h" nogil:
    uint64_t splitmix(uint64_t seed, uint64_t n)
    void hard_tile(double *joint, Py_ssize_t n_components, const double *coefficients,
                   const double *weight, uint64_t first, int unit_weights, RuleSums *sums)
    void stochastic_tile(double *joint, Py_ssize_t n_components, const double *coefficients,
                         const double *weight, uint64_t key, uint64_t first, int unit_weights,
                         RuleSums *sums)
    void add_labels(const RuleSums *sums, double *halves)
    uint64_t labels_of(const double *halves)

cdef extern from "_moments_tiles.h" nogil:
    const int FEW, BAND, FIXED
    void moments_few_features(const double *x, const double *weight, Py_ssize_t weight_step,
                              Py_ssize_t tiles, const double *mean, Py_ssize_t n_features,
                              int full, int guarded, double *mass, double *first, double *second)
    ctypedef struct Place:
        pass
    ctypedef struct Share:
        Py_ssize_t vectors, rows
        double mass
    void all_places(Py_ssize_t weight_step, Py_ssize_t n_features, Py_ssize_t tiles,
                    Place *places)
    Share share_of(const double *weight, Py_ssize_t weight_step, Py_ssize_t tiles)
    const Place *used_places(const double *weight, const Share *share, const Place *all,
                             Py_ssize_t n, Place *some)
    void square_vectors(const double *x, Py_ssize_t n_features, const double *weight,
                        const Place *places, Py_ssize_t n_places, const double *mean,
                        double *first, double *second)
    void multiply_vectors(const double *x, Py_ssize_t n_features, const double *weight,
                          const Place *places, Py_ssize_t n_places, const double *mean,
                          double *scaled, Py_ssize_t run, double *first, double *second,
                          Py_ssize_t part, Py_ssize_t parts)

cdef extern from "_pooled_tiles.h" nogil:
    const int TWIN_BAND
    void pool_deltas(const double *x, Py_ssize_t n_tiles, Py_ssize_t n_features,
                     const double *weight, const int32_t *labels, const double *means,
                     Py_ssize_t padded, double *delta, Py_ssize_t run, int guarded)
    Py_ssize_t active_components(const double *weight, Py_ssize_t n_components, int32_t *active)
    void pool_halves(const double *x, Py_ssize_t n_features, const double *shares,
                     const int32_t *active, Py_ssize_t n_active, const double *means,
                     const double *weight, const double *delta, double *half, Py_ssize_t run,
                     int guarded)
    void pool_pairs(const double *shares, Py_ssize_t n_components, const int32_t *labels,
                    double *pairs)
    void first_vectors(const double *x, Py_ssize_t n_features, const double *weight,
                       const Place *places, Py_ssize_t n_places, const double *mean,
                       double *first, int guarded)
    void multiply_twins(const double *delta, const double *half, Py_ssize_t run,
                        Py_ssize_t n_rows, Py_ssize_t n_features, Py_ssize_t i, double *second)

cdef extern from "_gathered_tiles.h" nogil:
    const int COLUMN_STEP, PRODUCT_ROWS, PRODUCT_VECTORS
    Py_ssize_t gather_rows(const double *weight, Py_ssize_t weight_step, Py_ssize_t tiles,
                           int32_t *rows, double *gathered)
    void root_gathered(double *gathered, Py_ssize_t n)
    void scale_rows(const double *x, Py_ssize_t padded, const int32_t *rows, const double *root,
                    Py_ssize_t n_rows, const double *mean, double *scaled, Py_ssize_t panel,
                    double *first)
    void square_rows(const double *x, Py_ssize_t padded, const int32_t *rows,
                     const double *weight, Py_ssize_t n_rows, const double *mean, double *first,
                     double *second)
    void product_rows(const double *scaled, Py_ssize_t panel, Py_ssize_t n_rows,
                      Py_ssize_t n_features, Py_ssize_t i0, Py_ssize_t j0, double *second, int n)

cdef extern from "_factor_tiles.h" nogil:
    const int FACTOR_ROWS
    void subtract_rows(const double *factors, const double *rows, Py_ssize_t n, Py_ssize_t n_rows,
                       Py_ssize_t count, double *targets, int triangle, Py_ssize_t height)

cdef extern from "_slopes_tiles.h" nogil:
    void weighted_sums(const double *share, const double *table, Py_ssize_t n_components,
                       Py_ssize_t step, Py_ssize_t width, double *sums)
    void step_lanes(double *sums, const double *z, Py_ssize_t n, double *step, double *length)
    void slopes_lanes(const double *z, const double *share, const double *means,
                      const double *factors, const double *table, Py_ssize_t n_components,
                      Py_ssize_t n, double concave, double *pull, double *white, double *lower,
                      double *gradient, double *precision, double *curvature, double *newton,
                      double *positive)

cdef extern from "_threads.h" nogil:
    const int GAUSSMIX_OPENMP, MOST_THREADS
    int openmp_max_threads()
    int watch_forks()
    int startable_threads(int wanted)
    int team_size()
    void wait_for_team(Py_ssize_t *arrived, Py_ssize_t *due)
    void tell_team(Py_ssize_t *shared, Py_ssize_t value)
    Py_ssize_t take_next(Py_ssize_t *shared, Py_ssize_t *own)

cdef extern from "_level.h":
    const char *GAUSSMIX_LEVEL
    int machine_level() noexcept nogil

# The codes of contract.py; a test holds the two lists together.
cdef enum:
    FACTOR_DIAG = 0
    FACTOR_FULL = 1
    FACTOR_SHARED = 2
    LAYOUT_SPHERICAL = 0
    LAYOUT_DIAG = 1
    LAYOUT_FULL = 2
    LAYOUT_POOLED = 3
    RULE_SOFT = 0
    RULE_HARD = 1
    RULE_TEMPERED = 2
    RULE_STOCHASTIC = 3
    N_SCALARS = 6
    WANT_LOG_JOINT = 0
    WANT_LOGPDF = 1
    WANT_RESPONSIBILITIES = 2
    WANT_LABELS = 3
    WANT_MAHALANOBIS = 4
    STEP_SPHERICAL = 0
    STEP_DIAG = 1
    STEP_FULL = 2
    STEP_TIED = 3
    STEP_MEANS = 4
    LOOP_FULL = 0
    LOOP_SETTLED = 1
    LOOP_UNCHANGED = 2
    LOOP_HANDED_BACK = 3
    LOOP_SAME_LABELS = 4
    MARK_NONE = 0
    MARK_HELD = 1
    MARK_RAISED = 2

include "_allocation.pxi"
include "_pack.pxi"
include "_density.pxi"
include "_rule.pxi"
include "_moments.pxi"
include "_factor.pxi"
include "_maximise.pxi"
include "_workspace.pxi"
include "_fold.pxi"
include "_arguments.pxi"
include "_team.pxi"
include "_slots.pxi"
include "_combine.pxi"
include "_driver.pxi"
include "_loop.pxi"
include "_advance.pxi"
include "_slopes.pxi"
include "_frozen.pxi"
include "_table.pxi"
include "_scorer.pxi"
