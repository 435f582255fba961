"""stdout and stderr of a command: any encoding, a full disk, a reader that is gone."""

import io
import os
import sys
from contextlib import suppress

from tqdm import tqdm

from ..data.writing import not_written, refusal


def prepare() -> None:
    """Makes both streams take any character: one that the encoding lacks is written out, such as `\\u2026`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before the start
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def fail(sentence: str) -> int:
    """
    Ends a command with a sentence on stderr. What could not be written so far is given up.

    Args:
        sentence (`str`): What is wrong, and what to do.

    Returns:
        `int`: Exit status 2.
    """
    with suppress(OSError):
        tqdm.write(f"hf-diffmask: {sentence}", file=sys.stderr)  # on a line of its own, beside progress bars
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # The interpreter flushes once more at exit, and would complain.
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return 2


def sentence_of(error: BaseException) -> str | None:
    """
    The sentence for an error that says that something cannot be written.

    Args:
        error (`BaseException`): Any error.

    Returns:
        `str` or `None`: `None` for other errors.
    """
    number = refusal(error)
    if number is None:
        return None
    return not_written(getattr(error, "filename", None) or "The output", number)
