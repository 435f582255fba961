"""Comparison of methods on one text, with the cost of each method."""

import pytest

from hf_diffmask import DiffMaskError
from tests.helpers import TEXT

pytest.importorskip("gradio", reason="the Space needs hf-diffmask[space]")

from hf_diffmask.space.compared import COMPARED, compare


def test_passes_of_each_method():
    assert {name: method.passes(12) for name, method in COMPARED.items()} == {"diffmask": 1, "loo": 12, "ig": 64}


def test_each_method_scores_the_same_tokens(service):
    methods = compare(service.shelf.get(""), {"text": TEXT}, 40)
    assert [one["method"] for one in methods] == ["DiffMask", "leave-one-out", "Integrated Gradients, 32 steps"]
    assert [one["passes"] for one in methods] == [1, 12, 64]
    tokens = [token["token"] for token in service.explain(TEXT)["tokens"]]
    for one in methods:
        assert [token["token"] for token in one["tokens"]] == tokens
        assert [token["special"] for token in one["tokens"]] == [True, *[False] * 12, True]


def test_faithfulness_is_measured_where_there_are_tokens_to_take_away(service):
    held, figures = service.shelf.get(""), {"comprehensiveness", "sufficiency"}
    assert all(figures <= one.keys() for one in compare(held, {"text": "dull"}, 40))
    assert not any(figures & one.keys() for one in compare(held, {"text": "\u200b"}, 40))


def test_a_text_with_too_many_tokens_is_refused(service):
    held = service.shelf.get("")
    assert len(compare(held, {"text": "a film", "text_pair": "dull"}, 6)) == 3
    with pytest.raises(DiffMaskError, match="The text has 6 tokens, and methods are compared on up to 5"):
        compare(held, {"text": "a film", "text_pair": "dull"}, 5)
