"""What every test needs to know of the installation it runs on."""

import os

from gaussmix import backends

# Without compiled kernels each child process would warn at its import of gaussmix, where a test
# may look at what it prints, or make warnings errors. A backend that was asked for is no surprise.
if backends.available()[0][0] != "cython":
    os.environ.setdefault("GAUSSMIX_BACKEND", backends.active().name)
