"""Compares an explainer with others: for a random base model, and with other seeds."""

from collections.abc import Sequence

import numpy as np

from ..errors import DiffMaskError
from ..evaluation.stability import rank_correlation
from .explained import Explained
from .finding import Finding, _verdict
from .thresholds import RANDOM_BASE, ROUNDING, SEEDS


def correlations(
    found: Sequence[Explained], others: Sequence[Explained], special: Sequence[Sequence[int]]
) -> list[float]:
    """
    Rank correlation of two explainers' scores, for each input whose tokens both rank.

    Args:
        found (`Sequence[Explained]`): Explanations of one explainer.
        others (`Sequence[Explained]`): Explanations of the other.
        special (`Sequence[Sequence[int]]`): For each input, 1 at special tokens; these are left out.

    Returns:
        `list[float]`

    Raises:
        DiffMaskError: If no input has tokens that both rank.
    """
    values = []
    for one, other, marks in zip(found, others, special, strict=True):
        pair = [[score for score, mark in zip(side.scores, marks, strict=True) if not mark] for side in (one, other)]
        if len(pair[0]) > 1 and all(len(set(side)) > 1 for side in pair):
            values.append(rank_correlation(*pair))
    if not values:
        raise DiffMaskError("There is no input whose tokens both explainers rank.")
    return values


def random_base(
    found: Sequence[Explained],
    others: Sequence[Explained] | None,
    special: Sequence[Sequence[int]],
    to_lose: float,
    bound: float,
    why_none: str | None = None,
) -> Finding:
    """
    (c) Do explanations depend on what the base model has learned?

    Rank correlation with an explainer trained the same way for a base model with random weights (Adebayo et al. 2018).

    Args:
        found (`Sequence[Explained]`): The explainer's explanations.
        others (`Sequence[Explained]`, *optional*): Explanations for the random base model.
        special (`Sequence[Sequence[int]]`): For each input, 1 at special tokens.
        to_lose (`float`): Cost of masking everything for the random base model, in units of the margin.
        bound (`float`): Margin of the random base model's explainer. At `to_lose` or more, it learns nothing.
        why_none (`str`, *optional*): Why `others` are missing.

    Returns:
        [`Finding`]
    """
    question = "Are explanations other than those of a base model with random weights?"
    if others is None:
        note = why_none or "needs an explainer of a random base model"
        return Finding("random_base", question, "not checked", {}, note)
    values = correlations(found, others, special)
    mean = float(np.mean(values))
    figures = {"rank_correlation": mean, "inputs": float(len(values)), "masking_everything": to_lose, "margin": bound}
    free = "its explainer may mask everything, and has nothing to learn" if to_lose <= bound else ""
    if to_lose <= 10 * ROUNDING:
        free = "masking everything costs the random base model no more than rounding"
    # A reversed ranking is similar, too: hence `abs`.
    return Finding("random_base", question, "reported" if free else _verdict(abs(mean) <= RANDOM_BASE), figures, free)


def seeds(
    found: Sequence[Explained],
    others: Sequence[Sequence[Explained]],
    special: Sequence[Sequence[int]],
    why_none: str | None = None,
) -> Finding:
    """
    (f) Do explainers trained with other seeds give the same explanations? Mean rank correlation over all pairs.

    Args:
        found (`Sequence[Explained]`): The explainer's explanations.
        others (`Sequence[Sequence[Explained]]`): Explanations of the explainers with other seeds.
        special (`Sequence[Sequence[int]]`): For each input, 1 at special tokens.
        why_none (`str`, *optional*): Why `others` are missing.

    Returns:
        [`Finding`]
    """
    question = "Do explainers trained with other seeds say the same?"
    if not others:
        return Finding("seeds", question, "not checked", {}, why_none or "needs explainers of other seeds")
    sides = [found, *others]
    pairs = [(sides[a], sides[b]) for a in range(len(sides)) for b in range(a)]
    values = [float(np.mean(correlations(one, other, special))) for one, other in pairs]
    figures = {"rank_correlation": float(np.mean(values)), "lowest": min(values), "explainers": float(len(sides))}
    return Finding("seeds", question, _verdict(figures["rank_correlation"] >= SEEDS), figures, "")
