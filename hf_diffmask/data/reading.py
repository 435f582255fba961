"""Reads texts from files and from data sets on the Hub."""

import re
from pathlib import Path

from tqdm.auto import tqdm
from transformers.utils import logging

from ..errors import DiffMaskError, reason
from .encoding import Text

logger = logging.get_logger(__name__)

# The `datasets` reader for each suffix.
READERS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}


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
        dataset (`str`): A csv, json, jsonl or parquet file, gzipped or not, or the id of a data set on the Hub.
        text_column (`str`, *optional*, defaults to `"text"`): Column of the text.
        text_pair_column (`str`, *optional*): Column of the second text, for pairs.
        split (`str`, *optional*, defaults to `"train"`): Split of a data set on the Hub.
        keep_empty (`bool`, *optional*, defaults to `False`): Whether to keep rows without text.
        config (`str`, *optional*): Configuration of a data set on the Hub.
        streaming (`bool`, *optional*, defaults to `False`):
            Whether to read rows one by one instead of loading the whole data set first.
        limit (`int`, *optional*): Reads at most the first `limit` texts.

    Returns:
        `list`: Texts, or pairs of texts. Unless `keep_empty`, rows without text are left out and counted in a warning.

    Raises:
        DiffMaskError: If the data set cannot be read, lacks a column, or holds no text.
    """
    import datasets  # slow import, not needed for --help
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError

    path, suffix = Path(dataset), _suffix(dataset)
    if path.is_file() and not suffix:
        raise DiffMaskError(
            f"{dataset} has an unknown format: name it .csv, .json, .jsonl or .parquet (.gz may follow)."
        )
    if suffix and not path.is_file():
        raise DiffMaskError(f"There is no file {dataset}: give the path of a data file or the id of a data set.")
    if path.is_file() and path.stat().st_size == 0:
        raise DiffMaskError(f"The data set {dataset} is empty.")
    columns = [text_column] + ([text_pair_column] if text_pair_column else [])
    texts: list[tuple] = []
    empty = 0
    try:
        if path.is_file():
            table = datasets.load_dataset(READERS[suffix], data_files=str(path), split="train", streaming=streaming)
        else:
            table = datasets.load_dataset(dataset, config, split=split, streaming=streaming)
        names = table.column_names or list(next(iter(table)))  # some streams have names only in their rows
        for column in columns:
            if column not in names:
                raise DiffMaskError(
                    f"The data set {dataset} has no column {column!r}; it has {', '.join(names)}: name one with "
                    "--text_column or --text_pair_column."
                )
        table = table.select_columns(columns)
        total = None if streaming else min(len(table), limit or len(table))
        for row in tqdm(table, desc="Reading", unit="row", total=total, disable=total is not None and total < 100_000):
            found = tuple(row[column] for column in columns)
            if keep_empty or all(isinstance(text, str) and text.strip() for text in found):
                texts.append(found)
            else:
                empty += 1
            if limit is not None and len(texts) == limit:
                break
    except DiffMaskError:
        raise
    except StopIteration as error:  # from the reader, for a json file without rows
        raise DiffMaskError(f"The data set {dataset} is empty.") from error
    except (OSError, ValueError, DatasetGenerationError, DatasetNotFoundError) as error:
        raise DiffMaskError(f"The data set {dataset} cannot be read ({reason(error)}).") from error
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
    return bool(re.fullmatch(r"[\w.-]+(?:/[\w.-]+)?", dataset)) and not Path(dataset).exists() and not _suffix(dataset)


def _suffix(dataset: str) -> str:
    """The suffix that selects a reader, or an empty string."""
    suffix = next((part for part in reversed(Path(dataset).suffixes) if part != ".gz"), "")
    return suffix if suffix in READERS else ""
