"""Soft sufficiency and comprehensiveness: each token fades as far as its score says, and none is cut off."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..base.running import as_guest, replace
from ..data.features import collate
from ..errors import DiffMaskError
from ..masks.noise import hashed_uniform
from ..tasks.task import Task
from .faithfulness import ranking
from .predictions import check_class, choosing_task


class NoScaleError(DiffMaskError):
    """An input of zeros does not lower the probability: neither figure has a scale."""


def normalised_scores(scores: Sequence[float], special: Sequence[bool]) -> list[float]:
    """
    Scores on a scale from 0, the lowest of an input, to 1, its highest.

    Args:
        scores (`Sequence[float]` of length `T`): Higher is more important.
        special (`Sequence[bool]` of length `T`): Special tokens, whose value is 1: they do not fade.

    Returns:
        `list[float]`: Of one token alone it is 1.

    Raises:
        DiffMaskError: As [`~hf_diffmask.evaluation.faithfulness.ranking`].
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
    target: int | None = None,
    samples: int = 16,
    seed: int = 0,
    task: Task | None = None,
) -> dict[str, float]:
    """
    Soft normalised sufficiency and comprehensiveness (Zhao and Aletras 2023, section 3) of one input.

    Each number of a token's embedding is kept with the probability that its score gives, or, for comprehensiveness,
    one less it, and is 0 otherwise; that is drawn `samples` times. Comprehensiveness is the drop of the probability as
    a part of what an input of zeros drops, sufficiency is 1 less that part; both are cut to [0, 1].

    Args:
        model ([`~transformers.PreTrainedModel`]): A sequence classifier.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        features (`dict[str, list[int]]`):
            Without padding, `input_ids`, `attention_mask`, `special_tokens_mask` and what else the model takes.
        scores (`Sequence[float]`): Of each token, see [`normalised_scores`].
        target (`int`, *optional*): The class that is looked at; by default the one that is predicted.
        samples (`int`, *optional*, defaults to 16): Draws of what is kept.
        seed (`int`, *optional*, defaults to 0): Of the draws.
        task ([`Task`], *optional*): An explainer's, which knows the task's constants.

    Returns:
        `dict[str, float]`: `soft_sufficiency`, higher is better here, and `soft_comprehensiveness`, higher is better.

    Raises:
        DiffMaskError: If scores do not rank the tokens, or the model is no classifier or lacks the class.
        NoScaleError: If an input of zeros does not lower the probability, so that there is no scale.
    """
    task = choosing_task(model, task)
    if target is not None:
        check_class(model, target, task)
    special = torch.tensor([bool(value) for value in features["special_tokens_mask"]])
    keep = torch.tensor(normalised_scores(scores, special.tolist()))
    batch = collate(tokenizer, [{**features, "example_ids": 0}])
    batch = {name: value.to(model.device) for name, value in batch.items() if name != "example_ids"}
    del batch["special_tokens_mask"]
    with as_guest(model):
        embedded = model.get_input_embeddings()(batch["input_ids"])[0]
    draws, units, numbers = (
        torch.arange(samples)[:, None, None],
        torch.arange(len(keep))[None, :, None],
        torch.arange(embedded.shape[-1])[None, None],
    )

    def probabilities(there: Tensor) -> Tensor:
        # Without a padding token some models take one input at a time.
        size = len(there) if tokenizer.pad_token_id is not None else 1
        return torch.cat([run(part) for part in there.split(size)])

    def run(there: Tensor) -> Tensor:
        stacked = {name: value.expand(len(there), -1) for name, value in batch.items()}
        output = replace(model, stacked, "embeddings", embedded * there.to(embedded))
        return task.choice_log_probabilities(task.target(output)).exp().cpu()

    whole, nothing = probabilities(torch.stack([torch.ones_like(keep), special.float()])[..., None])
    target = int(whole.argmax()) if target is None else target
    scale = (whole[target] - nothing[target]).item()
    if scale <= 0:
        raise NoScaleError("An input of zeros leaves the probability as it is: there is no scale to measure on.")
    found = {}
    for name, share in (("soft_sufficiency", keep), ("soft_comprehensiveness", 1 - keep)):
        share = share.masked_fill(special, 1.0)[None, :, None]
        there = hashed_uniform(seed, draws, units, numbers) < share
        drops = (whole[target] - probabilities(there)[:, target]) / scale
        drop = drops.clamp(0, 1).mean().item()
        found[name] = 1 - drop if name == "soft_sufficiency" else drop
    return found
