"""What is said of an explanation, in words that can be shown anywhere."""

import unicodedata
from typing import Any

from ..tasks.registry import task_of_result


def visible(text: str) -> str:
    """
    Makes control and format characters visible, so that a text can neither hide nor steer a terminal.

    Args:
        text (`str`): Any text.

    Returns:
        `str`: The same with such characters as `\\x1b` or `\\u202e` written out.
    """
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co") else char
        for char in text
    )


def predicted(result: dict[str, Any]) -> str:
    """
    What the base model predicts, in a form that can be shown.

    Args:
        result (`dict`): A result of the pipeline.

    Returns:
        `str`: Its label or answer.
    """
    return visible(task_of_result(result).headline(result))


def certificate(result: dict[str, Any]) -> str:
    """
    What an explanation claims and whether it was checked, in plain words.

    Args:
        result (`dict`): A result of the pipeline.

    Returns:
        `str`: One sentence.
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
    What a mask does, in plain words.

    Args:
        result (`dict`): A result of the pipeline, or other that has its check and its prediction.

    Returns:
        `str`: What follows on "this mask".
    """
    within = "within" if result["within_margin"] else "outside"
    stays = "the prediction stays" if result["same_prediction"] else "the prediction changes"
    return f"moves {moved(result)}, {within} the margin of {result['margin']:g}, and {stays}"


def moved(result: dict[str, Any]) -> str:
    """
    How far a mask moves the output, in words that follow "moves".

    Args:
        result (`dict`): A result of the pipeline that holds a check.

    Returns:
        `str`
    """
    return visible(task_of_result(result).moved(result))


def kept_at(result: dict[str, Any], token: dict[str, Any], number: int) -> bool:
    """
    Whether a state keeps a token.

    Args:
        result (`dict`): A result of the pipeline.
        token (`dict`): One of its tokens.
        number (`int`): Of the state.

    Returns:
        `bool`: At the result's own state that of the mask handed out, which may be a searched one.
    """
    return token["kept"] if result["states"][number] == result["state"] else token["states"][number] > 0.5


def dropped_at(token: dict[str, Any], states: list[str]) -> str | None:
    """
    The state from which on a token is masked. With hidden masking one that a state drops can come back above.

    Args:
        token (`dict`): A token of the pipeline's result.
        states (`list[str]`): Names of the states.

    Returns:
        `str` or `None`: Its name; `None` for a token that the last state keeps.
    """
    kept = [number for number, keep in enumerate(token["states"]) if keep > 0.5]
    first = kept[-1] + 1 if kept else 0
    return states[first] if first < len(states) else None


def fate(token: dict[str, Any], states: list[str], kept: str) -> str:
    """
    What becomes of a token. Masks of a path are not nested over states: whether the one handed out keeps it.

    Args:
        token (`dict`): A token of the pipeline's result.
        states (`list[str]`): Names of the states.
        kept (`str`): What is said of one that is kept to the end.

    Returns:
        `str`
    """
    if "evidence" in token:
        return "kept" if token["kept"] else "dropped"
    dropped = dropped_at(token, states)
    return kept if dropped is None else f"dropped at {dropped}"
