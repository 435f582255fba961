"""Gradients, checked against autograd by hand."""

import sys

import pytest
import torch

from hf_diffmask.errors import DiffMaskError
from hf_diffmask.explainer.masking import Masking
from hf_diffmask.methods import gradients
from hf_diffmask.methods.gradients import (
    gradient_norm,
    input_x_gradient,
    integrated_gradients,
    sequential_integrated_gradients,
)
from hf_diffmask.methods.kernel_shap import kernel_shap
from hf_diffmask.methods.leave_one_out import leave_one_out
from tests.helpers import masked_output, recorded_of
from tests.methods.helpers import without_special


@pytest.mark.parametrize("method", [integrated_gradients, input_x_gradient, kernel_shap])
def test_captum_is_asked_for(explainer, batch, monkeypatch, method):
    for name in [name for name in sys.modules if name.split(".")[0] == "captum"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(DiffMaskError, match=r"pip install 'hf-diffmask\[explainers\]'"):
        method(explainer, batch)


def log_probability(classifier, batch, embeddings):
    features = {name: value for name, value in without_special(batch).items() if name != "input_ids"}
    return classifier(inputs_embeds=embeddings, **features).logits.log_softmax(-1)


@pytest.fixture
def embeddings(classifier, batch):
    return classifier.get_input_embeddings()(batch["input_ids"]).detach()


@pytest.fixture
def all_masked(embeddings, explainer, batch):
    special = (batch["special_tokens_mask"] == 1) | (batch["attention_mask"] == 0)
    return torch.where(special[..., None], embeddings, explainer.baseline.detach())


def test_input_x_gradient_by_hand(explainer, classifier, batch, embeddings):
    embeddings.requires_grad_()
    (gradient,) = torch.autograd.grad(log_probability(classifier, batch, embeddings).max(-1).values.sum(), embeddings)
    expected = (embeddings * gradient).sum(-1).abs().detach()
    scores = input_x_gradient(explainer, batch)
    maskable = (batch["special_tokens_mask"] == 0) & (batch["attention_mask"] == 1)
    torch.testing.assert_close(scores[maskable], expected[maskable], atol=1e-6, rtol=1e-3)
    assert scores.max() > 0.01


def test_integrated_gradients_by_hand(explainer, classifier, batch, embeddings, all_masked):
    predicted = log_probability(classifier, batch, embeddings).argmax(-1)
    total, points = torch.zeros_like(embeddings), 200
    for point in range(points):
        here = (all_masked + (point + 0.5) / points * (embeddings - all_masked)).requires_grad_()
        chosen = log_probability(classifier, batch, here).gather(-1, predicted[:, None]).sum()
        total += torch.autograd.grad(chosen, here)[0] / points
    expected = ((embeddings - all_masked) * total).sum(-1)
    scores = integrated_gradients(explainer, batch)
    torch.testing.assert_close(scores, expected.abs(), atol=0.02, rtol=0.02)
    assert (expected < -0.01).any(), "some scores are negative, so absolute values matter"
    torch.testing.assert_close(scores, integrated_gradients(explainer, batch, batch_size=10), atol=1e-4, rtol=0)


def test_integrated_gradients_are_complete(explainer, classifier, batch, embeddings, all_masked):
    signed = gradients._integrated(Masking(explainer, batch), 100, 512)
    with torch.no_grad():
        target, empty = (log_probability(classifier, batch, given) for given in (embeddings, all_masked))
    predicted = target.argmax(-1, keepdim=True)
    expected = (target.gather(-1, predicted) - empty.gather(-1, predicted))[:, 0]
    torch.testing.assert_close(signed.sum(-1), expected, atol=0.02, rtol=0)
    assert expected.abs().max() > 1
    assert torch.equal(signed.abs(), integrated_gradients(explainer, batch, steps=100))


def test_signs(explainer, batch):
    """Unsigned scores are absolute values; signed leave-one-out is the drop from masking one unit."""
    for method in (integrated_gradients, input_x_gradient, kernel_shap):
        signed = method(explainer, batch, signed=True)
        torch.testing.assert_close(signed.abs(), method(explainer, batch))
        assert (signed < 0).any() and (signed > 0).any()
    signed = leave_one_out(explainer, batch, signed=True)
    row, unit = 1, 4
    features = {name: value for name, value in batch.items() if name != "special_tokens_mask"}
    mask = torch.ones_like(batch["attention_mask"], dtype=torch.bool)
    mask[row, unit] = False
    with torch.no_grad():
        target = recorded_of(explainer, **features).target[row].max(-1)
        masked = masked_output(explainer, mask, **features)[row, target.indices]
    assert signed[row, unit].item() == pytest.approx((target.values - masked).item(), abs=1e-5)


@pytest.mark.parametrize("batch_size", [4096, 40])
def test_sequential_integrated_gradients_are_what_masking_a_unit_costs(explainer, batch, batch_size):
    """By the fundamental theorem of calculus: each path moves one unit from masked to whole."""
    found = sequential_integrated_gradients(explainer, batch, signed=True, steps=64, batch_size=batch_size)
    torch.testing.assert_close(found, leave_one_out(explainer, batch, signed=True), atol=1e-4, rtol=1e-3)
    assert torch.equal(found.abs(), sequential_integrated_gradients(explainer, batch, steps=64, batch_size=batch_size))


def test_gradient_norm_is_that_of_autograd(explainer, classifier, batch):
    features = {name: value for name, value in batch.items() if name not in ("special_tokens_mask", "input_ids")}
    embedded = classifier.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
    classifier(inputs_embeds=embedded, **features).logits.log_softmax(-1).amax(-1).sum().backward()
    expected = embedded.grad.norm(dim=-1) * explainer.batch(**batch).maskable
    torch.testing.assert_close(gradient_norm(explainer, batch), expected, atol=1e-5, rtol=1e-4)
