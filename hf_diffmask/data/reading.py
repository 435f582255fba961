"""Reads texts from files and from data sets on the Hub."""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from typing import Any

from huggingface_hub.constants import HF_HUB_CACHE
from tqdm.auto import tqdm
from transformers.utils import logging

from ..errors import DiffMaskError, reason
from .encoding import Text
from .files import is_file, suffix_of
from .tables import READERS, Row, check_columns, rows_of

logger = logging.get_logger(__name__)

NOT_WRITTEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR)


def load_texts(
    dataset: str,
    text_column: str = "text",
    text_pair_column: str | None = None,
    split: str = "train",
    keep_empty: bool = False,
    config: str | None = None,
    streaming: bool = False,
    limit: int | None = None,
) -> list[Text]:
    """
    The texts of a data set; labels are not needed.

    Args:
        dataset (`str`):
            A csv, tsv, txt, json, jsonl or parquet file, gzipped or not; a folder of such files; or the id of a data
            set on the Hub.
        text_column (`str`, *optional*, defaults to `"text"`): Column of the text.
        text_pair_column (`str`, *optional*): Column of the second text, for pairs.
        split (`str`, *optional*, defaults to `"train"`): Split of a data set on the Hub.
        keep_empty (`bool`, *optional*, defaults to `False`): Whether to keep rows without text.
        config (`str`, *optional*): Configuration of a data set on the Hub.
        streaming (`bool`, *optional*, defaults to `False`):
            Whether to read rows one by one instead of loading the whole data set first. Files are always read so.
        limit (`int`, *optional*): Reads at most the first `limit` texts.

    Returns:
        `list`: Texts, or pairs of texts. Unless `keep_empty`, rows without text are left out and counted in a warning.

    Raises:
        DiffMaskError: If the data set cannot be read, lacks a column, or holds no text, or if a cell is no text; with
            `keep_empty`, such cells are kept.
    """
    columns = [text_column] + ([text_pair_column] if text_pair_column else [])
    if is_file(dataset) or (suffix_of(dataset) in READERS and not os.path.isdir(dataset)):
        rows = rows_of(dataset, columns)
    else:
        rows = _rows_of_datasets(dataset, columns, config, split, streaming)
    texts: list[tuple] = []
    empty = 0
    for number, cells in tqdm(rows, desc="Reading", unit="row", delay=2):
        if keep_empty or not any(_is_empty(cell, number, dataset) for cell in cells):
            texts.append(cells)
        else:
            empty += 1
        if limit is not None and len(texts) == limit:
            break
    if empty:
        logger.warning(f"{empty} of {len(texts) + empty} rows of {dataset} hold no text and are left out.")
    if not texts:
        raise DiffMaskError(f"The data set {dataset} holds no text in column {text_column!r}.")
    return [row if text_pair_column else row[0] for row in texts]


def is_on_hub(dataset: str) -> bool:
    """
    Whether a name is a data set id on the Hub, not a file.

    Args:
        dataset (`str`): The argument of [`load_texts`].

    Returns:
        `bool`
    """
    known = os.path.exists(dataset) or suffix_of(dataset) in READERS
    return bool(re.fullmatch(r"[\w.-]+(?:/[\w.-]+)?", dataset)) and not known


def _is_empty(cell: Any, number: int, dataset: str) -> bool:
    """Whether a cell holds no text; raises if it holds something else."""
    if cell is not None and not isinstance(cell, str):
        raise DiffMaskError(
            f"Row {number} of {dataset} is no text but of type {type(cell).__name__}: name a column of strings."
        )
    return not (cell and cell.strip())


def _rows_of_datasets(
    dataset: str, columns: list[str], config: str | None, split: str, streaming: bool
) -> Iterator[Row]:
    """The rows of a folder or of a data set on the Hub, counted from 0."""
    import datasets  # slow import, not needed for --help
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

    if not streaming:
        _check_cache(os.fspath(datasets.config.HF_DATASETS_CACHE))
    try:
        table = datasets.load_dataset(dataset, config, split=split, streaming=streaming)
        names = table.column_names or list(next(iter(table), ()))  # some streams have names only in their rows
        if not names:
            raise DiffMaskError(f"The data set {dataset} is empty.")
        check_columns(dataset, names, columns)
        for number, row in enumerate(table.select_columns(columns)):
            yield number, tuple(row[column] for column in columns)
    except DiffMaskError:
        raise
    except (OSError, ValueError, DatasetGenerationError, DatasetNotFoundError) as error:
        _check_cause(error, HF_HUB_CACHE)
        raise DiffMaskError(f"The data set {dataset} cannot be read ({reason(error)}).") from error


def _check_cause(error: BaseException, cache: str) -> None:
    """Names the cache of downloads, if an error is about writing to it."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, OSError) and error.errno in NOT_WRITTEN and str(error.filename).startswith(cache):
        raise DiffMaskError(
            f"The cache {cache} cannot be written ({reason(error)}): set HF_HUB_CACHE to another folder."
        ) from error


def _check_cache(folder: str) -> None:
    """Refuses a cache that cannot be written: `datasets` would fail in the middle of its work."""
    try:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise DiffMaskError(
            f"The cache {folder} cannot be written ({reason(error)}): set HF_DATASETS_CACHE to another folder."
        ) from error
