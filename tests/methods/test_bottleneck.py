"""One step of the information bottleneck, checked by hand."""

import pytest
import torch

from hf_diffmask.errors import DiffMaskError
from hf_diffmask.explainer.masking import Masking
from hf_diffmask.masks.noise import gaussian_noise
from hf_diffmask.methods.bottleneck import information_bottleneck
from tests.methods.helpers import kl


def test_information_is_that_of_two_normals(bag):
    from hf_diffmask.methods.bottleneck import _information

    logits, hidden = torch.randn(2, 4), torch.randn(2, 4, 5)
    mean, std = torch.randn(5), torch.rand(5) + 0.1
    share = logits.sigmoid()[..., None]
    through = torch.distributions.Normal(share * hidden + (1 - share) * mean, (1 - share) * std)
    expected = torch.distributions.kl_divergence(through, torch.distributions.Normal(mean, std)).mean(-1)
    torch.testing.assert_close(_information(logits, (hidden - mean) / std), expected)


def test_one_step_of_the_bottleneck_by_hand(bag):
    explainer, features = bag
    mean, std = torch.tensor([0.1, -0.2, 0.3]), torch.tensor([0.5, 1.0, 2.0])
    scores = information_bottleneck(explainer, features, steps=1, mean=mean, std=std, beta=3.0, learning_rate=0.01)
    real = features["attention_mask"].bool()
    for row, length in enumerate([5, 4]):
        hidden = explainer.base.embeddings(features["input_ids"][row]).detach()
        epsilon = mean + std * gaussian_noise(real, 3, 0, 0)[row]
        alpha = torch.full((5,), 5.0, requires_grad=True)
        share = alpha.sigmoid()[:, None]
        used = (torch.arange(5) % 2 == 0) * real[row]
        yes, noisy = ((h.sum(-1) * used).sum() for h in (hidden, share * hidden + (1 - share) * epsilon))
        target, other = (torch.stack([torch.zeros(()), value]).log_softmax(-1) for value in (yes, noisy))
        through = torch.distributions.Normal(share * hidden + (1 - share) * mean, (1 - share) * std)
        information = torch.distributions.kl_divergence(through, torch.distributions.Normal(mean, std)).mean(-1)
        (gradient,) = torch.autograd.grad(kl(target, other) + 3 * information[:length].mean(), alpha)
        # Centred RMSprop from rest: sqrt(0.01 g^2 - (0.01 g)^2), an absolute step for any gradient.
        moved = 5 - 0.01 * gradient / ((0.01 - 0.01**2) ** 0.5 * gradient.abs() + 1e-8)
        torch.testing.assert_close(scores[row, :length], moved.detach()[:length].sigmoid(), atol=1e-6, rtol=0)


def test_the_bottleneck_lets_through_more_where_information_costs_less(bag):
    explainer, features = bag
    cheap, dear = (information_bottleneck(explainer, features, beta=beta, steps=60) for beta in (0.01, 10.0))
    real = features["attention_mask"].bool()
    assert cheap[real].max() <= 1 and cheap[real].mean() > 2 * dear[real].mean()


def test_statistics_of_the_bottleneck(explainer, tokenizer, batch):
    masking = Masking(explainer, batch)
    words = masking.hidden[masking.maskable]
    expected = information_bottleneck(
        explainer, batch, steps=5, mean=words.mean(0), std=(words - words.mean(0)).square().mean(0).sqrt()
    )
    torch.testing.assert_close(information_bottleneck(explainer, batch, steps=5), expected)
    options = dict(return_tensors="pt", return_special_tokens_mask=True)
    with pytest.raises(DiffMaskError, match="need at least two units: pass `mean` and `std`"):
        information_bottleneck(explainer, dict(tokenizer(["film"], **options)))
