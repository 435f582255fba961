"""Reads questions in the SQuAD format."""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.utils import logging

from ..errors import DiffMaskError, reason

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
        path (`str` or `Path`): A JSON file, gzipped if its name ends in .gz.
        labelled (`bool`, *optional*, defaults to `True`): Whether to drop questions without given answers.

    Returns:
        `tuple[list[Question], int]`: The questions in the order of the file, and the number of dropped questions.

    Raises:
        DiffMaskError: If the file is missing or no SQuAD JSON, a context or a question is empty, or no question is
            left.
    """
    questions, skipped, misplaced = [], 0, 0
    for context, record in _records(path):
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


def is_squad(path: str | Path) -> bool:
    """
    Whether a file is JSON in the SQuAD format: one object with a list `data`.

    Args:
        path (`str` or `Path`): A file, gzipped if its name ends in .gz.

    Returns:
        `bool`: Also `False` if the file cannot be read.
    """
    opened = gzip.open if Path(path).suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError, EOFError, zlib.error):
        return False
    return isinstance(content, dict) and isinstance(content.get("data"), list)


def _records(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each context and unchecked question of a file."""
    if not Path(path).is_file():
        raise DiffMaskError(f"There is no file {path}: give the path of a SQuAD JSON file.")
    opened = gzip.open if Path(path).suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            content = json.load(file)
    # Damaged gzip files raise different errors.
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise DiffMaskError(f"{path} cannot be read as SQuAD JSON ({reason(error)}).") from error
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
