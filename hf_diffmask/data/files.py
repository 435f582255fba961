"""Opens the file that was named: gzip, encodings, ends of lines and pipes."""

import codecs
import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ..errors import DiffMaskError, reason

# A mark of UTF-32 begins with the mark of UTF-16.
MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
PIECE = 1 << 16
"""Characters that [`pieces_of`] reads at a time."""

# Damaged gzip files raise different errors.
UNREADABLE = (OSError, ValueError, EOFError, zlib.error, csv.Error, RecursionError)


def is_file(name: str | Path) -> bool:
    """
    Whether a name is a file or a pipe.

    Args:
        name (`str` or `Path`): Any text.

    Returns:
        `bool`: `False` for folders and for names that a file cannot have.
    """
    return os.path.exists(name) and not os.path.isdir(name)


def suffix_of(name: str | Path) -> str:
    """
    The suffix that tells a file's format.

    Args:
        name (`str` or `Path`): Name of the file.

    Returns:
        `str`: The last suffix in lower case, without `.gz`: `".csv"` for `Texts.CSV.gz`, `""` for `texts`.
    """
    return os.path.splitext(os.path.basename(name).lower().removesuffix(".gz"))[1]


@contextmanager
def unreadable(what: str) -> Iterator[None]:
    """
    Turns an error of reading into one sentence.

    Args:
        what (`str`): The sentence without the reason, such as `"texts.csv cannot be read"`.

    Raises:
        DiffMaskError: For each error that a damaged or missing file causes.
    """
    try:
        yield
    except DiffMaskError:
        raise
    except UNREADABLE as error:
        raise DiffMaskError(f"{what} ({reason(error)}).") from error


@contextmanager
def opened(name: str | Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """
    The bytes of a file, unpacked if its name ends in `.gz` or if it begins like gzip.

    Args:
        name (`str` or `Path`): A file or a pipe. It is read once, from start to end.

    Returns:
        `IO[bytes]`: A file in binary mode, for the time of a `with` block.
    """
    with open(name, "rb") as file:
        if os.fspath(name).lower().endswith(".gz") or file.peek(2)[:2] == b"\x1f\x8b":
            with gzip.open(file) as unpacked:
                yield unpacked
        else:
            yield file


def lines_of(file: IO[bytes] | gzip.GzipFile) -> Iterator[str]:
    r"""
    The lines of a text in UTF-8, without a byte-order mark.

    Args:
        file (`IO[bytes]`): A file in binary mode. It stays open.

    Returns:
        `Iterator[str]`: Lines with their end: `\n`, `\r\n` or `\r`. Other separators, such as U+2028, end no line.

    Raises:
        ValueError: If the text is not UTF-8. The message names the encoding or the byte.
    """
    return _decoded(file, by_line=True)


def pieces_of(file: IO[bytes] | gzip.GzipFile) -> Iterator[str]:
    """
    A text in UTF-8 without a byte-order mark, in pieces.

    Args:
        file (`IO[bytes]`): A file in binary mode. It stays open.

    Returns:
        `Iterator[str]`: Pieces of [`PIECE`] characters; the last can be shorter.

    Raises:
        ValueError: If the text is not UTF-8. The message names the encoding or the byte.
    """
    return _decoded(file, by_line=False)


def _decoded(file: IO[bytes] | gzip.GzipFile, by_line: bool) -> Iterator[str]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    lines = 0
    try:
        while piece := text.readline() if by_line else text.read(PIECE):
            if "\0" in piece:
                lines += piece.split("\0")[0].count("\n")
                raise ValueError(
                    f"line {lines + 1} holds a NUL character: it is in UTF-16 without a byte-order mark, or no text; "
                    "save it in UTF-8"
                )
            yield piece
            lines += 1 if by_line else piece.count("\n")
    except UnicodeDecodeError as error:
        raise ValueError(_fault(error, lines)) from None
    finally:
        with suppress(ValueError):  # raised if the file is closed already
            text.detach()


def _fault(error: UnicodeDecodeError, lines: int) -> str:
    """What is wrong with a text, after so many whole lines."""
    content, byte = error.object, error.object[error.start : error.start + 1]
    if lines == 0:
        for mark, encoding in MARKS.items():
            if content.startswith(mark):
                return f"it is in {encoding}: save it in UTF-8"
    lines += len(re.findall(rb"\r\n|\r|\n", content[: error.start]))
    fault = f"byte 0x{byte.hex().upper()} in line {lines + 1} is not UTF-8"
    with suppress(UnicodeDecodeError):  # a few bytes mean nothing in Windows-1252
        fault += f"; in Windows-1252 (cp1252) it is {byte.decode('cp1252')!r}"
    return f"{fault}: save the file in UTF-8"
