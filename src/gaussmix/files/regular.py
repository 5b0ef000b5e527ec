"""Files that strangers may have prepared, read without a hang; and files written at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import IO

import numpy as np

from ..errors import GaussmixError, InvalidInputError
from ..stopping import check

PIECE = 1 << 22  # bytes that are read, written or digested at once: a few ms, as stops may wait


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
    InvalidInputError
        If `path` is empty, ends with a separator or holds a null character.
    OSError
        If the file is absent or may not be read.
    """
    check_path(path)
    # Without O_NONBLOCK, opening a named pipe waits for a writer that may never come.
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    if os.path.isdir(path):  # Windows cannot open a directory at all
        raise error(f"{os.fspath(path)} is a directory. Give a file.")
    # The stream owns the descriptor from the start: on Ctrl-C nobody else may close it again.
    stream = open(path, "rb", opener=lambda name, _: os.open(name, flags))
    try:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise error(
                f"{os.fspath(path)} is not a regular file (a pipe or a device). "
                "Copy its content to a file first."
            )
        return stream, status.st_size
    except BaseException:
        stream.close()
        raise


def read_regular(
    path: str | os.PathLike,
    error: type[GaussmixError],
    max_bytes: int,
    check_start: Callable[[bytes, int], None],
) -> memoryview:
    """All bytes of a regular file, read once, so that what is checked is also what is used.

    Parameters
    ----------
    path, error
        As in `open_regular`.
    max_bytes : int
        A larger file is refused before it is read.
    check_start : callable
        Called with the first 64 bytes at most and the size; may refuse the file unread.
    """
    stream, size = open_regular(path, error)
    with stream:
        check_start(stream.peek(64)[:64] if size else b"", size)
        if size > max_bytes:
            raise error(
                f"{os.fspath(path)} has {size} bytes, at most {max_bytes} are read. "
                "If you trust it, pass a larger max_bytes."
            )
        content = memoryview(np.empty(size, dtype=np.uint8))  # not written to before it is filled
        end = 0
        while found := stream.readinto(content[end : end + PIECE]):
            check()
            end += found
        more = stream.read(1)
    if end != size or more:
        raise error(f"{os.fspath(path)} changed while it was read. Read it again.")
    return content.toreadonly()


def check_path(path: str | os.PathLike) -> None:
    """Refuse a path that names no file: `realpath` takes an empty one for the current directory,
    and drops a separator at the end, so that what is written could not be read by that path.
    """
    name = os.fsdecode(path)
    if not name:
        raise InvalidInputError("path is empty. Give the name of a file.")
    if name.endswith((os.sep, os.altsep or os.sep)):
        raise InvalidInputError(
            f"path {name!r} ends with {name[-1]!r}, as a directory's. Give the name of a file."
        )
    if "\0" in name:
        raise InvalidInputError(f"path {name!r} holds a null character. Give the name of a file.")


def cut(pieces: Iterable[bytes | memoryview]) -> Iterator[memoryview]:
    """The same bytes, at most `PIECE` of them at once."""
    for piece in pieces:
        for begin in range(0, len(piece), PIECE):
            yield memoryview(piece)[begin : begin + PIECE]


def write_at_once(path: str | os.PathLike, pieces: Iterable[bytes | memoryview]) -> None:
    """Nothing; writes a file, completely or not at all.

    The bytes go to a new file in the same directory, which is flushed to the disk and renamed. So
    an older file of that name stays whole whatever goes wrong, and keeps its permissions if not.
    A process that is killed may leave a file ``.gaussmix-*.tmp`` behind.

    Parameters
    ----------
    path : str or path-like
        A symbolic link is followed.
    pieces : iterable of bytes-like

    Raises
    ------
    InvalidInputError
        If there is something else than a regular file in that place, or `path` names no file.
    OSError
        If the directory is absent, full or not writable.
    """
    check_path(path)
    path = os.path.realpath(os.fsdecode(path))
    mode = None
    with suppress(FileNotFoundError):
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInputError(
                f"{path} is there and is not a regular file. Give another name."
            )
        mode = stat.S_IMODE(status.st_mode) & 0o777
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f".gaussmix-{os.urandom(6).hex()}.tmp")
    # Rather than by tempfile: a new file gets the permissions the user's umask asks for.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        stream = open(temporary, "xb", opener=lambda name, _: os.open(name, flags, 0o666))
    except OSError as error:
        error.filename = path  # the name that was given: the temporary one says nothing
        raise
    except BaseException:  # Ctrl-C, once it is there
        with suppress(OSError):
            os.unlink(temporary)
        raise
    try:
        with stream:
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(stream.fileno(), mode)
            for piece in cut(pieces):
                check()
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            error.filename, error.filename2 = path, None  # that of a full disk names no file
        raise
    _sync_directory(folder)


def _sync_directory(folder: str) -> None:
    """A rename itself must reach the disk too."""
    if os.name != "posix":  # others have no descriptors of directories
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # one that may be written to, but not read
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
