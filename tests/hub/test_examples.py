"""Examples in cards are our own sentences."""

import json

import pytest

import hf_diffmask
from hf_diffmask import DiffMaskModel
from hf_diffmask.hub import examples
from hf_diffmask.hub.examples import example_attributions
from tests.display.helpers import make


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


@pytest.mark.parametrize(
    "drop, same, cost, check",
    [
        (0.08, True, "0.080", "\u2713 holds"),
        (0.10004, True, "0.10004", "\u2717 does not hold"),
        (-0.174, True, "-0.174", "\u2713 holds"),
        (0.02, False, "0.020", "\u2713 holds, prediction changes"),
        (float("nan"), False, "nan", "\u2717 does not hold, prediction changes"),
    ],
)
def test_the_check_of_an_example_follows_its_cost(classifier, monkeypatch, drop, same, cost, check):
    explainer = DiffMaskModel.from_pretrained(hf_diffmask.BUNDLED_EXPLAINER, base_model=classifier)
    result = make([], drop=drop, divergence=0.5, same_prediction=same, within_margin=True, label="POSITIVE")
    monkeypatch.setattr(examples, "DiffMaskAttributionPipeline", lambda *given, **settings: lambda text: result)
    found = example_attributions(explainer, None)
    assert {(one["cost"], one["check"]) for one in found} == {(cost, check)}
