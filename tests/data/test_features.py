"""Features are padded to batches, and long texts become several examples."""

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
