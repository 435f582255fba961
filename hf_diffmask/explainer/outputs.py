"""What an explainer computes for a batch."""

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput


@dataclass
class DiffMaskOutput(ModelOutput):
    """
    Output of [`DiffMaskModel`].

    Args:
        keep_probability (`torch.FloatTensor` of shape `(B, T, S)`):
            `P(z_l != 0)` of each unit at each state, in [0, 1], with input masking falling with `l`. 1 for units that
            cannot be masked.
        target (`torch.FloatTensor` of shape `(B, C)`, or `(B, 2, T)` for start and end):
            Log-probabilities of the base model on the whole input, in nats.
        maskable (`torch.BoolTensor` of shape `(B, T)`):
            Units that can be masked: not padding and, unless the config says otherwise, not special.
        logits (`torch.FloatTensor` of shape `(B, T, S)`):
            Gate logit of each state's own vote, before votes are multiplied; of a path, its scores.
        masked (`torch.FloatTensor` of the shape of `target`, *optional*, returned when `noise` is given):
            Log-probabilities of the base model under the sampled mask.
        left_out (`torch.FloatTensor` of the shape of `target`, *optional*, returned when `shares` are given):
            The same of the units that the mask leaves out, alone.
        masked_hard (`torch.FloatTensor` of the shape of `target`, *optional*, returned when masks are drawn on paths):
            Log-probabilities of the base model under the hard mask, without gradient; not without `check`.
    """

    keep_probability: Tensor = None  # type: ignore[assignment]
    target: Tensor = None  # type: ignore[assignment]
    maskable: Tensor = None  # type: ignore[assignment]
    logits: Tensor = None  # type: ignore[assignment]
    masked: Tensor | None = None
    left_out: Tensor | None = None
    masked_hard: Tensor | None = None
