"""The best and worst figures that any ranking of an input's tokens reaches, by beam search."""

from collections.abc import Sequence
from typing import NamedTuple

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..data.units import maskable, whole_units
from ..errors import DiffMaskError
from ..tasks.task import Task
from .faithfulness import TOO_SHORT, Preset
from .predictions import check_class, class_probabilities


class Bounds(NamedTuple):
    """Lowest and highest value of a figure for one input, as found by the search."""

    low: float
    high: float


def bounds(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    features: dict[str, list[int]],
    preset: Preset,
    measure: str = "comprehensiveness",
    choice: int | None = None,
    beam: int = 5,
    batch_size: int = 64,
    task: Task | None = None,
) -> Bounds:
    """
    Lowest and highest comprehensiveness or sufficiency over an input's rankings (Edin et al. 2025, section 4).

    A beam search adds one token at a time to each ranking and follows the best few. It proves nothing: a better
    ranking may exist, unless the beam holds all sets of tokens.

    Args:
        model ([`~transformers.PreTrainedModel`]): A sequence classifier.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        features (`dict[str, list[int]]`):
            One input without padding: `input_ids`, `attention_mask`, `special_tokens_mask` and the model's other
            arguments.
        preset ([`~hf_diffmask.evaluation.faithfulness.Preset`]): The protocol.
        measure (`str`, *optional*, defaults to `"comprehensiveness"`): Or `"sufficiency"`.
        choice (`int`, *optional*): The class to measure; by default the predicted class.
        beam (`int`, *optional*, defaults to 5): Rankings to follow.
        batch_size (`int`, *optional*, defaults to 64): Inputs per batch.
        task ([`Task`], *optional*): The explainer's task, with its constants; by default the model's task.

    Returns:
        [`Bounds`]

    Raises:
        DiffMaskError: If the measure or class does not exist, all tokens are special or too few for the preset, or the
            preset uses more than the ranking.
    """
    if measure not in ("comprehensiveness", "sufficiency"):
        raise DiffMaskError(f"Bounds exist for comprehensiveness and sufficiency, not for {measure!r}.")
    if preset.positive:
        raise DiffMaskError("This preset leaves tokens out by their score: it has no bounds for rankings.")
    if choice is not None:
        check_class(model, choice, task)
    removable = maskable(features)
    tokens = [k for k, one in enumerate(removable) if one]
    if not tokens:
        raise DiffMaskError("There is no token to rank: all tokens are special.")
    if beam < 1:
        raise DiffMaskError(f"The beam must hold at least one ranking, but is {beam}.")
    column = 0 if measure == "comprehensiveness" else 1
    bins = [sizes[column] for sizes in preset.sizes(len(tokens))]
    if not preset.takes_away(len(tokens)):
        raise DiffMaskError(TOO_SHORT)
    every = [[True] * len(removable)]
    (whole,) = class_probabilities(model, tokenizer, [features], every, preset.replacement, task=task)
    choice = int(whole.argmax()) if choice is None else choice

    def drops(sets: Sequence[frozenset[int]]) -> list[float]:
        keep = [
            whole_units(features, [not there or (k in one) == (column == 1) for k, there in enumerate(removable)])
            for one in sets
        ]
        many = [features] * len(sets)
        found = class_probabilities(model, tokenizer, many, keep, preset.replacement, batch_size, task)
        return [(whole[choice] - probability).item() for probability in found[:, choice]]

    def search(sign: int) -> float:
        # Pairs: sum over the bins so far, set of top tokens.
        (empty,) = drops([frozenset()])
        followed: list[tuple[float, frozenset[int]]] = [(sign * empty * bins.count(0), frozenset())]
        for size in range(1, max(bins) + 1):
            # Several orders reach the same set: keep the best.
            candidates: dict[frozenset[int], float] = {}
            for total, chosen in followed:
                for token in tokens:
                    if token not in chosen:
                        grown = chosen | {token}
                        candidates[grown] = max(candidates.get(grown, float("-inf")), total)
            found = drops(list(candidates))
            scored = [
                (total + sign * drop * bins.count(size), total + sign * drop * max(1, bins.count(size)), chosen)
                for (chosen, total), drop in zip(candidates.items(), found, strict=True)
            ]
            # Between two bins, compare rankings by the current drop.
            scored.sort(key=lambda one: -one[1])
            followed = [(total, chosen) for total, _, chosen in scored[:beam]]
        return sign * max(total for total, _ in followed) / len(bins)

    return Bounds(search(-1), search(1))


def reached(value: float, within: Bounds, lower_is_better: bool = False) -> float:
    """
    Position of a figure between the worst (0) and the best (1) ranking of an input (Edin et al. 2025).

    Args:
        value (`float`): Comprehensiveness or sufficiency.
        within ([`Bounds`]): Bounds for the same input, preset and measure.
        lower_is_better (`bool`, *optional*, defaults to `False`): `True` for sufficiency.

    Returns:
        `float`: Outside [0, 1] if the search missed a ranking. 1 if both ends are equal: no ranking does better.
    """
    if within.high == within.low:
        return 1.0
    share = (value - within.low) / (within.high - within.low)
    return 1 - share if lower_is_better else share
