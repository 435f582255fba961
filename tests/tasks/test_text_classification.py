"""Classification is checked by hand."""

import math
from functools import partial

import pytest
import torch
from transformers import BertConfig

from hf_diffmask.display.certificate import verdict
from hf_diffmask.tasks.preserved import PRESERVED
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


def two_windows(whole, masked):
    """Windows of two tokens each, from probabilities of the first of two classes."""
    return [
        {"units": [0, 1], "target": logs(before), "masked": logs(after)}
        for before, after in zip(whole, masked, strict=True)
    ]


def logs(first):
    return torch.tensor([[first, 1 - first]], dtype=torch.float64).log()


@pytest.mark.parametrize(
    "whole, masked, drop, state",
    [
        # One window loses 0.3 and the other gains 0.2: the mean drops from 0.75 to 0.7.
        ((0.9, 0.6), (0.6, 0.8), 0.05, "holds"),
        # Each window keeps its own prediction (drops of 0.08 and below 0), but the mean drops from 0.675 to 0.56.
        ((0.9, 0.45), (0.82, 0.3), 0.115, "does not hold"),
    ],
)
def test_the_check_of_two_windows_is_for_the_whole_text(whole, masked, drop, state):
    config = BertConfig(num_labels=2)
    preserved = PRESERVED["prediction"]
    task = TextClassification()
    _, check = task.readable(two_windows(whole, masked), None, config, partial(preserved.cost, task))
    result = {"divergence": check.divergence, "drop": check.cost, "margin": 0.1}
    assert check.cost == pytest.approx(drop) and verdict(result) == state


def test_a_divergence_that_is_no_number_stays_one():
    config, task = BertConfig(num_labels=2), TextClassification()
    cost = partial(PRESERVED["distribution"].cost, task)
    _, check = task.readable(two_windows((0.9, 0.6), (0.6, float("nan"))), None, config, cost)
    assert math.isnan(check.divergence) and math.isnan(check.cost)
