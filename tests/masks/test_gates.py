"""Gates, checked against values by hand and by numerical integration."""

import math

import pytest
import torch
from scipy import integrate, stats

from hf_diffmask.masks import gates
from hf_diffmask.masks.gates import keep_logits, log_keep_probability


def test_sample_by_hand():
    # u = 0.5: logit(u) = 0, s = sigmoid(0 / 0.2) = 0.5, stretched 0.5 * 1.2 - 0.2 = 0.4.
    assert gates.sample(torch.tensor(0.0), torch.tensor(0.5)).item() == pytest.approx(0.4, abs=1e-6)
    # alpha = 0.2 * ln 3: s = sigmoid(ln 3) = 3/4, stretched 0.9 - 0.2 = 0.7.
    assert gates.sample(torch.tensor(0.2 * math.log(3)), torch.tensor(0.5)).item() == pytest.approx(0.7, abs=1e-6)
    # alpha = -0.2 * ln 5: s = 1/6, exactly at the edge where the gate becomes 0; a little below it is 0.
    assert gates.sample(torch.tensor(-0.2 * math.log(5) - 1e-3), torch.tensor(0.5)).item() == 0.0


@pytest.mark.parametrize("alpha", [-3.0, -0.5, 0.0, 0.7, 4.0])
def test_keep_probability_is_the_measure_of_gates_that_are_not_zero(alpha):
    # The gate is not 0 where s > 1/6, that is logit(u) > -alpha - 0.2 ln 5; logit(u) is standard logistic.
    expected, _ = integrate.quad(stats.logistic.pdf, -alpha - 0.2 * math.log(5), math.inf)
    assert gates.log_keep_probability(torch.tensor(alpha)).exp().item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("alpha", [-2.0, 0.0, 1.5])
def test_expected_gate_by_integration(alpha):
    noise = (torch.arange(200_000) + 0.5) / 200_000
    mean = gates.sample(torch.full_like(noise, alpha), noise).double().mean().item()

    def stretched(x):
        return min(1.0, max(0.0, 1.2 / (1 + math.exp(-min(50, max(-50, (x + alpha) / 0.2)))) - 0.2))

    expected, _ = integrate.quad(lambda x: stretched(x) * stats.logistic.pdf(x), -30, 30, limit=500, points=[-alpha])
    assert mean == pytest.approx(expected, abs=1e-4)


def test_drop_probability_is_the_rest_and_keeps_its_gradient():
    alpha = torch.tensor([-30.0, -1.0, 0.5, 30.0], requires_grad=True)
    log_drop = gates.log_drop_probability(alpha)
    torch.testing.assert_close(log_drop[1:3].exp(), 1 - gates.log_keep_probability(alpha)[1:3].exp())
    log_drop.sum().backward()
    torch.testing.assert_close(alpha.grad[[0, 3]], torch.tensor([0.0, -1.0]))


def test_softened_keep_probability_by_hand():
    # sigmoid((1 + 0.2 ln 5) / 2)
    expected = 1 / (1 + math.exp(-(1 + 0.2 * math.log(5)) / 2))
    assert gates.log_keep_probability(torch.tensor(1.0), 2.0).exp().item() == pytest.approx(expected, abs=1e-6)


def test_masks_on_paths_are_there_gone_or_at_a_uniform_point():
    noise = torch.rand(200_000, 1, 3, generator=torch.Generator().manual_seed(1))
    units = torch.ones(200_000, 1, dtype=torch.bool)
    masks = gates.draw_with_fading(
        torch.full((200_000, 1), 0.3), torch.full((200_000, 1), 0.6), noise, units
    ).flatten()
    relaxed = masks[(masks != 0) & (masks != 1)]
    assert len(relaxed) / 200_000 == pytest.approx(0.5, abs=5e-3)
    assert stats.kstest(relaxed.numpy(), "uniform").pvalue > 0.01
    assert ((masks == 1).sum() / (200_000 - len(relaxed))).item() == pytest.approx(0.3, abs=5e-3)


def test_gradient_on_paths_is_that_of_the_expectation():
    # D reads a single unit, so only its path counts: E D = p D(1) + (1 - p) D(0), D = exp(-9 z).
    # A straight-through gradient would average the derivatives at the ends of the path, -9 and -0.001: far off.
    soft = torch.full((400_000, 1), 0.8, requires_grad=True)
    noise = torch.rand(400_000, 1, 3, generator=torch.Generator().manual_seed(3))
    units = torch.ones(400_000, 1, dtype=torch.bool)
    torch.exp(-9 * gates.draw_with_fading(torch.full((400_000, 1), 0.9), soft, noise, units)).mean().backward()
    assert soft.grad.sum().item() == pytest.approx(math.exp(-9) - 1, abs=0.02)


def test_few_units_of_a_long_input_are_on_their_paths_and_the_gradient_stays_the_same():
    """32 of 128 units are on their paths, with any padding; each gets the gradient for its own keep probability."""
    maskable = (torch.arange(160) < 128).expand(3000, -1)
    soft = torch.full((3000, 160), 0.5, requires_grad=True)
    noise = torch.rand(3000, 160, 3, generator=torch.Generator().manual_seed(4))
    masks = gates.draw_with_fading(torch.full((3000, 160), 0.5), soft, noise, maskable)
    relaxed = (masks != 0) & (masks != 1) & maskable
    assert relaxed.float().sum(-1).mean().item() == pytest.approx(32, abs=0.3)
    (masks * maskable).sum().backward()
    # D is linear: its derivative in each keep probability is 1.
    assert soft.grad[:, :128].mean().item() == pytest.approx(1, abs=0.02)


def test_hard_mask_is_above_one_half():
    assert gates.hard_mask(torch.tensor([0.5, 0.5001, 0.0, 1.0])).tolist() == [False, True, False, True]


def test_gate_logits_are_those_of_the_keep_probabilities():
    keep = torch.tensor([0.03, 0.2, 0.5, 0.9, 0.97])
    torch.testing.assert_close(log_keep_probability(keep_logits(keep)).exp(), keep)
    # Probabilities of 0 and 1 come back as 1 / (1 + e^4) and its complement.
    back = log_keep_probability(keep_logits(torch.tensor([0.0, 1.0]))).exp()
    torch.testing.assert_close(back, torch.tensor([0.017986, 0.982014]), atol=1e-5, rtol=0)
