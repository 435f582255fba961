"""All methods share one signature, leave the base model unchanged, and find known explanations."""

import inspect

import pytest
import torch

from hf_diffmask import DiffMaskModel
from hf_diffmask.methods.attention import attention
from hf_diffmask.methods.bottleneck import information_bottleneck
from hf_diffmask.methods.erasure import exact_erasure
from hf_diffmask.methods.gradients import input_x_gradient, integrated_gradients
from hf_diffmask.methods.kernel_shap import kernel_shap
from hf_diffmask.methods.leave_one_out import leave_one_out
from hf_diffmask.methods.max_entropy_noise import maximum_entropy_noise
from tests.methods.helpers import MASK_OUT, METHODS, call


@pytest.mark.parametrize("method", METHODS)
def test_one_signature_and_nothing_at_units_that_cannot_be_masked(explainer, batch, method):
    parameters = list(inspect.signature(method).parameters.values())
    assert [parameter.name for parameter in parameters[:3]] == ["explainer", "features", "state"]
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters[3:])
    scores = call(method, explainer, batch)
    maskable = batch["attention_mask"].bool() & ~batch["special_tokens_mask"].bool()
    assert scores.shape == batch["input_ids"].shape and scores.dtype == torch.float32
    assert not scores.requires_grad
    assert (scores[~maskable] == 0).all()
    assert scores.isfinite().all() and (scores >= 0).all()
    assert (scores[maskable] > 0).any()


@pytest.mark.parametrize("method", METHODS)
def test_batching_changes_nothing(explainer, batch, method):
    together = call(method, explainer, batch)
    for row, length in enumerate(batch["attention_mask"].sum(-1).tolist()):
        single = {name: value[[row], :length] for name, value in batch.items()}
        alone = call(method, explainer, single)
        torch.testing.assert_close(together[[row], :length], alone, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_guest_gradients_and_generator_are_left_as_they_were(explainer, classifier, batch, method):
    classifier.train()
    classifier.bert.pooler.eval()
    classifier.bert.embeddings.requires_grad_(False)
    weights = {name: value.clone() for name, value in classifier.state_dict().items()}
    modes = [module.training for module in classifier.modules()]
    trainable = [parameter.requires_grad for parameter in classifier.parameters()]
    explainer.record(explainer.batch(**batch))  # the first run adds hooks that stay
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in classifier.modules()]
    config, state = classifier.config.to_dict(), torch.random.get_rng_state()
    implementation = classifier.config._attn_implementation
    given = {name: value.clone() for name, value in batch.items()}
    call(method, explainer, batch)
    assert all(torch.equal(value, weights[name]) for name, value in classifier.state_dict().items())
    assert modes == [module.training for module in classifier.modules()]
    assert trainable == [parameter.requires_grad for parameter in classifier.parameters()]
    assert all(parameter.grad is None for parameter in [*classifier.parameters(), *explainer.parameters()])
    assert classifier.config.to_dict() == config
    assert classifier.config._attn_implementation == implementation
    assert torch.equal(torch.random.get_rng_state(), state)
    assert batch.keys() == given.keys() and all(torch.equal(batch[name], given[name]) for name in batch)
    if method is not attention:  # transformers adds its own hooks for attention
        assert hooks == [
            len(module._forward_hooks) + len(module._forward_pre_hooks) for module in classifier.modules()
        ]


@pytest.mark.parametrize("method", METHODS)
def test_the_same_twice_and_without_gradients(explainer, batch, method):
    with torch.no_grad():
        first = call(method, explainer, batch)
    torch.manual_seed(5)
    assert torch.equal(first, call(method, explainer, batch))


@pytest.mark.parametrize("method", [information_bottleneck, maximum_entropy_noise, kernel_shap])
def test_another_seed_is_another_draw(explainer, batch, method):
    options = {"samples": 20} if method is kernel_shap else {}
    first, second = (call(method, explainer, batch, seed=seed, **options) for seed in (0, 1))
    assert not torch.allclose(first, second, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_inputs_without_words(explainer, tokenizer, method):
    options = dict(padding=True, return_tensors="pt", return_special_tokens_mask=True)
    scores = call(method, explainer, dict(tokenizer(["", "a warm film", "dull"], **options)))
    assert (scores[0] == 0).all() and scores.isfinite().all()
    assert (scores[1:] > 0).any(-1).all() or method in (exact_erasure, input_x_gradient)
    assert (call(method, explainer, dict(tokenizer([""], **options))) == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_half_precision(classifier, tokenizer, batch, method):
    explainer = DiffMaskModel.from_base_model(classifier.to(torch.bfloat16), tokenizer).eval()
    scores = call(method, explainer, batch)
    assert scores.dtype == torch.float32 and scores.isfinite().all() and (scores > 0).any()


@pytest.mark.parametrize("method", METHODS)
def test_another_state(classifier, tokenizer, batch, method):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, masking="hidden").eval()
    with torch.no_grad():
        explainer.hidden_baselines.normal_(std=0.5)
    scores = call(method, explainer, batch, 2)
    assert torch.equal(scores, call(method, explainer, batch, -3))
    assert (scores > 0).any() and not torch.allclose(scores, call(method, explainer, batch, 0), atol=1e-4)


@pytest.mark.parametrize("method", MASK_OUT)
def test_units_that_the_model_ignores(bag, method):
    explainer, features = bag
    options = {"steps": 120, "weight": 0.1} if method is maximum_entropy_noise else {}
    if method is information_bottleneck:
        options = {"steps": 120, "beta": 0.05}
    scores = method(explainer, features, **options)
    used = features["attention_mask"].bool() & (torch.arange(5) % 2 == 0)
    ignored = features["attention_mask"].bool() & ~used
    for row in range(2):
        assert scores[row, ignored[row]].max() < scores[row, used[row]].max()
    if method in (exact_erasure, leave_one_out, integrated_gradients, input_x_gradient):
        assert (scores[ignored] == 0).all()
    elif method is kernel_shap:  # its masks are sampled
        assert scores[ignored].max() < 0.1 * scores[used].max()
    else:
        assert scores[ignored].max() < scores[used].mean()


@pytest.mark.parametrize("method", [leave_one_out, integrated_gradients, kernel_shap])
@pytest.mark.parametrize("state", [0, 1])
def test_digits_that_count(counting, method, state):
    explainer, features, truth, real = counting
    scores = method(explainer, features, state)
    assert scores[truth].mean() > 2 * scores[real & ~truth].mean()
