"""Results of training, evaluation and audit, in one file beside the explainer. The card is made from them."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..data.writing import write_text
from ..errors import DiffMaskError, reason

RESULTS_FILE = "explainer_results.json"
PARTS = {"training": dict, "states": list, "examples": list, "faithfulness": dict, "audit": dict}


def read_results(folder: str | os.PathLike) -> dict[str, Any]:
    """
    Reads the results of an explainer.

    Args:
        folder (`str` or `os.PathLike`): The explainer's folder.

    Returns:
        `dict`: The parts `training`, `states`, `examples`, `faithfulness` and `audit`, each if present.

    Raises:
        DiffMaskError: If the file cannot be read.
    """
    path = Path(folder) / RESULTS_FILE
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it holds no object")
        for name, value in found.items():
            if not isinstance(value, PARTS.get(name, object)):
                raise ValueError(f"{name} has the wrong type")
    except (OSError, ValueError, RecursionError) as error:
        raise DiffMaskError(f"{path} cannot be read ({reason(error)}): delete it, and measure again.") from error
    return found


@contextmanager
def showing(folder: str | os.PathLike) -> Iterator[None]:
    """
    What is made from an explainer's results: parts that do not hold what they should are one sentence.

    Args:
        folder (`str` or `os.PathLike`): The explainer's folder.

    Raises:
        DiffMaskError: If a figure is missing or has the wrong type.
    """
    try:
        yield
    except DiffMaskError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DiffMaskError(
            f"{Path(folder) / RESULTS_FILE} does not hold the results that a card shows ({reason(error)}): delete it, "
            "and measure again."
        ) from error


def add_results(folder: str | os.PathLike, **parts: Any) -> None:
    """
    Adds parts to an explainer's results, and replaces earlier parts with the same name.

    Args:
        folder (`str` or `os.PathLike`): The explainer's folder.
        parts: Parts by name, ready for JSON.
    """
    path = Path(folder) / RESULTS_FILE
    write_text(path, json.dumps({**read_results(folder), **parts}, indent=1))
