"""What one pass says of a path, and what is asked of it besides: refined scores, verified masks, whole curves."""

from typing import Any

import torch
from torch import Tensor

from .budget_search import smallest_budget
from .explainers.path_refinement import REFINE_SAMPLES, forwards_of, refine_scores
from .gates import hard_mask
from .modeling_diffmask import DiffMaskModel
from .outputs import DiffMaskOutput, Recorded
from .paths import threshold, top

# Shares of the tokens at which a whole curve is run.
CURVE = tuple(k / 16 for k in range(17))


def explain_path(
    explainer: DiffMaskModel,
    output: DiffMaskOutput,
    recorded: Recorded,
    features: dict[str, Tensor],
    state: int = -1,
    margin: float | None = None,
    classes: Tensor | None = None,
    verify: bool = True,
    search: bool = False,
    curve: bool = False,
    refine_steps: int = 0,
) -> dict[str, Any]:
    """
    Explanations of a batch of windows by one state of their paths.

    Args:
        explainer ([`DiffMaskModel`]): Trained on a path.
        output ([`DiffMaskOutput`]): What it says of them, at this margin and of these classes.
        recorded ([`Recorded`]): What the base model computes on them.
        features (`dict[str, torch.Tensor]`): What the base model takes, `(B, T)` each, and `special_tokens_mask`.
        state (`int`, *optional*, defaults to the last): Number of the state.
        margin (`float`, *optional*): What a mask may cost; by default the config's.
        classes (`torch.Tensor` of shape `(B,)`, *optional*): The class explained; by default the predicted one.
        verify (`bool`, *optional*, defaults to `True`): Whether to run the mask that is handed out.
        search (`bool`, *optional*, defaults to `False`): Whether it is the smallest one found to be within the margin,
            in the place of that of the calibrated threshold.
        curve (`bool`, *optional*, defaults to `False`): Whether to run a mask of each share of `CURVE`.
        refine_steps (`int`, *optional*, defaults to 0): Gradient steps on the scores of each window first.

    Returns:
        `dict`: `evidence` and `keep_probability`, `(B, T, S)`; `kept`, `(B, T, 1)`; with `verify` the
        log-probabilities under it, `masked`; with `curve` those of each share, stacked in dimension 1; `forwards`,
        `(B, 1)`, passes that refining and searching took.
    """
    inputs = {name: value for name, value in features.items() if name != "special_tokens_mask"}
    evidence, keep, maskable = output["logits"].clone(), output["keep_probability"].clone(), output["maskable"]
    temperature, forwards = explainer.config.temperature, torch.zeros_like(maskable.sum(-1))
    margin = float(explainer.config.margin) if margin is None else margin
    if refine_steps:
        scores = refine_scores(explainer, features, evidence[..., state], state, classes, steps=refine_steps)
        # The threshold stays that of the margin.
        cuts, _ = explainer.threshold_at(margin)
        evidence[..., state], keep[..., state] = scores, torch.sigmoid((scores - cuts[state]) / temperature)
        forwards += forwards_of(refine_steps, REFINE_SAMPLES)
    scores = evidence[..., state]
    found: dict[str, Any] = {"evidence": evidence}
    if search:
        smallest = smallest_budget(explainer, scores, maskable, margin, state, classes, **inputs)
        # Keep probabilities are above 0.5 where tokens are kept, here, too.
        cut = threshold(scores, smallest.budget, maskable)[:, None]
        keep[..., state] = torch.sigmoid((scores - cut) / temperature)
        found |= {"kept": smallest.kept[..., None], "masked": smallest.masked}
        forwards += smallest.forwards
    keep = keep.masked_fill(~maskable[..., None], 1.0)
    if not search:
        found["kept"] = hard_mask(keep[..., state, None])
        if verify:
            found["masked"] = explainer.masked_forward(found["kept"][..., 0], state, recorded, **inputs)
    if curve:
        size = maskable.sum(-1)
        masks = [top(scores, (share * size).round().long(), maskable) for share in CURVE]
        points = [explainer.masked_forward(mask, state, recorded, **inputs) for mask in masks]
        found["curve"] = torch.stack(points, dim=1)
    found["forwards"] = forwards[:, None]
    return {**found, "keep_probability": keep}
