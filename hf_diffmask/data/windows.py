"""Splits long inputs into overlapping windows."""

from collections.abc import Iterator
from typing import NamedTuple

from ..errors import DiffMaskError
from .encoding import EncodedText


class Window(NamedTuple):
    """A part of an input that the base model can take, or the whole of it."""

    units: list[int]
    """Index in the whole input's encoding of each token of the window."""
    features: dict[str, list[int]]
    """What the base model takes, and `special_tokens_mask`: one integer a token each."""


def _spans(count: int, size: int) -> list[range]:
    """Overlapping ranges of at most `size` that cover `range(count)`; neighbours share a quarter."""
    if count <= size:
        return [range(count)]
    step = max(1, size - size // 4)
    starts = [*range(0, count - size, step), count - size]
    return [range(start, start + size) for start in starts]


def windows(encoded: EncodedText, length: int) -> Iterator[Window]:
    """
    Splits a long input into overlapping windows; each has all special tokens, and every token is in at least one.

    Of a pair, the shorter text keeps at most half of the room, and each of its parts is combined with each of the
    longer one's.

    Args:
        encoded ([`EncodedText`]): The input.
        length (`int`): Tokens that fit into a window, special tokens included.

    Yields:
        [`Window`]: One for an input that fits.

    Raises:
        DiffMaskError: If the special tokens leave no room.
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
