"""The span of a token covers exactly the characters that the token came from, for every kind of tokenizer."""

import functools
import itertools
import re
import unicodedata

import pytest

from hf_diffmask.data.encoding import encode

from .helpers import KINDS, Kind, random_texts


@functools.cache
def tokenizer_of(name):
    return KINDS[name].tokenizer()


def ordinary(tokenizer, text):
    """Tokens and spans of a text, without special tokens around it."""
    encoded = encode(tokenizer, text)
    return [
        (token, *span)
        for token, span, segment in zip(encoded.tokens, encoded.offsets, encoded.segments, strict=True)
        if segment is not None
    ]


def parts(kind: Kind, text: str) -> list[tuple[bytes, int, int]]:
    """
    The smallest parts of a text that the normaliser writes independently, without white space.

    Parts that leave nothing are left out. A combining mark among them goes to the part before it, or else after it.
    """
    found: list[list] = []
    for run in re.finditer(r"\S+", text):
        chars = run[0]
        cuts = [
            cut for cut in range(len(chars) + 1) if kind.form(chars[:cut]) + kind.form(chars[cut:]) == kind.form(chars)
        ]
        for start, end in itertools.pairwise(cuts):
            written = kind.kept("".join(kind.form(chars[start:end]).split()))
            is_mark = not written and (unicodedata.category(chars[start])[0] == "M" or chars[start] in "ﾞﾟ")
            if is_mark and found and found[-1][2] == run.start() + start and found[-1][0]:
                found[-1][2] = run.start() + end
            else:
                found.append([written, run.start() + start, run.start() + end, is_mark])
    for number in reversed(range(len(found) - 1)):
        before, after = found[number : number + 2]
        if before[3] and after[0] and before[2] == after[1]:
            after[1] = before[1]
            found[number] = after
    return [(written, start, end) for written, start, end, _ in dict.fromkeys(map(tuple, found)) if written]


@pytest.mark.parametrize("name", KINDS)
def test_each_token_has_the_characters_that_it_came_from(name):
    """The bytes of the tokens, read one after the other, are the bytes of the text's parts."""
    kind, tokenizer = KINDS[name], tokenizer_of(name)
    for text in random_texts(seed=8, count=100):
        waiting = [(byte, start, end) for written, start, end in parts(kind, text) for byte in written]
        for token, start, end in ordinary(tokenizer, text):
            assert 0 <= start <= end <= len(text)
            if not text[start:end].strip() or not kind.bytes_of(token):
                continue  # a token of white space, or a space in front
            if token == kind.unknown:
                own = [part for part in waiting if part[2] <= end]
            else:
                written = kind.bytes_of(token)
                coming = bytes(byte for byte, _, _ in waiting)
                if text[:start].endswith(("\u00a0", "\u3000")):  # a token may begin with bytes of white space
                    written = next(written[cut:] for cut in range(3) if coming.startswith(written[cut:]))
                assert coming.startswith(written), (text, token, start, end)
                own = waiting[: len(written)]
            assert own, (text, token, start, end)
            assert (start, end) == (own[0][1], own[-1][2]), (text, token, start, end)
            del waiting[: len(own)]
        assert not waiting, (text, waiting)
