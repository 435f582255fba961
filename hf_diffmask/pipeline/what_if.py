"""Predictions under the user's own mask."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..base.running import Recorded
from ..data.units import unit_of
from ..display.certificate import HOLDS, verdict
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from ..tasks.inputs import whole_number
from .inputs import read_input
from .options import sorted_options, state_index
from .parts import each_part, explain_parts
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
    span: tuple[int, int] | None = None,
    unit: str | Sequence[tuple[int, int]] | None = None,
) -> dict[str, Any]:
    """
    Predictions for the whole input and for the masked input. All windows of a long input are run.

    Args:
        explain ([`DiffMaskAttributionPipeline`]): The explainer.
        text (`str` or `dict`): An input of the pipeline.
        kept (`Iterable[int]`): Numbers of the tokens to keep, in the `tokens` of the pipeline's result. Special tokens
            are always kept.
        state (`str` or `int`, *optional*, defaults to the last): With hidden masking, the state to mask.
        margin (`float`, *optional*): Largest cost of a mask; by default the config's.
        span (`tuple[int, int]`, *optional*): For token classification: start and end of the explained tokens, in
            characters.
        unit (`str` or a list, *optional*): As in the call of the pipeline: what is masked together.

    Returns:
        `dict`: `whole` and `masked`, each with the fields of a prediction, such as `label` and `score`, and for
        classifiers `probabilities` by label. `task`, `divergence`, `drop` for `target="prediction"`,
        `same_prediction`, `within_margin`, `certificate` and `margin`, as in a result of the pipeline; `kept`, the
        numbers of the kept tokens; and `special`, the number of special tokens among them.

    Raises:
        DiffMaskError: If a token or the state does not exist, the input cannot be explained, or the explainer explains
            tokens and `span` does not say which.
    """
    model = explain.model
    if model.task.at_positions and span is None:
        raise DiffMaskError("This explainer explains tokens: say which, as `span=(start, end)` in characters.")
    options, *_ = sorted_options(model, targets=None if span is None else [span], unit=unit)
    state = state_index(model, state)
    encoded = read_input(model.task, explain.tokenizer, explain.length, text, "The input")
    windows = list(explain.preprocess(encoded, **options))
    encoded = windows[0]["encoded"]
    numbers = unit_of(encoded)
    count, chosen = max(numbers) + 1, set()
    for token in kept:
        number = whole_number(token)
        if number is None or not 0 <= number < count:
            raise DiffMaskError(f"There is no token {token}: the input has {count}, numbered from 0.")
        chosen.add(number)
    special = {number for number, mark in zip(numbers, encoded.features["special_tokens_mask"], strict=True) if mark}
    chosen |= special
    outputs = [_masked(model, window, numbers, chosen, state) for window in windows]
    if model.task.at_positions:
        outputs = each_part(outputs)
    masked_outputs = [{**window, "target": window["masked"]} for window in outputs]
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
        "special": len(special),
        **({} if encoded.unit == "token" else {"unit": encoded.unit}),
    }


def _masked(
    model: DiffMaskModel, window: dict[str, Any], numbers: list[int], chosen: set[int], state: int
) -> dict[str, Any]:
    """A window with its outputs, of the whole and of the masked input."""
    tensors = {name: value.to(model.device) for name, value in window.items() if isinstance(value, torch.Tensor)}
    recorded = model.record(model.batch(**tensors))
    in_window = [numbers[token] for token in window["units"]]
    if model.task.at_positions:  # results for tokens have those of one window
        order = {number: place for place, number in enumerate(dict.fromkeys(in_window))}
        in_window = [order[number] for number in in_window]
    special = tensors["special_tokens_mask"].bool()
    mask = torch.tensor([[number in chosen for number in in_window]], device=model.device) | special

    def run(one: Recorded) -> dict[str, Any]:
        return {"target": one.target, "masked": model.masked(one, mask, state)}

    found = explain_parts(model, recorded, [window["asked"]], run) if model.task.at_positions else run(recorded)
    kept = {name: window[name] for name in ("encoded", "units", "attention_mask")}
    return {**kept, **{name: value.cpu() for name, value in found.items()}}
