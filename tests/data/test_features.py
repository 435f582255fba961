"""Features are padded to batches, and long texts become several examples."""

import datasets
import numpy as np
import pandas as pd
import pytest

from hf_diffmask import DiffMaskError
from hf_diffmask.data.features import TextFeatures, collate


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
