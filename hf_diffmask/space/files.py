"""Files of the page: uploaded texts, and attributions to download."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from ..data.writing import write_text
from ..display.page import to_html
from ..errors import DiffMaskError
from ..pipeline.results import results_in
from . import reading
from .settings import Settings

SUFFIXES = tuple(reading.READERS)


def read_rows(path: Path, column: str, pair_column: str, settings: Settings) -> list[list[str]]:
    """
    The texts of a file. They are read by another program, see [`~hf_diffmask.space.reading`].

    Args:
        path (`Path`): A csv, jsonl or parquet file.
        column (`str`): The column of the texts; an empty name means `"text"`.
        pair_column (`str`): The column of second texts; an empty name means no second texts.
        settings ([`Settings`]): The limits.

    Returns:
        `list[list[str]]`: For each row the text, and the second text if `pair_column` is not empty. Values other than
        strings become empty texts.

    Raises:
        DiffMaskError: If the file cannot be read in time, is too large, has no rows, or lacks a column, or a text is
            too long.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DiffMaskError(f"A file must be one of {', '.join(SUFFIXES)}, but this is {path.name[-40:]!r}.")
    if path.stat().st_size > settings.upload_megabytes * 1e6:
        raise DiffMaskError(f"The file is larger than the limit of {settings.upload_megabytes:g} MB.")
    columns = [column.strip() or "text", *([pair_column.strip()] if pair_column.strip() else [])]
    asked = {"path": str(path), "columns": columns, "most": settings.rows, "characters": settings.characters}
    # Without -P, the files beside the program would hide modules of the same names.
    program = [sys.executable, "-P", reading.__file__]
    try:
        done = subprocess.run(
            program, input=json.dumps(asked).encode(), capture_output=True, timeout=settings.seconds, check=True
        )
    except subprocess.TimeoutExpired:
        raise DiffMaskError(
            f"Reading the file took longer than the limit of {settings.seconds:g} seconds: upload a part of it."
        ) from None
    except subprocess.CalledProcessError:
        raise DiffMaskError("The file cannot be read: it is damaged, or takes too much memory.") from None
    answer = json.loads(done.stdout)
    if "refused" in answer:
        raise DiffMaskError(answer["refused"])
    found: list[list[str]] = answer["rows"]
    return found


def write_results(results: list[dict[str, Any]], inputs: list[dict[str, str]], folder: Path) -> list[Path]:
    """
    Writes attributions as parquet, JSON lines and a page.

    Args:
        results (`list`): What the pipeline returned for each input.
        inputs (`list[dict]`): The explained inputs.
        folder (`Path`): The folder to write to.

    Returns:
        `list[Path]`: `attributions.parquet`, with a row for each result and its tokens in a list;
        `attributions.jsonl`, the unchanged results; `attributions.html`, a page to read.
    """
    numbered = [(result, one) for one, found in zip(inputs, results, strict=True) for result in results_in(found)]
    files = [folder / f"attributions.{kind}" for kind in ("parquet", "jsonl", "html")]
    rows = [{**one, **{name: value for name, value in result.items() if name != "states"}} for result, one in numbered]
    pd.DataFrame(rows).to_parquet(files[0], index=False)
    write_text(files[1], "".join(json.dumps(result) + "\n" for result, _ in numbered))
    write_text(files[2], to_html(result for result, _ in numbered))
    return files
