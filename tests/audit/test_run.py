"""The whole audit: sound explainers pass, and tests that cannot run are not checked."""

import pytest
import torch

from hf_diffmask import DiffMaskModel
from hf_diffmask.audit.run import audit, margin
from hf_diffmask.errors import DiffMaskError
from tests.audit.helpers import LeaveOneOut, made, one


def test_a_sound_explainer_passes(classifier, tokenizer, inputs):
    """The texts are too few for `pattern` and `probe_alone`, but enough for `seeds` and `swapped_baseline`."""
    explainer = made(LeaveOneOut, classifier, tokenizer)
    other = made(LeaveOneOut, classifier, tokenizer)
    findings = {found.name: found for found in audit(explainer, tokenizer, inputs, None, [other])}
    assert findings["seeds"].figures["rank_correlation"] == pytest.approx(1.0) and findings["seeds"].verdict == "pass"
    assert findings["swapped_baseline"].verdict == "pass", findings["swapped_baseline"]
    assert findings["random_base"].verdict == "not checked"
    for name in ("pattern", "probe_alone"):
        assert findings[name].verdict == "reported" and "too few" in findings[name].note


def test_margin_by_hand():
    found = [one(cost=cost) for cost in (0.0, 0.05, 0.1, 0.3)]
    said = margin(found, 0.1)
    assert said.figures == {"outside": 0.25, "cost": pytest.approx(0.1125), "margin": 0.1}
    assert said.verdict == "fail", "the mean is above the margin"
    assert margin(found, 0.12).verdict == "pass" and margin([*found, one(cost=0.2)], 0.14).verdict == "fail"


def test_hidden_masking_is_not_swapped(classifier, tokenizer, inputs):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, masking="hidden", class_conditional=False).eval()
    with torch.no_grad():
        explainer.probes.out_weight.zero_()
    findings = {found.name: found for found in audit(explainer, tokenizer, inputs)}
    assert findings["swapped_baseline"].verdict == findings["distribution"].verdict == "not checked"
    figures = findings["pattern"].figures
    assert figures["accuracy"] == figures["by_length"], "all gates are open"
    assert findings["margin"].verdict == "pass"


def test_what_cannot_be_computed_is_not_checked(explainer, tokenizer, inputs):
    empty = {"input_ids": [2, 3], "attention_mask": [1, 1], "special_tokens_mask": [1, 1]}
    few = {found.name: found for found in audit(explainer, tokenizer, [empty, *inputs[:5]])}
    for name in ("pattern", "distribution"):
        assert few[name].verdict == "not checked" and "there are 5" in few[name].note
    assert few["margin"].verdict in ("pass", "fail")
    with pytest.raises(DiffMaskError, match="no input has a token that is not special"):
        audit(explainer, tokenizer, [empty])
