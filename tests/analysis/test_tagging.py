"""Tags of words with spaCy, and the error without spaCy."""

import sys

import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.analysis.tagging import Tag, tag


def test_without_spacy_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(DiffMaskError, match=r"pip install 'hf-diffmask\[tagging\]'.*spacy download de_core_news_sm"):
        tag(["Suppe"], "de_core_news_sm")


def test_without_the_model_too(tmp_path):
    pytest.importorskip("spacy")
    with pytest.raises(DiffMaskError, match="spacy download"):
        tag(["soup"], str(tmp_path / "nothing"))


def test_tags_stand_where_the_words_stand(tmp_path):
    spacy = pytest.importorskip("spacy")
    tagger = spacy.blank("en")
    tagger.add_pipe("attribute_ruler").add([[{"LOWER": "warm"}]], {"POS": "ADJ"})
    tagger.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": "Aunt Ida"}])
    tagger.to_disk(tmp_path / "tagger")
    first, second = tag(["Aunt  Ida", "a \ud800\n warm soup"], str(tmp_path / "tagger"))
    # Blanks are no words. An unpaired surrogate is one character, as for the tokenizer.
    assert [(t.start, t.end) for t in first] == [(0, 4), (6, 9)]
    assert [(t.start, t.end) for t in second] == [(0, 1), (2, 3), (5, 9), (10, 14)]
    assert second[2] == Tag(5, 9, "ADJ", "") and second[3].pos == ""
    (person,) = tag(["Aunt Ida"], str(tmp_path / "tagger"))
    assert [t.entity for t in person] == ["PERSON", "PERSON"]
