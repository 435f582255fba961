"""Log-odds of the predicted class under random masks. The masks of an input run once, for all methods."""

from collections.abc import Sequence

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..ablations.drawing import half_masks
from ..data.units import maskable, whole_units
from ..errors import DiffMaskError
from ..tasks.task import Task
from .predictions import check_class, choosing_task, class_log_probabilities

MASKS = 64
"""Masks for each input."""
PART = 16  # inputs whose masked copies exist at a time


def scoring_masks(features: dict[str, list[int]], number: int, seed: int = 0, count: int = MASKS) -> np.ndarray:
    """
    Random masks that score an input's attributions, see [`~hf_diffmask.ablations.drawing.half_masks`]. Training never
    draws them.

    Args:
        features (`dict[str, list[int]]`): One input, with `special_tokens_mask`.
        number (`int`): Number of the input in its data set.
        seed (`int`, *optional*, defaults to 0): Seed of the masks.
        count (`int`, *optional*, defaults to 64): `M`, the number of masks.

    Returns:
        `numpy.ndarray` of shape `(M, T)`, `bool`: `True` at kept tokens; `False` at special tokens, which always stay.
    """
    return half_masks(seed, torch.tensor([number]), torch.tensor([maskable(features)]), count)[0].numpy()


def masked_log_odds(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    replacements: Sequence[str],
    choices: Sequence[int] | None = None,
    seed: int = 0,
    count: int = MASKS,
    batch_size: int = 64,
    task: Task | None = None,
) -> dict[str, np.ndarray]:
    """
    Log-odds of a choice under random masks. Takes `M` passes for each input and replacement, in bounded memory.

    Args:
        model ([`~transformers.PreTrainedModel`]): A model with choices, such as a classifier.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
        inputs (`Sequence[dict[str, list[int]]]`): For each input, the model's arguments and `special_tokens_mask`.
        replacements (`Sequence[str]`): Ways to remove tokens, see [`~hf_diffmask.base.removal.without`].
        choices (`Sequence[int]`, *optional*): For each input, the choice; by default the predicted one.
        seed (`int`, *optional*, defaults to 0): Seed of the masks.
        count (`int`, *optional*, defaults to 64): `M`, the number of masks for each input.
        batch_size (`int`, *optional*, defaults to 64): Masked inputs per batch.
        task ([`Task`], *optional*): The explainer's task, with its constants; by default the model's task.

    Returns:
        `dict[str, numpy.ndarray]`: For each replacement, values of shape `(N, M)` in nats, see [`Task.log_odds`]. Row
        `k` belongs to the masks of [`scoring_masks`] with `number=k`. NaN where the output is not finite, or where a
        mask would delete every token.

    Raises:
        DiffMaskError: If there are fewer than 2 masks, the model has no choices, a choice does not exist, or tokens
            cannot be removed in this way.
    """
    task = choosing_task(model, task)
    if count < 2:
        raise DiffMaskError(f"One mask alone has no rank: take at least 2 masks for each input, not {count}.")
    if choices is not None:
        if len(choices) != len(inputs):
            raise DiffMaskError(f"There are classes for {len(choices)} inputs, but {len(inputs)} inputs.")
        for number, choice in enumerate(choices):
            try:
                check_class(model, choice, task)
            except DiffMaskError as error:
                raise DiffMaskError(f"Input {number}: {error}") from None
    found = {name: np.full((len(inputs), count), np.nan) for name in replacements}
    # Inputs of similar length run together.
    order = sorted(range(len(inputs)), key=lambda k: len(inputs[k]["input_ids"]))
    with tqdm(total=len(found) * len(inputs), desc="LDS and R2", leave=False, disable=len(inputs) <= PART) as progress:
        for start in range(0, len(order), PART):
            rows = order[start : start + PART]
            # Each input whole, then under its masks.
            made = [inputs[k] for k in rows for _ in range(1 + count)]
            keep = [stays for k in rows for stays in _whole_and_masked(inputs[k], k, seed, count)]
            for name, values in found.items():
                possible = [k for k, stays in enumerate(keep) if name != "delete" or stays.any()]
                logs = torch.full((len(keep), task.choices(model.config)), torch.nan)
                logs[possible] = class_log_probabilities(
                    model, tokenizer, [made[k] for k in possible], [keep[k].tolist() for k in possible], name,
                    batch_size, task,
                ).float()  # fmt: skip
                whole, masked = logs.view(len(rows), 1 + count, -1).split([1, count], dim=1)
                chosen = whole[:, 0].argmax(-1) if choices is None else torch.tensor([choices[k] for k in rows])
                log_odds = task.log_odds(masked)[torch.arange(len(rows)), :, chosen]
                values[rows] = log_odds.masked_fill(~masked.isfinite().all(-1), torch.nan).numpy()
                progress.update(len(rows))
    return found


def _whole_and_masked(features: dict[str, list[int]], number: int, seed: int, count: int) -> np.ndarray:
    """The mask that keeps all tokens, then the random masks with special tokens kept, `(1 + M, T)`."""
    masks = scoring_masks(features, number, seed, count) | ~np.array(maskable(features))
    masks = np.array([whole_units(features, mask.tolist()) for mask in masks])
    return np.concatenate([np.ones_like(masks[:1]), masks])
