"""Finds the positions of the last state that a model's head reads."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import DiffMaskError
from .dummies import CANNOT_RUN, dummy_input
from .running import record, replace

READS = ("first", "last", "mean")


def head_reads(model: PreTrainedModel, names: Sequence[str]) -> str | None:
    """
    The positions that a head reads, from the gradient of its output with respect to the last state.

    The model runs on its dummy inputs.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        names (`Sequence[str]`): The states of the base model.

    Returns:
        `str` or `None`: `"first"`, `"last"` or `"mean"`; `None` if the head reads other positions, or if
        the model cannot run on its dummy inputs.

    Raises:
        DiffMaskError: If a state cannot be recorded.
    """
    dummies = dummy_input(model)
    try:
        with torch.no_grad():
            _, states = record(model, dummies, names)
        with torch.enable_grad():
            hidden = states[-1].detach().clone().requires_grad_()
            logits = replace(model, dummies, names[-1], hidden).logits
            # Different weights, because a plain sum of logits may cancel.
            weights = torch.arange(1, logits.numel() + 1, device=logits.device, dtype=logits.dtype)
            (gradient,) = torch.autograd.grad((logits.flatten() * weights).sum(), hidden)
    except DiffMaskError:
        raise
    except CANNOT_RUN:
        return None
    size = gradient[0].float().norm(dim=-1)
    read = (size > 1e-6 * size.amax()).tolist()
    if sum(read) == 1:
        return {0: "first", len(read) - 1: "last"}.get(read.index(True))
    # The gradient of a mean is dense, that of a maximum is not.
    dense = (gradient[0].abs() > 1e-6 * gradient.abs().max()).float().mean().item()
    return "mean" if all(read) and dense > 0.9 else None


def head_weights(reads: str | None, units: Tensor) -> Tensor:
    """
    Weights of the positions that a head reads.

    Args:
        reads (`str`, *optional*): Result of [`head_reads`].
        units (`torch.Tensor` of shape `(B, T)`): 0 at padding, on either side.

    Returns:
        `torch.Tensor` of shape `(B, T)`: Weights, with sum 1 for each input.

    Raises:
        DiffMaskError: If `reads` is not a result of [`head_reads`], or is `None`.
    """
    if reads not in READS:
        raise DiffMaskError("It is not known which positions the head of this base model reads.")
    there = units.long()
    if reads == "mean":
        return there / there.sum(-1, keepdim=True).clamp(min=1)
    number = there.cumsum(-1) * there  # from 1, and 0 at padding
    wanted = 1 if reads == "first" else there.sum(-1, keepdim=True)
    return ((number == wanted) & there.bool()).float()
