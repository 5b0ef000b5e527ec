"""Files are opened, read and written as a whole or not at all, whatever comes between."""

import os
import signal
import threading

import numpy as np
import pytest

from gaussmix.errors import ModelFileError
from gaussmix.files import regular


def _read(path):
    return regular.read_regular(path, ModelFileError, 1 << 20, lambda start, size: None)


def test_a_read_that_ends_early_closes_its_descriptor_once(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    opened, closed = [], []
    open_file, close = os.open, os.close
    monkeypatch.setattr(os, "open", lambda *given: opened.append(open_file(*given)) or opened[-1])
    monkeypatch.setattr(os, "close", lambda number: closed.append(number) or close(number))

    def interrupted(number):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _read(path)
    assert len(opened) == 1 and not closed
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


# Python itself closes a stream that open() has made but not yet returned, and says so.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
@pytest.mark.parametrize("work", ["read", "write"])
def test_ctrl_c_at_any_moment_ends_by_ctrl_c_with_the_old_file_or_the_new(tmp_path, work):
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals come to the main thread")
    path, armed, ended = tmp_path / "file", [], 0
    path.write_bytes(b"old")

    def interrupt(*_):
        if armed:
            armed.clear()
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for microseconds in np.random.default_rng(0).uniform(1, 400, 600):
            armed.append(True)
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * microseconds)
                if work == "read":
                    assert _read(path) == b"old"
                else:
                    regular.write_at_once(path, [b"new"])
                armed.clear()
            except KeyboardInterrupt:
                ended += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            assert path.read_bytes() in (b"old", b"new")
            assert os.listdir(tmp_path) == ["file"]
    finally:
        signal.signal(signal.SIGALRM, before)
    assert ended
