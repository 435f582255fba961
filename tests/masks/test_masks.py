"""Defaults of `Masks` are those of masks without calibration."""

import pytest
import torch
from torch import nn

from hf_diffmask import DiffMaskError
from hf_diffmask.masks.masks import Masks, fill, refuse


def test_defaults_are_those_of_masks_without_calibration():
    masks = Masks(None, nn.Module())
    assert Masks.buffers(4) == {} and masks.coverage(0.1) is None and masks.cost_by_share() is None
    assert masks.is_calibrated and not masks.nested
    masks.forget_calibration()
    for missing in (
        lambda: masks.keep(torch.zeros(1, 1, 1), torch.ones(1, 1).bool(), 0.1),
        lambda: masks.attribution(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1)),
        lambda: masks.check("keep"),
    ):
        with pytest.raises(NotImplementedError):
            missing()


def test_the_error_for_an_argument_of_evidence():
    assert isinstance(refuse("curve"), DiffMaskError)
    assert str(refuse("curve")) == "`curve` is for explainers that were trained with --recipe ablation."


def test_buffers_are_filled_in_place():
    store = nn.Module()
    store.register_buffer("costs", torch.zeros(2, 3))
    store.register_parameter("other", nn.Parameter(torch.zeros(2)))
    before = store.costs
    fill(store, {"costs": torch.arange(6.0).view(2, 3), "other": torch.ones(2)})
    assert store.costs is before and store.costs.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert store.other.tolist() == [1, 1] and store.other.requires_grad
