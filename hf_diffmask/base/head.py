"""Which positions of the last state the head of a model reads."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import DiffMaskError
from .running import record, replace

READS = ("first", "last", "mean")


def head_reads(model: PreTrainedModel, names: Sequence[str]) -> str | None:
    """
    Finds the positions that a head reads, by the gradient of its output with respect to the last state.

    Args:
        model ([`~transformers.PreTrainedModel`]): The base model.
        names (`Sequence[str]`): Its states.

    Returns:
        `str` or `None`: `"first"`, `"last"` or `"mean"`; `None` for a head that reads otherwise, or that cannot be
        run on dummy inputs.
    """
    dummies = {name: value[:1].to(model.device) for name, value in model.dummy_inputs.items()}
    try:
        with torch.no_grad():
            _, states = record(model, dummies, names[-1:])
        with torch.enable_grad():
            hidden = states[0].detach().clone().requires_grad_()
            logits = replace(model, dummies, names[-1], hidden).logits
            # A fixed weighting, since the sum of all logits may cancel.
            weights = torch.arange(1, logits.numel() + 1, device=logits.device, dtype=logits.dtype)
            (gradient,) = torch.autograd.grad((logits.flatten() * weights).sum(), hidden)
    except (RuntimeError, IndexError, TypeError, ValueError, AttributeError):
        return None
    size = gradient[0].float().norm(dim=-1)
    read = (size > 1e-6 * size.amax()).tolist()
    if sum(read) == 1:
        return {0: "first", len(read) - 1: "last"}.get(read.index(True))
    # A mean spreads each feature over all positions, a maximum does not.
    dense = (gradient[0].abs() > 1e-6 * gradient.abs().max()).float().mean().item()
    return "mean" if all(read) and dense > 0.9 else None


def head_weights(reads: str | None, units: Tensor) -> Tensor:
    """
    Weights of the positions that a head reads.

    Args:
        reads (`str`, *optional*): Result of [`head_reads`].
        units (`torch.Tensor` of shape `(B, T)`): 0 at padding, on either side.

    Returns:
        `torch.Tensor` of shape `(B, T)`: They add up to 1.

    Raises:
        DiffMaskError: If it is not known what the head reads.
    """
    if reads not in READS:
        raise DiffMaskError("It is not known which positions the head of this base model reads.")
    there = units.long()
    if reads == "mean":
        return there / there.sum(-1, keepdim=True).clamp(min=1)
    number = there.cumsum(-1) * there  # from 1, and 0 at padding
    wanted = 1 if reads == "first" else there.sum(-1, keepdim=True)
    return ((number == wanted) & there.bool()).float()
