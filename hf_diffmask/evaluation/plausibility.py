"""Agreement of attributions with human rationales. It does not measure faithfulness to the model."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import DiffMaskError
from .faithfulness import ranking

OVERLAP = 0.5  # intersection over union with a marked span, from which a span counts as found (DeYoung et al. 2020)


class Rationale(NamedTuple):
    """Scores and human marks of one input, without special tokens."""

    scores: list[float]
    marked: list[bool]


def rationale(scores: Sequence[float], marked: Sequence[bool], special: Sequence[bool]) -> Rationale:
    """
    Scores and marks of one input, checked, without special tokens.

    Args:
        scores (`Sequence[float]` of length `T`): Higher is more important.
        marked (`Sequence[bool]` of length `T`): Whether people marked each token as evidence.
        special (`Sequence[bool]` of length `T`): Whether each token is special.

    Returns:
        [`Rationale`]

    Raises:
        DiffMaskError: If the number of scores or marks is wrong, scores are not finite or all equal, or nothing is
            marked.
    """
    if len(marked) != len(special):
        raise DiffMaskError(f"There are {len(marked)} marks for {len(special)} tokens: give one for each token.")
    order = sorted(ranking(scores, special))
    if not any(marked[k] for k in order):
        raise DiffMaskError("No token is marked as evidence: there is no rationale to compare with.")
    return Rationale([float(scores[k]) for k in order], [bool(marked[k]) for k in order])


def first_tokens(one: Rationale, share: float) -> list[bool]:
    """
    A hard rationale: the top tokens of an attribution.

    Args:
        one ([`Rationale`]): Scores of one input.
        share (`float`): Share of the tokens to take, in (0, 1]; the number is rounded up.

    Returns:
        `list[bool]`: For each token, whether it is in the rationale.
    """
    size = math.ceil(share * len(one.scores) - 1e-9)
    first = set(ranking(one.scores, [False] * len(one.scores))[:size])
    return [k in first for k in range(len(one.scores))]


def token_f1(chosen: Sequence[bool], marked: Sequence[bool]) -> float:
    """
    F1 of tokens (DeYoung et al. 2020, section 4.1).

    Args:
        chosen (`Sequence[bool]`): A hard rationale.
        marked (`Sequence[bool]`): Tokens that people marked.

    Returns:
        `float`: In [0, 1]; 0 where nothing is chosen.
    """
    shared = sum(a and b for a, b in zip(chosen, marked, strict=True))
    return 2 * shared / (sum(chosen) + sum(marked)) if shared else 0.0


def spans(tokens: Sequence[bool]) -> list[tuple[int, int]]:
    """
    Spans: runs of adjacent tokens.

    Args:
        tokens (`Sequence[bool]`): For each token, whether it is in a span.

    Returns:
        `list[tuple[int, int]]`: First token of each span, and the token after it.
    """
    edges = np.flatnonzero(np.diff([0, *map(int, tokens), 0]))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def iou_f1(chosen: Sequence[bool], marked: Sequence[bool]) -> float:
    """
    F1 of spans. A span counts as found if its intersection with a marked span is at least half of their union (DeYoung
    et al. 2020, section 4.1).

    Args:
        chosen (`Sequence[bool]`): A hard rationale.
        marked (`Sequence[bool]`): Tokens that people marked.

    Returns:
        `float`: In [0, 1]; 0 where nothing is chosen.
    """

    def overlap(one: tuple[int, int], other: tuple[int, int]) -> float:
        shared = max(0, min(one[1], other[1]) - max(one[0], other[0]))
        return shared / (one[1] - one[0] + other[1] - other[0] - shared)

    ours, theirs = spans(chosen), spans(marked)
    found = sum(any(overlap(one, other) >= OVERLAP for other in theirs) for one in ours)
    # Count marked spans: two of our spans can match one of them, and recall would exceed 1.
    recalled = sum(any(overlap(one, other) >= OVERLAP for one in ours) for other in theirs)
    if not found:
        return 0.0
    precision, recall = found / len(ours), recalled / len(theirs)
    return 2 * precision * recall / (precision + recall)


def auprc(one: Rationale) -> float:
    """
    Area under the precision-recall curve (DeYoung et al. 2020, section 4.1), as average precision.

    Interpolation between thresholds would be too optimistic.

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
    Mean plausibility over inputs.

    Args:
        rationales (`Sequence[Rationale]`): Scores and marks.
        share (`float`, *optional*):
            Share of the tokens in a hard rationale; by default the mean share that people marked (DeYoung et al. 2020,
            section 5).

    Returns:
        `dict[str, float]`: `token_f1`, `iou_f1` and `auprc` (higher is better), and `share`.

    Raises:
        DiffMaskError: If there is no input, or the share is outside (0, 1].
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
