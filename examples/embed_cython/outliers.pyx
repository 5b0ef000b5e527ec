# cython: language_level=3, boundscheck=False, wraparound=False
"""A Cython class that asks a mixture about single rows, without the GIL and without allocation."""

from gaussmix cimport (
    GAUSSMIX_NOT_FINITE, GAUSSMIX_OK, gaussmix_api, gaussmix_import, gaussmix_model,
    gaussmix_model_of,
)


cdef class OutlierCounter:
    """Counts rows whose log density is below `threshold`, or that hold NaN or an infinity."""

    cdef object scorer  # owns the model: it must live as long as this
    cdef const gaussmix_api *api
    cdef const gaussmix_model *model
    cdef double threshold

    def __init__(self, scorer, double threshold):
        self.api = gaussmix_import()
        self.model = gaussmix_model_of(scorer)
        self.scorer = scorer
        self.threshold = threshold

    def count(self, const double[:, ::1] X):
        cdef Py_ssize_t row, found = 0
        cdef double density = 0.0
        cdef int code = GAUSSMIX_OK
        if X.shape[1] != self.model.n_features:
            raise ValueError(f"X has {X.shape[1]} columns; {self.model.n_features} are needed.")
        with nogil:
            for row in range(X.shape[0]):
                code = self.api.logpdf(self.model, &X[row, 0], &density)
                if code == GAUSSMIX_NOT_FINITE:
                    found += 1
                elif code != GAUSSMIX_OK:
                    break
                elif density < self.threshold:
                    found += 1
        if code not in (GAUSSMIX_OK, GAUSSMIX_NOT_FINITE):
            raise RuntimeError(f"gaussmix returned code {code}")
        return found
