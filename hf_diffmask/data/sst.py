"""Reads trees of the Stanford Sentiment Treebank (Socher et al. 2013): sentences, phrases and words, five labels."""

import re
from pathlib import Path
from typing import NamedTuple

from ..errors import DiffMaskError
from .files import is_file, lines_of, opened, unreadable

LABELS = ("very negative", "negative", "neutral", "positive", "very positive")

# Brackets and quotation marks in the Penn Treebank.
ESCAPES = {
    "-LRB-": "(",
    "-RRB-": ")",
    "-LSB-": "[",
    "-RSB-": "]",
    "-LCB-": "{",
    "-RCB-": "}",
    "``": '"',
    "''": '"',
    "`": "'",
}

# Not \s: some words contain a no-break space.
PIECE = re.compile(r"[()]|[^() \t]+")


class Sentence(NamedTuple):
    """
    A sentence or a phrase.

    Args:
        words (`list[str]`):
            The `N` words, un-escaped. A word may contain a no-break space, but no space.
        label (`int`):
            Sentiment of the sentence or phrase, index into `LABELS`: 0 is very negative, 2 neutral, 4 very positive.
        word_labels (`list[int]`):
            Sentiment of each of the `N` words on its own, index into `LABELS`.
    """

    words: list[str]
    label: int
    word_labels: list[int]

    @property
    def text(self) -> str:
        """The words, joined by spaces (`str`). `text.split(" ")` returns the words."""
        return " ".join(self.words)


class _Tree(NamedTuple):
    words: list[str]
    word_labels: list[int]
    nodes: list[tuple[int, int, int]]
    """Label, first word and end of each node. Children come before parents, so the last node is the sentence."""

    def sentence(self, node: tuple[int, int, int]) -> Sentence:
        label, start, end = node
        return Sentence(self.words[start:end], label, self.word_labels[start:end])


def _unescape(word: str) -> str:
    return ESCAPES.get(word, word).replace("\\/", "/").replace("\\*", "*")


def _parse(line: str) -> _Tree:
    """Reads one tree; raises `ValueError` with the fault of the line."""
    tree = _Tree([], [], [])
    opened: list[tuple[int, int]] = []  # label and first word of each open node
    before = ""  # kind of the previous piece: label, word, or end of a node
    pieces = iter(PIECE.findall(line))
    for piece in pieces:
        if tree.nodes and not opened:
            raise ValueError(f"{piece!r} follows after the end of the tree")
        if piece == "(":
            label = next(pieces, "")
            if label not in tuple("01234"):
                raise ValueError(f"a node has the label {label!r} instead of one from 0 to 4")
            if before == "word":
                raise ValueError(f"the word {tree.words[-1]!r} shares its node with others")
            opened.append((int(label), len(tree.words)))
            before = "label"
        elif not opened:
            raise ValueError(f"it begins with {piece!r} instead of '('")
        elif piece == ")":
            if before == "label":
                raise ValueError("a node holds no word")
            tree.nodes.append((*opened.pop(), len(tree.words)))
            before = "end"
        else:
            if before != "label":
                raise ValueError(f"the word {piece!r} shares its node with others")
            tree.words.append(_unescape(piece))
            tree.word_labels.append(opened[-1][0])
            before = "word"
    if opened:
        raise ValueError(f"it ends with {len(opened)} node(s) not closed")
    if not tree.nodes:
        raise ValueError("it is empty")
    return tree


def _read(path: str | Path) -> list[_Tree]:
    if not is_file(path):
        raise DiffMaskError(f"There is no file {path}: give the path of a file of trees, one a line.")
    trees: list[_Tree] = []
    with unreadable(f"The file {path} cannot be read"), opened(path) as file:
        lines = list(lines_of(file))
    for number, line in enumerate(lines, start=1):
        try:
            trees.append(_parse(line.rstrip("\r\n")))
        except ValueError as error:
            raise DiffMaskError(f"Line {number} of {path} is no tree: {error}.") from error
    if not trees:
        raise DiffMaskError(f"The file {path} holds no trees.")
    return trees


def load_trees(path: str | Path) -> list[Sentence]:
    """
    The sentences of a file of trees: one bracketed tree per line, with a label from 0 to 4 at every node.

    Args:
        path (`str` or `Path`): The file, in UTF-8, gzipped or not.

    Returns:
        `list[Sentence]`: One per line, in order.

    Raises:
        DiffMaskError: If the file is missing, unreadable or empty, or a line is no such tree.
    """
    return [tree.sentence(tree.nodes[-1]) for tree in _read(path)]


def load_phrases(path: str | Path) -> list[Sentence]:
    """
    All phrases of a file of trees: single words, parts of sentences, and sentences.

    Args:
        path (`str` or `Path`): The file, as for [`load_trees`].

    Returns:
        `list[Sentence]`: One per node, each after its parts. Repeated phrases are listed repeatedly.

    Raises:
        DiffMaskError: As for [`load_trees`].
    """
    return [tree.sentence(node) for tree in _read(path) for node in tree.nodes]
