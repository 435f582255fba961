"""Extractive question answering in the format of SQuAD: questions, answer spans and their evaluation."""

import gzip
import json
import re
import string
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.utils import logging

from ..errors import DiffMaskError, reason

logger = logging.get_logger(__name__)

Offsets = Sequence[tuple[int, int] | None]

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


@dataclass(frozen=True)  # no tuple: pipelines take tuples apart on their way to a device
class Question:
    """A question about a context, with the answers that annotators marked in it."""

    id: str
    question: str
    context: str
    answers: list[str]
    """Text of each answer; several annotators may have marked the same."""
    answer_starts: list[int]
    """Where each answer starts in the context, in characters."""
    is_impossible: bool
    """Whether the context does not answer the question (SQuAD v2.0)."""


class Answer(NamedTuple):
    """A span of the context, or no answer: then the text is empty, and start and end are 0."""

    start: int
    """First character of the span in the context."""
    end: int
    """The character after its last."""
    text: str
    score: float
    """A probability, see [`decode`]."""


def load_squad(path: str | Path, labelled: bool = True) -> tuple[list[Question], int]:
    """
    Reads the questions of a SQuAD file, v1.1 or v2.0.

    Answers that are not where their offset says are dropped, and so are questions that have no answer left, unless
    they are marked as impossible. Both are counted in a warning.

    Args:
        path (`str` or `Path`): A JSON file, gzipped if its name ends in .gz.
        labelled (`bool`, *optional*, defaults to `True`): Whether questions for which no answer is given are dropped.

    Returns:
        `tuple[list[Question], int]`: The questions in the order of the file, and how many were dropped.

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
        raise DiffMaskError(f"{path} holds no question with an answer: give a file with labelled questions.")
    return questions, skipped


def is_squad(path: str | Path) -> bool:
    """
    Whether a file is JSON in the form of SQuAD: one object with a list `data`.

    Args:
        path (`str` or `Path`): A file, gzipped if its name ends in .gz.

    Returns:
        `bool`: `False` also for a file that cannot be read.
    """
    opened = gzip.open if Path(path).suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError, EOFError, zlib.error):
        return False
    return isinstance(content, dict) and isinstance(content.get("data"), list)


def _records(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each question of a file as it stands there, with its context."""
    if not Path(path).is_file():
        raise DiffMaskError(f"There is no file {path}: give the path of a SQuAD JSON file.")
    opened = gzip.open if Path(path).suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            content = json.load(file)
    # What a damaged gzip file raises depends on where it is damaged.
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise DiffMaskError(f"{path} cannot be read as SQuAD JSON ({reason(error)}).") from error
    for article in _field(content, "data", list, path):
        for paragraph in _field(article, "paragraphs", list, path):
            context = _field(paragraph, "context", str, path)
            for record in _field(paragraph, "qas", list, path):
                yield context, record


def _field(record: Any, name: str, kind: type | tuple[type, ...], path: str | Path) -> Any:
    """A field of a JSON object, if it is there and of its type."""
    value = record.get(name) if isinstance(record, dict) else None
    if not isinstance(value, kind):
        raise DiffMaskError(f"{path} is no SQuAD JSON: `{name}` is missing somewhere, or not of its type.")
    return value


def _question(context: str, record: Any, path: str | Path) -> Question:
    """A question with those of its answers that are where their offset says."""
    name = str(_field(record, "id", (str, int), path))
    question = _field(record, "question", str, path)
    for what, text in (("context", context), ("question", question)):
        if not text.strip():
            raise DiffMaskError(f"The {what} of question {name!r} of {path} is empty: fill it in or remove it.")
    marked = [
        (_field(answer, "text", str, path), _field(answer, "answer_start", int, path))
        for answer in _field(record, "answers", list, path)
    ]
    # An empty text would be found anywhere, and an offset below 0 would count from the end.
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


def decode(
    start_log_probs: Sequence[Tensor],
    end_log_probs: Sequence[Tensor],
    offsets: Sequence[Offsets],
    context: str,
    top_k: int = 1,
    max_answer_length: int = 30,
    handle_impossible_answer: bool = False,
) -> list[Answer]:
    """
    Finds the best answers to one question, over all windows of its context.

    The score of an answer is the probability that a model, given the window, picks this first and this last token,
    the two drawn independently of each other: `p(start) p(end)`, each normalised over all tokens of the window. So
    the scores of different answers are parts of one distribution only within a window, where they sum to at most 1:
    the rest is with other tokens, longer spans, and ends before their start.

    Windows are compared by that same score; a span in several of them counts with its best. Logits would not do:
    the loss that a model was trained with is normalised for each window, and leaves a window's logits free up to a
    constant. And as training sends windows without an answer to their first token, those have little probability left
    for their spans. A softmax over the best answers is not taken either: it would depend on how many one asks for.

    Of no answer, the score is that of the first token as start and as end, in the window where it is lowest: one
    window that finds an answer is enough. It has to exceed the scores of the others, not to equal them.

    Args:
        start_log_probs (`Sequence[torch.Tensor]`):
            Of each window, log-probabilities `(T,)` in nats of its tokens as start, without padding, the first token
            ([CLS]) first.
        end_log_probs (`Sequence[torch.Tensor]`): The same of its tokens as end.
        offsets (`Sequence`):
            Of each window, one entry a token: start and end in the context in characters, `None` for tokens that
            are no part of the context.
        context (`str`): The whole context.
        top_k (`int`, *optional*, defaults to 1): How many answers to return.
        max_answer_length (`int`, *optional*, defaults to 30): Tokens of the longest answer.
        handle_impossible_answer (`bool`, *optional*, defaults to `False`):
            Whether "no answer" is one of the answers, as models for SQuAD v2.0 can give it.

    Returns:
        `list[Answer]`: Different spans without surrounding white space, the best first, the earlier and then the
        shorter first of equals; fewer than `top_k` where there are fewer.

    Raises:
        DiffMaskError: If `top_k` or `max_answer_length` is below 1, or no token of the context can be an answer.
    """
    for name, value in (("top_k", top_k), ("max_answer_length", max_answer_length)):
        if value < 1:
            raise DiffMaskError(f"`{name}` must be at least 1, but is {value}.")
    spans, scores, nulls = [], [], []
    for window_start, window_end, window_offsets in zip(start_log_probs, end_log_probs, offsets, strict=True):
        start, end = window_start.cpu().double(), window_end.cpu().double()
        first, last, begins, ends = _candidates(window_offsets, context, max_answer_length)
        # One number a span, in the order of their starts and then of their ends.
        spans.append(begins * (len(context) + 1) + ends)
        scores.append(start[first] + end[last])
        nulls.append(start[0] + end[0])
    # Overlapping windows share spans, and so do tokens that are parts of one character.
    unique, group = torch.unique(torch.cat(spans), return_inverse=True)
    if not len(unique) and not handle_impossible_answer:
        raise DiffMaskError("The context holds no token to answer with: give one with at least one visible character.")
    best = torch.full(unique.shape, -torch.inf, dtype=torch.float64)
    best = best.scatter_reduce(0, group, torch.cat(scores), "amax")
    if handle_impossible_answer:
        best = torch.cat([best, torch.stack(nulls).min()[None]])
    # Not `topk`, which leaves the order of equals open.
    order = best.argsort(descending=True, stable=True)[:top_k]
    answers = []
    for index, score in zip(order.tolist(), best[order].exp().tolist(), strict=True):
        begin, stop = divmod(int(unique[index]), len(context) + 1) if index < len(unique) else (0, 0)
        answers.append(Answer(begin, stop, context[begin:stop], score))
    return answers


def _candidates(offsets: Offsets, context: str, max_answer_length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """First and last token of each span of a window that may be an answer, and its start and end in characters."""
    bounds = torch.tensor([_visible(offset, context) for offset in offsets])
    allowed = bounds[:, 0] < bounds[:, 1]
    # Two tokens with the same number have no token between them that is no part of the context.
    run = torch.tensor([offset is None for offset in offsets]).cumsum(0)
    count = len(offsets)
    first = torch.arange(count)[:, None]
    # The band of a `(T, T)` matrix from its diagonal up, `(T, max_answer_length)`; where the window ends before the
    # band, its last token repeats, which is harmless, as equal spans are merged.
    last = (first + torch.arange(min(max_answer_length, count))).clamp(max=count - 1)
    valid = allowed[first] & allowed[last] & (run[first] == run[last])
    first, last = first.expand_as(last)[valid], last[valid]
    return first, last, bounds[first, 0], bounds[last, 1]


def _visible(offset: tuple[int, int] | None, context: str) -> tuple[int, int]:
    """A token's offsets without the white space that some tokenizers count to it; equal ones if nothing is left."""
    if offset is None:
        return 0, 0
    text = context[offset[0] : offset[1]]
    start = offset[0] + len(text) - len(text.lstrip())
    return start, start + len(text.strip())


def normalize_answer(text: str) -> str:
    """
    Lower case, without ASCII punctuation, articles (a, an, the) and surplus white space, as SQuAD compares answers.

    Args:
        text (`str`): An answer.

    Returns:
        `str`: Words with one space between them, possibly none.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """
    Whether a prediction is one of the answers, after [`normalize_answer`].

    As in the evaluation of SQuAD v2.0, answers of which normalisation leaves nothing do not count; where none is left,
    the question is unanswerable, and only an empty prediction is right.

    Args:
        prediction (`str`): The predicted text, empty for no answer.
        answers (`Sequence[str]`): The annotators' answers, none for an unanswerable question.

    Returns:
        `float`: 1 or 0.
    """
    return float(normalize_answer(prediction) in _references(answers))


def f1(prediction: str, answers: Sequence[str]) -> float:
    """
    Harmonic mean of precision and recall over the words that a prediction shares with an answer, of the best answer.

    Words are those of [`normalize_answer`], and count as often as they occur. Unanswerable questions are as in
    [`exact_match`].

    Args:
        prediction (`str`): The predicted text, empty for no answer.
        answers (`Sequence[str]`): The annotators' answers, none for an unanswerable question.

    Returns:
        `float`: In [0, 1].
    """
    predicted = normalize_answer(prediction).split()
    return max(_overlap(predicted, answer.split()) for answer in _references(answers))


def _references(answers: Sequence[str]) -> list[str]:
    """What a prediction is compared with: the empty text for an unanswerable question."""
    return [answer for answer in map(normalize_answer, answers) if answer] or [""]


def _overlap(predicted: list[str], answer: list[str]) -> float:
    """F1 of two lists of words."""
    if not predicted or not answer:
        return float(predicted == answer)
    # Precision P = shared / predicted and recall R = shared / answer make 2PR / (P + R) = 2 shared / (both lengths).
    return 2 * (Counter(predicted) & Counter(answer)).total() / (len(predicted) + len(answer))
