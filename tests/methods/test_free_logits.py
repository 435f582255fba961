"""Per-example DiffMask and REINFORCE stay within the margin, close to the smallest mask."""

import itertools

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, pipeline

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.explainer.masking import Masking
from hf_diffmask.methods.per_example import per_example, refine
from hf_diffmask.methods.reinforce import reinforce

METHODS = (per_example, reinforce)
TEXTS = ["a warm and quietly funny film", "the plot is dull", "not bad at all , but far too long for me"]


@pytest.fixture(scope="module")
def bundled():
    return AutoModel.from_pretrained(hf_diffmask.BUNDLED_EXPLAINER).eval()


@pytest.fixture(scope="module")
def inputs(tokenizer):
    return dict(tokenizer(TEXTS, padding=True, return_tensors="pt", return_special_tokens_mask=True))


@pytest.fixture(scope="module")
def masking(bundled, inputs):
    return Masking(bundled, inputs)


@pytest.fixture(scope="module")
def optimum(masking):
    """Size of the smallest subset within the margin, by brute force."""
    sizes = []
    for row in range(len(TEXTS)):
        units = torch.where(masking.maskable[row])[0].tolist()
        for size in range(len(units) + 1):
            subsets = list(itertools.combinations(units, size))
            masks = torch.zeros(len(subsets), masking.maskable.shape[1])
            for number, subset in enumerate(subsets):
                masks[number, list(subset)] = 1
            with torch.no_grad():
                lowest = masking.divergence(masks, torch.full((len(subsets),), row)).min()
            if lowest <= masking.margin:
                sizes.append(size)
                break
    return sizes


@pytest.mark.parametrize("method", METHODS)
def test_masks_stay_within_the_margin_and_are_close_to_the_smallest(method, bundled, inputs, masking, optimum):
    before = {name: value.clone() for name, value in bundled.base.state_dict().items()}
    scores = method(bundled, inputs, steps=100)
    assert scores.shape == masking.maskable.shape and (scores[~masking.maskable] == 0).all()
    mask = scores > 0.5
    with torch.no_grad():
        assert (masking.divergence(mask) <= masking.margin).all()
    kept = mask.sum(-1)
    for row, size in enumerate(optimum):
        assert size <= kept[row] <= size + 1
    assert kept.sum() < masking.maskable.sum() / 2
    assert all(torch.equal(value, before[name]) for name, value in bundled.base.state_dict().items())
    assert all(parameter.grad is None for parameter in bundled.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_an_input_does_not_depend_on_its_batch_and_a_seed_settles_it(method, bundled, inputs):
    together = method(bundled, inputs, steps=40)
    row = 1
    length = int(inputs["attention_mask"][row].sum())
    state = torch.get_rng_state()
    alone = method(bundled, {name: value[row : row + 1, :length] for name, value in inputs.items()}, steps=40)
    assert torch.equal(state, torch.get_rng_state())
    torch.testing.assert_close(together[row, :length], alone[0], atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        assert torch.equal(method(bundled, inputs, steps=40), together)
    assert not torch.equal(method(bundled, inputs, steps=40, seed=5), together)


@pytest.mark.parametrize("method", METHODS)
def test_the_side_of_the_padding_changes_nothing(method):
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "llama", vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        intermediate_size=24, pad_token_id=0, dtype="float64",
    )  # fmt: skip
    base = AutoModelForSequenceClassification.from_config(config).double().eval()
    with torch.no_grad():
        for value in base.parameters():
            value.mul_(5)
    explainer = DiffMaskModel.from_base_model(base, margin=3.0)
    ids = torch.randint(1, 40, (1, 6))
    short = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "position_ids": torch.arange(6)[None]}
    long = {name: torch.cat([torch.zeros(1, 3, dtype=torch.long), value], -1) for name, value in short.items()}
    alone, padded = (method(explainer, features, steps=60) for features in (short, long))
    assert 0 < (alone > 0.5).sum() < 6
    torch.testing.assert_close(padded[:, 3:], alone, atol=1e-3, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_small_batches_change_nothing(method, bundled, inputs):
    whole = method(bundled, inputs, steps=20, samples=4)
    parts = method(bundled, inputs, steps=20, samples=4, batch_size=4)
    torch.testing.assert_close(parts, whole, atol=1e-3, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_the_pipeline_gives_the_same_results_with_their_masks(method, bundled, tokenizer, inputs, masking):
    explain = pipeline(hf_diffmask.TASK, model=bundled, tokenizer=tokenizer)
    results = explain(TEXTS, method=method.__name__, batch_size=3)
    keep = method(bundled, inputs)
    amortised = explain(TEXTS[0])
    with torch.no_grad():
        costs = masking.divergence(keep > 0.5)
    for row, result in enumerate(results):
        assert result.keys() == amortised.keys() and result["states"] == ["embeddings"] == [result["state"]]
        for unit, token in enumerate(result["tokens"]):
            expected = 1.0 if token["special"] else keep[row, unit].item()
            assert token["states"] == [token["score"]] == [pytest.approx(expected, abs=1e-3)]
        assert result["divergence"] == pytest.approx(max(0, costs[row].item()), abs=1e-4) and result["within_margin"]
        assert result["label"] == explain(TEXTS[row])["label"]
    with pytest.raises(DiffMaskError, match=r"amortised, per_example or reinforce, but is 'lime'"):
        explain(TEXTS[0], method="lime")


def test_estimators_have_the_gradient_of_the_mean_divergence(bundled, inputs):
    """Checked against the exact gradient: the mean over all 2^n masks of a short input, differentiated by hand."""
    row = 1  # five maskable units at most
    length = int(inputs["attention_mask"][row].sum())
    short = {name: value[row : row + 1, :length] for name, value in inputs.items()}
    masking = Masking(bundled, short)
    units = torch.where(masking.maskable[0])[0]
    masks = torch.ones(2 ** len(units), length)
    masks[:, units] = torch.tensor(list(itertools.product([0.0, 1.0], repeat=len(units))))
    with torch.no_grad():
        costs = masking.divergence(masks, torch.zeros(len(masks), dtype=torch.long))
    logits = torch.linspace(-1, 1, length)[None]
    found = {}
    for method in METHODS:

        def spy(masking, estimate, steps, samples, *rest, method=method):
            free = logits.clone().requires_grad_()
            noise = torch.rand(samples, length, 3, generator=torch.Generator().manual_seed(0))
            rows = torch.zeros(samples, dtype=torch.long)
            with torch.enable_grad():
                divergence, _ = estimate(free, noise, lambda drawn: masking.divergence(drawn, rows))
                (found[method],) = torch.autograd.grad(divergence.sum(), free)
            return free.detach()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"{method.__module__}.search", spy)
            method(bundled, short, samples=8000)
    keep = torch.sigmoid(logits[0] - 0.2 * torch.log(torch.tensor(0.2)))
    soft = torch.sigmoid((logits[0] - 0.2 * torch.log(torch.tensor(0.2))) / 2)
    weights = torch.where(masks[:, units] > 0, keep[units], 1 - keep[units])
    for unit_number, unit in enumerate(units.tolist()):
        others = weights.clone()
        others[:, unit_number] = 1
        there = masks[:, unit] > 0
        difference = (others.prod(-1) * costs * torch.where(there, 1.0, -1.0)).sum()
        slopes = {per_example: soft[unit] * (1 - soft[unit]) / 2, reinforce: keep[unit] * (1 - keep[unit])}
        for method in METHODS:
            expected = difference * slopes[method]
            assert found[method][0, unit].item() == pytest.approx(expected.item(), abs=0.008)
    assert all(gradient.abs().max() > 0.02 for gradient in found.values())


def test_refining_works_in_double_precision(explainer, classifier, batch):
    classifier.double()
    explainer.double()
    explainer.config.margin = 0.5
    with torch.no_grad():
        explainer.probes.out_bias.fill_(-0.5)
        recorded = explainer.record(explainer.batch(**batch))
        keep = explainer.explain(recorded)["keep_probability"][..., -1]
        found = refine(explainer, recorded, keep)
        assert keep.dtype == found.dtype == torch.float64
        cost = explainer.cost(recorded.target, explainer.masked(recorded, found > 0.5))
    assert (cost <= 0.5).all() and not torch.equal(keep, found)
