"""Reads JSON files of others: a malformed file is one sentence with its name."""

import json
import os
from pathlib import Path
from typing import Any

from ..errors import DiffMaskError, reason


def read_json(path: str | os.PathLike, what: str | None = None) -> dict[str, Any]:
    """
    The object in a JSON file.

    Args:
        path (`str` or `os.PathLike`): The file.
        what (`str`, *optional*): Name of the file in an error; by default its path.

    Returns:
        `dict`

    Raises:
        DiffMaskError: If the file cannot be read, is no JSON or nested too deeply, or holds no object.
    """
    what = what or str(path)
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DiffMaskError(
            f"{what} cannot be read as JSON ({reason(error)}): put it right, or get it again from where it came from."
        ) from error
    if not isinstance(found, dict):
        raise DiffMaskError(
            f"{what} holds {'a list' if isinstance(found, list) else repr(found)[:50]} instead of names with values: "
            "get it again from where it came from."
        )
    return found
