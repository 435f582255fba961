"""Costs that the margin bounds, for the whole output and for one choice."""

import pytest
import torch

from hf_diffmask.tasks.preserved import PRESERVED
from hf_diffmask.tasks.regression import Regression
from hf_diffmask.tasks.text_classification import TextClassification

WHOLE, MASKED = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()


def test_costs_by_hand():
    task = TextClassification()
    whole = 0.9 * torch.tensor(0.9 / 0.5).log() + 0.1 * torch.tensor(0.1 / 0.5).log()
    assert PRESERVED["distribution"].cost(task, WHOLE, MASKED, None).item() == pytest.approx(whole.item())
    assert PRESERVED["prediction"].cost(task, WHOLE, MASKED, None).item() == pytest.approx(0.4)
    assert PRESERVED["prediction"].cost(task, WHOLE, MASKED, torch.tensor([1])).item() == pytest.approx(-0.4)


def test_words():
    assert PRESERVED["prediction"].words(TextClassification()) == "a drop of the class's probability"
    assert PRESERVED["distribution"].falls(TextClassification()) == "the output diverges (in nats)"
    assert PRESERVED["distribution"].axis(Regression()) == "divergence (variances of the output)"
