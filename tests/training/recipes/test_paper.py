"""The objective `paper`, checked by hand."""

import math

import pytest
import torch
from scipy import stats

from hf_diffmask.training.recipes.paper import LookaheadRMSprop, PaperObjective


def test_paper_loss_by_hand_and_one_state_for_all():
    objective = PaperObjective(3, margin=0.1, rate=0.3)
    objective.multipliers.copy_(torch.tensor([1.0, 5.0, 1.0]))
    logits = torch.logit(torch.tensor([[[0.5, 0.5, 0.1]]])) - 0.2 * math.log(5)
    loss = objective.loss(logits, torch.ones(1, 1), torch.tensor([1]), torch.tensor([0.3]))
    assert loss.item() == pytest.approx(math.log(0.25) + 5 * 0.2)
    for step in range(20):
        assert len(objective.draw(0, step, torch.arange(16)).unique()) == 1
    drawn = torch.stack([objective.draw(0, step, torch.arange(1))[0] for step in range(3000)])
    assert stats.chisquare(torch.bincount(drawn, minlength=3).numpy()).pvalue > 0.01


def test_paper_draws_a_settled_state_ten_times_less_often():
    objective = PaperObjective(2, margin=0.1, rate=0.3)
    objective.draws.fill_(500)
    objective.running_kept.copy_(torch.tensor([0.05, 0.05]))
    objective.running_agreement.copy_(torch.tensor([0.9, 0.5]))  # only the first is also faithful
    drawn = torch.stack([objective.draw(0, step, torch.arange(1))[0] for step in range(4000)])
    assert (drawn == 0).float().mean().item() == pytest.approx(0.1 / 1.1, abs=0.02)


def test_paper_multipliers_ascend_and_stay_in_bounds():
    objective = PaperObjective(3, margin=0.1, rate=0.3)
    # PyTorch's RMSprop on violations of 0.4 and 0.2, until Lookahead moves the sixth draw half-way back to 1.
    reference = torch.nn.Parameter(torch.tensor(1.0))
    optimizer = torch.optim.RMSprop([reference], lr=0.3, maximize=True)
    for draw in range(1, 7):
        divergence = 0.5 if draw % 2 else 0.3
        reference.grad = torch.tensor(divergence - 0.1)
        optimizer.step()
        objective.update(torch.tensor([[4.0, 4.0, 0.0], [4 * divergence, 0.0, 0.0], [4.0, 4.0, 0.0], [1.0, 1.0, 0.0]]))
        if draw < 6:
            assert objective.multipliers[0].item() == pytest.approx(reference.item())
        objective.clamp()
    assert objective.multipliers[0].item() == pytest.approx((1 + reference.item()) / 2)
    assert objective.multipliers[1:].tolist() == [0.0, 1.0], "one is satisfied, one not drawn"
    assert objective.square[2] == 0
    objective.multipliers[0] = 500
    objective.clamp()
    assert objective.multipliers[0] == 200


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
