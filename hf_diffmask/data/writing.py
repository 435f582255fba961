"""Writes files, each whole or not at all. Every command writes through this module."""

import errno
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from ..errors import DiffMaskError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Errors of the system that say that something cannot be written.
_REFUSALS = {*_FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.EPIPE, errno.EIO}
# PyTorch says no number: its writer finds that fewer bytes than it wrote have arrived.
_TORCH = re.compile(r"inline_container.*(unexpected pos|write failed)|PytorchStreamWriter")


def refusal(error: BaseException) -> int | None:
    """
    The system's error number, if an error says that something cannot be written.

    Args:
        error (`BaseException`): An error of Python, safetensors, tokenizers or PyTorch.

    Returns:
        `int` or `None`: `None` for any other error.
    """
    number = error.errno if isinstance(error, OSError) else None
    if found := re.search(r"\(os error (\d+)\)", str(error)):
        number = int(found[1])
    elif isinstance(error, RuntimeError) and _TORCH.search(str(error)):
        number = errno.ENOSPC
    return number if number in _REFUSALS else None


def not_written(what: str | os.PathLike, number: int | None) -> str:
    """
    The sentence for something that cannot be written.

    Args:
        what (`str` or `os.PathLike`): Its name.
        number (`int`, *optional*): The system's error number.

    Returns:
        `str`
    """
    advice = "name a place where you may write"
    if number in _FULL:
        advice = "make room on its disk, or name another place"
    elif number == errno.EPIPE:
        advice = "its reader has closed it"
    return f"{os.fspath(what)} cannot be written ({os.strerror(number) if number else 'unknown reason'}): {advice}."


def is_stream(path: str | os.PathLike) -> bool:
    """
    Whether bytes written to a path cannot be replaced later: it is a pipe, a device, or this process's own output.

    Args:
        path (`str` or `os.PathLike`): The path, such as `/dev/stdout`.

    Returns:
        `bool`: `False` also if there is nothing.
    """
    try:
        found = os.stat(path)
    except OSError:
        return False
    return not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)) or _own(path) is not None


@contextmanager
def writing(path: str | os.PathLike, mode: str = "w") -> Iterator[IO[Any]]:
    """
    A file to write to. What is written is in place at the end of the block; after an error nothing has changed.

    Links stay, and their targets are written. A new file has the permissions of the process's umask, and a replaced
    one keeps its own. Pipes, devices and this process's own output take what is written as it comes.

    Args:
        path (`str` or `os.PathLike`): The file.
        mode (`str`, *optional*, defaults to `"w"`): `"w"` for UTF-8 text, or `"wb"` for bytes.

    Returns:
        `IO`: The open file, as a context manager.

    Raises:
        DiffMaskError: If the file cannot be written.
    """
    # A name of a file can hold bytes that are no text. They are written out.
    options: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "errors": "backslashreplace"}
    beside = None
    try:
        if is_stream(path):
            if (own := _own(path)) is not None:
                sys.stdout.flush()
            with open(path if own is None else os.dup(own), mode, **options) as file:
                yield file
            return
        target = os.path.realpath(path)
        there = os.path.exists(target)
        if os.path.isdir(target) or os.path.islink(target):  # a link that is left leads to itself
            number = errno.EISDIR if there else errno.ELOOP
            raise OSError(number, os.strerror(number), path)
        if there and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        beside = os.path.join(os.path.dirname(target), f".hf-diffmask-{secrets.token_hex(6)}")
        with open(beside, mode.replace("w", "x"), **options) as file:
            yield file
        if there:
            _make_alike(target, beside)
        os.replace(beside, target)
    except OSError as error:
        # An error with another file's name comes from the block.
        if error.filename not in (None, path, beside):
            raise
        raise DiffMaskError(not_written(path, error.errno)) from error
    finally:
        if beside is not None:
            with suppress(OSError):
                os.unlink(beside)


def write_text(path: str | os.PathLike, text: str) -> None:
    """
    Writes a text file, see [`writing`].

    Args:
        path (`str` or `os.PathLike`): The file.
        text (`str`): Its content.

    Raises:
        DiffMaskError: If the file cannot be written.
    """
    with writing(path) as file:
        file.write(text)


def check_folder(folder: str | os.PathLike) -> None:
    """
    Refuses an output folder that cannot be written, before a long run. Makes nothing.

    Args:
        folder (`str` or `os.PathLike`): The folder. It need not exist.

    Raises:
        DiffMaskError: If the folder, or the folder that it would be made in, is a file or cannot be written.
    """
    there = os.path.realpath(folder)
    while not os.path.exists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise DiffMaskError(f"{there} is a file: name a folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise DiffMaskError(not_written(folder, errno.EACCES))


def make_folder(folder: str | os.PathLike) -> None:
    """
    Makes an output folder with its parents, if it is not there.

    Args:
        folder (`str` or `os.PathLike`): The folder.

    Raises:
        DiffMaskError: If the folder cannot be made.
    """
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise DiffMaskError(not_written(folder, error.errno)) from error


def _own(path: str | os.PathLike) -> int | None:
    """The number of this process's output that a path names, if any: 1 or 2."""
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(os.stat(path), os.fstat(number)):
                return number
    return None


def _make_alike(target: str, beside: str) -> None:
    """Gives a file the owner, as far as this user may, and the permissions of the file that it replaces."""
    if hasattr(os, "chown"):
        with suppress(OSError):
            os.chown(beside, os.stat(target).st_uid, os.stat(target).st_gid)
    shutil.copymode(target, beside)
