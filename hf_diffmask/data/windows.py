"""Splits long inputs into overlapping windows."""

from collections.abc import Iterator
from typing import NamedTuple

from ..errors import DiffMaskError
from .encoding import EncodedText


class Window(NamedTuple):
    """A whole input, or a part that fits into the base model."""

    units: list[int]
    """For each token of the window, its index in the whole input."""
    features: dict[str, list[int]]
    """Arguments of the base model and `special_tokens_mask`, with one integer per token each."""


def _spans(count: int, size: int) -> list[range]:
    """Overlapping ranges of at most `size` that cover `range(count)`; neighbours share at least `size // 4`."""
    if count <= size:
        return [range(count)]
    step = max(1, size - size // 4)
    starts = [*range(0, count - size, step), count - size]
    return [range(start, start + size) for start in starts]


def windows(encoded: EncodedText, length: int) -> Iterator[Window]:
    """
    Overlapping windows of a long input. Each has all special tokens, and each token is in at least one window.

    For a pair, the shorter text gets at most half of the room. Each of its parts is combined with each part of the
    longer text.

    Args:
        encoded ([`EncodedText`]): The input.
        length (`int`): Tokens per window, including special tokens.

    Yields:
        [`Window`]: A single window if the input fits.

    Raises:
        DiffMaskError: If the special tokens leave room for fewer than 2 tokens.
    """
    special = [unit for unit, segment in enumerate(encoded.segments) if segment is None]
    texts = [[unit for unit, segment in enumerate(encoded.segments) if segment == which] for which in (0, 1)]
    room = length - len(special)
    if room < 2:
        raise DiffMaskError(f"A window of {length} tokens leaves no room beside {len(special)} special tokens.")
    shorter, longer = sorted(texts, key=len)
    if len(shorter) + len(longer) <= room:
        shorter_size, longer_size = max(1, len(shorter)), max(1, len(longer))
    else:
        shorter_size = max(1, min(len(shorter), room // 2))
        longer_size = room - min(len(shorter), shorter_size)
    for few in _spans(len(shorter), shorter_size):
        for many in _spans(len(longer), longer_size):
            units = sorted([*special, *(shorter[k] for k in few), *(longer[k] for k in many)])
            yield Window(units, {name: [values[unit] for unit in units] for name, values in encoded.features.items()})
