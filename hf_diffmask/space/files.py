"""Files of the page: uploaded texts, and attributions to download."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet

from ..display.page import to_html
from ..errors import DiffMaskError, reason
from .settings import Settings

SUFFIXES = (".csv", ".jsonl", ".parquet")


def read_rows(path: Path, column: str, pair_column: str, settings: Settings) -> list[list[str]]:
    """
    The texts of a file.

    Args:
        path (`Path`): A csv, jsonl or parquet file.
        column (`str`): The column of the texts; an empty name means `"text"`.
        pair_column (`str`): The column of second texts; an empty name means no second texts.
        settings ([`Settings`]): The limits.

    Returns:
        `list[list[str]]`: For each row the text, and the second text if `pair_column` is not empty. Values other than
        strings become empty texts.

    Raises:
        DiffMaskError: If the file cannot be read, is too large, has no rows, or lacks a column.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DiffMaskError(f"A file must be one of {', '.join(SUFFIXES)}, but this is {path.name[-40:]!r}.")
    if path.stat().st_size > settings.upload_megabytes * 1e6:
        raise DiffMaskError(f"The file is larger than the limit of {settings.upload_megabytes:g} MB.")
    columns = [column.strip() or "text", *([pair_column.strip()] if pair_column.strip() else [])]
    try:
        table = _table(path, columns, settings.rows)
    except (ValueError, OSError, pyarrow.ArrowException) as error:
        raise DiffMaskError(f"The file cannot be read ({reason(error)[:200]}).") from None
    if missing := [name for name in columns if name not in table]:
        raise DiffMaskError(f"The file has no column {missing[0]!r}; it has {', '.join(map(str, table))[:300]}.")
    if len(table) > settings.rows:
        raise DiffMaskError(f"The file has more rows than the limit of {settings.rows}: upload a part of it.")
    if table.empty:
        raise DiffMaskError("The file has no rows.")
    rows = table[columns].itertuples(index=False, name=None)
    # A parquet file can have several columns with one name. At most two values are used.
    return [[value if isinstance(value, str) else "" for value in row[:2]] for row in rows]


def write_results(results: list[dict[str, Any]], inputs: list[dict[str, str]], folder: Path) -> list[Path]:
    """
    Writes attributions as parquet, JSON lines and a page.

    Args:
        results (`list[dict]`): Results of the pipeline.
        inputs (`list[dict]`): The explained inputs.
        folder (`Path`): The folder to write to.

    Returns:
        `list[Path]`: `attributions.parquet`, with a row for each input and its tokens in a list;
        `attributions.jsonl`, the unchanged results; `attributions.html`, a page to read.
    """
    files = [folder / f"attributions.{kind}" for kind in ("parquet", "jsonl", "html")]
    rows = [
        {**one, **{name: value for name, value in result.items() if name != "states"}}
        for one, result in zip(inputs, results, strict=True)
    ]
    pd.DataFrame(rows).to_parquet(files[0], index=False)
    files[1].write_text("".join(json.dumps(result) + "\n" for result in results), encoding="utf-8")
    files[2].write_text(to_html(results), encoding="utf-8")
    return files


def _table(path: Path, columns: list[str], most: int) -> pd.DataFrame:
    """At most one row more than the limit. A parquet file with too many rows raises `ValueError`."""
    if path.suffix.lower() == ".csv":
        return pd.read_csv(path, nrows=most + 1, dtype=str, keep_default_na=False)
    if path.suffix.lower() == ".jsonl":
        return pd.read_json(path, lines=True, nrows=most + 1, dtype=False, convert_dates=False)
    file = pyarrow.parquet.ParquetFile(path)
    if file.metadata.num_rows > most:
        raise ValueError(f"it has {file.metadata.num_rows:,} rows, and the limit is {most}")
    names = file.schema_arrow.names
    # Reads only the needed columns. If a column is missing, the error message needs only the names.
    return file.read(columns).to_pandas() if set(columns) <= set(names) else pd.DataFrame(columns=names)
