"""Explanations of a batch of windows: masks at one state, with optional check, search and refinement."""

from typing import Any

import torch
from torch import Tensor

from ..base.running import Recorded
from ..explainer.modeling_diffmask import DiffMaskModel
from ..masks.gates import hard_mask
from ..masks.paths import top
from ..methods.path_refinement import REFINE_SAMPLES, forwards_of, refine_scores
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
    refine_steps: int = 0,
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
        refine_steps (`int`, *optional*, defaults to 0): Gradient steps on each window's scores, before masking.

    Returns:
        `dict`: `target`, the outputs `(B, ...)`; `keep_probability` `(B, T, S)`; `kept` `(B, T, 1)`; `forwards`
        `(B, 1)`, the forward passes of search and refinement; `searched` `(B, 1)`, whether a search replaced the
        mask; with `verify`, `masked`, the outputs under the mask; for a path, `evidence` `(B, T, S)`; with `curve`,
        the outputs at each kept share, stacked in dimension 1.
    """
    output, margin = explainer.explain(recorded, choice, margin), explainer.margin(margin)
    maskable = recorded.batch.maskable
    keep, logits = output["keep_probability"].clone(), output["logits"].clone()
    forwards = torch.zeros_like(maskable.sum(-1, keepdim=True))
    if refine_steps:
        # The threshold still comes from the margin.
        logits[..., state] = refine_scores(explainer, recorded, logits[..., state], state, choice, steps=refine_steps)
        keep = explainer.masks.keep(logits, maskable, margin)
        forwards += forwards_of(refine_steps, REFINE_SAMPLES)
    scores = logits[..., state]
    found: dict[str, Any] = {
        "target": output["target"],
        "keep_probability": keep,
        "kept": hard_mask(keep[..., state, None]),
        "forwards": forwards,
        "scores": scores,
    }
    # The search of a path has already run its masks.
    if verify and on_violation != "search":
        found["masked"] = explainer.masked(recorded, found["kept"][..., 0], state)
    before = forwards.clone()
    if on_violation in SEARCHES:
        SEARCHES[on_violation](explainer, recorded, found, state, margin, choice)
    found["searched"] = found["forwards"] > before
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
