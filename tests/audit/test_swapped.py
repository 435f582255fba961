"""The audit finds masks that fail under another replacement."""

import torch

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


def test_replacements_that_training_used_are_not_called_unseen(classifier, tokenizer, inputs):
    explainer = made(Random, classifier, tokenizer)
    with torch.no_grad():
        explainer.baseline.add_(0.01)
    found = explain_inputs(explainer, tokenizer, inputs[:8])
    every = swapped(explainer, tokenizer, inputs[:8], found)
    assert {"agreement_mask", "agreement_attention"} <= every.figures.keys() and every.note == ""
    explainer.config.replacements = ["baseline", "attention"]
    rest = swapped(explainer, tokenizer, inputs[:8], found)
    assert rest.note == "seen in training: attention"
    assert every.figures.keys() - rest.figures.keys() == {"agreement_attention", "random_attention"}
