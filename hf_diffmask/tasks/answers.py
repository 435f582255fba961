"""The best answers of an extractive model over all windows of a context. Transformers 5 has no pipeline for this."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..data.encoding import EncodedText
from ..errors import DiffMaskError

Offsets = Sequence[tuple[int, int] | None]


class Answer(NamedTuple):
    """A span of the context. For "no answer" the text is empty, and start and end are 0."""

    start: int
    """First character of the span in the context."""
    end: int
    """The character after the span."""
    text: str
    score: float
    """A probability, see [`decode`]."""


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
    The best answers to one question, over all windows of its context.

    An answer's score is `p(start) p(end)`: the model's probability for its first and last token, drawn independently.
    Each factor is normalised over all tokens of the window. Within a window, scores sum to at most 1. The rest belongs
    to other tokens, longer spans, and ends before their start.

    Windows are compared by the same score. A span in several windows has its best score. Logits are not comparable:
    the training loss normalises each window, so a window's logits are free up to a constant. Probabilities are: in
    training, a window without an answer points to its first token, which leaves little probability for its spans.
    A softmax over the best answers would depend on `top_k`.

    The score of "no answer" is the score of the first token as start and end, in the window where it is lowest: one
    window with an answer is enough. "No answer" ranks behind a span with an equal score.

    Args:
        start_log_probs (`Sequence[torch.Tensor]`):
            For each window, log-probabilities `(T,)` in nats of each token as start, from the first token ([CLS]) on,
            without padding.
        end_log_probs (`Sequence[torch.Tensor]`): The same for each token as end.
        offsets (`Sequence`):
            For each window, one entry per token: start and end in the context in characters, `None` for tokens
            outside the context.
        context (`str`): The whole context.
        top_k (`int`, *optional*, defaults to 1): How many answers to return.
        max_answer_length (`int`, *optional*, defaults to 30): Tokens of the longest answer.
        handle_impossible_answer (`bool`, *optional*, defaults to `False`):
            Whether "no answer" is one of the answers, as in SQuAD v2.0.

    Returns:
        `list[Answer]`: Different spans without surrounding white space, best first. With equal scores, the earlier
        and then the shorter span comes first. At most `top_k`.

    Raises:
        DiffMaskError: If `top_k` or `max_answer_length` is below 1, or no token of the context can be an answer and
            "no answer" is not allowed.
    """
    for name, value in (("top_k", top_k), ("max_answer_length", max_answer_length)):
        if value < 1:
            raise DiffMaskError(f"`{name}` must be at least 1, but is {value}.")
    spans, scores, nulls = [], [], []
    for window_start, window_end, window_offsets in zip(start_log_probs, end_log_probs, offsets, strict=True):
        start, end = window_start.cpu().double(), window_end.cpu().double()
        first, last, begins, ends = _candidates(window_offsets, context, max_answer_length)
        # One number per span, ordered by start, then by end.
        spans.append(begins * (len(context) + 1) + ends)
        scores.append(start[first] + end[last])
        nulls.append(start[0] + end[0])
    # Overlapping windows share spans. So do tokens that are parts of one character.
    unique, group = torch.unique(torch.cat(spans), return_inverse=True)
    if not len(unique) and not handle_impossible_answer:
        raise DiffMaskError("The context holds no token to answer with: give one with at least one visible character.")
    best = torch.full(unique.shape, -torch.inf, dtype=torch.float64)
    best = best.scatter_reduce(0, group, torch.cat(scores), "amax")
    if handle_impossible_answer:
        best = torch.cat([best, torch.stack(nulls).min()[None]])
    # `topk` does not define the order of equal scores.
    order = best.argsort(descending=True, stable=True)[:top_k]
    answers = []
    for index, score in zip(order.tolist(), best[order].exp().tolist(), strict=True):
        begin, stop = divmod(int(unique[index]), len(context) + 1) if index < len(unique) else (0, 0)
        answers.append(Answer(begin, stop, context[begin:stop], score))
    return answers


def _candidates(offsets: Offsets, context: str, max_answer_length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """First and last token of each possible answer in a window, and its start and end in characters."""
    bounds = torch.tensor([_visible(offset, context) for offset in offsets])
    allowed = bounds[:, 0] < bounds[:, 1]
    # Tokens with the same number have only context between them.
    run = torch.tensor([offset is None for offset in offsets]).cumsum(0)
    count = len(offsets)
    first = torch.arange(count)[:, None]
    # The upper band of a `(T, T)` matrix, `(T, max_answer_length)`. The last token repeats beyond the window's end;
    # equal spans are merged later.
    last = (first + torch.arange(min(max_answer_length, count))).clamp(max=count - 1)
    valid = allowed[first] & allowed[last] & (run[first] == run[last])
    first, last = first.expand_as(last)[valid], last[valid]
    return first, last, bounds[first, 0], bounds[last, 1]


def _visible(offset: tuple[int, int] | None, context: str) -> tuple[int, int]:
    """A token's offsets without white space, which some tokenizers include; equal offsets if nothing is left."""
    if offset is None:
        return 0, 0
    text = context[offset[0] : offset[1]]
    start = offset[0] + len(text) - len(text.lstrip())
    return start, start + len(text.strip())


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
        handle_impossible_answer (`bool`): Whether "no answer" is one of the answers.

    Returns:
        `list[Answer]`: Best first, see [`~hf_diffmask.tasks.answers.decode`].

    Raises:
        DiffMaskError: If no token of the context can be an answer and "no answer" is not allowed.
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
    The window that an answer comes from: the window that gives the answer its highest score.

    Args:
        answer ([`Answer`]): An answer of [`answers`].
        windows (`list[dict]`): Outputs of the pipeline's windows.
        encoded ([`EncodedText`]): Question and context.

    Returns:
        `int`: Number of the window. For "no answer", the window that gives it the lowest score, see [`decode`].
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
