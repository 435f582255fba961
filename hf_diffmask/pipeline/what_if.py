"""Predictions under the user's own mask."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch

from ..display.certificate import HOLDS, verdict
from ..errors import DiffMaskError
from ..tasks.inputs import whole_number
from .inputs import read_input
from .options import state_index
from .results import figures, read

if TYPE_CHECKING:
    from .pipeline_diffmask import DiffMaskAttributionPipeline


@torch.no_grad()
def what_if(
    explain: "DiffMaskAttributionPipeline",
    text: Any,
    kept: Iterable[int],
    state: str | int = -1,
    margin: float | None = None,
) -> dict[str, Any]:
    """
    Predictions for the whole input and for the masked input. All windows of a long input are run.

    Args:
        explain ([`DiffMaskAttributionPipeline`]): The explainer.
        text (`str` or `dict`): An input of the pipeline.
        kept (`Iterable[int]`): Numbers of the tokens to keep, in the pipeline's list. Special tokens are always kept.
        state (`str` or `int`, *optional*, defaults to the last): With hidden masking, the state to mask.
        margin (`float`, *optional*): Largest cost of a mask; by default the config's.

    Returns:
        `dict`: `whole` and `masked`, each with the fields of a prediction, such as `label` and `score`, and for
        classifiers `probabilities` by label. `task`, `divergence`, `drop` for `target="prediction"`,
        `same_prediction`, `within_margin`, `certificate` and `margin`, as in a result of the pipeline; `kept`, the
        numbers of the kept tokens; and `special`, the number of special tokens among them.

    Raises:
        DiffMaskError: If a token or the state does not exist, or the input cannot be explained.
    """
    model = explain.model
    if model.task.at_positions:
        raise DiffMaskError("This explainer explains single tokens: masks of your own are for whole texts.")
    state = state_index(model, state)
    encoded = read_input(model.task, explain.tokenizer, explain.length, text, "The input")
    windows, count = list(explain.preprocess(encoded)), len(encoded.tokens)
    chosen = set()
    for token in kept:
        number = whole_number(token)
        if number is None or not 0 <= number < count:
            raise DiffMaskError(f"There is no token {token}: the input has {count}, numbered from 0.")
        chosen.add(number)
    chosen |= {number for number, segment in enumerate(encoded.segments) if segment is None}
    outputs, masked_outputs = [], []
    for window in windows:
        tensors = {name: value.to(model.device) for name, value in window.items() if isinstance(value, torch.Tensor)}
        recorded = model.record(model.batch(**tensors))
        mask = torch.tensor([[unit in chosen for unit in window["units"]]], device=model.device)
        masked = model.masked(recorded, mask, state).cpu()
        shared = {**window, "attention_mask": tensors["attention_mask"].cpu(), "masked": masked}
        outputs.append({**shared, "target": recorded.target.cpu()})
        masked_outputs.append({**shared, "target": masked})
    whole, check = read(model, outputs)
    assert check is not None
    parts = {"whole": whole, "masked": read(model, masked_outputs)[0]}
    for part, of_part in (("whole", outputs), ("masked", masked_outputs)):
        if probabilities := model.task.distribution(of_part, model.base.config):
            parts[part]["probabilities"] = probabilities
    checked = {**figures(model, check), "margin": model.margin(margin)}
    found = verdict(checked)
    return {
        **parts,
        "task": model.config.task,
        **checked,
        "within_margin": found == HOLDS,
        "certificate": found,
        "kept": sorted(chosen),
        "special": encoded.segments.count(None),
    }
