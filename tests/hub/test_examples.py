"""Examples in cards are our own sentences."""

import json

import hf_diffmask
from hf_diffmask import DiffMaskModel
from hf_diffmask.hub.examples import example_attributions


def test_examples_are_sentences_of_ours(classifier):
    explainer = DiffMaskModel.from_pretrained(hf_diffmask.BUNDLED_EXPLAINER, base_model=classifier)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER)
    first, *_ = example_attributions(explainer, tokenizer)
    assert first["text"].replace("**", "") == "a warm and quietly funny film" and "**" in first["text"]
    assert (
        first["prediction"].startswith("POSITIVE (0.") and len(example_attributions(explainer, tokenizer, True)) == 2
    )
    json.dumps(first)
