"""The objective `fast`, checked by hand and on a problem with a known answer."""

import math

import pytest
import torch
from scipy import stats

from hf_diffmask.masks import gates
from hf_diffmask.training.recipes.fast import FastObjective
from hf_diffmask.training.recipes.lagrangian import violations


def test_fast_loss_by_hand():
    objective = FastObjective(2, margin=0.1, rate=0.02)
    objective.multipliers.copy_(torch.tensor([1.0, 3.0]))
    # Softened: sigmoid((alpha + 0.2 ln 5) / 2).
    soft = torch.tensor([[[0.8, 0.5], [0.4, 0.5]], [[0.8, 0.5], [0.4, 0.5]]])
    logits = 2 * torch.logit(soft) - 0.2 * math.log(5)
    loss = objective.loss(logits, torch.ones(2, 2), torch.tensor([0, 1]), torch.tensor([0.2, 0.6]))
    # State 0: kept (0.8 + 0.4) / 2 = 0.6, (0.6 + 1 * 0.2) / 2 = 0.4. State 1: kept 0.3, (0.3 + 3 * 0.6) / 4 = 0.525.
    assert loss.item() == pytest.approx((0.4 + 0.525) / 2)
    # A violation of ln(3) / 2 acts at once: with a gain of 2 it trebles the multiplier of state 0.
    objective.violation.copy_(torch.tensor([math.log(3) / 2, 0.0]))
    loss = objective.loss(logits, torch.ones(2, 2), torch.tensor([0, 1]), torch.tensor([0.2, 0.6]))
    assert loss.item() == pytest.approx(((0.6 + 3 * 0.2) / 4 + 0.525) / 2)


def test_fast_multipliers_move_by_the_clipped_relative_violation():
    objective = FastObjective(4, margin=1.0, rate=0.5)
    assert objective.bound == pytest.approx(0.58)
    objective.multipliers.fill_(5.0)
    sums = torch.zeros(4, 4)
    sums[0] = torch.tensor([2.0, 4.0, 0.0, 1.0])
    sums[1] = torch.tensor([1.276, 8.0, 0.0, 0.0])
    objective.update(sums)
    # Relative to 0.58: 0.638 gives +0.1; 2 is clipped to +1; a state that is not drawn stays; 0 gives -1.
    expected = [5 * math.exp(0.05), 5 * math.exp(0.5), 5.0, 5 * math.exp(-0.5)]
    assert objective.multipliers.tolist() == pytest.approx(expected)
    # The next step uses the running mean (0.97 * 1.276 + 0.72) / (0.97 * 2 + 1), divided by 0.58.
    sums = torch.zeros(4, 4)
    sums[:2, 0] = torch.tensor([1.0, 0.72])
    objective.update(sums)
    relative = (0.97 * 1.276 + 0.72) / (0.97 * 2 + 1) / 0.58 - 1
    assert objective.multipliers[0].item() == pytest.approx(expected[0] * math.exp(0.5 * relative))
    objective.multipliers.copy_(torch.tensor([1e6, 1e-6, 9.0, 1.5]))
    objective.clamp()
    # Range [0.03, 20] / margin, and at most a factor of ten from the last state's multiplier.
    assert objective.multipliers.tolist() == pytest.approx([15.0, 0.15, 9.0, 1.5])
    objective.multipliers.copy_(torch.tensor([1e6, 1e-6, 9.0, 8.0]))
    objective.clamp()
    assert objective.multipliers.tolist() == pytest.approx([20.0, 0.8, 9.0, 8.0])
    for margin in (0.1, 1.0):
        assert FastObjective(2, margin=margin, rate=0.5).multipliers.tolist() == pytest.approx([0.1 / margin] * 2)
    objective.multipliers.copy_(torch.tensor([1e6, 1e-6, 9.0, 1e6]))
    objective.clamp()
    assert objective.multipliers.tolist() == pytest.approx([20.0, 2.0, 9.0, 20.0])


def test_rare_large_divergences_are_not_missed():
    # One example in ten costs 1.0, the others 0: the mean of 0.1 exceeds the bound of 0.058. Two examples a step.
    torch.manual_seed(0)
    objective = FastObjective(1, margin=0.1, rate=0.02)
    objective.multipliers.fill_(5.0)
    for _ in range(300):
        divergence = (torch.rand(2) < 0.1).float()
        objective.update(violations(torch.zeros(2, dtype=torch.long), divergence, divergence, divergence, 1))
    assert objective.multipliers.item() > 5


def test_fast_states_are_drawn_for_each_example():
    objective = FastObjective(5, margin=0.1, rate=0.02)
    drawn = objective.draw(0, 3, torch.arange(20_000))
    counts = torch.bincount(drawn, minlength=5).double()
    expected = torch.tensor([0.1, 0.1, 0.1, 0.1, 0.6], dtype=torch.float64) * 20_000
    assert stats.chisquare(counts.numpy(), expected.numpy()).pvalue > 0.01
    again = objective.draw(0, 3, torch.tensor([17, 4]))
    assert again.tolist() == drawn[[17, 4]].tolist()


def test_fast_objective_solves_a_problem_whose_answer_is_known():
    # Dropping unit k of four costs a divergence of cost[k]. The bound (0.58 * margin) allows dropping the first two.
    torch.manual_seed(0)
    cost = torch.tensor([0.001, 0.002, 0.6, 0.9])
    objective = FastObjective(1, margin=0.2, rate=0.02)
    logits = torch.full((1, 4, 1), 3.0, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    for _ in range(800):
        states = torch.zeros(16, dtype=torch.long)
        drawn = logits.expand(16, 4, 1)
        keep, soft = (gates.log_keep_probability(drawn, temperature)[..., 0].exp() for temperature in (1.0, 2.0))
        masks = gates.draw_with_fading(keep, soft, torch.rand(16, 4, 3), torch.ones(16, 4, dtype=torch.bool))
        divergence = ((1 - masks) * cost).sum(-1)
        loss = objective.loss(drawn, torch.ones(16, 4), states, divergence)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        checked = ((1 - gates.hard_mask(keep).float()) * cost).sum(-1).detach()
        objective.update(violations(states, checked, states == 0, states.float(), 1))
        objective.clamp()
    keep = gates.log_keep_probability(logits).exp().flatten()
    assert gates.hard_mask(keep).tolist() == [False, False, True, True]
