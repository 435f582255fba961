"""Units of a text: the tokens that are masked together, such as words or sentences."""

from bisect import bisect_right
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..base.units import UNITS
from ..errors import DiffMaskError
from .encoding import EncodedText
from .sentences import sentences
from .spans import Span
from .words import words

Unit = str | tuple[Span, ...]
"""One of `UNITS`, or start and end of units in characters."""


def asked_unit(unit: Any) -> Unit:
    """
    The unit that a caller names, checked.

    Args:
        unit (`str` or a list of spans): One of `UNITS`, or pairs of start and end in characters.

    Returns:
        `str` or `tuple[tuple[int, int], ...]`

    Raises:
        DiffMaskError: If it is neither, or two spans overlap.
    """
    if isinstance(unit, str) and unit in UNITS:
        return unit
    if isinstance(unit, str) or not isinstance(unit, Sequence) or not unit:
        raise DiffMaskError(f"`unit` must be {', '.join(UNITS)} or a list of (start, end), but is {unit!r}.")
    spans = []
    for span in unit:
        ends = list(span) if isinstance(span, list | tuple) else []
        if len(ends) != 2 or not all(type(end) is int for end in ends) or not 0 <= ends[0] < ends[1]:
            raise DiffMaskError(f"A unit must be (start, end) in characters, start before end, but is {span!r}.")
        spans.append((ends[0], ends[1]))
    for (_, end), (start, stop) in zip(sorted(spans), sorted(spans)[1:], strict=False):
        if start < end:
            raise DiffMaskError(f"Units must not overlap, but one that ends at {end} overlaps ({start}, {stop}).")
    return tuple(sorted(spans))


def with_units(encoded: EncodedText, unit: Unit, own: Container[str] = ()) -> EncodedText:
    """
    An input with the unit of each token, as the feature `unit_of`.

    Words are those of [`~hf_diffmask.data.words.words`]; words that share a token are one unit. A token is a part of
    the sentence or span in which it starts. Tokens outside of the given spans, and special tokens, are units of their
    own. No unit goes over two texts of a pair; spans are those of the second text.

    Args:
        encoded ([`~hf_diffmask.data.encoding.EncodedText`]): The input.
        unit (`str` or `tuple`): Result of [`asked_unit`].
        own (`Container[str]`, *optional*): Tokens that the tokenizer finds in a text as they are.

    Returns:
        [`~hf_diffmask.data.encoding.EncodedText`]: With units of one token the input itself.

    Raises:
        DiffMaskError: If a given span holds no token.
    """
    if unit == "token":
        return encoded
    keys: list[tuple[int, int]] = [(-1, k) for k in range(len(encoded.tokens))]
    for which, text in enumerate(encoded.texts):
        places = [k for k, segment in enumerate(encoded.segments) if segment == which]
        spans = [encoded.offsets[k] for k in places]
        found: list[int | None]
        if unit == "word":
            found = _words(text, [encoded.tokens[k] for k in places], spans, own)
        elif isinstance(unit, str):
            found = _within(sentences(text), spans)
        elif which == len(encoded.texts) - 1:
            found = _within(unit, spans)
            for number, (start, end) in enumerate(unit):
                if number not in found:
                    raise DiffMaskError(f"No token starts from character {start} to {end}, so this is no unit.")
        else:
            continue
        for place, unit_number in zip(places, found, strict=True):
            if unit_number is not None:
                keys[place] = which, unit_number
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    features = {**encoded.features, "unit_of": [numbers[key] for key in keys]}
    return replace(encoded, features=features, unit=unit if isinstance(unit, str) else "unit")


def _words(text: str, tokens: Sequence[str], spans: Sequence[Span], own: Container[str]) -> list[int | None]:
    """The number of the first word of each token's unit."""
    _, parts = words(text, tokens, spans, own)
    found: list[int | None] = []
    start = last = -1
    for of_token in parts:
        if len(of_token) and of_token.start > last:
            start = of_token.start
        last = max(last, of_token.stop - 1)
        found.append(start if len(of_token) else None)
    return found


def _within(units: Sequence[Span], spans: Iterable[Span]) -> list[int | None]:
    """The number of the unit in which each token starts."""
    starts = [start for start, _ in units]
    found: list[int | None] = []
    for start, _ in spans:
        number = bisect_right(starts, start) - 1
        found.append(number if number >= 0 and start < units[number][1] else None)
    return found


def unit_of(encoded: EncodedText) -> list[int]:
    """
    The number of each token's unit, in the order of the text.

    Args:
        encoded ([`~hf_diffmask.data.encoding.EncodedText`]): The input.

    Returns:
        `list[int]`
    """
    found = encoded.features.get("unit_of")
    return list(range(len(encoded.tokens))) if found is None else found


def maskable(features: dict[str, list[int]]) -> list[bool]:
    """
    The tokens that can be masked, one for each unit.

    Args:
        features (`dict[str, list[int]]`): One input, with `special_tokens_mask`.

    Returns:
        `list[bool]`: `True` at the first token of each unit, and `False` at special tokens.
    """
    special = features["special_tokens_mask"]
    numbers = features.get("unit_of", range(len(special)))
    seen: set[int] = set()
    found = []
    for number, is_special in zip(numbers, special, strict=True):
        found.append(not is_special and number not in seen)
        seen.add(number)
    return found


def whole_units(features: dict[str, list[int]], values: Sequence[Any]) -> list[Any]:
    """
    Values of units at all their tokens.

    Args:
        features (`dict[str, list[int]]`): One input.
        values (`Sequence` of length `T`): Values, read at the first token of each unit.

    Returns:
        `list`
    """
    first: dict[int, Any] = {}
    numbers = features.get("unit_of", range(len(values)))
    return [first.setdefault(number, value) for number, value in zip(numbers, values, strict=True)]
