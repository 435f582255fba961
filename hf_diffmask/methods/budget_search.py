"""Searches an input's path for the smallest mask within a margin, and verifies the mask."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..base.running import Recorded
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks.paths import top

TRIED = 8  # budgets per input in one forward pass


class Found(NamedTuple):
    """Result of a search, for each input."""

    budget: Tensor
    """Number of kept units, `(B,)`, `int64`."""
    kept: Tensor
    """The mask, `(B, T)`, `bool`."""
    masked: Tensor
    """Output for the masked input, such as log-probabilities `(B, C)` or `(B, 2, T)`."""
    forwards: Tensor
    """Forward passes of the search, `(B,)`, `int64`."""


@torch.no_grad()
def smallest_budget(
    explainer: DiffMaskModel,
    recorded: Recorded,
    scores: Tensor,
    margin: float | None = None,
    state: int = -1,
    classes: Tensor | None = None,
) -> Found:
    """
    The smallest budget found on each input's path with a cost within the margin.

    The first forward pass tries budgets over the whole range. Each further pass tries budgets between the smallest one
    within the margin and the next smaller one tried. Each returned mask was run, except the mask that keeps all units,
    which costs nothing. Costs need not fall as budgets grow, so an untried smaller budget may also be within the
    margin.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model and baselines.
        recorded ([`Recorded`]): The base model's output and states for the whole inputs.
        scores (`torch.Tensor` of shape `(B, T)`): Ranks the units.
        margin (`float`, *optional*): Largest cost of a mask, see [`DiffMaskModel.cost`]; by default the config's.
        state (`int`, *optional*, defaults to the last): Number of the state, for hidden masking.
        classes (`torch.Tensor` of shape `(B,)`, *optional*): The choice to explain; by default the predicted one.

    Returns:
        [`Found`]
    """
    margin, maskable = explainer.margin(margin), recorded.batch.maskable
    masked_at = explainer.config.masked_at(state)
    size = maskable.sum(-1)
    rows, forwards = len(scores), torch.zeros_like(size)
    # -1 means that the empty mask is untried; the full mask is always within the margin.
    low, high = torch.full_like(size, -1), size.clone()
    masked = recorded.target.clone()
    steps = torch.arange(1, TRIED + 1, device=scores.device)
    while (high - low > 1).any():
        # The first pass is denser at small budgets, because most results are small; later passes are even.
        part = (steps / (TRIED + 1)) ** (1 if forwards.any() else 2)
        tried = low[:, None] + ((high - low)[:, None] * part).long().clamp(min=1)
        tried = torch.minimum(tried, high[:, None] - 1).clamp(min=0)
        flat = tried.flatten()
        pick = torch.arange(rows, device=scores.device).repeat_interleave(TRIED)
        kept = top(scores[pick], flat, maskable[pick])
        of_rows = recorded.rows(pick, masked_at)
        found = explainer.masked(of_rows, kept, state)
        cost = explainer.cost(of_rows.target, found, None if classes is None else classes[pick]).view(rows, TRIED)
        open_ = (high - low > 1)[:, None]
        within = (cost <= margin) & open_
        first = torch.where(within, tried, size[:, None] + 1).argmin(-1)
        better = within.any(-1)
        high = torch.where(better, tried.gather(1, first[:, None])[:, 0], high)
        of_first = found.view(rows, TRIED, *found.shape[1:])[torch.arange(rows, device=first.device), first]
        masked[better] = of_first[better]
        below = torch.where((tried < high[:, None]) & open_, tried, -1).amax(-1)
        low = torch.maximum(low, below)
        forwards += TRIED * open_[:, 0]
    return Found(high, top(scores, high, maskable), masked, forwards)
