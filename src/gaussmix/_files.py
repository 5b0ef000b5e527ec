"""Opening files that strangers may have prepared: regular files only, never a hang."""

from __future__ import annotations

import os
import stat
from typing import IO

from .errors import GaussmixError


def open_regular(path: str | os.PathLike, error: type[GaussmixError]) -> tuple[IO[bytes], int]:
    """Binary stream and size in bytes of a regular file.

    Parameters
    ----------
    path : str or path-like
        File to read; a symbolic link is followed.
    error : type of GaussmixError
        Raised for whatever is not a regular file (directory, pipe, device).

    Returns
    -------
    stream : binary file object
        Positioned at the start; the caller closes it.
    size : int
        Size of the file that was opened, in bytes.

    Raises
    ------
    OSError
        If the file is absent or may not be read.
    """
    # Without O_NONBLOCK, opening a named pipe waits for a writer that may never come.
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    if os.path.isdir(path):  # Windows cannot open a directory at all
        raise error(f"{os.fspath(path)} is a directory. Give a file.")
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise error(
                f"{os.fspath(path)} is not a regular file (a pipe or a device). "
                "Copy its content to a file first."
            )
        return os.fdopen(descriptor, "rb"), status.st_size
    except BaseException:
        os.close(descriptor)
        raise
