"""One fixture: each kernel backend that loads, or the one that GAUSSMIX_BACKEND names."""

import os

import pytest

from gaussmix import backends

if os.environ.get("GAUSSMIX_BACKEND"):
    LIVE = [(backends.active().name, backends.active().level)]
else:
    LIVE = backends.available()


@pytest.fixture(params=LIVE, ids=lambda pair: "-".join(pair))
def backend(request, monkeypatch):
    name, level = request.param
    with backends.use(name, level if name == "cython" else None) as live:
        pass
    # By monkeypatch: what a test patches on top of it is then undone first, in whatever order the
    # test asks for its fixtures.
    monkeypatch.setattr(backends, "_active", live)
    return live
