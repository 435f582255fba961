"""The loss for a mask and its complement, checked by hand."""

import math

import pytest
import torch

from hf_diffmask.masks.path_loss import path_loss
from hf_diffmask.tasks.preserved import PRESERVED
from hf_diffmask.tasks.regression import Regression
from hf_diffmask.tasks.text_classification import TextClassification

TARGET = torch.tensor([[0.9, 0.1], [0.3, 0.7]]).log()
MASKED = torch.tensor([[0.6, 0.4], [0.2, 0.8]]).log()
LEFT_OUT = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log()


def test_of_the_predicted_class_and_of_another():
    task, preserved = TextClassification(), PRESERVED["prediction"]
    found = path_loss(task, preserved, TARGET, MASKED, LEFT_OUT).tolist()
    assert found == pytest.approx([math.log(0.9 / 0.6) + 0.5, math.log(0.7 / 0.8) + 0.1], abs=1e-6)
    found = path_loss(task, preserved, TARGET, MASKED, LEFT_OUT, torch.tensor([1, 0])).tolist()
    assert found == pytest.approx([math.log(0.1 / 0.4) + 0.5, math.log(0.3 / 0.2) + 0.9])


def test_of_the_whole_output():
    found = path_loss(TextClassification(), PRESERVED["distribution"], TARGET, MASKED, LEFT_OUT).tolist()

    def divergence(p, q):
        return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

    rows = zip(*(part.exp().tolist() for part in (TARGET, MASKED, LEFT_OUT)), strict=True)
    expected = [divergence(whole, kept) + math.exp(-divergence(whole, left)) for whole, kept, left in rows]
    assert found == pytest.approx(expected, abs=1e-6)
    nothing_lost = path_loss(TextClassification(), PRESERVED["distribution"], TARGET, TARGET, TARGET)
    assert nothing_lost.tolist() == pytest.approx([1.0, 1.0]), "a complement with the same output costs 1"


def test_of_a_direction_of_a_number():
    task = Regression({"mean": 1.0, "variance": 4.0})
    target, masked, left_out = torch.tensor([[3.0]]), torch.tensor([[2.0]]), torch.tensor([[1.0]])

    def up(number):
        return 1 / (1 + math.exp(-(number - 1.0) / 2))

    found = path_loss(task, PRESERVED["prediction"], target, masked, left_out).item()
    assert found == pytest.approx(math.log(up(3.0) / up(2.0)) + 0.5)


def test_gradients_lift_the_mask_and_lower_its_complement():
    masked, left_out = (part.clone().requires_grad_() for part in (MASKED, LEFT_OUT))
    path_loss(TextClassification(), PRESERVED["prediction"], TARGET, masked, left_out).sum().backward()
    assert masked.grad.tolist() == [[-1, 0], [0, -1]]
    torch.testing.assert_close(left_out.grad, torch.tensor([[0.5, 0.0], [0.0, 0.1]]))
