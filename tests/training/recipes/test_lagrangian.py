"""Violations are summed for each state."""

import pytest
import torch

from hf_diffmask.training.recipes.lagrangian import violations


def test_violations_are_sums_for_each_state():
    sums = violations(
        torch.tensor([2, 0, 2]), torch.tensor([0.1, 0.2, 0.4]), torch.tensor([True, True, False]),
        torch.tensor([0.5, 0.6, 0.7]), num_states=3,
    )  # fmt: skip
    expected = [[1, 0, 2], [0.2, 0, 0.5], [1, 0, 1], [0.6, 0, 1.2]]
    assert sums.tolist() == [pytest.approx(row) for row in expected]
