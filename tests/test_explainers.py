"""Methods that explanations are compared with, against loops, brute force, autograd by hand and known truths."""

import inspect
import sys
from itertools import combinations, permutations
from math import factorial

import pytest
import torch
from test_base_model import ARCHITECTURES, SMALL
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from hf_diffmask import DiffMaskModel
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.explainers import erasure, gradients, shap
from hf_diffmask.explainers.attention import attention
from hf_diffmask.explainers.bottleneck import information_bottleneck
from hf_diffmask.explainers.erasure import exact_erasure, smallest_subsets
from hf_diffmask.explainers.gradients import input_x_gradient, integrated_gradients
from hf_diffmask.explainers.leave_one_out import leave_one_out
from hf_diffmask.explainers.masking import Masking
from hf_diffmask.explainers.max_entropy_noise import maximum_entropy_noise
from hf_diffmask.explainers.noise import gaussian_noise
from hf_diffmask.explainers.shap import kernel_shap
from hf_diffmask.tasks.counting import STATES, draw, train_target

MASK_OUT = [
    exact_erasure,
    leave_one_out,
    information_bottleneck,
    maximum_entropy_noise,
    integrated_gradients,
    input_x_gradient,
    kernel_shap,
]
METHODS = [*MASK_OUT, attention]


def call(method, explainer, features, state=0, **options):
    """Runs a method in few steps, and with statistics that do not depend on the batch."""
    if method in (information_bottleneck, maximum_entropy_noise):
        options = {"steps": 12, **options}
    if method is information_bottleneck:
        width = explainer.baseline_at(state).shape[0]
        options = {"mean": torch.zeros(width), "std": torch.full((width,), 0.3), **options}
    return method(explainer, features, state, **options)


def without_special(features):
    return {name: value for name, value in features.items() if name != "special_tokens_mask"}


def masked_by_hand(classifier, tokenizer, batch, row, kept):
    """Log-probabilities with the ids of all other words replaced by that of [MASK], and no padding."""
    length = int(batch["attention_mask"][row].sum())
    ids = batch["input_ids"][row, :length].expand(len(kept), -1).clone()
    for candidate, subset in zip(ids, kept, strict=True):
        masked = [unit for unit in range(1, length - 1) if unit not in subset]
        candidate[masked] = tokenizer.mask_token_id
    with torch.no_grad():
        return classifier(input_ids=ids).logits.log_softmax(-1)


def kl(target, other):
    return (target.exp() * (target - other)).sum(-1)


class BagConfig(PreTrainedConfig):
    model_type = "test-bag"


class BagForSequenceClassification(PreTrainedModel):
    """Adds up the features of units, of which it ignores every other one."""

    config_class = BagConfig
    main_input_name = "input_ids"

    def __init__(self, config):
        super().__init__(config)
        self.embeddings = nn.Embedding(12, 3)
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings

    @property
    def dummy_inputs(self):
        return {"input_ids": torch.tensor([[1, 2]]), "attention_mask": torch.tensor([[1, 1]])}

    def forward(self, input_ids, attention_mask):
        used = attention_mask * (1 - torch.arange(input_ids.shape[1]) % 2)
        yes = (self.embeddings(input_ids).sum(-1) * used).sum(-1, keepdim=True)
        return SequenceClassifierOutput(logits=torch.cat([torch.zeros_like(yes), yes], dim=-1))


@pytest.fixture
def bag():
    model = BagForSequenceClassification(BagConfig(num_labels=2)).eval()
    with torch.no_grad():
        model.embeddings.weight.copy_(torch.linspace(-1, 1, 36).view(12, 3)[torch.randperm(12)])
    explainer = DiffMaskModel.from_base_model(model, states=["embeddings"], margin=0.01).eval()
    ids = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 9, 0]])
    return explainer, {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])}


@pytest.fixture(scope="module")
def counting():
    """A target that has learned to count, an explainer whose baselines are mean states, and examples."""
    torch.manual_seed(0)
    model = train_target(draw(2000, 0), epochs=25)
    explainer = DiffMaskModel.from_base_model(model, states=list(STATES), masking="hidden", margin=0.05).eval()
    examples = draw(60, 1)
    features = {name: getattr(examples, name) for name in ("query_ids", "input_ids", "attention_mask")}
    real = examples.attention_mask.bool()
    with torch.no_grad():
        embeddings, encoded = explainer.record(**features).states
        explainer.baseline.copy_(embeddings[real].mean(0))
        explainer.hidden_baselines.copy_(encoded[real].mean(0)[None])
    return explainer, features, examples.truth() > 0, real


# What all methods share.


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
    if method is not attention:  # transformers installs hooks of its own for that
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
def test_no_such_state(explainer, batch, method):
    with pytest.raises(DiffMaskError, match="There is no state 9: the base model has 5"):
        method(explainer, batch, 9)


@pytest.mark.parametrize("method", MASK_OUT)
def test_a_state_without_baseline(explainer, batch, method):
    with pytest.raises(DiffMaskError, match=r"has no baseline for the state 'block\.1\.input'"):
        method(explainer, batch, 2)


@pytest.mark.parametrize("method", METHODS)
def test_another_state(classifier, tokenizer, batch, method):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, masking="hidden").eval()
    with torch.no_grad():
        explainer.hidden_baselines.normal_(std=0.5)
    scores = call(method, explainer, batch, 2)
    assert torch.equal(scores, call(method, explainer, batch, -3))
    assert (scores > 0).any() and not torch.allclose(scores, call(method, explainer, batch, 0), atol=1e-4)


@pytest.mark.parametrize("method", [integrated_gradients, input_x_gradient, kernel_shap])
def test_captum_is_asked_for(explainer, batch, monkeypatch, method):
    for name in [name for name in sys.modules if name.split(".")[0] == "captum"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(DiffMaskError, match=r"pip install 'hf-diffmask\[explainers\]'"):
        method(explainer, batch)


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
    elif method is kernel_shap:  # Its masks are a sample.
        assert scores[ignored].max() < 0.1 * scores[used].max()
    else:
        assert scores[ignored].max() < scores[used].mean()


@pytest.mark.parametrize("method", [leave_one_out, integrated_gradients, kernel_shap])
@pytest.mark.parametrize("state", [0, 1])
def test_digits_that_count(counting, method, state):
    explainer, features, truth, real = counting
    scores = method(explainer, features, state)
    assert scores[truth].mean() > 2 * scores[real & ~truth].mean()


# Erasure and leave-one-out.


def test_leave_one_out_is_a_loop_over_mask_tokens(explainer, classifier, tokenizer, batch):
    scores = leave_one_out(explainer, batch, batch_size=5)
    for row, length in enumerate(batch["attention_mask"].sum(-1).tolist()):
        words = range(1, length - 1)
        (target,) = masked_by_hand(classifier, tokenizer, batch, row, [words])
        for unit in words:
            (other,) = masked_by_hand(classifier, tokenizer, batch, row, [[k for k in words if k != unit]])
            torch.testing.assert_close(scores[row, unit], kl(target, other), atol=1e-5, rtol=1e-3)
    assert scores.max() > 0.1


@pytest.mark.parametrize(("margin", "batch_size"), [(0.5, 512), (0.1, 7), (0.003, 100)])
def test_exact_erasure_is_brute_force(explainer, classifier, tokenizer, batch, margin, batch_size):
    explainer.config.margin = margin
    subsets = smallest_subsets(Masking(explainer, batch), batch_size=batch_size)
    masks = exact_erasure(explainer, batch, batch_size=batch_size)
    sizes = []
    for row, length in enumerate(batch["attention_mask"].sum(-1).tolist()):
        words = range(1, length - 1)
        every = [subset for size in range(len(words) + 1) for subset in combinations(words, size)]
        divergences = kl(
            masked_by_hand(classifier, tokenizer, batch, row, [words]),
            masked_by_hand(classifier, tokenizer, batch, row, every),
        )
        enough = [
            (len(subset), d, subset) for subset, d in zip(every, divergences.tolist(), strict=True) if d <= margin
        ]
        smallest = min(enough)[0]
        optimal = sorted((d, subset) for size, d, subset in enough if size == smallest)
        assert subsets[row].dtype == torch.bool and subsets[row].shape == (len(optimal), batch["input_ids"].shape[1])
        found = [tuple(mask.nonzero().flatten().tolist()) for mask in subsets[row]]
        assert set(found) == {subset for _, subset in optimal}
        assert found[0] == optimal[0][1]
        assert tuple(masks[row].nonzero().flatten().tolist()) == optimal[0][1]
        sizes.append(smallest)
    # The margins were chosen so that searches of one batch end at different sizes.
    assert len(set(sizes)) > 1
    assert ((masks == 0) | (masks == 1)).all()


def test_exact_erasure_at_a_hidden_state(counting):
    explainer, features, _, real = counting
    masking = Masking(explainer, features, 1)
    masks = exact_erasure(explainer, features, 1)
    assert (masking.divergence(masks) <= 0.05).all()
    smaller = 0
    for row, subsets in enumerate(smallest_subsets(masking)):
        size = int(masks[row].sum())
        assert (subsets.sum(-1) == size).all() and torch.equal(subsets[0].float(), masks[row])
        if size:
            units = real[row].nonzero().flatten().tolist()
            fewer = torch.zeros(len(list(combinations(units, size - 1))), masks.shape[1])
            for mask, subset in zip(fewer, combinations(units, size - 1), strict=True):
                mask[list(subset)] = 1
            assert (masking.divergence(fewer, torch.full((len(fewer),), row)) > 0.05).all()
            smaller += 1
    assert smaller > 20


def test_the_whole_input_always_suffices(explainer, batch):
    explainer.config.margin = -1.0
    masks = exact_erasure(explainer, batch)
    maskable = batch["attention_mask"].bool() & ~batch["special_tokens_mask"].bool()
    assert torch.equal(masks.bool(), maskable)


def test_budget_of_exact_erasure(explainer, batch, monkeypatch):
    forwards = []
    divergence = Masking.divergence
    monkeypatch.setattr(Masking, "divergence", lambda *args: forwards.append(len(args[1])) or divergence(*args))
    with pytest.raises(DiffMaskError, match=r"budget of 20 masked inputs. These 3 need 21 .* up to 2\^11 - 1"):
        exact_erasure(explainer, batch, budget=20)
    assert not forwards
    explainer.config.margin = -1.0
    # 1 + 1 + 1, then 3 + 11 + 4; pairs of all three would be 3 + 55 + 6.
    text = (
        "budget of 84 masked inputs: no subset of up to 1 of the 11 units of input 1 suffices, 21 masked inputs are "
        "tried, and subsets of 2 need 64 more"
    )
    with pytest.raises(DiffMaskError, match=text):
        exact_erasure(explainer, batch, budget=84)
    assert sum(forwards) == 21
    forwards.clear()
    short = {name: value[[0, 2]] for name, value in batch.items()}
    needed = (2**3 - 1) + (2**4 - 1)
    assert exact_erasure(explainer, short, budget=needed).sum() == 3 + 4
    assert sum(forwards) == needed
    with pytest.raises(DiffMaskError, match="input 1 suffices"):
        exact_erasure(explainer, short, budget=needed - 1)


def test_long_searches_show_their_progress(explainer, batch, capsys, monkeypatch):
    exact_erasure(explainer, batch)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(erasure, "SILENT_BELOW", 3)
    exact_erasure(explainer, batch)
    assert "Erasure, 0 units" in capsys.readouterr().err


# Methods that fit noise.


def test_noise_is_normal_and_each_units_own():
    maskable = torch.ones(1, 50, dtype=torch.bool)
    noise = gaussian_noise(maskable, 400, 0, 0)[0]
    assert noise.mean().abs() < 0.02 and abs(noise.std() - 1) < 0.02
    assert ((noise.abs() < 1).float().mean() - 0.6827).abs() < 0.01
    assert torch.corrcoef(noise).fill_diagonal_(0).abs().max() < 0.25
    assert not torch.equal(noise, gaussian_noise(maskable, 400, 0, 1)[0])
    shifted = torch.tensor([[False, True, True, False], [True, True, False, False]])
    first, second = gaussian_noise(shifted, 400, 0, 0)
    assert torch.equal(first[1:3], noise[:2]) and torch.equal(second[:2], noise[:2])


def test_information_is_that_of_two_normals(bag):
    from hf_diffmask.explainers.bottleneck import _information

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


# Attention.


def test_attention_by_hand(explainer, classifier, batch):
    with torch.no_grad():
        hidden = classifier(**without_special(batch), output_hidden_states=True).hidden_states
    attended = [attention(explainer, batch, state) for state in range(4)]
    heads = classifier.config.num_attention_heads
    real = batch["attention_mask"].bool()
    for block, layer in enumerate(classifier.bert.encoder.layer):
        q, k = (
            part(hidden[block]).detach().unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in (layer.attention.self.query, layer.attention.self.key)
        )
        scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~real[:, None, None], -torch.inf).softmax(-1)
        for row, length in enumerate(real.sum(-1).tolist()):
            expected = scores[row, :, :length, :length].mean((0, 1))
            found = attended[block + 1][row]
            torch.testing.assert_close(found[1 : length - 1], expected[1:-1], atol=1e-5, rtol=1e-4)
            assert found.sum() < 1
    assert torch.equal(attended[0], attended[1])
    assert not torch.allclose(attended[1], attended[2], atol=1e-2)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_attention_of_architectures(name):
    config = AutoConfig.for_model(name, **{**SMALL, **ARCHITECTURES[name]})
    model = AutoModelForSequenceClassification.from_config(config).eval()
    implementation = model.config._attn_implementation
    explainer = DiffMaskModel.from_base_model(model)
    features = {"input_ids": torch.randint(3, 60, (2, 7)), "attention_mask": torch.ones(2, 7, dtype=torch.long)}
    found = [attention(explainer, features, state) for state in (0, 1, 3)]
    assert model.config._attn_implementation == implementation and not model.config.output_attentions
    model.set_attn_implementation("eager")
    with torch.no_grad():
        weights = model(**features, output_attentions=True).attentions
    for scores, block in zip(found, (0, 0, 2), strict=True):
        torch.testing.assert_close(scores, weights[block].mean((1, 2)))
        torch.testing.assert_close(scores.sum(-1), torch.ones(2))


def test_attention_that_is_not_there(explainer, batch, counting, monkeypatch):
    with pytest.raises(DiffMaskError, match=r"No block reads the state 'block.2.output'"):
        attention(explainer, batch, -1)
    counter, features, *_ = counting
    for state in (0, 1):
        with pytest.raises(DiffMaskError, match="No block reads the state"):
            attention(counter, features, state)
    base = explainer.base
    config = base.config.to_dict()
    with monkeypatch.context() as patch:
        patch.setattr(type(base), "_can_set_attn_implementation", classmethod(lambda cls: False))
        with pytest.raises(DiffMaskError, match="cannot return attention in its implementation 'sdpa'"):
            attention(explainer, batch)
    with monkeypatch.context() as patch:
        forward = base.forward
        patch.setattr(base, "forward", lambda **inputs: SequenceClassifierOutput(logits=forward(**inputs).logits))
        with pytest.raises(DiffMaskError, match="does not return the attention of its 3 blocks"):
            attention(explainer, batch)
    assert base.config.to_dict() == config and base.config._attn_implementation == "sdpa"


# Gradients and Shapley values.


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
    assert (expected < -0.01).any(), "signs differ, so that the absolute value matters"
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
    """Whatever masks are drawn; and a batch of masks is what one after the other is."""
    masking = Masking(explainer, batch)
    signed = shap._signed(masking, 20, 512, 0)
    with torch.no_grad():
        whole, empty = masking.target, masking.predict(masking.mask(torch.zeros_like(masking.maskable)))
    predicted = whole.argmax(-1, keepdim=True)
    torch.testing.assert_close(signed.sum(-1), (whole - empty).gather(-1, predicted)[:, 0], atol=2e-3, rtol=0)
    torch.testing.assert_close(signed, shap._signed(masking, 20, 3, 0), atol=1e-4, rtol=0)
    assert torch.equal(signed.abs(), kernel_shap(explainer, batch, samples=20))


def test_kernel_shap_needs_samples(explainer, batch):
    with pytest.raises(DiffMaskError, match="Kernel SHAP of 11 units needs at least 12 samples, and not 11"):
        kernel_shap(explainer, batch, samples=11)
    assert kernel_shap(explainer, batch, samples=12).isfinite().all()
