"""Methods that the page compares, and their results for one text."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..data.units import maskable, whole_units, with_units
from ..data.windows import windows
from ..errors import DiffMaskError
from ..evaluation.comparison import attribute, measured, rankable
from ..evaluation.faithfulness import PRESETS
from ..methods.registry import Explainers
from ..pipeline.parts import asked_targets
from .shelf import Held


class Method(NamedTuple):
    """A method to compare."""

    name: str
    """The name that visitors see."""
    passes: Callable[[int], int]
    """Maps the number of ordinary tokens of an input to passes of the base model, forward and backward."""


COMPARED = {
    "diffmask": Method("DiffMask", lambda tokens: 1),
    "loo": Method("leave-one-out", lambda tokens: tokens),
    "ig": Method("Integrated Gradients, 32 steps", lambda tokens: 64),
}
"""Methods by name in `hf_diffmask.methods.registry.METHODS`."""
PROTOCOL = PRESETS["hf_diffmask"]._replace(replacement="attention")  # every base model has an attention mask


def compare(held: Held, item: dict[str, str], most: int, span: list[int] | None = None) -> list[dict[str, Any]]:
    """
    Explains one text by each method.

    Args:
        held ([`Held`]): The explainer, with the untrained explainer for the other methods.
        item (`dict[str, str]`): An input of the pipeline.
        most (`int`): Largest number of tokens in the text, special tokens included.
        span (`list[int]`, *optional*): For token classification: start and end of the explained tokens; by default the
            first entity.

    Returns:
        `list[dict]`: See [`Service.compare`].

    Raises:
        DiffMaskError: If the text has too many tokens, or nothing in it is explained.
    """
    explain = held.explain
    encoded = held.encoded(item)
    most = min(most, explain.length)
    if len(encoded.tokens) > most:
        raise DiffMaskError(f"The text has {len(encoded.tokens)} tokens, and methods are compared on up to {most}.")
    (window,) = windows(with_units(encoded, explain.model.config.unit), explain.length)
    features = window.features
    if span is not None:
        asked_targets(explain.model, [span])
    if explain.model.task.at_positions:
        (part, *_) = _parts(held, item, span)
        features = {**features, "explained_mask": [int(k in part) for k in range(len(encoded.tokens))]}
    assert held.plain is not None
    explainers = Explainers(explain.model, held.plain, None, 0)
    ordinary = sum(maskable(features))
    is_measured = PROTOCOL.takes_away(ordinary)
    found = []
    for key, method in COMPARED.items():
        of_method = attribute(explainers, explain.tokenizer, [features], key)
        figures: dict[str, float] = {}
        if is_measured:
            scores, _ = rankable([features], of_method.scores, PROTOCOL)
            values = measured(explainers, explain.tokenizer, [features], scores, PROTOCOL)
            figures = {figure: float(values[figure][0]) for figure in ("comprehensiveness", "sufficiency")}
        units = zip(encoded.tokens, whole_units(features, of_method.scores[0]), encoded.segments, strict=True)
        found.append(
            {
                "method": method.name,
                "tokens": [
                    {"token": token, "score": score, "special": segment is None} for token, score, segment in units
                ],
                "seconds": of_method.seconds,
                "bare_seconds": of_method.seconds / of_method.forwards,
                "passes": method.passes(ordinary),
                **figures,
            }
        )
    return found


def _parts(held: Held, item: dict[str, str], span: list[int] | None) -> list[list[int]]:
    """Numbers of the tokens of each part: of the span, or else of each entity."""
    targets = "entities" if span is None else [span]
    found = [
        [
            number
            for number, token in enumerate(result["tokens"])
            if not token["special"] and token["start"] < result["end"] and token["end"] > result["start"]
        ]
        for result in held.explain(item, targets=targets, verify=False)
    ]
    if not found:
        raise DiffMaskError(f"The base model finds {held.explain.model.task.nothing} in this text.")
    return found
