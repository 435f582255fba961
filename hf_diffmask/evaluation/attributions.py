"""Reads and writes attributions as JSON lines."""

import json
import math
from pathlib import Path
from typing import Any

from ..data.files import lines_of, opened, unreadable
from ..data.writing import write_text
from ..errors import DiffMaskError


def read_attributions(path: Path, inputs: list[dict[str, list[int]]]) -> list[list[float]]:
    """
    Scores from elsewhere, read from a file.

    Args:
        path (`Path`): JSON lines, one object per input, with `input_ids` and `scores`.
        inputs (`list[dict]`): The inputs, in the order of the file.

    Returns:
        `list[list[float]]`: For each input, a score per token.

    Raises:
        DiffMaskError: If the file cannot be read, or scores belong to other tokens or are no finite numbers.
    """
    with unreadable(f"{path} cannot be read as JSON lines"), opened(path) as file:
        lines = [(number, json.loads(line.strip())) for number, line in enumerate(lines_of(file), 1) if line.strip()]
    if len(lines) != len(inputs):
        raise DiffMaskError(f"{path} holds {len(lines)} attributions for {len(inputs)} inputs: give one for each.")
    scores = []
    for position, ((number, line), one) in enumerate(zip(lines, inputs, strict=True), 1):
        if not isinstance(line, dict) or not isinstance(line.get("scores"), list):
            raise DiffMaskError(f"Line {number} of {path} has no list `scores`.")
        if line.get("input_ids") != one["input_ids"]:
            raise DiffMaskError(
                f"Line {number} of {path} has other `input_ids` than input {position}: attributions must be of the "
                "tokens that the model reads, in the order of the data set."
            )
        if not all(isinstance(score, int | float) and not isinstance(score, bool) for score in line["scores"]):
            raise DiffMaskError(f"Line {number} of {path} has scores that are no numbers.")
        if len(line["scores"]) != len(one["input_ids"]):
            raise DiffMaskError(
                f"Line {number} of {path} has {len(line['scores'])} scores for {len(one['input_ids'])} tokens."
            )
        if not all(map(_is_finite, line["scores"])):
            raise DiffMaskError(f"Line {number} of {path} has a score that is not finite.")
        scores.append([float(score) for score in line["scores"]])
    return scores


def _is_finite(score: float) -> bool:
    """Whether a number is finite as a `float`; JSON has integers of any length."""
    try:
        return math.isfinite(score)
    except OverflowError:
        return False


def write_attributions(path: Path, lines: list[dict[str, Any]]) -> None:
    """
    Writes attributions as JSON lines.

    Args:
        path (`Path`): The file.
        lines (`list[dict]`): One object per input.
    """
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
