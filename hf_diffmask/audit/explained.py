"""Explanations of many inputs, and how well their masks hold."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..data.batching import in_batches
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks.gates import hard_mask


class Explained(NamedTuple):
    """An explainer's explanation of one input."""

    predicted: int
    """The class that the base model predicts."""
    scores: list[float]
    """One score per token, see [`DiffMaskModel.attribution`]."""
    kept: list[bool]
    """The hard mask of the last state, which is the explanation."""
    logits: np.ndarray
    """Gate logits of the tokens that can be masked, `(U, S)`."""
    cost: float
    """Cost of the hard mask, in units of the margin, see [`DiffMaskModel.cost`]."""
    agrees: bool
    """Whether the hard mask leaves the prediction unchanged."""


@torch.no_grad()
def explain_inputs(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    batch_size: int = 32,
) -> list[Explained]:
    """
    Explanations of inputs, each with the cost of its hard mask.

    Args:
        explainer ([`DiffMaskModel`]): Explainer for a classifier.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        inputs (`Sequence[dict[str, list[int]]]`): For each input, the model's arguments and `special_tokens_mask`.
        batch_size (`int`, *optional*, defaults to 32): Inputs per batch.

    Returns:
        `list[Explained]`

    Raises:
        DiffMaskError: If the base model is no classifier.
    """
    if not explainer.task.has_choices:
        raise DiffMaskError("The audit tests what a mask tells about a class: this explainer is not for a classifier.")

    def run(batch: dict[str, Tensor]) -> list[Explained]:
        recorded, task = explainer.record(explainer.batch(**batch)), explainer.task
        output = explainer.explain(recorded)
        kept = hard_mask(output.keep_probability[..., -1])
        masked = explainer.masked(recorded, kept)
        columns = zip(
            task.predicted(output.target).tolist(), explainer.attribution(output), kept, output.logits,
            output.maskable, explainer.cost(output.target, masked).tolist(),
            task.agreement(output.target, masked).tolist(),
            recorded.batch.units, strict=True,
        )  # fmt: skip
        return [
            Explained(predicted, score[there].tolist(), mask[there].tolist(), logits[unit].cpu().numpy(), cost, agrees)
            for predicted, score, mask, logits, unit, cost, agrees, there in columns
        ]

    return in_batches(tokenizer, inputs, explainer.device, run, batch_size)


def masking_everything(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    batch_size: int = 32,
) -> float:
    """
    Mean cost of masking all units: the largest possible loss.

    Args:
        explainer ([`DiffMaskModel`]): Explainer with base model and baseline.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The base model's tokenizer.
        inputs (`Sequence[dict[str, list[int]]]`): For each input, the model's arguments and `special_tokens_mask`.
        batch_size (`int`, *optional*, defaults to 32): Inputs per batch.

    Returns:
        `float`: Mean cost, in units of the margin.
    """

    @torch.no_grad()
    def run(batch: dict[str, Tensor]) -> list[float]:
        recorded = explainer.record(explainer.batch(**batch))
        masked = explainer.masked(recorded, torch.zeros_like(recorded.batch.maskable), 0)
        return explainer.cost(recorded.target, masked).tolist()

    return float(np.mean(in_batches(tokenizer, inputs, explainer.device, run, batch_size)))
