# gaussmix for Cython: what gaussmix.h declares, which says who owns what and what is returned.
# Compile with include_dirs=[gaussmix.get_include()].

from libc.stdint cimport int32_t, int64_t, uint64_t


cdef extern from "Python.h":
    pass  # before gaussmix.h, or that leaves out what needs Python


cdef extern from "gaussmix.h" nogil:
    const int GAUSSMIX_API_VERSION
    const int GAUSSMIX_OK
    const int GAUSSMIX_NOT_FINITE
    const int GAUSSMIX_NO_MEMORY
    const int GAUSSMIX_BAD_ARGUMENT
    const int GAUSSMIX_OTHER_MODEL
    const int GAUSSMIX_SPHERICAL_OR_DIAG
    const int GAUSSMIX_FULL
    const int GAUSSMIX_TIED

    ctypedef struct gaussmix_model:
        size_t size
        const gaussmix_api *api
        int32_t version
        int32_t covariance_type
        int64_t n_components
        int64_t n_features

    ctypedef struct gaussmix_api:
        size_t size
        int32_t (*version)() noexcept nogil
        int (*logpdf)(const gaussmix_model *model, const double *row,
                      double *log_density) noexcept nogil
        int (*logpdf_many)(const gaussmix_model *model, const double *rows, int64_t n_rows,
                           int64_t row_stride, double *log_densities,
                           int64_t *bad_row) noexcept nogil
        int (*responsibilities)(const gaussmix_model *model, const double *row,
                                double *responsibilities) noexcept nogil
        int (*predict)(const gaussmix_model *model, const double *row,
                       int64_t *label) noexcept nogil
        int (*nearest)(const gaussmix_model *model, const double *row, double gate,
                       int64_t *label) noexcept nogil
        int (*sample_one)(const gaussmix_model *model, uint64_t *state, double *row,
                          int64_t *label) noexcept nogil


cdef extern from "gaussmix.h":
    # With the GIL; the model is borrowed from the scorer.
    const gaussmix_api *gaussmix_import() except NULL
    const gaussmix_model *gaussmix_model_of(object scorer) except NULL
