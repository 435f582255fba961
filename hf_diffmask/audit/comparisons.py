"""Compares an explainer with one of a random base model and with other seeds."""

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
    Rank correlation of two explainers' scores, for each input that both rank.

    Args:
        found (`Sequence[Explained]`): What one says.
        others (`Sequence[Explained]`): What the other says.
        special (`Sequence[Sequence[int]]`): Of each input, 1 at special tokens, which are left out.

    Returns:
        `list[float]`

    Raises:
        DiffMaskError: If there is no such input.
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
) -> Finding:
    """
    (c) Do explanations depend on what the base model has learned? Rank correlation with those of an explainer that was
    trained the same way on a base model with random weights (Adebayo et al. 2018).

    Args:
        found (`Sequence[Explained]`): What the explainer says.
        others (`Sequence[Explained]`, *optional*): What the one for the random base model says.
        special (`Sequence[Sequence[int]]`): Of each input, 1 at special tokens.
        to_lose (`float`): What masking everything costs the random base model, in the terms of the margin.
        bound (`float`): The margin of that explainer. One that may mask everything has nothing to learn.

    Returns:
        [`Finding`]
    """
    question = "Are explanations other than those of a base model with random weights?"
    if others is None:
        return Finding("random_base", question, "not checked", {}, "needs an explainer of a random base model")
    values = correlations(found, others, special)
    mean = float(np.mean(values))
    figures = {"rank_correlation": mean, "inputs": float(len(values)), "masking_everything": to_lose, "margin": bound}
    free = "its explainer may mask everything, and has nothing to learn" if to_lose <= bound else ""
    if to_lose <= 10 * ROUNDING:
        free = "masking everything costs the random base model no more than rounding"
    # Ranked backwards is alike, too.
    return Finding("random_base", question, "reported" if free else _verdict(abs(mean) <= RANDOM_BASE), figures, free)


def seeds(
    found: Sequence[Explained], others: Sequence[Sequence[Explained]], special: Sequence[Sequence[int]]
) -> Finding:
    """
    (f) Do explainers that were trained with other seeds say the same? Mean rank correlation over all pairs.

    Args:
        found (`Sequence[Explained]`): What the explainer says.
        others (`Sequence[Sequence[Explained]]`): What those of other seeds say.
        special (`Sequence[Sequence[int]]`): Of each input, 1 at special tokens.

    Returns:
        [`Finding`]
    """
    question = "Do explainers trained with other seeds say the same?"
    if not others:
        return Finding("seeds", question, "not checked", {}, "needs explainers of other seeds")
    sides = [found, *others]
    pairs = [(sides[a], sides[b]) for a in range(len(sides)) for b in range(a)]
    values = [float(np.mean(correlations(one, other, special))) for one, other in pairs]
    figures = {"rank_correlation": float(np.mean(values)), "lowest": min(values), "explainers": float(len(sides))}
    return Finding("seeds", question, _verdict(figures["rank_correlation"] >= SEEDS), figures, "")
