"""Explanations of a batch of windows: masks at one state, with optional check and search."""

from typing import Any

import torch
from torch import Tensor

from ..base.running import Recorded
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks.gates import hard_mask
from ..masks.paths import top
from .violations import SEARCHES

# Kept shares of tokens at which a curve is measured.
CURVE = tuple(k / 16 for k in range(17))


def explain_windows(
    explainer: DiffMaskModel,
    recorded: Recorded,
    state: int = -1,
    margin: float | None = None,
    choice: Tensor | None = None,
    verify: bool = True,
    on_violation: str = "keep",
    curve: bool = False,
) -> dict[str, Any]:
    """
    Explanations of a batch of windows.

    Args:
        explainer ([`DiffMaskModel`]): The explainer.
        recorded ([`Recorded`]): The base model's output and states for the whole windows.
        state (`int`, *optional*, defaults to the last): Number of the state whose mask is returned.
        margin (`float`, *optional*): Largest cost of a mask; by default the config's.
        choice (`torch.Tensor` of shape `(B,)`, *optional*): The choice to explain; by default the predicted
            one.
        verify (`bool`, *optional*, defaults to `True`): Whether to run the base model with the returned mask.
        on_violation (`str`, *optional*, defaults to `"keep"`): Treatment of masks outside the margin.
        curve (`bool`, *optional*, defaults to `False`): Whether to run a mask at each kept share of `CURVE`.

    Returns:
        `dict`: `target`, the outputs `(B, ...)`; `keep_probability` `(B, T, S)`; `kept` `(B, T, 1)`; `forwards`
        `(B, 1)`, the forward passes of a search; `searched` `(B, 1)`, whether a search replaced the mask; with
        `verify`, `masked`, the outputs under the mask; with evidence, `evidence` `(B, T, S)`; with `curve`, the
        outputs at each kept share, stacked in dimension 1.
    """
    output, margin = explainer.explain(recorded, choice, margin), explainer.margin(margin)
    maskable = recorded.batch.maskable
    keep, logits = output["keep_probability"], output["logits"]
    scores = logits[..., state]
    found: dict[str, Any] = {
        "target": output["target"],
        "keep_probability": keep,
        "kept": hard_mask(keep[..., state, None]),
        "forwards": torch.zeros_like(maskable.sum(-1, keepdim=True)),
        "scores": scores,
    }
    # The search of a path has already run its masks.
    if verify and on_violation != "search":
        found["masked"] = explainer.masked(recorded, found["kept"][..., 0], state)
    if on_violation in SEARCHES:
        SEARCHES[on_violation](explainer, recorded, found, state, margin, choice)
    found["searched"] = found["forwards"] > 0
    if explainer.masks.has_evidence:
        found["evidence"] = logits
        if explainer.preserved.of_choice:
            chosen = explainer.task.predicted(output["target"]) if choice is None else choice
            found["evidence"] = explainer.task.signed(logits, chosen)
    if curve:
        size = maskable.sum(-1)
        masks = [top(scores, (share * size).round().long(), maskable) for share in CURVE]
        found["curve"] = torch.stack([explainer.masked(recorded, mask, state) for mask in masks], dim=1)
    del found["scores"]
    return found
