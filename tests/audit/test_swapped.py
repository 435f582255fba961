"""The audit finds masks that fail under another replacement."""

from hf_diffmask.audit.explained import explain_inputs
from hf_diffmask.audit.run import margin
from hf_diffmask.audit.swapped import swapped
from hf_diffmask.audit.thresholds import HOLDS
from tests.audit.helpers import Random, made


def test_random_masks_are_caught(classifier, tokenizer, inputs):
    explainer = made(Random, classifier, tokenizer)
    found = explain_inputs(explainer, tokenizer, inputs)
    said = swapped(explainer, tokenizer, inputs, found)
    assert said.verdict == "fail"
    assert min(value for name, value in said.figures.items() if name.startswith("agreement")) < HOLDS
    assert margin(found, 0.1).verdict == "fail"
