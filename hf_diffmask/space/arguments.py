"""Checks the arguments of requests: anybody can send any JSON."""

import math
import re
import sys
from typing import Any

from ..errors import DiffMaskError
from ..pipeline.options import ON_VIOLATION
from .reading import too_long

_KINDS: dict[type, str] = {
    bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object",
    type(None): "null",
}  # fmt: skip


def check_text(text: Any, pair: Any, most: int) -> dict[str, str]:
    """
    An input of the pipeline.

    Args:
        text (`str`): The text, or the question.
        pair (`str`): Second text of a pair, or the context of the question; an empty one means none.
        most (`int`): Largest number of characters in both.

    Returns:
        `dict[str, str]`: `text`, and `text_pair` if there is one.

    Raises:
        DiffMaskError: If one is no string, cannot be encoded, or the text is empty, or both are too long.
    """
    for name, value in (("text", text), ("pair", pair)):
        check_string(name, value)
        if broken := re.search("[\ud800-\udfff]", value):
            raise DiffMaskError(f"`{name}` has half a character at {broken.start()}: send the text as UTF-8.")
    if not text.strip():
        raise DiffMaskError("There is no text: give one with at least one visible character.")
    if len(text) + len(pair) > most:
        raise DiffMaskError(too_long(len(text) + len(pair), most))
    return {"text": text, **({"text_pair": pair} if pair.strip() else {})}


def check_string(name: str, value: Any) -> None:
    """
    Refuses an argument that is no string.

    Args:
        name (`str`): The argument.
        value (`Any`): Its value.

    Raises:
        DiffMaskError: If it is no string.
    """
    if not isinstance(value, str):
        raise DiffMaskError(f"`{name}` must be a string, but is {_kind(value)}.")


def check_margin(margin: Any) -> None:
    """
    Refuses a margin that is no finite number above 0.

    Args:
        margin (`float`, *optional*): The margin; `None` means the explainer's.

    Raises:
        DiffMaskError: If it is anything else.
    """
    if margin is None:
        return
    if isinstance(margin, bool) or not isinstance(margin, int | float):
        raise DiffMaskError(f"`margin` must be a number or null, but is {_kind(margin)}.")
    if not 0 < margin <= sys.float_info.max:  # JSON has integers that are larger than any float
        raise DiffMaskError("`margin` must be greater than 0 and finite.")


def check_on_violation(on_violation: Any) -> None:
    """
    Refuses an unknown treatment of explanations outside the margin.

    Args:
        on_violation (`str`): See [`DiffMaskAttributionPipeline`].

    Raises:
        DiffMaskError: If there is no such treatment.
    """
    check_string("on_violation", on_violation)
    if on_violation not in ON_VIOLATION:
        raise DiffMaskError(f"`on_violation` must be one of {', '.join(ON_VIOLATION)}, but is {on_violation[:50]!r}.")


def check_kept(kept: Any) -> None:
    """
    Refuses what is no list of numbers of tokens.

    Args:
        kept (`list[int]`): Numbers of the tokens to keep.

    Raises:
        DiffMaskError: If it is no list, or holds anything but whole numbers from 0.
    """
    if not isinstance(kept, list):
        raise DiffMaskError(f"`kept` must be a list of the numbers of tokens, but is {_kind(kept)}.")
    for number in kept:
        if type(number) is not int:
            raise DiffMaskError(f"`kept` must be a list of the numbers of tokens, but one of them is {_kind(number)}.")
        if not 0 <= number < 2**31:
            raise DiffMaskError("`kept` must be a list of the numbers of tokens, counted from 0.")


def check_span(span: Any) -> None:
    """
    Refuses what is no span of characters.

    Args:
        span (`list[int]`, *optional*): Start and end.

    Raises:
        DiffMaskError: If it is no list of two whole numbers from 0.
    """
    if span is None:
        return
    if not isinstance(span, list) or len(span) != 2 or any(type(end) is not int for end in span):
        raise DiffMaskError("`span` must be a list of two whole numbers, start and end in characters.")
    if not 0 <= span[0] < span[1] < 2**31:
        raise DiffMaskError("`span` must have a start from 0 that is before its end.")


def _kind(value: Any) -> str:
    if isinstance(value, float) and not value.is_integer():
        return "a fraction" if math.isfinite(value) else "no finite number"
    return _KINDS.get(type(value), type(value).__name__)
