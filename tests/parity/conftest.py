"""One fixture: each kernel backend that loads, or the one that GAUSSMIX_BACKEND names."""

import os

import pytest

from gaussmix import backends

if os.environ.get("GAUSSMIX_BACKEND"):
    LIVE = [(backends.active().name, backends.active().level)]
else:
    LIVE = backends.available()


@pytest.fixture(params=LIVE, ids=lambda pair: "-".join(pair))
def backend(request):
    name, level = request.param
    with backends.use(name, level if name == "cython" else None) as live:
        yield live
