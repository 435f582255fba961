"""Means over units leave out tokens that cannot be masked."""

import pytest
import torch

from hf_diffmask.masks.units import mean_over_units


def test_mean_over_units_leaves_out_what_cannot_be_masked():
    values = torch.tensor([[1.0, 0.2, 0.4, 9.0]])
    assert mean_over_units(values, torch.tensor([[False, True, True, False]])).item() == pytest.approx(0.3)
    assert mean_over_units(values, torch.zeros(1, 4, dtype=torch.bool)).item() == 0.0
