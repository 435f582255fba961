"""Answers of an extractive model, read off the outputs of its windows; Transformers 5 has no pipeline that does."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from . import heads
from .data import EncodedText, Text, encode
from .errors import DiffMaskError
from .tasks.squad import Answer, decode

logger = logging.get_logger(__name__)

SHORTEST_CONTEXT = 8  # tokens of the context that a window must have room for beside the question


def as_question(item: Any, what: str) -> tuple[str, str]:
    """
    Checks a question and its context.

    Args:
        item (`dict` or `tuple`):
            `{"question": ..., "context": ...}`, or the two as a pair, also as `{"text": ..., "text_pair": ...}`.
        what (`str`): What to call it in an error.

    Returns:
        `tuple[str, str]`: Question and context.

    Raises:
        DiffMaskError: If one of them is missing, no text, or empty.
    """
    if isinstance(item, dict):
        names = ("text", "text_pair") if "text_pair" in item else ("question", "context")
        item = tuple(item.get(name) for name in names)
    if not isinstance(item, tuple) or len(item) != 2 or not all(isinstance(part, str) for part in item):
        raise DiffMaskError(f'{what} is no question with a context: give {{"question": ..., "context": ...}}.')
    for name, part in zip(("question", "context"), item, strict=True):
        if not part.strip():
            raise DiffMaskError(f"{what} has an empty {name}: give one with at least one visible character.")
    return item


def check_room(encoded: EncodedText, length: int) -> None:
    """
    Sees to it that a question fits into each window whole.

    Args:
        encoded ([`EncodedText`]): Question and context.
        length (`int`): Tokens that fit into a window, special tokens included.

    Raises:
        DiffMaskError: If it takes more than half of a window, or leaves no room for the context.
    """
    if not has_room(encoded, length):
        start = encoded.texts[0][:40]
        raise DiffMaskError(
            f"The question that begins with {start!r} takes {encoded.segments.count(0)} tokens, and the base model's "
            f"window of {length} has room for {(length - encoded.segments.count(None)) // 2} beside the context: ask "
            "a shorter one."
        )


def has_room(encoded: EncodedText, length: int) -> bool:
    """
    Whether a question fits into each window whole, beside the whole context or half a window of it.

    Args:
        encoded ([`EncodedText`]): Question and context.
        length (`int`): Tokens that fit into a window, special tokens included.

    Returns:
        `bool`
    """
    room = length - encoded.segments.count(None)
    context = min(encoded.segments.count(1), max(SHORTEST_CONTEXT, room - room // 2))
    return encoded.segments.count(0) + context <= room


def with_room(tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Text], length: int) -> list[Text]:
    """
    The questions that fit into each window whole; how many others there are is logged.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): A fast tokenizer.
        pairs (`Sequence`): Questions and their contexts.
        length (`int`): Tokens that fit into a window, special tokens included.

    Returns:
        `list`: Pairs in the order given.

    Raises:
        DiffMaskError: If no question fits.
    """
    fitting = [pair for pair in pairs if has_room(encode(tokenizer, pair), length)]
    if not fitting:
        raise DiffMaskError(f"No question fits into the base model's window of {length} tokens: give shorter ones.")
    if len(fitting) < len(pairs):
        logger.warning(
            f"{len(pairs) - len(fitting)} of {len(pairs)} questions leave no room for a context in a window of "
            f"{length} tokens and are left out."
        )
    return fitting


def answers(
    windows: list[dict[str, Any]],
    key: str,
    encoded: EncodedText,
    top_k: int,
    max_answer_length: int,
    handle_impossible_answer: bool,
) -> list[Answer]:
    """
    The best answers over all windows of a context.

    Args:
        windows (`list[dict]`): Outputs of the pipeline's windows.
        key (`str`): `"target"` or `"masked"`: log-probabilities of start and end, `(1, 2, T)`.
        encoded ([`EncodedText`]): Question and context.
        top_k (`int`): How many answers.
        max_answer_length (`int`): Tokens of the longest answer.
        handle_impossible_answer (`bool`): Whether "no answer" is one of them.

    Returns:
        `list[Answer]`: The best first, see [`~hf_diffmask.tasks.squad.decode`].

    Raises:
        DiffMaskError: If no token of the context can be an answer.
    """
    starts, ends = (
        [window[key][0, which, window["attention_mask"][0].bool()] for window in windows] for which in (0, 1)
    )
    offsets = [
        [encoded.offsets[unit] if encoded.segments[unit] == 1 else None for unit in window["units"]]
        for window in windows
    ]
    return decode(starts, ends, offsets, encoded.texts[1], top_k, max_answer_length, handle_impossible_answer)


def window_of(answer: Answer, windows: list[dict[str, Any]], encoded: EncodedText) -> int:
    """
    The window that an answer comes from: of those that hold it, that which gives it the highest score.

    Args:
        answer ([`Answer`]): An answer of [`answers`].
        windows (`list[dict]`): Outputs of the pipeline's windows.
        encoded ([`EncodedText`]): Question and context.

    Returns:
        `int`: Its number. No answer comes from the window in which it has the lowest score, as all others agree.
    """
    scores = []
    for window in windows:
        start, end = window["target"][0, :, window["attention_mask"][0].bool()]
        if answer.start == answer.end:
            scores.append(-(start[0] + end[0]).item())
            continue
        inside = [
            number
            for number, unit in enumerate(window["units"])
            if encoded.segments[unit] == 1
            and encoded.offsets[unit][0] < answer.end
            and encoded.offsets[unit][1] > answer.start
        ]
        covered = inside and encoded.offsets[window["units"][inside[0]]][0] <= answer.start
        covered = covered and encoded.offsets[window["units"][inside[-1]]][1] >= answer.end
        scores.append((start[inside[0]] + end[inside[-1]]).item() if covered else float("-inf"))
    return max(range(len(windows)), key=lambda number: scores[number])


def check(windows: list[dict[str, Any]], number: int) -> float:
    """
    What the mask costs in the window that the answer comes from.

    Args:
        windows (`list[dict]`): Outputs of the pipeline's windows, with `target` and `masked`.
        number (`int`): Which window.

    Returns:
        `float`: Sum of the divergences of start and end, in nats.
    """
    return max(0.0, heads.divergence(windows[number]["target"], windows[number]["masked"]).item())
