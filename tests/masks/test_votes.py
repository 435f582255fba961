"""Votes, checked by hand and by numerical integration."""

import math

import pytest
import torch
from scipy import integrate, stats

from hf_diffmask.masks import gates, votes


def test_votes_multiply_and_never_grow():
    logits = torch.randn(2, 5, 4)
    log_keep = gates.log_keep_probability(logits)
    voted = votes.vote(log_keep)
    single = log_keep.exp().double()
    by_hand = [single[..., 0]]
    for state in range(1, 4):
        by_hand.append(by_hand[-1] * single[..., state])
    torch.testing.assert_close(voted.double(), torch.stack(by_hand, -1), atol=1e-6, rtol=0)
    assert (voted.diff(dim=-1) <= 0).all()


def test_product_of_votes_by_integration():
    # Neither vote is 0 if both noises, which are independent, are above their edges.
    alphas = [-0.5, 0.7, 2.0]
    parts = [integrate.quad(stats.logistic.pdf, -alpha - 0.2 * math.log(5), math.inf)[0] for alpha in alphas]
    voted = votes.vote(gates.log_keep_probability(torch.tensor(alphas))[None, None])[0, 0]
    for state in range(3):
        assert voted[state].item() == pytest.approx(math.prod(parts[: state + 1]), abs=1e-6)


def test_product_of_votes_is_kept_as_often_as_the_product_says():
    # Monte Carlo over independent noise: share of samples without a vote of 0.
    logits = torch.tensor([1.0, 0.2, 2.0])
    noise = torch.rand(200_000, 3, generator=torch.Generator().manual_seed(2)).clamp(1e-6, 1 - 1e-6)
    share = (gates.sample(logits.expand_as(noise), noise).prod(-1) > 0).float().mean().item()
    expected = votes.vote(gates.log_keep_probability(logits)[None, None])[0, 0, -1].item()
    assert share == pytest.approx(expected, abs=5e-3)


def test_votes_that_count_are_those_of_lower_states_or_the_state_s_own():
    states = torch.tensor([0, 2])
    assert votes.counting_votes(states, 3)[:, 0].tolist() == [[True, False, False], [True, True, True]]
    assert votes.counting_votes(states, 3, False)[:, 0].tolist() == [[True, False, False], [False, False, True]]
    log_keep = torch.tensor([0.5, 0.4, 0.25]).log().expand(2, 1, 3)
    torch.testing.assert_close(votes.keep_at(log_keep, states).exp(), torch.tensor([[0.5], [0.05]]))
    torch.testing.assert_close(votes.keep_at(log_keep, states, False).exp(), torch.tensor([[0.5], [0.25]]))
    torch.testing.assert_close(votes.vote(log_keep)[0, 0], torch.tensor([0.5, 0.2, 0.05]))
    torch.testing.assert_close(votes.vote(log_keep, False)[0, 0], torch.tensor([0.5, 0.4, 0.25]))


def test_keep_at_sums_votes_up_to_the_state():
    log_keep = torch.log(torch.tensor([[[0.5, 0.5, 0.1]], [[0.5, 0.5, 0.1]]]))
    kept = votes.keep_at(log_keep, torch.tensor([0, 1])).exp()
    assert kept.flatten().tolist() == pytest.approx([0.5, 0.25])
