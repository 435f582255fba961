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
# Entries of an explanation that depend on the choice.
OF_CHOICE = ("keep_probability", "kept", "forwards", "searched", "masked", "evidence", "curve")


def explain_choices(explainer: DiffMaskModel, recorded: Recorded, choices: Tensor, **options: Any) -> dict[str, Any]:
    """
    Explanations of a batch of windows for several choices each, from one pass of base model and probes.

    Args:
        explainer ([`DiffMaskModel`]): The explainer.
        recorded ([`Recorded`]): The base model's output and states for the whole windows.
        choices (`torch.Tensor` of shape `(B, N)`): The choices.
        options: Arguments of [`explain_windows`].

    Returns:
        `dict`: As from [`explain_windows`], with the choices in dimension 1 of all except `target`; and `choices`.
    """
    evidence = explainer.probes(recorded) if explainer.masks.adds_up else None
    # One choice after the other: masked passes of all at once would take N times the memory.
    found = [explain_windows(explainer, recorded, choice=one, evidence=evidence, **options) for one in choices.T]
    target = {"target": found[0].pop("target"), "choices": choices}
    return {**{name: torch.stack([one[name] for one in found], dim=1) for name in found[0]}, **target}


def of_choice(found: dict[str, Any], number: int) -> dict[str, Any]:
    """
    The explanation of one choice of one window.

    Args:
        found (`dict`): Result of [`explain_choices`] for one window, with further entries for the window.
        number (`int`): The choice.

    Returns:
        `dict`: As from [`explain_windows`] for this choice.
    """
    place = found["choices"][0].tolist().index(number)
    return {name: value[:, place] if name in OF_CHOICE else value for name, value in found.items()}


def explain_windows(
    explainer: DiffMaskModel,
    recorded: Recorded,
    state: int = -1,
    margin: float | None = None,
    choice: Tensor | None = None,
    verify: bool = True,
    on_violation: str = "keep",
    curve: bool = False,
    evidence: Tensor | None = None,
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
        evidence (`torch.Tensor`, *optional*): Evidence for every choice, see [`DiffMaskModel.explain`].

    Returns:
        `dict`: `target`, the outputs `(B, ...)`; `keep_probability` `(B, T, S)`; `kept` `(B, T, 1)`; `forwards`
        `(B, 1)`, the forward passes of a search; `searched` `(B, 1)`, whether a search replaced the mask; with
        `verify`, `masked`, the outputs under the mask; with evidence, `evidence` `(B, T, S)`; with `curve`, the
        outputs at each kept share, stacked in dimension 1.
    """
    output, margin = explainer.explain(recorded, choice, margin, evidence), explainer.margin(margin)
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
    for name in ("keep_probability", "kept", "evidence"):
        if name in found:
            found[name] = recorded.batch.spread(found[name])
    return found
