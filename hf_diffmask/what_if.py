"""The user's own mask: what the base model says of an input whose tokens somebody chose to keep."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch

from . import heads
from .errors import DiffMaskError
from .merging import length_weighted_mean

if TYPE_CHECKING:
    from .pipeline_diffmask import DiffMaskAttributionPipeline


@torch.no_grad()
def what_if(explain: "DiffMaskAttributionPipeline", text: Any, kept: Iterable[int], state: int = -1) -> dict[str, Any]:
    """
    The prediction of a masked input, beside that of the whole one. Every window of a long input is run.

    Args:
        explain ([`DiffMaskAttributionPipeline`]): The explainer.
        text (`str` or `dict`): An input, as the pipeline takes it.
        kept (`Iterable[int]`): Numbers of the tokens that stay, in the pipeline's list; special ones stay anyway.
        state (`int`, *optional*, defaults to the last): With hidden masking, the number of the state that is masked.

    Returns:
        `dict`: `whole` and `masked`, each with `label` and `score`, or `answer`, `start`, `end` and `score`; of a
        classifier also `probabilities`, by label. `divergence` in nats, `drop` for `target="prediction"`,
        `same_prediction`, `within_margin`, `margin`, `kept`, the numbers that stay, and `special`, how many of those
        are special tokens.

    Raises:
        DiffMaskError: If there is no such token, or the input cannot be explained.
    """
    model, windows = explain.model, list(explain.preprocess(text))
    encoded = windows[0]["encoded"]
    chosen, count = set(kept), len(encoded.tokens)
    if wrong := sorted(number for number in chosen if not 0 <= number < count):
        raise DiffMaskError(f"There is no token {wrong[0]}: the input has {count}, numbered from 0.")
    chosen |= {number for number, segment in enumerate(encoded.segments) if segment is None}
    outputs, masked_outputs = [], []
    for window in windows:
        tensors = {name: value.to(model.device) for name, value in window.items() if isinstance(value, torch.Tensor)}
        del tensors["special_tokens_mask"]
        mask = torch.tensor([[unit in chosen for unit in window["units"]]], device=model.device)
        recorded = model.record(**tensors)
        masked = model.masked_forward(mask, state, recorded, **tensors)
        shared = {**window, "attention_mask": tensors["attention_mask"].cpu(), "masked": masked.cpu()}
        outputs.append({**shared, "target": recorded.target.cpu()})
        masked_outputs.append({**shared, "target": masked.cpu()})
    whole, check = explain.prediction(outputs)
    assert check is not None
    divergence, same, cost = check
    found: dict[str, Any] = {
        "whole": whole, "masked": explain.prediction(masked_outputs)[0], "divergence": divergence,
        "same_prediction": same, "within_margin": cost <= float(model.config.margin),
        "margin": float(model.config.margin), "kept": sorted(chosen),
        "special": encoded.segments.count(None),
    }  # fmt: skip
    if model.config.target == "prediction":
        found["drop"] = cost
    if model.config.task == heads.CLASSIFICATION:
        for part, windows in (("whole", outputs), ("masked", masked_outputs)):
            values = length_weighted_mean(windows, "target").exp().tolist()
            found[part]["probabilities"] = {model.base.config.id2label[k]: value for k, value in enumerate(values)}
    return found
