"""The output of an explainer for a batch."""

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput


@dataclass
class DiffMaskOutput(ModelOutput):
    """
    Output of [`DiffMaskModel`].

    Args:
        keep_probability (`torch.FloatTensor` of shape `(B, T, S)`):
            `P(z_l != 0)` of each unit at each state, in [0, 1]. With input masking it falls with `l`. Units that
            cannot be masked have 1.
        target (`torch.FloatTensor` of shape `(B, C)`, `(B, 2, T)` for start and end, or `(B, 1)` for a number):
            The base model's output for the whole input, see [`Task.target`].
        maskable (`torch.BoolTensor` of shape `(B, T)`):
            Units that can be masked: not padding and, unless the config says otherwise, not special.
        logits (`torch.FloatTensor` of shape `(B, T, S)`):
            Gate logits of each state, before votes are multiplied. With evidence, the scores.
        evidence (`torch.FloatTensor` of shape `(B, T, C, K)`, *optional*, returned with an explanation head):
            Evidence of each unit for each choice, in log-odds.
        masked (`torch.FloatTensor` of the shape of `target`, *optional*, returned in training by the recipe `paper`):
            Output under the mask that was drawn.
    """

    keep_probability: Tensor = None  # type: ignore[assignment]
    target: Tensor = None  # type: ignore[assignment]
    maskable: Tensor = None  # type: ignore[assignment]
    logits: Tensor = None  # type: ignore[assignment]
    evidence: Tensor | None = None
    masked: Tensor | None = None
