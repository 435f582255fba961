"""Lookahead moves the weights half-way back to their values of six steps before."""

import pytest
import torch

from hf_diffmask.training.recipes.lookahead import LookaheadRMSprop


def test_lookahead_by_hand():
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    plain = torch.nn.Parameter(torch.tensor([1.0]))
    ours = LookaheadRMSprop([{"params": [weight], "lr": 0.1}])
    reference = torch.optim.RMSprop([plain], lr=0.1, centered=True)
    for step in range(1, 7):
        for value, optimizer in ((weight, ours), (plain, reference)):
            value.grad = torch.tensor([0.5 + step])
            optimizer.step()
        if step < 6:
            assert weight.item() == plain.item()
    assert weight.item() == pytest.approx((1.0 + plain.item()) / 2)
