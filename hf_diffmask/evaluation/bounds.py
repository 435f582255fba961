"""The best and the worst that a ranking of an input's tokens can do, found by beam search."""

from collections.abc import Sequence
from typing import NamedTuple

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import DiffMaskError
from ..tasks.task import Task
from .faithfulness import TOO_SHORT, Preset
from .predictions import check_class, class_probabilities


class Bounds(NamedTuple):
    """Lowest and highest value of a figure that the search found for one input."""

    low: float
    high: float


def bounds(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    features: dict[str, list[int]],
    preset: Preset,
    measure: str = "comprehensiveness",
    target: int | None = None,
    beam: int = 5,
    batch_size: int = 64,
    task: Task | None = None,
) -> Bounds:
    """
    Searches the rankings of an input's tokens for the one of highest, and the one of lowest comprehensiveness or
    sufficiency (Edin et al. 2025, section 4).

    A ranking grows by one token at a time, and the best few are followed. It is a search, not a proof: a better
    ranking may exist, but for a beam as wide as there are sets of tokens.

    Args:
        model ([`~transformers.PreTrainedModel`]): A sequence classifier.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        features (`dict[str, list[int]]`):
            Of one input, without padding, `input_ids`, `attention_mask`, `special_tokens_mask` and what else the model
            takes.
        preset ([`~hf_diffmask.evaluation.faithfulness.Preset`]): The protocol.
        measure (`str`, *optional*, defaults to `"comprehensiveness"`): Or `"sufficiency"`.
        target (`int`, *optional*): The class that is looked at; by default the one that is predicted.
        beam (`int`, *optional*, defaults to 5): Rankings that are followed.
        batch_size (`int`, *optional*, defaults to 64): Inputs that run through the model at once.
        task ([`Task`], *optional*): An explainer's, which knows the task's constants.

    Returns:
        [`Bounds`]

    Raises:
        DiffMaskError: If there is no such measure or class, all tokens are special, there are too few for the preset,
            or in the preset it is not the ranking alone that counts.
    """
    if measure not in ("comprehensiveness", "sufficiency"):
        raise DiffMaskError(f"Bounds are of comprehensiveness or sufficiency, and not of {measure!r}.")
    if preset.positive:
        raise DiffMaskError("This preset leaves tokens out by their score: a ranking alone has no bounds in it.")
    if target is not None:
        check_class(model, target, task)
    special = [bool(value) for value in features["special_tokens_mask"]]
    tokens = [k for k, is_special in enumerate(special) if not is_special]
    if not tokens:
        raise DiffMaskError("There is no token to rank: every token is special.")
    if beam < 1:
        raise DiffMaskError(f"The beam must hold at least one ranking, but is {beam}.")
    column = 0 if measure == "comprehensiveness" else 1
    bins = [sizes[column] for sizes in preset.sizes(len(tokens))]
    if not preset.takes_away(len(tokens)):
        raise DiffMaskError(TOO_SHORT)
    every = [[True] * len(special)]
    (whole,) = class_probabilities(model, tokenizer, [features], every, preset.replacement, task=task)
    target = int(whole.argmax()) if target is None else target

    def drops(sets: Sequence[frozenset[int]]) -> list[float]:
        keep = [
            [k not in one for k in range(len(special))]
            if column == 0
            else [is_special or k in one for k, is_special in enumerate(special)]
            for one in sets
        ]
        many = [features] * len(sets)
        found = class_probabilities(model, tokenizer, many, keep, preset.replacement, batch_size, task)
        return [(whole[target] - probability).item() for probability in found[:, target]]

    def search(sign: int) -> float:
        # What the bins so far add up to, and the set of tokens that come first.
        (empty,) = drops([frozenset()])
        followed: list[tuple[float, frozenset[int]]] = [(sign * empty * bins.count(0), frozenset())]
        for size in range(1, max(bins) + 1):
            # The same set can be reached in several orders: the best of them will do.
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
            # Between bins it goes by what the next one would be if the ranking ended here.
            scored.sort(key=lambda one: -one[1])
            followed = [(total, chosen) for total, _, chosen in scored[:beam]]
        return sign * max(total for total, _ in followed) / len(bins)

    return Bounds(search(-1), search(1))


def reached(value: float, within: Bounds, lower_is_better: bool = False) -> float:
    """
    How much of the way from the worst to the best ranking of an input a figure is (Edin et al. 2025).

    Args:
        value (`float`): Comprehensiveness or sufficiency.
        within ([`Bounds`]): What was found for the same input, preset and measure.
        lower_is_better (`bool`, *optional*, defaults to `False`): So it is of sufficiency.

    Returns:
        `float`: 0 at the worst end and 1 at the best one; beyond where the search missed a ranking. 1 where both ends
        are the same, and no ranking does better.
    """
    if within.high == within.low:
        return 1.0
    share = (value - within.low) / (within.high - within.low)
    return 1 - share if lower_is_better else share
