"""Names, tokens and predictions in words that are safe to show anywhere."""

import unicodedata
from typing import Any

from ..masks.evidence import EvidenceMasks
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


def at_state(column: str) -> str:
    """
    The place of a mask, after a noun.

    Args:
        column (`str`): A column of a result: a state, or the explanation head, which is no state.

    Returns:
        `str`: Such as `" at state embeddings"`; empty for the explanation head, whose mask is the explainer's.
    """
    return "" if column in EvidenceMasks.beside_states else f" at state {column}"


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
