"""The constrained objective: hand-computed values, and that its multipliers do what they are for."""

import math

import pytest
import torch
from scipy import stats

from hf_diffmask import gates
from hf_diffmask.objective import (
    FastObjective,
    LookaheadRMSprop,
    PaperObjective,
    mean_over_units,
    violations,
)


def test_keep_at_sums_votes_up_to_the_state():
    log_keep = torch.log(torch.tensor([[[0.5, 0.5, 0.1]], [[0.5, 0.5, 0.1]]]))
    kept = gates.keep_at(log_keep, torch.tensor([0, 1])).exp()
    assert kept.flatten().tolist() == pytest.approx([0.5, 0.25])


def test_mean_over_units_leaves_out_what_cannot_be_masked():
    values = torch.tensor([[1.0, 0.2, 0.4, 9.0]])
    assert mean_over_units(values, torch.tensor([[False, True, True, False]])).item() == pytest.approx(0.3)
    assert mean_over_units(values, torch.zeros(1, 4, dtype=torch.bool)).item() == 0.0


def test_violations_are_sums_for_each_state():
    sums = violations(
        torch.tensor([2, 0, 2]), torch.tensor([0.1, 0.2, 0.4]), torch.tensor([True, True, False]),
        torch.tensor([0.5, 0.6, 0.7]), num_states=3,
    )  # fmt: skip
    expected = [[1, 0, 2], [0.2, 0, 0.5], [1, 0, 1], [0.6, 0, 1.2]]
    assert sums.tolist() == [pytest.approx(row) for row in expected]


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
    # 0.638 over 0.58: +0.1; 2 over 0.58: clipped to +1; not drawn: stays; 0 over 0.58: -1.
    expected = [5 * math.exp(0.05), 5 * math.exp(0.5), 5.0, 5 * math.exp(-0.5)]
    assert objective.multipliers.tolist() == pytest.approx(expected)
    # The next step goes by the running mean: (0.97 * 1.276 + 0.72) / (0.97 * 2 + 1), over 0.58.
    sums = torch.zeros(4, 4)
    sums[:2, 0] = torch.tensor([1.0, 0.72])
    objective.update(sums)
    relative = (0.97 * 1.276 + 0.72) / (0.97 * 2 + 1) / 0.58 - 1
    assert objective.multipliers[0].item() == pytest.approx(expected[0] * math.exp(0.5 * relative))
    objective.multipliers.copy_(torch.tensor([1e6, 1e-6, 9.0, 1.5]))
    objective.clamp()
    # Within [0.03, 20] over the margin, and within ten times the last one's.
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
    # One example in ten costs 1.0, the others nothing: a mean of 0.1 over a bound of 0.058. Two examples a step.
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
    objective.running_agreement.copy_(torch.tensor([0.9, 0.5]))  # only the first is faithful, too
    drawn = torch.stack([objective.draw(0, step, torch.arange(1))[0] for step in range(4000)])
    assert (drawn == 0).float().mean().item() == pytest.approx(0.1 / 1.1, abs=0.02)


def test_paper_multipliers_ascend_and_stay_in_bounds():
    objective = PaperObjective(3, margin=0.1, rate=0.3)
    # PyTorch's own RMSprop and the violations 0.4 and 0.2, until Lookahead draws the sixth half-way back to 1.
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
    assert objective.multipliers[1:].tolist() == [0.0, 1.0], "satisfied, and not drawn"
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


def test_fast_objective_solves_a_problem_whose_answer_is_known():
    # Four units; dropping unit k costs a divergence of cost[k]. The bound, 0.58 of the margin, pays for the first two.
    torch.manual_seed(0)
    cost = torch.tensor([0.001, 0.002, 0.6, 0.9])
    objective = FastObjective(1, margin=0.2, rate=0.02)
    logits = torch.full((1, 4, 1), 3.0, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    for _ in range(800):
        states = torch.zeros(16, dtype=torch.long)
        drawn = logits.expand(16, 4, 1)
        keep, soft = (gates.log_keep_probability(drawn, temperature)[..., 0].exp() for temperature in (1.0, 2.0))
        masks = gates.draw_on_paths(keep, soft, torch.rand(16, 4, 3), torch.ones(16, 4, dtype=torch.bool))
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
