"""Items of an explainer: windows, and parts of them for a task with outputs at positions."""

import pytest

from hf_diffmask import DiffMaskModel, recipe_config
from hf_diffmask.explainer.inputs import check_items, inputs_of
from tests.tasks.tokens import marking_base

TEXTS = ["a warm film", "the plot is dull and the cast looks tired of it"]


@pytest.fixture
def tagger(tokenizer):
    """An explainer for a token classifier that marks the tokens "plot", "is" and "cast", and no others."""
    base = marking_base(tokenizer, "plot", "is", "cast")
    return DiffMaskModel.from_base_model(base, tokenizer, **recipe_config(task="token-classification")).eval()


def explained(tokenizer, item):
    ids = [token for token, mark in zip(item["input_ids"], item["explained_mask"], strict=True) if mark]
    return tokenizer.convert_ids_to_tokens(ids)


def test_each_entity_is_an_item(tagger, tokenizer):
    made = inputs_of(tagger, tokenizer, TEXTS)
    assert [explained(tokenizer, item) for item in made.items] == [["plot", "is"], ["cast"]]
    assert made.of_text == [1, 1]
    assert made.items[0]["input_ids"] == made.items[1]["input_ids"] == tokenizer(TEXTS[1])["input_ids"]


def test_training_draws_entities_and_another_token(tagger, tokenizer):
    made = inputs_of(tagger, tokenizer, TEXTS, for_training=True)
    assert made.of_text == [0, 1, 1, 1]
    (first,), entities, other = explained(tokenizer, made.items[0]), made.items[1:3], made.items[3]
    assert first in ("a", "warm", "film")
    assert sorted(explained(tokenizer, item) for item in entities) == [["cast"], ["plot", "is"]]
    (token,) = explained(tokenizer, other)
    assert token in ["the", "dull", "and", "looks", "tired", "of", "it"]
    assert [item["explained_mask"] for item in inputs_of(tagger, tokenizer, TEXTS, for_training=True).items] == [
        item["explained_mask"] for item in made.items
    ], "the draw is always the same"
    many = inputs_of(tagger, tokenizer, ["the plot and the cast or the plot"], for_training=True)
    assert len(many) == 3, "two of three entities, and another token"


def test_other_tasks_have_windows_alone(explainer, tokenizer):
    made = inputs_of(explainer, tokenizer, TEXTS, for_training=True)
    assert len(made) == 2 and "explained_mask" not in made.items[0]
    check_items(explainer.task, [made.items])
