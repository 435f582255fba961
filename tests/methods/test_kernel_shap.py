"""Kernel SHAP, checked against the mean over permutations."""

from itertools import combinations, permutations
from math import factorial

import pytest
import torch

from hf_diffmask.errors import DiffMaskError
from hf_diffmask.explainer.masking import Masking
from hf_diffmask.methods import kernel_shap as shap
from hf_diffmask.methods.kernel_shap import kernel_shap
from tests.methods.helpers import masked_by_hand, weights_of


def test_kernel_shap_is_the_mean_over_permutations(explainer, classifier, tokenizer, batch):
    batch = {name: value[[0, 2]] for name, value in batch.items()}
    signed = shap._signed(Masking(explainer, batch), 2500, 512, 0)
    for row in range(2):
        words = range(1, int(batch["attention_mask"][row].sum()) - 1)
        every = [subset for size in range(len(words) + 1) for subset in combinations(words, size)]
        values = masked_by_hand(classifier, tokenizer, batch, row, every)
        chosen = values[every.index(tuple(words))].argmax()
        value = dict(zip(every, values[:, chosen].tolist(), strict=True))
        shapley = torch.zeros(batch["input_ids"].shape[1])
        for order in permutations(words):
            for count, unit in enumerate(order):
                gain = value[tuple(sorted(order[: count + 1]))] - value[tuple(sorted(order[:count]))]
                shapley[unit] += gain / factorial(len(words))
        torch.testing.assert_close(signed[row], shapley, atol=0.05, rtol=0)
        assert abs(signed[row].sum().item() - (value[tuple(words)] - value[()])) < 1e-3
    assert signed.abs().max() > 0.5


def test_kernel_shap_sums_to_what_masking_costs(explainer, batch):
    """The sum holds for any drawn masks; the batch size does not change the scores."""
    masking = Masking(explainer, batch)
    signed = shap._signed(masking, 20, 512, 0)
    with torch.no_grad():
        whole, empty = masking.target, masking.predict(masking.mask(torch.zeros_like(masking.maskable)))
    predicted = whole.argmax(-1, keepdim=True)
    torch.testing.assert_close(signed.sum(-1), (whole - empty).gather(-1, predicted)[:, 0], atol=2e-3, rtol=0)
    torch.testing.assert_close(signed, shap._signed(masking, 20, 3, 0), atol=1e-4, rtol=0)
    assert torch.equal(signed.abs(), kernel_shap(explainer, batch, samples=20))


def test_kernel_shap_needs_samples(explainer, batch):
    with pytest.raises(DiffMaskError, match="Kernel SHAP for 11 units needs at least 12 samples, but `samples` is 11"):
        kernel_shap(explainer, batch, samples=11)
    assert kernel_shap(explainer, batch, samples=12).isfinite().all()


def test_log_odds_of_a_model_that_adds_up(bag):
    """Any masks show the weights of such a model; log-probabilities do not add up."""
    explainer, features = bag
    exact = weights_of(explainer, features)
    found = kernel_shap(explainer, features, samples=30, log_odds=True, signed=True)
    torch.testing.assert_close(found, exact, atol=1e-3, rtol=1e-3)
    assert (kernel_shap(explainer, features, samples=30, signed=True) - exact).abs().max() > 0.01
