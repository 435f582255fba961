"""How well an attribution agrees with what people marked as evidence. That is not how faithful it is to the model."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import DiffMaskError
from .faithfulness import ranking

OVERLAP = 0.5  # of a span with one that was marked, above which it counts as found (DeYoung et al. 2020)


class Rationale(NamedTuple):
    """One input's scores beside what people marked; special tokens are left out of both."""

    scores: list[float]
    marked: list[bool]


def rationale(scores: Sequence[float], marked: Sequence[bool], special: Sequence[bool]) -> Rationale:
    """
    Checks one input, and leaves its special tokens out.

    Args:
        scores (`Sequence[float]` of length `T`): Higher is more important.
        marked (`Sequence[bool]` of length `T`): Whether people marked the token as evidence.
        special (`Sequence[bool]` of length `T`): Special tokens.

    Returns:
        [`Rationale`]

    Raises:
        DiffMaskError: If scores or marks are too many, too few or not finite, do not rank, or nothing is marked.
    """
    if len(marked) != len(special):
        raise DiffMaskError(f"There are {len(marked)} marks for {len(special)} tokens: give one for each token.")
    order = sorted(ranking(scores, special))
    if not any(marked[k] for k in order):
        raise DiffMaskError("No token is marked as evidence: there is no rationale to compare with.")
    return Rationale([float(scores[k]) for k in order], [bool(marked[k]) for k in order])


def first_tokens(one: Rationale, share: float) -> list[bool]:
    """
    A hard rationale: the tokens that an attribution puts first.

    Args:
        one ([`Rationale`]): Scores of one input.
        share (`float`): Share of its tokens to take, in (0, 1], rounded up.

    Returns:
        `list[bool]`: Of each token, whether it is among them.
    """
    size = math.ceil(share * len(one.scores) - 1e-9)
    first = set(ranking(one.scores, [False] * len(one.scores))[:size])
    return [k in first for k in range(len(one.scores))]


def token_f1(chosen: Sequence[bool], marked: Sequence[bool]) -> float:
    """
    F1 of tokens (DeYoung et al. 2020, section 4.1).

    Args:
        chosen (`Sequence[bool]`): A hard rationale.
        marked (`Sequence[bool]`): What people marked.

    Returns:
        `float`: In [0, 1]; 0 where nothing is chosen.
    """
    shared = sum(a and b for a, b in zip(chosen, marked, strict=True))
    return 2 * shared / (sum(chosen) + sum(marked)) if shared else 0.0


def spans(tokens: Sequence[bool]) -> list[tuple[int, int]]:
    """
    Runs of tokens.

    Args:
        tokens (`Sequence[bool]`): Of each token, whether it belongs to one.

    Returns:
        `list[tuple[int, int]]`: First token of each run, and the one after its last.
    """
    edges = np.flatnonzero(np.diff([0, *map(int, tokens), 0]))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def iou_f1(chosen: Sequence[bool], marked: Sequence[bool]) -> float:
    """
    F1 of spans, where one counts as found if it overlaps with a marked one in half of their union (DeYoung et al.
    2020, section 4.1).

    Args:
        chosen (`Sequence[bool]`): A hard rationale; its runs of tokens are its spans.
        marked (`Sequence[bool]`): What people marked, likewise.

    Returns:
        `float`: In [0, 1]; 0 where nothing is chosen.
    """

    def overlap(one: tuple[int, int], other: tuple[int, int]) -> float:
        shared = max(0, min(one[1], other[1]) - max(one[0], other[0]))
        return shared / (one[1] - one[0] + other[1] - other[0] - shared)

    ours, theirs = spans(chosen), spans(marked)
    found = sum(any(overlap(one, other) >= OVERLAP for other in theirs) for one in ours)
    # Two spans of ours can each be half of one of theirs: recall would be above 1.
    recalled = sum(any(overlap(one, other) >= OVERLAP for one in ours) for other in theirs)
    if not found:
        return 0.0
    precision, recall = found / len(ours), recalled / len(theirs)
    return 2 * precision * recall / (precision + recall)


def auprc(one: Rationale) -> float:
    """
    Area under precision over recall, as the threshold falls (DeYoung et al. 2020, section 4.1): average precision,
    without interpolation between thresholds, which would flatter.

    Args:
        one ([`Rationale`]): Scores and marks of one input.

    Returns:
        `float`: In (0, 1]. Tokens of equal scores pass the threshold together.
    """
    scores, marked = np.array(one.scores), np.array(one.marked)
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(marked[order])
    last_of_equals = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    precision = hits[last_of_equals] / (last_of_equals + 1)
    recall = hits[last_of_equals] / marked.sum()
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def plausibility(rationales: Sequence[Rationale], share: float | None = None) -> dict[str, float]:
    """
    Means over inputs.

    Args:
        rationales (`Sequence[Rationale]`): Scores and marks.
        share (`float`, *optional*):
            Share of the tokens that make a hard rationale; by default the mean share that people marked (DeYoung et
            al. 2020, section 5).

    Returns:
        `dict[str, float]`: `token_f1`, `iou_f1` and `auprc`, higher is better, and `share`.

    Raises:
        DiffMaskError: If there is no input, or the share is out of (0, 1].
    """
    if not rationales:
        raise DiffMaskError("There is no input with a rationale to measure.")
    if share is None:
        share = float(np.mean([np.mean(one.marked) for one in rationales]))
    if not 0 < share <= 1:
        raise DiffMaskError(f"The share of a hard rationale must be in (0, 1], but is {share}.")
    chosen = [first_tokens(one, share) for one in rationales]
    return {
        "token_f1": float(np.mean([token_f1(hard, one.marked) for hard, one in zip(chosen, rationales, strict=True)])),
        "iou_f1": float(np.mean([iou_f1(hard, one.marked) for hard, one in zip(chosen, rationales, strict=True)])),
        "auprc": float(np.mean([auprc(one) for one in rationales])),
        "share": share,
    }
