"""The metrics, loaded as users load them: hand-computed examples, other libraries' values, and the trainer's own."""

import doctest
import math

import evaluate
import numpy as np
import pytest
import torch
from scipy.special import rel_entr

import hf_diffmask
from hf_diffmask.data import TextFeatures, collate
from hf_diffmask.demo import sentences
from hf_diffmask.validation import measure, table_of_states


@pytest.fixture(params=["sparsity", "divergence", "faithfulness", "plausibility", "stability"])
def name(request):
    return request.param


def test_examples_in_the_descriptions_are_right(name):
    metric = evaluate.load(f"{hf_diffmask.METRICS}/{name}")
    names = {"evaluate": evaluate, "hf_diffmask": hf_diffmask}
    test = doctest.DocTestParser().get_doctest(metric.inputs_description, names, name, None, 0)
    assert test.examples and doctest.DocTestRunner().run(test).failed == 0


def test_sparsity_refuses_what_has_no_answer():
    metric = evaluate.load(f"{hf_diffmask.METRICS}/sparsity")
    with pytest.raises(ValueError, match="every token is special"):
        metric.compute(predictions=[[1, 1]], references=[[1, 1]])
    with pytest.raises(ValueError):
        metric.compute(predictions=[[1, 1, 0]], references=[[1, 0]])


def test_divergence_agrees_with_scipy_and_knows_its_limits():
    metric = evaluate.load(f"{hf_diffmask.METRICS}/divergence")
    generator = np.random.default_rng(0)
    masked, whole = generator.dirichlet([1.0, 1.0, 1.0], 20), generator.dirichlet([1.0, 1.0, 1.0], 20)
    result = metric.compute(predictions=masked, references=whole, margin=0.3)
    expected = rel_entr(whole, masked).sum(-1)
    assert result["divergence"] == pytest.approx(expected.mean())
    assert result["within_margin"] == pytest.approx((expected <= 0.3).mean())
    assert result["agreement"] == pytest.approx((masked.argmax(-1) == whole.argmax(-1)).mean())
    assert 0 < result["agreement"] < 1
    lost = metric.compute(predictions=[[0.0, 1.0]], references=[[0.5, 0.5]])
    assert lost["divergence"] == math.inf and "within_margin" not in lost
    with pytest.raises(ValueError, match="inputs, classes"):
        metric.compute(predictions=[[0.2, 0.8]], references=[[0.2, 0.3, 0.5]])


def test_metrics_agree_with_the_table_of_states(explainer, tokenizer):
    features = TextFeatures(tokenizer, sentences(12), 64)
    batch = collate(tokenizer, [features[k] for k in range(12)])
    batch.pop("example_ids")
    row = table_of_states(["last"], measure(explainer, batch, [explainer.config.num_states - 1]))[0]
    with torch.no_grad():
        output = explainer(**batch)
        kept = output.keep_probability[..., -1] > 0.5
        inputs = {name: value for name, value in batch.items() if name != "special_tokens_mask"}
        masked = explainer.masked_forward(kept, **inputs)
    left_out = batch["special_tokens_mask"].bool() | ~batch["attention_mask"].bool()
    sparsity = evaluate.load(f"{hf_diffmask.METRICS}/sparsity").compute(
        predictions=kept.tolist(), references=left_out.tolist()
    )
    divergence = evaluate.load(f"{hf_diffmask.METRICS}/divergence").compute(
        predictions=masked.exp().tolist(), references=output.target.exp().tolist(), margin=explainer.config.margin
    )
    assert sparsity["kept_share"] == pytest.approx(row.kept_share)
    assert divergence["divergence"] == pytest.approx(row.divergence, abs=1e-5)
    assert divergence["agreement"] == pytest.approx(row.agreement)
    assert divergence["within_margin"] == pytest.approx(row.within_margin)
