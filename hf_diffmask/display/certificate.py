"""The certificate of an explanation: what its check found. Every view shows this decision."""

import math
from typing import Any, NamedTuple

from ..tasks.registry import task_of_result
from ..tasks.words import margin_words, printed
from .wording import at_state, visible

HOLDS, FAILS, UNCHECKED = "holds", "does not hold", "not checked"
ICONS = {HOLDS: "\u2713", FAILS: "\u2717", UNCHECKED: "?"}


class Certificate(NamedTuple):
    """What the check of a mask found."""

    state: str
    """`"holds"`, `"does not hold"` or `"not checked"`."""
    words: str
    """One or two sentences, safe to show anywhere."""


def verdict(result: dict[str, Any]) -> str:
    """
    Whether a mask's cost is within the margin. The cost is the `drop` if one choice is explained, else the
    `divergence`. A drop below 0 is a rise, which the margin does not bound.

    Args:
        result (`dict`): A result of the pipeline, or any `dict` with the same check.

    Returns:
        `str`: `"holds"` for a cost of at most the margin; `"does not hold"` for a larger cost and for one that is no
        finite number; `"not checked"` without a masked pass.
    """
    if "divergence" not in result:
        return UNCHECKED
    cost = _cost(result)
    return HOLDS if math.isfinite(cost) and cost <= result["margin"] else FAILS


def certificate(result: dict[str, Any]) -> Certificate:
    """
    The certificate of a result, for its mask at its state.

    Args:
        result (`dict`): A result of the pipeline.

    Returns:
        [`Certificate`]
    """
    at = at_state(result["state"])
    if result.get("abstained"):
        return Certificate(verdict(result), visible(f"No explanation: the mask{at} {_effect(result)}."))
    dropped = _share(1 - result["kept_share"], units_of(result))
    if verdict(result) == UNCHECKED:
        words = f"Not checked. The mask drops {dropped}{at}; what this does to the output was not verified."
        return Certificate(UNCHECKED, visible(words))
    if verdict(result) == HOLDS and result["same_prediction"]:
        return judged(result, f"{dropped[0].upper()}{dropped[1:]} can go{at}: this")
    return judged(result, f"Dropping {dropped}{at}")


def certificate_at(result: dict[str, Any], number: int) -> Certificate:
    """
    The certificate of a result's mask at any state. Only the mask at the result's own state was checked.

    Args:
        result (`dict`): A result of the pipeline.
        number (`int`): Number of the state.

    Returns:
        [`Certificate`]
    """
    if result["states"][number] == result["state"]:
        return certificate(result)
    at = at_state(result["states"][number])
    if verdict(result) == UNCHECKED:
        words = f"Not checked. The mask{at} was not verified."
    else:
        checked = at_state(result["state"]).removeprefix(" at ") or "the explanation head"
        words = f"Not checked. The mask{at} was not verified; the check is for {checked}."
    return Certificate(UNCHECKED, visible(words))


def judged(result: dict[str, Any], mask: str) -> Certificate:
    """
    The certificate of a mask that was run.

    Args:
        result (`dict`): A result of the pipeline, or any `dict` with the same check and prediction.
        mask (`str`): The mask, as the subject of a sentence.

    Returns:
        [`Certificate`]
    """
    state = verdict(result)
    opening = "Holds" if state == HOLDS else "Does not hold"
    if state == HOLDS and not result["same_prediction"]:
        opening = "Holds for the margin, but the prediction changes"
    return Certificate(state, visible(f"{opening}. {mask} {_effect(result)}.{_searched(result, state)}"))


def _effect(result: dict[str, Any]) -> str:
    """What a mask does to the output; continues a sentence whose subject is the mask."""
    cost, margin, state = _cost(result), margin_words(result["margin"]), verdict(result)
    task = task_of_result(result)
    if not math.isfinite(cost):
        return (
            f"gives an output that cannot be compared with the whole one (the cost is {cost}), so the margin of "
            f"{margin} is not shown to hold"
        )
    moves = f"moves {task.moved(result)}"
    if state == FAILS:
        stays = "but the prediction stays" if result["same_prediction"] else "and the prediction changes"
        return f"{moves}, outside the margin of {margin}, {stays}"
    stays = "and the prediction stays" if result["same_prediction"] else "but the prediction changes"
    if float(printed(cost, result["margin"])) < 0:
        bounded = task.drop_words.rstrip(",")
        return f"{moves}, {stays}; the margin of {margin} bounds only {bounded}"
    return f"{moves}, within the margin of {margin}, {stays}"


def _searched(result: dict[str, Any], state: str) -> str:
    """A sentence about the search, if there was one: the mask is not the explainer's own."""
    if not result.get("searched"):
        return ""
    if state == HOLDS:
        return f" A search found this mask ({result['forwards']} forward passes in all)."
    return (
        " A search looked for a mask within the margin, in each window of the text by itself "
        f"({result['forwards']} forward passes in all)."
    )


def _cost(result: dict[str, Any]) -> float:
    """The cost that the margin bounds. JSON may hold `null` for a cost that is no finite number."""
    cost = result.get("drop", result["divergence"])
    return math.nan if cost is None else float(cost)


def _share(part: float, units: str) -> str:
    """A share of the units. Only none and all are shown as 0 % and 100 %."""
    rounded = f"{100 * part:.0f}"
    if rounded == "0" and part > 0:
        return f"less than 1 % of the {units}"
    if rounded == "100" and part < 1:
        return f"more than 99 % of the {units}"
    return f"{rounded} % of the {units}"


def units_of(result: dict[str, Any]) -> str:
    """
    What a result lists.

    Args:
        result (`dict`): A result of the pipeline.

    Returns:
        `str`: `"tokens"`, `"words"`, `"sentences"` or `"units"`.
    """
    return f"{result.get('unit', 'token')}s"
