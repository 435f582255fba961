"""Searches for masks within the margin: one function for each `on_violation` with a search."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..base.running import Recorded
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks.gates import hard_mask
from ..masks.paths import threshold
from ..methods.budget_search import smallest_budget
from ..methods.per_example import REFINE_FORWARDS
from ..methods.per_example import refine as refine_masks

Search = Callable[[DiffMaskModel, Recorded, dict[str, Any], int, float, Tensor | None], None]


def search(
    explainer: DiffMaskModel,
    recorded: Recorded,
    found: dict[str, Any],
    state: int,
    margin: float,
    choice: Tensor | None,
) -> None:
    """
    Replaces each mask of a path with the smallest mask that a run of the base model finds within the margin.

    Args:
        explainer ([`DiffMaskModel`]): The explainer.
        recorded ([`Recorded`]): The base model's output and states for the whole inputs.
        found (`dict`): Explanations, see [`~hf_diffmask.pipeline.explanation.explain_windows`]; changed in place.
        state (`int`): Number of the state.
        margin (`float`): Largest cost of a mask.
        choice (`torch.Tensor` of shape `(B,)`, *optional*): The choice to explain.
    """
    scores, maskable = found["scores"], recorded.batch.maskable
    smallest = smallest_budget(explainer, recorded, scores, margin, state, choice)
    # As without a search, kept tokens have keep probabilities above 0.5.
    cut = threshold(scores, smallest.budget, maskable)[:, None]
    keep = torch.sigmoid((scores - cut) / explainer.config.temperature)
    found["keep_probability"][..., state] = keep.masked_fill(~maskable, 1.0)
    found |= {"kept": smallest.kept[..., None], "masked": smallest.masked}
    found["forwards"] += smallest.forwards[:, None]


def refine(
    explainer: DiffMaskModel,
    recorded: Recorded,
    found: dict[str, Any],
    state: int,
    margin: float,
    choice: Tensor | None,
) -> None:
    """
    Replaces each mask outside the margin: searches a mask, starting from the explainer's mask; see [`search`].

    Args:
        explainer ([`DiffMaskModel`]): The explainer.
        recorded ([`Recorded`]): The base model's output and states for the whole inputs.
        found (`dict`): Explanations with `masked`; changed in place.
        state (`int`): Number of the state.
        margin (`float`): Largest cost of a mask.
        choice (`torch.Tensor` of shape `(B,)`, *optional*): The choice to explain.
    """
    outside = explainer.cost(found["target"], found["masked"], choice) > margin
    if not outside.any():
        return
    picked, keep = recorded.rows(outside), found["keep_probability"]
    refined = refine_masks(explainer, picked, keep[outside][..., state], state)
    keep[..., state] = keep[..., state].masked_scatter(outside[:, None], refined)
    found["kept"][outside] = hard_mask(refined)[..., None]
    found["masked"][outside] = explainer.masked(picked, hard_mask(refined), state)
    found["forwards"][outside] += REFINE_FORWARDS


SEARCHES: dict[str, Search] = {"search": search, "refine": refine}
