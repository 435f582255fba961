"""Soft sufficiency and comprehensiveness: tokens fade in proportion to their scores instead of being removed."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..base.frozen import as_guest
from ..base.running import replace
from ..data.features import collate, model_inputs
from ..data.units import maskable, whole_units
from ..errors import DiffMaskError
from ..explainer.inputs import check_items
from ..masks.noise import hashed_uniform
from ..tasks.task import Task
from .faithfulness import ranking
from .predictions import check_class, choosing_task


class NoScaleError(DiffMaskError):
    """Raised if an all-zero input does not lower the probability, so that the figures have no scale."""


def normalised_scores(scores: Sequence[float], special: Sequence[bool]) -> list[float]:
    """
    Scores scaled to [0, 1]: 0 for the lowest of an input, 1 for the highest.

    Args:
        scores (`Sequence[float]` of length `T`): Higher is more important.
        special (`Sequence[bool]` of length `T`): Special tokens; their value is 1, so they do not fade.

    Returns:
        `list[float]`: 1 for a single token.

    Raises:
        DiffMaskError: If scores do not rank the tokens, see [`~hf_diffmask.evaluation.faithfulness.ranking`].
    """
    ranked = ranking(scores, special)
    low, high = scores[ranked[-1]], scores[ranked[0]]
    return [
        1.0 if is_special or high == low else (score - low) / (high - low)
        for score, is_special in zip(scores, special, strict=True)
    ]


@torch.no_grad()
def soft_measures(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    features: dict[str, list[int]],
    scores: Sequence[float],
    choice: int | None = None,
    samples: int = 16,
    seed: int = 0,
    task: Task | None = None,
) -> dict[str, float]:
    """
    Soft normalised sufficiency and comprehensiveness of one input (Zhao and Aletras 2023, section 3).

    Each number of a token's embedding is kept or set to 0, at random, `samples` times. The keep probability is the
    token's normalised score for sufficiency, and 1 minus the score for comprehensiveness. The drop of the choice's
    probability is divided by the drop for an all-zero input and clamped to [0, 1]. Comprehensiveness is this ratio,
    sufficiency is 1 minus this ratio.

    Args:
        model ([`~transformers.PreTrainedModel`]): A sequence classifier.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        features (`dict[str, list[int]]`):
            One input without padding: `input_ids`, `attention_mask`, `special_tokens_mask` and the model's other
            arguments.
        scores (`Sequence[float]`): One score per token, see [`normalised_scores`].
        choice (`int`, *optional*): The class to measure; by default the predicted class.
        samples (`int`, *optional*, defaults to 16): Number of random draws.
        seed (`int`, *optional*, defaults to 0): Seed for the draws.
        task ([`Task`], *optional*): The explainer's task, with its constants; by default the model's task.

    Returns:
        `dict[str, float]`: `soft_sufficiency` and `soft_comprehensiveness`; higher is better for both.

    Raises:
        DiffMaskError: If scores do not rank the tokens, the model is no classifier, or the class does not exist.
        NoScaleError: If an all-zero input does not lower the probability.
    """
    task = choosing_task(model, task)
    check_items(task, [[features]])
    if choice is not None:
        check_class(model, choice, task)
    special = torch.tensor([bool(value) for value in features["special_tokens_mask"]])
    normalised = normalised_scores(scores, [not one for one in maskable(features)])
    keep = torch.tensor(whole_units(features, normalised))
    batch = collate(tokenizer, [{**features, "example_ids": 0}])
    batch = {name: value.to(model.device) for name, value in batch.items()}
    mark, batch = batch.get("explained_mask"), model_inputs(batch)
    with as_guest(model):
        embedded = model.get_input_embeddings()(batch["input_ids"])[0]
    draws, units, numbers = (
        torch.arange(samples)[:, None, None],
        torch.arange(len(keep))[None, :, None],
        torch.arange(embedded.shape[-1])[None, None],
    )

    def probabilities(there: Tensor) -> Tensor:
        stacked = {name: value.expand(len(there), -1) for name, value in batch.items()}
        output = replace(model, stacked, "embeddings", embedded * there.to(embedded))
        explained = None if mark is None else mark.expand(len(there), -1)
        return task.choice_log_probabilities(task.target(output, explained=explained)).exp().cpu()

    whole, nothing = probabilities(torch.stack([torch.ones_like(keep), special.float()])[..., None])
    choice = int(whole.argmax()) if choice is None else choice
    scale = (whole[choice] - nothing[choice]).item()
    if scale <= 0:
        raise NoScaleError("An input of zeros leaves the probability as it is: there is no scale to measure on.")
    found = {}
    for name, share in (("soft_sufficiency", keep), ("soft_comprehensiveness", 1 - keep)):
        share = share.masked_fill(special, 1.0)[None, :, None]
        there = hashed_uniform(seed, draws, units, numbers) < share
        drops = (whole[choice] - probabilities(there)[:, choice]) / scale
        drop = drops.clamp(0, 1).mean().item()
        found[name] = 1 - drop if name == "soft_sufficiency" else drop
    return found
