"""Results of the pipeline, from the explanations of an input's windows."""

from collections.abc import Container
from typing import Any

from ..data.encoding import EncodedText
from ..data.merging import merge_units, merge_words, tokens_of
from ..display.certificate import HOLDS, verdict
from ..display.grid import Attribution
from ..errors import DiffMaskError
from ..explainer.modeling_diffmask import DiffMaskModel
from ..tasks.words import Check
from .explanation import CURVE
from .violations import SEARCHES


def results_in(found: dict[str, Any] | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """
    The results for one input.

    Args:
        found (`dict` or `list[dict]`): What the pipeline returns for one input: a result, or several for several
            labels, tokens or entities.

    Returns:
        `list[dict]`: In the same order.
    """
    return found if isinstance(found, list) else [found]


def read(
    model: DiffMaskModel, windows: list[dict[str, Any]], label: int | None = None, **of_task: Any
) -> tuple[dict[str, Any], Check | None]:
    """
    The prediction for an input, and its comparison with the masked prediction; see [`Task.readable`].

    Args:
        model ([`DiffMaskModel`]): The explainer.
        windows (`list[dict]`):
            For each window the features from [`~ChunkPipeline.preprocess`]; `target`, the output `(1, ...)`;
            `masked`, the output for the masked window, if there was a masked pass.
        label (`int`, *optional*): The choice to explain; by default the predicted one.
        of_task: Options for the task.

    Returns:
        `tuple`: Fields of the prediction, and a [`Check`] if there was a masked pass.
    """
    return model.task.readable(windows, windows[0]["encoded"], model.base.config, model.cost, label, **of_task)


def figures(model: DiffMaskModel, check: Check) -> dict[str, Any]:
    """
    The fields of a result that hold a check.

    Args:
        model ([`DiffMaskModel`]): The explainer.
        check ([`Check`]): Comparison of the masked and the whole output.

    Returns:
        `dict`: `divergence`, `same_prediction`, and `drop` if one choice is explained.
    """
    found = {"divergence": check.divergence, "same_prediction": check.same_prediction}
    return {**found, model.preserved.figure: check.cost} if model.preserved.of_choice else found


def result_of(
    model: DiffMaskModel,
    windows: list[dict[str, Any]],
    label: int | None = None,
    own: Container[str] = (),
    state: int = -1,
    aggregation: str = "token",
    method: str = "amortised",
    on_violation: str = "keep",
    margin: float | None = None,
    probabilities: bool = False,
    **of_task: Any,
) -> dict[str, Any]:
    """
    The result for one input and one choice.

    Args:
        model ([`DiffMaskModel`]): The explainer.
        windows (`list[dict]`): For each window its features and its explanation.
        label (`int`, *optional*): The choice that was asked for.
        own (`Container[str]`, *optional*): Tokens that the tokenizer finds in a text as they are.
        state, aggregation, method, on_violation, margin, probabilities: See the pipeline.
        of_task: Options for the task.

    Returns:
        `dict`: See the pipeline.

    Raises:
        DiffMaskError: If tokens of larger units are to be merged into words.
    """
    encoded: EncodedText = windows[0]["encoded"]
    if aggregation == "word" and encoded.unit != "token":
        raise DiffMaskError(f'The result lists {encoded.unit}s, not tokens: leave `aggregation="word"` out.')
    names, config = model.config.columns, model.config
    if method != "amortised":
        names, state = [config.state_names[config.masked_at(state)]], 0
    tokens = merge_units(tokens_of(windows, encoded, state), encoded)
    ordinary = [token for token in tokens if not token["special"]]
    prediction, check = read(model, windows, label, **of_task)
    result: dict[str, Any] = {
        **prediction,
        "task": config.task,
        "tokens": merge_words(tokens, encoded, own) if aggregation == "word" else tokens,
        "states": names,
        "state": names[state],
        "kept_share": sum(token["kept"] for token in ordinary) / len(ordinary),
        "margin": model.margin(margin),
    }
    if encoded.unit != "token":
        result["unit"] = encoded.unit
    if probabilities:
        result["probabilities"] = model.task.distribution(windows, model.base.config)
    if label is not None:
        result["explained_label"] = model.task.choice_names(model.base.config)[label]
    if check is not None:
        result |= figures(model, check)
        result["within_margin"] = verdict(result) == HOLDS
    result["certificate"] = verdict(result)
    if "curve" in windows[0]:
        result["curve"] = _curve(model, windows, label, of_task)
    if on_violation in SEARCHES:
        result["forwards"] = sum(int(window["forwards"]) for window in windows)
    if any(bool(window["searched"]) for window in windows if "searched" in window):
        result["searched"] = True
    if on_violation == "abstain":
        result["abstained"] = not result["within_margin"]
        if result["abstained"]:
            result["tokens"], result["kept_share"] = [], None
    return Attribution(result)


def _curve(
    model: DiffMaskModel, windows: list[dict[str, Any]], label: int | None, of_task: dict[str, Any]
) -> list[dict[str, float]]:
    """Costs of masks on a path, from no token kept to all tokens kept."""
    found = []
    for number, share in enumerate(CURVE):
        parts = [{**window, "masked": window["curve"][:, number]} for window in windows]
        _, check = read(model, parts, label, **of_task)
        assert check is not None
        of_share = figures(model, check)
        del of_share["same_prediction"]
        found.append({"kept_share": share, **of_share})
    return found
