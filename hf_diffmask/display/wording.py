"""Describes explanations in words that are safe to show anywhere."""

import unicodedata
from typing import Any

from ..tasks.registry import task_of_result


def visible(text: str) -> str:
    """
    Text with control and format characters written out: they could hide text or steer a terminal.

    Args:
        text (`str`): Any text.

    Returns:
        `str`: The text with escapes such as `\\x1b` or `\\u202e` for these characters.
    """
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co") else char
        for char in text
    )


def predicted(result: dict[str, Any]) -> str:
    """
    The prediction of the base model, safe to show.

    Args:
        result (`dict`): A result of the pipeline.

    Returns:
        `str`: The label or answer.
    """
    return visible(task_of_result(result).headline(result))


def certificate(result: dict[str, Any]) -> str:
    """
    The claim of an explanation in one sentence, and whether the claim was checked.

    Args:
        result (`dict`): A result of the pipeline.

    Returns:
        `str`
    """
    if result.get("abstained"):
        return (
            f"No explanation: the one at state {result['state']} would move {moved(result)}, outside the margin of "
            f"{result['margin']:g}."
        )
    dropped = f"{100 * (1 - result['kept_share']):.0f} % of the tokens can go at state {result['state']}"
    return f"{dropped}: this {effect(result)}." if "divergence" in result else f"{dropped} (not verified)."


def effect(result: dict[str, Any]) -> str:
    """
    The effect of a mask, in plain words.

    Args:
        result (`dict`): A result of the pipeline, or any `dict` with the same check and prediction.

    Returns:
        `str`: Continues a sentence that starts with "this mask".
    """
    within = "within" if result["within_margin"] else "outside"
    stays = "the prediction stays" if result["same_prediction"] else "the prediction changes"
    return f"moves {moved(result)}, {within} the margin of {result['margin']:g}, and {stays}"


def moved(result: dict[str, Any]) -> str:
    """
    How far a mask moves the output; continues after "moves".

    Args:
        result (`dict`): A result of the pipeline, with a check.

    Returns:
        `str`
    """
    return visible(task_of_result(result).moved(result))


def kept_at(result: dict[str, Any], token: dict[str, Any], number: int) -> bool:
    """
    Whether a state keeps a token.

    Args:
        result (`dict`): A result of the pipeline.
        token (`dict`): A token of the result.
        number (`int`): Number of the state.

    Returns:
        `bool`: At the result's own state the returned mask decides; it may come from a search. At other states the
        keep probability must be above 0.5.
    """
    return token["kept"] if result["states"][number] == result["state"] else token["states"][number] > 0.5


def dropped_at(token: dict[str, Any], states: list[str]) -> str | None:
    """
    First state from which a token stays masked. With hidden masking, a dropped token can return at a higher state.

    Args:
        token (`dict`): A token of the pipeline's result.
        states (`list[str]`): Names of the states.

    Returns:
        `str` or `None`: Name of the state; `None` if the last state keeps the token.
    """
    kept = [number for number, keep in enumerate(token["states"]) if keep > 0.5]
    first = kept[-1] + 1 if kept else 0
    return states[first] if first < len(states) else None


def fate(token: dict[str, Any], states: list[str], kept: str) -> str:
    """
    Says which state drops a token, or for a path (masks not nested) whether the returned mask keeps the token.

    Args:
        token (`dict`): A token of the pipeline's result.
        states (`list[str]`): Names of the states.
        kept (`str`): Words for a token that the last state keeps.

    Returns:
        `str`
    """
    if "evidence" in token:
        return "kept" if token["kept"] else "dropped"
    dropped = dropped_at(token, states)
    return kept if dropped is None else f"dropped at {dropped}"
