# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, embedsignature=True, freethreading_compatible=True
"""The kernels for CPUs with AVX-512 (F, DQ, VL, BW); see ``contract`` for what they compute."""

include "_kernels.pxi"
