"""Nested masks: one ranking of an input's units, cut at any budget.

A path of masks leads from nothing to everything: the mask of budget `k` keeps the `k` units of the largest scores, and
is part of that of any larger budget. Shapes: `B` examples, `T` units.
"""

import torch
from torch import Tensor

from .gates import draw_on_paths

SHARPNESS = 2.0  # of what is drawn, beside what the gradient is of


def budgets(shares: Tensor, maskable: Tensor) -> Tensor:
    """
    Numbers of units from shares, at least 1 and rounded down.

    Args:
        shares (`torch.Tensor` of shape `(B,)`): Shares of the units that can be masked, in [0, 1].
        maskable (`torch.Tensor` of shape `(B, T)`): Units that can be masked, `bool`.

    Returns:
        `torch.Tensor` of shape `(B,)`, `int64`.
    """
    return (shares * maskable.sum(-1) + 1e-4).long().clamp(min=1)


def scores_at(scores: Tensor, states: Tensor) -> Tensor:
    """
    Scores at the state of each example.

    Args:
        scores (`torch.Tensor` of shape `(B, T, S)`): At every state.
        states (`torch.Tensor` of shape `(B,)`): State of each example.

    Returns:
        `torch.Tensor` of shape `(B, T)`.
    """
    return scores.gather(-1, states[:, None, None].expand(-1, scores.shape[1], 1))[..., 0]


def threshold(scores: Tensor, budget: Tensor, maskable: Tensor) -> Tensor:
    """
    Where a ranking is cut: half-way between the last unit that stays and the first that goes. Where all stay or all go
    it is 1 beyond the scores.

    Args:
        scores (`torch.Tensor` of shape `(B, T)`): Higher stays longer.
        budget (`torch.Tensor` of shape `(B,)`): Units that stay.
        maskable (`torch.Tensor` of shape `(B, T)`): Units that can be masked, `bool`.

    Returns:
        `torch.Tensor` of shape `(B,)`: 0 for inputs without a unit that can be masked.
    """
    ranked = scores.masked_fill(~maskable, float("-inf")).sort(dim=-1, descending=True).values
    beyond = torch.full_like(ranked[:, :1], float("-inf"))
    ranked = torch.cat([-beyond, ranked, beyond], dim=-1)
    last, first = (ranked.gather(1, place[:, None])[:, 0] for place in (budget, budget + 1))
    cut = torch.where(first.isfinite(), (last + first) / 2, last - 1)
    return torch.where(last.isfinite(), cut, first + 1).nan_to_num(0.0, 0.0, 0.0)


def top(scores: Tensor, budget: Tensor, maskable: Tensor) -> Tensor:
    """
    The hard mask of a budget.

    Args:
        scores (`torch.Tensor` of shape `(B, T)`): Higher stays longer.
        budget (`torch.Tensor` of shape `(B,)`): Units that stay.
        maskable (`torch.Tensor` of shape `(B, T)`): Units that can be masked, `bool`; the others always stay.

    Returns:
        `torch.Tensor` of shape `(B, T)`, `bool`: Of equal scores the first unit stays longest.
    """
    order = scores.masked_fill(~maskable, float("-inf")).argsort(dim=-1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    return (rank < budget[:, None]) | ~maskable


def draw(logits: Tensor, noise: Tensor, maskable: Tensor) -> Tensor:
    """
    Draws a mask around a threshold: a unit stays with the probability `sigmoid(2 x)` if it is `x` above,
    in temperatures. The gradient is that of [`~hf_diffmask.gates.draw_on_paths`].

    Args:
        logits (`torch.Tensor` of shape `(B, T)`): Score less threshold, in temperatures.
        noise (`torch.Tensor` of shape `(B, T, 3)`): Uniform noise in (0, 1).
        maskable (`torch.Tensor` of shape `(B, T)`): Units that can be masked, `bool`.

    Returns:
        `torch.Tensor` of shape `(B, T)`: Masks in [0, 1].
    """
    return draw_on_paths(torch.sigmoid(SHARPNESS * logits), torch.sigmoid(logits), noise, maskable)
