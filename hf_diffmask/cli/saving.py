"""What a run that trains leaves behind when its folder cannot be written."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..data.writing import check_folder, not_written, refusal
from ..errors import DiffMaskError

_STATE = "trainer_state.json"  # the last file of a checkpoint


@contextmanager
def saving(folder: str | os.PathLike, hint: str = "") -> Iterator[None]:
    """
    A block that trains into a folder. If the folder cannot be written, files that are half written are removed.

    Args:
        folder (`str` or `os.PathLike`): The output folder; the block may make it.
        hint (`str`, *optional*): End of the sentence, if there are checkpoints to go on from.

    Raises:
        DiffMaskError: If the folder cannot be written, before the block or in it.
    """
    check_folder(folder)
    before, was_there = _stamps(folder), Path(folder).exists()
    try:
        yield
    except DiffMaskError:
        raise
    except Exception as error:
        number = refusal(error)
        if number in (None, errno.EPIPE):  # pipes are not in the folder
            raise
        _remove_half(folder, before)
        said = not_written(folder, number)
        if hint and any(Path(folder).glob("checkpoint-*")):
            said = f"{said[:-1]}; {hint}."
        if not was_there and not _stamps(folder):
            shutil.rmtree(folder, ignore_errors=True)
        raise DiffMaskError(said) from error


def _stamps(folder: str | os.PathLike) -> dict[Path, tuple[int, int]]:
    """Time and size of each file."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


def _remove_half(folder: str | os.PathLike, before: dict[Path, tuple[int, int]]) -> None:
    """Removes new checkpoints without their last file, and changed JSON files that end too early."""
    for checkpoint in Path(folder).rglob("checkpoint-*"):
        is_new = checkpoint.is_dir() and not any(checkpoint in path.parents for path in before)
        if is_new and not _is_whole(checkpoint / _STATE):
            shutil.rmtree(checkpoint, ignore_errors=True)
    for path, stamp in _stamps(folder).items():
        if path.suffix == ".json" and before.get(path) != stamp and not _is_whole(path):
            path.unlink()


def _is_whole(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
