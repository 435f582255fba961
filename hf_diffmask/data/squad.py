"""Reads questions in the SQuAD format."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.utils import logging

from ..errors import DiffMaskError
from .files import UNREADABLE, is_file, opened, pieces_of, suffix_of, unreadable

logger = logging.get_logger(__name__)


@dataclass(frozen=True)  # no tuple: pipelines split tuples when they move data to a device
class Question:
    """A question about a context, with the annotators' answers."""

    id: str
    question: str
    context: str
    answers: list[str]
    """Text of each answer; answers may repeat, as there are several annotators."""
    answer_starts: list[int]
    """Start of each answer in the context, in characters."""
    is_impossible: bool
    """Whether the context does not answer the question (SQuAD v2.0)."""


def load_squad(path: str | Path, labelled: bool = True) -> tuple[list[Question], int]:
    """
    The questions of a SQuAD file, v1.1 or v2.0.

    Drops answers that are empty or not at their offset. Then drops questions without an answer, unless they are marked
    as impossible. Warnings count both.

    Args:
        path (`str` or `Path`): A JSON file or a pipe, gzipped or not.
        labelled (`bool`, *optional*, defaults to `True`): Whether to drop questions without given answers.

    Returns:
        `tuple[list[Question], int]`: The questions in the order of the file, and the number of dropped questions.

    Raises:
        DiffMaskError: If the file is missing or no SQuAD JSON, a context or a question is empty, or no question is
            left.
    """
    return _questions(_content(path), path, labelled)


def load_if_squad(path: str | Path) -> list[Question] | None:
    """
    The questions of a file with or without answers, if the file is in the SQuAD format.

    The format is JSON: one object with a list `data`.

    Args:
        path (`str` or `Path`): A file or a pipe, gzipped or not.

    Returns:
        `list[Question]` or `None`: `None` for a file in another format, and for a file that cannot be read.

    Raises:
        DiffMaskError: If a pipe holds something else, because it cannot be read again, or as for [`load_squad`].
    """
    if not is_file(path) or suffix_of(path) in (".csv", ".tsv", ".jsonl", ".parquet"):
        return None
    content = None
    with suppress(*UNREADABLE), opened(path) as file:
        pieces = pieces_of(file)
        start = next(pieces, "")
        if start.lstrip().startswith("{"):  # else it can be a large file of texts
            content = json.loads(start + "".join(pieces))
    if isinstance(content, dict) and isinstance(content.get("data"), list):
        return _questions(content, path, labelled=False)[0]
    if not os.path.isfile(path):
        raise DiffMaskError(f"{path} can be read only once and is no SQuAD JSON: save it as a file first.")
    return None


def _content(path: str | Path) -> Any:
    """The JSON in a file."""
    if not is_file(path):
        raise DiffMaskError(f"There is no file {path}: give the path of a SQuAD JSON file.")
    with unreadable(f"{path} cannot be read as SQuAD JSON"), opened(path) as file:
        return json.loads("".join(pieces_of(file)))


def _questions(content: Any, path: str | Path, labelled: bool) -> tuple[list[Question], int]:
    """See [`load_squad`]."""
    questions, skipped, misplaced = [], 0, 0
    for context, record in _records(content, path):
        if not labelled and isinstance(record, dict):
            record = {"answers": [], **record}
        question = _question(context, record, path)
        misplaced += len(record["answers"]) - len(question.answers)
        if question.answers or question.is_impossible or not (labelled or record["answers"]):
            questions.append(question)
        else:
            skipped += 1
    total = len(questions) + skipped
    if misplaced:
        logger.warning(f"{misplaced} answers of {path} are empty or not where their offset says, and are left out.")
    if skipped:
        logger.warning(f"{skipped} of {total} questions of {path} have no usable answer and are left out.")
    if not questions:
        raise DiffMaskError(f"{path} has no question with an answer: give a file with labelled questions.")
    return questions, skipped


def _records(content: Any, path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each context and unchecked question of a file."""
    for article in _field(content, "data", list, path):
        for paragraph in _field(article, "paragraphs", list, path):
            context = _field(paragraph, "context", str, path)
            for record in _field(paragraph, "qas", list, path):
                yield context, record


def _field(record: Any, name: str, kind: type | tuple[type, ...], path: str | Path) -> Any:
    """A field of a JSON object; raises if it is missing or has the wrong type."""
    value = record.get(name) if isinstance(record, dict) else None
    if not isinstance(value, kind):
        raise DiffMaskError(f"{path} is no SQuAD JSON: `{name}` is missing somewhere, or not of its type.")
    return value


def _question(context: str, record: Any, path: str | Path) -> Question:
    """A question with the answers that are at their offset."""
    name = str(_field(record, "id", (str, int), path))
    question = _field(record, "question", str, path)
    for what, text in (("context", context), ("question", question)):
        if not text.strip():
            raise DiffMaskError(f"The {what} of question {name!r} of {path} is empty: fill it in or remove it.")
    marked = [
        (_field(answer, "text", str, path), _field(answer, "answer_start", int, path))
        for answer in _field(record, "answers", list, path)
    ]
    # An empty text matches anywhere, and an offset below 0 counts from the end.
    placed = [
        (text, start) for text, start in marked if text.strip() and start >= 0 and context.startswith(text, start)
    ]
    return Question(
        id=name,
        question=question,
        context=context,
        answers=[text for text, _ in placed],
        answer_starts=[start for _, start in placed],
        is_impossible=record.get("is_impossible") is True,
    )
