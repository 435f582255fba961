"""One step of maximum entropy noise, checked by hand."""

import torch
from torch.nn import functional as F

from hf_diffmask.masks.noise import gaussian_noise
from hf_diffmask.methods.max_entropy_noise import maximum_entropy_noise


def test_one_step_of_maximum_entropy_noise_by_hand(bag):
    explainer, features = bag
    scores = maximum_entropy_noise(explainer, features, steps=1, weight=1e-7, learning_rate=0.1)
    real = features["attention_mask"].bool()
    signs = set()
    for row, length in enumerate([5, 4]):
        hidden = explainer.base.embeddings(features["input_ids"][row]).detach()
        before = torch.full((5,), -5.0, requires_grad=True)
        sigma = F.softplus(before)
        used = (torch.arange(5) % 2 == 0) * real[row]
        noisy = hidden + sigma[:, None] * gaussian_noise(real, 3, 0, 0)[row]
        target, other = (
            torch.stack([torch.zeros(()), (h.sum(-1) * used).sum()]).log_softmax(-1) for h in (hidden, noisy)
        )
        entropy = torch.distributions.Normal(0.0, sigma).entropy()[:length].sum()
        (gradient,) = torch.autograd.grad((target - other).square().sum() - 1e-7 * entropy, before)
        gradient = gradient[:length]
        moved = -5 - 0.1 * gradient / ((0.01 - 0.01**2) ** 0.5 * gradient.abs() + 1e-8)
        torch.testing.assert_close(scores[row, :length], 1 / F.softplus(moved), rtol=2e-2, atol=0)
        signs |= set(gradient.sign().tolist())
    assert signs == {-1.0, 1.0}, "some units shrink their noise and others grow it"


def test_noise_grows_with_the_weight_of_the_entropy(bag):
    explainer, features = bag
    real = features["attention_mask"].bool()
    little, much = (maximum_entropy_noise(explainer, features, weight=weight, steps=120) for weight in (1e-3, 1.0))
    used = real & (torch.arange(5) % 2 == 0)
    assert little[used].mean() > 2 * much[used].mean()
