"""What an explainer says of many inputs, and how well its masks hold."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from . import heads
from .data import collate
from .errors import DiffMaskError
from .gates import hard_mask
from .modeling_diffmask import DiffMaskModel


class Explained(NamedTuple):
    """What an explainer says of one input."""

    predicted: int
    """The class that the base model predicts."""
    scores: list[float]
    """Of each token, see [`DiffMaskModel.attribution`]."""
    kept: list[bool]
    """The hard mask of the last state, which is the one handed out."""
    logits: np.ndarray
    """Gate logits of the tokens that can be masked, `(U, S)`."""
    cost: float
    """What that mask costs, in the terms of the margin: see [`DiffMaskModel.cost`]."""
    agrees: bool
    """Whether that mask leaves the prediction unchanged."""


def in_batches(
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    device: torch.device,
    run: Callable[[dict[str, Tensor]], Sequence[Any]],
    batch_size: int,
) -> list[Any]:
    """
    Runs something on inputs, in batches of like length.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Pads; without a padding token, inputs run one by one.
        inputs (`Sequence[dict[str, list[int]]]`): Of each what the base model takes, and `special_tokens_mask`.
        device (`torch.device`): Where batches go.
        run (`Callable`): From a batch to a result for each of its rows.
        batch_size (`int`): Inputs at once.

    Returns:
        `list`: Results, in the order of the inputs.
    """
    if tokenizer.pad_token_id is None:
        batch_size = 1
    order = sorted(range(len(inputs)), key=lambda k: len(inputs[k]["input_ids"]))
    found: dict[int, Any] = {}
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = collate(tokenizer, [{**inputs[k], "example_ids": k} for k in rows])
        found.update(zip(rows, run({n: v.to(device) for n, v in batch.items() if n != "example_ids"}), strict=True))
    return [found[k] for k in range(len(inputs))]


@torch.no_grad()
def explained(
    explainer: DiffMaskModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[dict[str, list[int]]],
    batch_size: int = 32,
) -> list[Explained]:
    """
    Runs an explainer on inputs, and its hard masks.

    Args:
        explainer ([`DiffMaskModel`]): For a classifier.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Of the base model.
        inputs (`Sequence[dict[str, list[int]]]`): Of each what the base model takes, and `special_tokens_mask`.
        batch_size (`int`, *optional*, defaults to 32): Inputs at once.

    Returns:
        `list[Explained]`

    Raises:
        DiffMaskError: If the explainer is for no classifier.
    """
    if explainer.config.task != heads.CLASSIFICATION:
        raise DiffMaskError("The audit asks what a mask tells of a class: this explainer is for no classifier.")

    def run(batch: dict[str, Tensor]) -> list[Explained]:
        features = {name: value for name, value in batch.items() if name != "special_tokens_mask"}
        recorded = explainer.record(**features)
        output = explainer(**batch, recorded=recorded)
        kept = hard_mask(output.keep_probability[..., -1])
        masked = explainer.masked_forward(kept, -1, recorded, **features)
        columns = zip(
            output.target.argmax(-1).tolist(), explainer.attribution(output), kept, output.logits, output.maskable,
            explainer.cost(output.target, masked).tolist(), heads.agreement(output.target, masked).tolist(),
            features["attention_mask"].bool(), strict=True,
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
    What it costs to mask all units: the most that there is to lose.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model and baseline.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Of the base model.
        inputs (`Sequence[dict[str, list[int]]]`): Of each what the base model takes, and `special_tokens_mask`.
        batch_size (`int`, *optional*, defaults to 32): Inputs at once.

    Returns:
        `float`: Mean cost, in the terms of the margin.
    """

    @torch.no_grad()
    def run(batch: dict[str, Tensor]) -> list[float]:
        special = batch.pop("special_tokens_mask")
        recorded = explainer.record(**batch)
        nothing = ~explainer.maskable(batch["input_ids"], batch["attention_mask"], special)
        return explainer.cost(recorded.target, explainer.masked_forward(nothing, 0, recorded, **batch)).tolist()

    return float(np.mean(in_batches(tokenizer, inputs, explainer.device, run, batch_size)))
