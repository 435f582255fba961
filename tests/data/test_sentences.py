"""Sentences cover the text; abbreviations and decimal points end none."""

import sys

import pytest

from hf_diffmask.data.sentences import sentences
from hf_diffmask.errors import DiffMaskError

from .helpers import random_texts


def parts(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


def test_sentences_by_hand():
    text = "Dr. Lindt paid 3.50 for it.  Why? \nNobody knows 😀! End"
    assert parts(text) == ["Dr. Lindt paid 3.50 for it.  ", "Why? \n", "Nobody knows 😀! ", "End"]
    assert parts("今天下雨。我们不去。") == ["今天下雨。", "我们不去。"]


def test_sentences_cover_any_text():
    for text in random_texts(seed=5, count=200):
        found = sentences(text)
        assert "".join(text[start:end] for start, end in found) == text
        assert all(start < end for start, end in found)


def test_without_the_library_one_sentence_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencex", None)
    with pytest.raises(DiffMaskError, match="pip install"):
        sentences("One. Two.")
