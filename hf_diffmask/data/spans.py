"""The characters that each token came from: a tokenizer's own offsets, corrected."""

import itertools
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from tokenizers import models
from transformers import PreTrainedTokenizerBase

# First character, and the character after the last.
Span = tuple[int, int]

_BYTE = re.compile("<0x([0-9A-F]{2})>")  # a token of BPE or Unigram with byte fallback
# Marks that a normaliser may compose with other characters than its neighbour: Latin, Hebrew, Arabic.
_MARKS = re.compile("[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670]")
_CONTEXT = 32  # characters beside a gap that a normaliser may look at


def token_spans(
    tokenizer: PreTrainedTokenizerBase, text: str, tokens: Sequence[str], offsets: list[Span]
) -> list[Span]:
    """
    The characters that each token of a text came from.

    A tokenizer's own offsets are wrong for some tokens: a space that the tokenizer put in front hides a word, bytes of
    several characters share all of them, a composed accent is in no token. The corrections go by the tokens' own
    characters and by what the tokenizer's parts make of the text. They hold for any kind of tokenizer:

    - White space around a token is not in its span. A token of white space has the white space that it came from.
    - A space that the tokenizer put in front came from no character. Its span is empty.
    - The tokens of one character share it, and no other token has it.
    - A combining mark is in the span of its base character's token, or else of the next token.
    - Characters that became one are in one span, such as two quotation marks that a normaliser replaces with one.
    - Characters that a normaliser or a model drops are in no span, or inside a span, and move no other span.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): A fast tokenizer.
        text (`str`): The text.
        tokens (`Sequence[str]` of length `T`): The tokens of the text, without special tokens around it.
        offsets (`list[tuple[int, int]]` of length `T`): The tokenizer's own offsets, in characters.

    Returns:
        `list[tuple[int, int]]` of length `T`: Start and end of each token, in characters.
    """
    last = 0
    pieces = [text[start:end] for start, end in offsets if last <= start < end and (last := end)]
    in_order = len(pieces) == len(offsets)  # none is empty, and none overlaps another
    visible = "".join(text.split())
    in_order = in_order and (text.isascii() or not (_drops_unknown(tokenizer) or _MARKS.search(text)))
    if in_order and "".join(pieces) == visible:  # each visible character is in one span, and nothing else is in any
        return offsets
    spans = [_trimmed(text, span) for span in offsets]
    if in_order and "".join("".join(text[start:end] for start, end in spans).split()) == visible:
        return spans
    return _Correction(tokenizer, text, tokens, offsets).spans


def is_blank(text: str, span: Span) -> bool:
    """
    Whether a token has no visible character.

    Args:
        text (`str`): The text.
        span (`tuple[int, int]`): The token's span.

    Returns:
        `bool`: True for white space and for an empty span.
    """
    return not text[slice(*span)].strip()


def _trimmed(text: str, span: Span) -> Span:
    """A span without white space around it; the span itself if it holds nothing else."""
    piece = text[slice(*span)]
    bare = piece.strip()
    if not bare or len(bare) == len(piece):
        return span
    start = span[0] + len(piece) - len(piece.lstrip())
    return start, start + len(bare)


def _drops_unknown(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the model drops what it does not know: BPE without an unknown token."""
    model = tokenizer.backend_tokenizer.model
    return isinstance(model, models.BPE) and model.unk_token is None


def _is_mark(char: str) -> bool:
    """Whether a character is a mark on the one before it; narrow Japanese has two that are no combining marks."""
    return char >= "\u0300" and (unicodedata.category(char).startswith("M") or char in "\uff9e\uff9f")


def _is_part(char: str) -> bool:
    """Whether a character may become one with the character before it: a mark, or a vowel or final of Hangul."""
    return _is_mark(char) or "\u1160" <= char <= "\u11ff"


def _clusters(text: str, start: int, end: int) -> Iterator[Span]:
    """Characters, each with those after it that may become one with it."""
    first = start
    for at in range(start + 1, end):
        if not _is_part(text[at]) or at - first == _CONTEXT:
            yield first, at
            first = at
    if first < end:
        yield first, end


class _Correction:
    """Corrects the spans of one text, pass by pass."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, text: str, tokens: Sequence[str], offsets: Sequence[Span]
    ) -> None:
        self.tokenizer, self.text, self.tokens, self.offsets = tokenizer, text, tokens, offsets
        backend = tokenizer.backend_tokenizer
        self.model, self.normalizer, self.pre_tokenizer = backend.model, backend.normalizer, backend.pre_tokenizer
        # The sign for a space in a token, if it is one, and what is put in front of a text.
        space = self.written("1 2").partition("1")[2].rpartition("2")[0]
        self.space = space if len(space) == 1 else ""
        self.front = self.written("1").partition("1")[0]
        self.normal_front = self.normal("1").partition("1")[0]
        self.visible = [unit for unit in range(len(tokens)) if not self._is_space(unit)]
        self.spans = list(offsets)
        self._split_bytes()
        self.spans = [_trimmed(text, span) for span in self.spans]
        if self._drops():
            self._find()
        self._widen()
        self._join()
        self._place_spaces()

    def normal(self, text: str) -> str:
        """The text as the normaliser writes it."""
        return self.normalizer.normalize_str(text) if self.normalizer else text

    def written(self, text: str) -> str:
        """The text in the characters of tokens."""
        normal = self.normal(text)
        if self.pre_tokenizer is None:
            return normal
        return "".join(piece for piece, _ in self.pre_tokenizer.pre_tokenize_str(normal))

    def _is_space(self, unit: int) -> bool:
        """Whether a token stands for spaces only, from the text or put in front."""
        if not self.space or self.tokens[unit].strip(self.space):
            return False
        start, end = self.offsets[unit]
        piece = self.text[start:end].strip()
        # The text may hold the sign itself. A space that was put in front overlaps the next token.
        return not piece or bool(piece.strip(self.space)) or end > self._follows(unit)

    def _follows(self, unit: int) -> int:
        """Where the next token starts, by the tokenizer's own offsets."""
        return self.offsets[unit + 1][0] if unit + 1 < len(self.offsets) else len(self.text)

    def _atoms(self, start: int, end: int) -> Iterator[Span]:
        """The smallest parts that the normaliser writes independently. A mark that it drops is no part by itself."""
        for first, last in _clusters(self.text, start, end):
            if last - first == 1 or self.normalizer is None:
                yield from ((at, at + 1) for at in range(first, last))
                continue
            for at in range(first + 1, last):
                if self.normal(self.text[at]) and not self._together(first, at, last):
                    yield first, at
                    first = at
            yield first, last

    def _together(self, start: int, at: int, end: int) -> bool:
        """Whether the normaliser writes two parts of the text in another way than each by itself."""
        parts = self.normal(self.text[start:at]) + self.normal(self.text[at:end]).removeprefix(self.normal_front)
        return self.normal(self.text[start:end]) != parts

    def _symbols(self, write: Callable[[str], str], front: str, start: int, end: int) -> Iterator[tuple[str, Span]]:
        """The characters that a part of the text is written in, each with the characters that it came from."""
        for first, last in self._atoms(start, end):
            yield from ((symbol, (first, last)) for symbol in write(self.text[first:last]).removeprefix(front))

    def _split_bytes(self) -> None:
        """Gives byte tokens, which share a run of characters, the character that each is a part of."""
        if "<0x" not in "".join(self.tokens):
            return
        runs = itertools.groupby(
            range(len(self.tokens)), key=lambda unit: (self.offsets[unit], bool(_BYTE.fullmatch(self.tokens[unit])))
        )
        for ((start, end), is_byte), group in runs:
            units = list(group)
            if not is_byte or end - start < 2:
                continue
            while end < self._follows(units[-1]) and _is_part(self.text[end]):
                end += 1
            while start > 0 and _is_part(self.text[start]):
                start -= 1
            written = bytes(int(self.tokens[unit][3:5], 16) for unit in units).decode(errors="surrogateescape")
            symbols = list(self._symbols(self.normal, self.normal_front, start, end))
            first = "".join(symbol for symbol, _ in symbols).rfind(written)
            if first < 0:
                continue  # such as the text "<0x41>" itself
            spans = [span for symbol, span in symbols[first : first + len(written)] for _ in symbol.encode()]
            for unit, span in zip(units, spans, strict=True):
                self.spans[unit] = span

    def _gaps(self) -> list[int]:
        """Visible characters that are in no span."""
        covered = bytearray(len(self.text))
        for unit in self.visible:
            start, end = self.spans[unit]
            covered[start:end] = b"\1" * (end - start)
        return [at for at, is_covered in enumerate(covered) if not is_covered and not self.text[at].isspace()]

    def _drops(self) -> bool:
        """Whether the model drops a part of this text."""
        if not _drops_unknown(self.tokenizer):
            return False
        return any(self.model.token_to_id(symbol) is None for symbol in set(self.written(self.text)))

    def _find(self) -> None:
        """
        Finds tokens in the text by their characters.

        BPE counts offsets as if nothing had been dropped. What it drops is no part of any token, so the first match is
        the right one.
        """
        prefix, suffix = self.model.continuing_subword_prefix or "", self.model.end_of_word_suffix or ""
        own = self.tokenizer.get_added_vocab()
        symbols = [
            symbol for symbol in self._symbols(self.written, self.front, 0, len(self.text)) if symbol[0] != self.space
        ]
        found: dict[int, Span] = {}
        visible, at = set(self.visible), 0
        for unit in self.visible:
            if self.tokens[unit].strip() in own:
                while at < len(symbols) and symbols[at][1][0] < self.spans[unit][1]:
                    at += 1
                continue
            spans = []
            for char in self.tokens[unit].removeprefix(prefix).removesuffix(suffix).strip(self.space):
                while at < len(symbols) and symbols[at][0] != char:
                    at += 1
                if at == len(symbols):
                    return  # written in another way: the tokenizer's own offsets are the best there are
                spans.append(symbols[at][1])
                at += 1
            if spans:
                found[unit] = spans[0][0], spans[-1][1]
        # Spaces are placed anew, between the tokens that were found.
        self.spans = [found.get(unit, span if unit in visible else (0, 0)) for unit, span in enumerate(self.spans)]

    def _widen(self) -> None:
        """Gives each token all characters of the atoms that it has a part of."""
        if self.normalizer is None or not any(map(_is_part, self.text)):
            return
        atoms = [atom for atom in self._atoms(0, len(self.text)) if atom[1] - atom[0] > 1]
        starts, ends = [start for start, _ in atoms], [end for _, end in atoms]
        for unit in self.visible if atoms else ():
            start, end = self.spans[unit]
            inside = atoms[bisect_right(ends, start) : bisect_left(starts, end)]
            if inside:
                self.spans[unit] = min(start, inside[0][0]), max(end, inside[-1][1])

    def _join(self) -> None:
        """Adds characters in no span to the span of the character that they became one with."""
        gaps = self._gaps()
        if not gaps:
            return
        ends, starts, left = defaultdict(list), defaultdict(list), []
        units_with_text = [unit for unit in self.visible if not is_blank(self.text, self.spans[unit])]
        for unit in units_with_text:
            ends[self.spans[unit][1]].append(unit)
        for at in gaps:
            units = ends[at]
            start = max(at - _CONTEXT, self.spans[units[-1]][0] if units else at)
            if units and (_is_mark(self.text[at]) or self._together(start, at, at + 1)):
                for unit in units:
                    self.spans[unit] = self.spans[unit][0], at + 1
                ends[at + 1] = units
            else:
                left.append(at)
        for unit in units_with_text:
            starts[self.spans[unit][0]].append(unit)
        for at in reversed(left):
            units = starts[at + 1]
            end = min(at + 1 + _CONTEXT, self.spans[units[0]][1] if units else at)
            if units and (_is_mark(self.text[at]) or self._together(at, at + 1, end)):
                for unit in units:
                    self.spans[unit] = at, self.spans[unit][1]
                starts[at] = units

    def _place_spaces(self) -> None:
        """Gives each token of spaces the white space that it came from, or an empty span."""
        if len(self.visible) == len(self.tokens):
            return
        edge, visible = len(self.text), set(self.visible)
        ends = (end if unit in visible else 0 for unit, (_, end) in enumerate(self.spans))
        floors = list(itertools.accumulate(ends, max, initial=0))

        def back(stop: int, most: int) -> int:
            start = stop
            while start > 0 and stop - start < most and self.text[start - 1].isspace():
                start -= 1
            return start

        for unit in reversed(range(len(self.tokens))):
            token, (start, end) = self.tokens[unit], self.spans[unit]
            if unit in visible:
                # A space at a token's front is the token's own; so is the sign itself, where the text holds it.
                is_sign = self.text[start : start + 1] in self.space
                edge = min(edge, start if is_sign else back(start, len(token) - len(token.lstrip(self.space))))
                continue
            if not start < end <= edge:
                is_after_space = 0 < end <= edge and self.text[end - 1].isspace()
                end = end if is_after_space else edge
                while end > floors[unit] and not self.text[end - 1].isspace():  # dropped by the model
                    end -= 1
                start = back(end, len(token))
            self.spans[unit] = start, end
            edge = start
