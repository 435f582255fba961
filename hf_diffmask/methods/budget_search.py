"""The smallest mask of an input's own path whose cost is within a margin, and verified to be."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..base.running import Recorded
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks.paths import top

TRIED = 8  # budgets of an input that are run at once


class Found(NamedTuple):
    """What a search found, for each input."""

    budget: Tensor
    """Units that stay, `(B,)`, `int64`."""
    kept: Tensor
    """The mask, `(B, T)`, `bool`."""
    masked: Tensor
    """Log-probabilities under it, `(B, C)` or `(B, 2, T)`."""
    forwards: Tensor
    """Forward passes that the search took, `(B,)`, `int64`."""


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
    Searches the path of each input for the smallest budget whose mask costs no more than a margin.

    Budgets over the whole range are run at once, and then those between the smallest that is within the margin and
    the next smaller one that was run. Costs need not fall as budgets grow: each mask that is returned was run, but a
    smaller one, between two that were run, may be within the margin, too. The largest keeps everything, costs nothing,
    and is always there.

    Args:
        explainer ([`DiffMaskModel`]): Holds base model and baseline.
        recorded ([`Recorded`]): What the base model computes on the whole inputs.
        scores (`torch.Tensor` of shape `(B, T)`): What ranks the units.
        margin (`float`, *optional*): What a mask may cost, see [`DiffMaskModel.cost`]; by default the config's.
        state (`int`, *optional*, defaults to the last): Number of the state, where hidden states are masked.
        classes (`torch.Tensor` of shape `(B,)`, *optional*): The class explained; by default the predicted one.

    Returns:
        [`Found`]
    """
    margin, maskable = explainer.margin(margin), recorded.batch.maskable
    masked_at = explainer.config.masked_at(state)
    size = maskable.sum(-1)
    rows, forwards = len(scores), torch.zeros_like(size)
    # Nothing kept is out of bounds until it is run, and everything kept is within.
    low, high = torch.full_like(size, -1), size.clone()
    masked = recorded.target.clone()
    places = torch.arange(1, TRIED + 1, device=scores.device)
    while (high - low > 1).any():
        # Near the small end first, where most answers are, and then evenly.
        part = (places / (TRIED + 1)) ** (1 if forwards.any() else 2)
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
