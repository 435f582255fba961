"""The objective `paper`, checked by hand and on a problem with a known answer."""

import math

import pytest
import torch
from scipy import stats

from hf_diffmask.masks import gates
from hf_diffmask.training.recipes.paper import PaperObjective, violations


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


def test_violations_are_sums_for_each_state():
    sums = violations(
        torch.tensor([2, 0, 2]), torch.tensor([0.1, 0.2, 0.4]), torch.tensor([True, True, False]),
        torch.tensor([0.5, 0.6, 0.7]), num_states=3,
    )  # fmt: skip
    expected = [[1, 0, 2], [0.2, 0, 0.5], [1, 0, 1], [0.6, 0, 1.2]]
    assert sums.tolist() == [pytest.approx(row) for row in expected]


def test_paper_solves_a_problem_whose_answer_is_known():
    # Dropping unit k of four costs a divergence of cost[k]. The margin allows dropping the first two.
    torch.manual_seed(0)
    cost = torch.tensor([0.001, 0.002, 0.6, 0.9])
    objective = PaperObjective(1, margin=0.1, rate=0.3)
    logits = torch.full((1, 4, 1), 3.0, requires_grad=True)
    optimizer = objective.optimizer([{"params": [logits], "lr": 0.02}], None)
    for _ in range(800):
        states = torch.zeros(16, dtype=torch.long)
        drawn = logits.expand(16, 4, 1)
        masks = gates.sample(drawn, torch.rand(16, 4, 1).clamp(1e-6, 1 - 1e-6))[..., 0]
        divergence = ((1 - masks) * cost).sum(-1)
        loss = objective.loss(drawn, torch.ones(16, 4), states, divergence)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        kept = (masks > 0).float().mean(-1)
        objective.update(violations(states, divergence.detach(), states == 0, kept, 1))
        objective.clamp()
    keep = gates.log_keep_probability(logits).exp().flatten()
    assert gates.hard_mask(keep).tolist() == [False, False, True, True]
