"""What every test needs to know of the installation it runs on, and a fresh interpreter."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from gaussmix import backends

# Without compiled kernels each child process would warn at its import of gaussmix, where a test
# may look at what it prints, or make warnings errors. A backend that was asked for is no surprise.
if backends.available()[0][0] != "cython":
    os.environ.setdefault("GAUSSMIX_BACKEND", backends.active().name)


@pytest.fixture(scope="session")
def run_python():
    """``run(code, *options, **changes)``: what a fresh interpreter prints; None unsets."""

    def run(code, *options, cwd=None, **changes):
        environment = {**os.environ, **{k: v for k, v in changes.items() if v is not None}}
        for variable in [k for k, v in changes.items() if v is None]:
            environment.pop(variable, None)
        process = subprocess.Popen(
            [sys.executable, *options, "-c", textwrap.dedent(code)],
            env=environment,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its forked children too
            output, errors = process.communicate()
        assert process.returncode == 0, errors
        return output.strip()

    return run


@pytest.fixture
def short_calls(monkeypatch):
    """Cuts every pass over the rows into several calls."""
    from gaussmix.passes import evaluation, expectation

    for module in (evaluation, expectation):
        monkeypatch.setattr(module, "CALL_FLOPS", 1 << 17)
