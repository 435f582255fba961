"""Classification is checked by hand."""

import math

import pytest
import torch

from hf_diffmask.tasks.text_classification import TextClassification
from tests.helpers import recorded_of

WHOLE = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]).log()
MASKED = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.5, 0.4]]).log()


def test_outputs_by_hand():
    task = TextClassification()
    expected = [
        sum(p * math.log(p / q) for p, q in zip(whole, masked, strict=True))
        for whole, masked in zip(WHOLE.exp().tolist(), MASKED.exp().tolist(), strict=True)
    ]
    assert task.divergence(WHOLE, MASKED).tolist() == pytest.approx(expected, abs=1e-6)
    assert task.agreement(WHOLE, MASKED).tolist() == [True, False]
    assert task.confidence(WHOLE).tolist() == pytest.approx([math.log(0.7 / 0.3), math.log(0.6 / 0.4)], abs=1e-5)


def test_choices_by_hand():
    task = TextClassification()
    assert task.predicted(WHOLE).tolist() == [0, 2]
    assert task.drop(WHOLE, MASKED).tolist() == pytest.approx([0.2, 0.2], abs=1e-6)
    assert task.drop(WHOLE, MASKED, torch.tensor([1, 1])).tolist() == pytest.approx([-0.1, -0.2], abs=1e-6)
    assert task.value(WHOLE, MASKED).tolist() == pytest.approx([0.0, math.log(0.4 / 0.6)], abs=1e-6)
    one = torch.tensor([1, 1])
    assert task.value(WHOLE, MASKED, one).tolist() == pytest.approx([math.log(0.3 / 0.7), 0.0], abs=1e-6)


def test_value_is_finite_where_a_probability_is_one():
    sure = torch.tensor([[100.0, 0.0]]).log_softmax(-1)
    assert TextClassification().value(sure, sure).item() == pytest.approx(100.0)


def test_the_position_that_the_head_reads(explainer, tokenizer):
    """The bundled classifier pools its first token."""
    batch = tokenizer(["a warm film", "dull"], padding=True, return_tensors="pt")
    weights = explainer.task.positions(recorded_of(explainer, **batch))
    expected = torch.zeros(2, 1, batch["input_ids"].shape[1])
    expected[..., 0] = 1
    assert torch.equal(weights, expected)
