"""Reads the inputs of a command."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..data.encoding import Text
from ..data.files import is_file, lines_of, suffix_of, unreadable
from ..data.reading import load_texts
from ..data.sampling import train_validation_split
from ..data.tables import READERS, rows_of
from ..errors import DiffMaskError
from ..tasks.task import Task

Place = dict[str, int]
"""Where an input stands: `{"line": ...}`, `{"row": ...}` or `{}`."""


@dataclass(kw_only=True)
class DatasetArguments:
    """Which part of a data set to read."""

    trust_remote_code: bool = field(
        default=False, metadata={"help": "Run code of the base model's repo. Read it first."}
    )
    text_column: str | None = field(
        default=None, metadata={"help": "Column with the text. Default: text; for question answering: question."}
    )
    text_pair_column: str | None = field(
        default=None,
        metadata={"help": "Column with the second text of a pair. Default: none; for question answering: context."},
    )
    dataset_config: str | None = field(
        default=None, metadata={"help": "Configuration of a data set on the Hub, if it has several."}
    )
    dataset_split: str = field(default="train", metadata={"help": "Split of a data set on the Hub, such as test."})
    streaming: bool = field(
        default=False,
        metadata={"help": "Read rows on demand instead of downloading the whole data set first."},
    )


def load_inputs(
    dataset: str,
    task: Task,
    which: DatasetArguments | None = None,
    limit: int | None = None,
    split: str | None = None,
) -> list[Text]:
    """
    Texts or pairs of a data set; for question answering, questions with their contexts.

    Args:
        dataset (`str`):
            A data file, a folder or a data set id; for question answering also a file in SQuAD format.
        task ([`Task`]): Task of the base model.
        which ([`DatasetArguments`], *optional*): Columns, configuration and split.
        limit (`int`, *optional*): Read only the first `limit` inputs.
        split (`str`, *optional*): Split of a data set on the Hub, in place of the split in `which`.

    Returns:
        `list`: Texts, or pairs of texts.

    Raises:
        DiffMaskError: If `limit` is below 1, or the data set cannot be read, lacks a column, or holds no text.
    """
    which = DatasetArguments() if which is None else which
    if limit is not None and limit < 1:
        raise DiffMaskError(f"The number of inputs must be at least 1, but is {limit}.")
    if (found := task.read(dataset, limit)) is not None:
        return found
    text, pair = _columns(which, task)
    split = split or which.dataset_split
    return load_texts(dataset, text, pair, split, config=which.dataset_config, streaming=which.streaming, limit=limit)


def training_and_validation(options: Any, task: Task, seed: int, most: int) -> tuple[list[Text], list[Text]]:
    """
    Training inputs and validation inputs of a command.

    Args:
        options: [`DatasetArguments`] with `dataset`, `max_samples`, `validation_dataset` and `validation_split`.
        task ([`Task`]): Task of the base model.
        seed (`int`): Seed of the split, where there is no validation data set.
        most (`int`): Largest number of validation inputs that are split off.

    Returns:
        `tuple`: Training inputs and validation inputs.

    Raises:
        DiffMaskError: See [`load_inputs`].
    """
    texts = load_inputs(options.dataset, task, options, limit=options.max_samples)
    if options.validation_dataset is None:
        return train_validation_split(texts, seed, most=most)
    return texts, load_inputs(options.validation_dataset, task, options, split=options.validation_split)


def placed_inputs(file: str, task: Task, which: DatasetArguments) -> list[tuple[Place, Text]]:
    """
    All inputs of a file, with their place in it.

    Args:
        file (`str`): A file or a pipe. A suffix that is not in [`READERS`] means a text with one input a line.
        task ([`Task`]): Task of the base model.
        which ([`DatasetArguments`]): The columns.

    Returns:
        `list`: For each input its place and a text or a pair. The place is `{"line": ...}`, counted from 1, in a text
        without its blank lines; `{"row": ...}`, counted from 0, in a table with all of its rows; `{}` in SQuAD format.

    Raises:
        DiffMaskError: If the file cannot be read, or lacks a column.
    """
    if (found := task.read(file)) is not None:
        return [({}, text) for text in found]
    if not is_file(file):
        raise DiffMaskError(f"There is no file {file}.")
    text, pair = _columns(which, task)
    suffix = suffix_of(file) if suffix_of(file) in READERS else ".txt"
    if suffix_of(file) not in READERS and which.text_column is not None:
        raise DiffMaskError(
            f"{file} is read as lines of text, which have no columns: give it a name that ends in "
            f"{', '.join(READERS)}, or leave out --text_column."
        )
    rows = rows_of(file, [text, *([pair] if pair else [])], suffix)
    found_rows = ((number, cells if pair else cells[0]) for number, cells in rows)
    if suffix == ".txt":
        return _without_blank(found_rows)
    # Rows without text stay: without them, results would not align with the rows.
    return [({"row": number}, cells) for number, cells in found_rows]


def lines_of_stdin() -> list[tuple[Place, Text]]:
    """
    The lines of standard input that are not blank.

    Returns:
        `list`: For each line `{"line": ...}`, counted from 1, and its text.

    Raises:
        DiffMaskError: If standard input is closed, or is not UTF-8.
    """
    if sys.stdin is None:
        raise DiffMaskError("Standard input is closed: give a text or --file.")
    if sys.stdin.isatty():
        print("Type a text and end with Ctrl-D.", file=sys.stderr)
    with unreadable("Standard input cannot be read"):
        lines = enumerate(lines_of(sys.stdin.buffer), 1)
        return _without_blank((number, line.rstrip("\r\n")) for number, line in lines)


def _columns(which: DatasetArguments, task: Task) -> tuple[str, str | None]:
    text, pair = task.columns
    return which.text_column or text, which.text_pair_column or pair


def _without_blank(lines: Iterable[tuple[int, Any]]) -> list[tuple[Place, Text]]:
    return [({"line": number}, line) for number, line in lines if line.strip()]
