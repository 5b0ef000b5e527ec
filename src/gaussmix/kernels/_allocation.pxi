# The kernels' one way to memory, which a test can make fail.

from libc.stdlib cimport free, malloc

cdef Py_ssize_t until_failure = -1  # allocations before the one that fails; below 0 none does


cdef inline void *reserve(size_t n_bytes) noexcept nogil:
    """As `malloc`."""
    global until_failure
    if until_failure >= 0:
        until_failure -= 1
        if until_failure < 0:
            return NULL
    return malloc(n_bytes)


def fail_allocation(after):
    """Let one allocation of this module fail, `after` others; below 0, none.

    Whether the one asked for before has failed. For tests; counted without a lock.
    """
    global until_failure
    cdef bint failed = until_failure < 0
    until_failure = after
    return failed
