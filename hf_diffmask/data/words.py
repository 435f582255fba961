"""Words of a text, the same for every tokenizer."""

import functools
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Container, Sequence

from .spans import Span, is_blank

_RUN = re.compile(r"[!-/:-@\[-`{-~]|[^\s!-/:-@\[-`{-~]+")
# Chinese characters, as in BERT.
_IDEOGRAPHS = "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
# Thai, Lao, Burmese and Khmer have no spaces between words.
_UNSPACED = "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f]"


def words(
    text: str, tokens: Sequence[str], spans: Sequence[Span], own: Container[str] = ()
) -> tuple[list[Span], list[range]]:
    """
    The words of a text, and the words that each token is a part of.

    Words are those of BERT. White space separates words. A punctuation mark is a word, and so is a Chinese character.
    Each visible character is in exactly one word, and no word has white space.

    Words are the same for every tokenizer, with two exceptions. A token of the tokenizer's own that stands in the
    text, such as "[MASK]", is one word. Thai, Lao, Burmese and Khmer have no spaces between words: there, the
    characters of a token are a word.

    A token with characters of several words is a part of each. A token without a visible character is a part of the
    next word, or of the last word at the end.

    Args:
        text (`str`): The text.
        tokens (`Sequence[str]` of length `T`): The tokens of the text, without special tokens around it.
        spans (`Sequence[tuple[int, int]]` of length `T`): See [`~hf_diffmask.data.spans.token_spans`].
        own (`Container[str]`, *optional*): Tokens that the tokenizer finds in a text as they are.

    Returns:
        `tuple`: Start and end of each word, in characters; for each token, the numbers of its words. A word that the
        tokenizer drops has no token. Without words, ranges are empty.
    """
    found = _joined(text, _pieces(text), tokens, spans, own)
    starts, ends = [start for start, _ in found], [end for _, end in found]
    parts = []
    for start, end in spans:
        first = bisect_right(ends, start)
        if is_blank(text, (start, end)):
            first = min(first, max(0, len(found) - 1))
            parts.append(range(first, min(first + 1, len(found))))
        else:
            parts.append(range(first, bisect_left(starts, end)))
    return found, parts


def _pieces(text: str) -> list[Span]:
    """The smallest parts that words consist of, in order."""
    pieces: list[Span] = []
    for run in _RUN.finditer(text):
        first, last = run.span()
        if run[0].isascii():
            pieces.append((first, last))
            continue
        before = ""
        for at in range(first, last):
            kind = _kind(text[at])
            if kind == "mark" and pieces and pieces[-1][1] == at:
                pieces[-1] = pieces[-1][0], at + 1
                continue
            kind = "letter" if kind == "mark" else kind
            if kind == before == "letter":
                pieces[-1] = pieces[-1][0], at + 1
            else:
                pieces.append((at, at + 1))
            before = kind
    return pieces


@functools.lru_cache(maxsize=4096)
def _kind(char: str) -> str:
    """What a character is for words: alone, unspaced, mark (belongs to the character before it) or letter."""
    category = unicodedata.category(char)
    if category[0] == "P" or re.match(_IDEOGRAPHS, char):
        return "alone"
    if category[0] == "M" or category == "Cf":
        return "mark"
    return "unspaced" if re.match(_UNSPACED, char) else "letter"


def _joined(
    text: str, pieces: list[Span], tokens: Sequence[str], spans: Sequence[Span], own: Container[str]
) -> list[Span]:
    """Pieces as words: joined where a token of the tokenizer's own, or a token of unspaced script, covers several."""
    starts = [start for start, _ in pieces]
    joints = set()
    for token, (start, end) in zip(tokens, spans, strict=True):
        is_own = token.strip() in own and token.strip() == text[start:end]
        for number in range(bisect_right(starts, start), bisect_left(starts, end)):
            (_, stop), (begin, _) = pieces[number - 1], pieces[number]
            unspaced = _kind(text[begin]) == _kind(text[pieces[number - 1][0]]) == "unspaced"
            if stop == begin and (is_own or unspaced):
                joints.add(number)
    found: list[Span] = []
    for number, (start, end) in enumerate(pieces):
        found.append((found.pop()[0], end) if number in joints else (start, end))
    return found
