"""Features are padded to batches, and long texts become several examples."""

import datasets
import numpy as np
import pandas as pd
import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.data.features import Features, Selected, TextFeatures, collate, model_inputs


def test_collate_pads_and_keeps_ids(tokenizer):
    features = TextFeatures(tokenizer, ["a warm film", "film"], 40)
    batch = collate(tokenizer, [features[1], features[0]])
    assert batch["example_ids"].tolist() == [1, 0]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch["special_tokens_mask"][0].tolist() == [1, 0, 1, 1, 1]


def test_long_training_texts_become_several_examples(tokenizer):
    features = TextFeatures(tokenizer, [" ".join(["film"] * 100)], 20)
    assert len(features) > 5 and all(len(item["input_ids"]) <= 20 for item in features.items)


def test_texts_may_be_a_column_a_series_or_an_iterator(tokenizer):
    texts = ["a warm film", "the plot is dull"]
    expected = TextFeatures(tokenizer, texts, 64).items
    for given in (iter(texts), pd.Series(texts, index=[7, 5]), np.array(texts),
                  datasets.Dataset.from_dict({"text": texts})["text"]):  # fmt: skip
        assert TextFeatures(tokenizer, given, 64).items == expected
    for row in ({"text": "a film"}, None, 3):
        with pytest.raises(
            DiffMaskError, match=f"An input is no text but of type {type(row).__name__}: give a string"
        ):
            TextFeatures(tokenizer, [*texts, row], 64)


def test_marks_are_padded_and_are_no_arguments_of_the_model(tokenizer):
    first, second = TextFeatures(tokenizer, ["a warm film", "film"], 40).items
    marked = Features([{**first, "explained_mask": [0, 1, 0, 1, 0]}, {**second, "explained_mask": [0, 1, 0]}])
    batch = collate(tokenizer, [marked[0], marked[1]])
    assert batch["explained_mask"].tolist() == [[0, 1, 0, 1, 0], [0, 1, 0, 0, 0]]
    assert model_inputs(batch).keys() == model_inputs(first).keys() == tokenizer("film").keys()
    assert "explained_mask" in marked.items[0], "the data set stays as it is"


def test_a_selection_keeps_numbers_and_goes_by_length(tokenizer):
    whole = TextFeatures(tokenizer, ["a b c d", "a", "a b", "a b c"], 40)
    some = Selected(whole, [0, 3, 1])
    assert [item["example_ids"] for item in (some[0], some[1], some[2])] == [1, 3, 0]
    assert some.lengths == sorted(some.lengths) and len(some) == 3 and some.of_text == [1, 3, 0]


def test_windows_know_their_text(tokenizer):
    features = TextFeatures(tokenizer, ["film", " ".join(["film"] * 30), "film"], 20)
    assert features.of_text == [0, *[1] * (len(features) - 2), 2] and len(features) > 3
