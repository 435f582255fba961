"""Predictions without some tokens do not depend on padding, batches or mode."""

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from hf_diffmask.base.removal import REPLACEMENTS
from hf_diffmask.evaluation.predictions import class_probabilities

TEXTS = ["the plot is dull and the cast looks tired of it", "a warm film", "not bad at all"]


def features(tokenizer, text):
    return dict(tokenizer(text, return_special_tokens_mask=True))


def dropped(ids, *positions):
    return [k not in positions for k in range(len(ids))]


def test_all_that_stays_is_the_input_itself(classifier, tokenizer):
    inputs = [features(tokenizer, text) for text in TEXTS]
    whole = [[True] * len(one["input_ids"]) for one in inputs]
    first, *others = [class_probabilities(classifier, tokenizer, inputs, whole, way) for way in REPLACEMENTS]
    for other in others:
        torch.testing.assert_close(other, first, atol=1e-6, rtol=0)
    assert inputs[0] == features(tokenizer, TEXTS[0]), "the input must not change"
    assert classifier.training is False


def test_a_model_in_training_is_left_in_training(classifier, tokenizer):
    classifier.train()
    one = features(tokenizer, TEXTS[0])
    twice = [class_probabilities(classifier, tokenizer, [one], [dropped(one["input_ids"], 2)]) for _ in range(2)]
    assert torch.equal(*twice) and classifier.training


def test_left_padding(tokenizer):
    """Relative positions do not change with padding on the left."""
    config = AutoConfig.for_model(
        "llama", vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, pad_token_id=tokenizer.pad_token_id, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = AutoModelForSequenceClassification.from_config(config).eval()
    inputs = [features(tokenizer, text) for text in TEXTS]
    keep = [dropped(one["input_ids"], 1) for one in inputs]
    tokenizer.padding_side = "left"
    try:
        for replacement in ("mask", "mean", "delete"):
            together = class_probabilities(model, tokenizer, inputs, keep, replacement)
            alone = class_probabilities(model, tokenizer, inputs, keep, replacement, batch_size=1)
            torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    finally:
        tokenizer.padding_side = "right"
