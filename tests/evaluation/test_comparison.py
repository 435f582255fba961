"""All methods of a comparison see the same tokens."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from transformers import pipeline

import hf_diffmask
from hf_diffmask import DiffMaskModel
from hf_diffmask.evaluation.comparison import attribute, extended, interval, measured, rankable, summary
from hf_diffmask.evaluation.faithfulness import PRESETS, curves, measures
from hf_diffmask.evaluation.stability import perturbed
from hf_diffmask.methods.registry import METHODS, Explainers, random
from hf_diffmask.testbeds.grammar import sentences
from tests.helpers import HIDDEN

TEXTS = ["the plot is dull and the cast looks tired of it", "a warm film", "superb", "not bad at all"]


@pytest.fixture
def explainers(explainer, classifier, tokenizer):
    plain = DiffMaskModel.from_base_model(classifier, tokenizer).eval()
    hidden = DiffMaskModel.from_base_model(classifier, tokenizer, **HIDDEN).eval()
    with torch.no_grad():
        hidden.probes.out_weight.normal_(std=0.05)
    return Explainers(explainer, plain, hidden, 0)


@pytest.fixture
def inputs(tokenizer):
    return [dict(tokenizer(text, return_special_tokens_mask=True)) for text in TEXTS]


@pytest.mark.parametrize(
    "method", [name for name in METHODS if name not in ("diffmask_per_example", "diffmask_refined")]
)
def test_scores_do_not_depend_on_the_batch(explainers, tokenizer, inputs, method):
    together = attribute(explainers, tokenizer, inputs, method)
    assert [len(scores) for scores in together.scores] == [len(one["input_ids"]) for one in inputs]
    assert together.seconds > 0 and together.forwards > 0
    for scores, one in zip(together.scores, inputs, strict=True):
        alone = attribute(explainers, tokenizer, [one], method)
        assert scores == pytest.approx(alone.scores[0], abs=2e-4)


def test_ours_are_those_of_the_pipeline(explainers, tokenizer, inputs):
    explain = pipeline(hf_diffmask.TASK, model=explainers.trained, tokenizer=tokenizer)
    found = attribute(explainers, tokenizer, inputs, "diffmask").scores
    for scores, result in zip(found, explain(TEXTS), strict=True):
        assert scores == pytest.approx([token["score"] for token in result["tokens"]], abs=1e-6)


def test_refined_scores_are_those_of_the_pipeline(explainers, tokenizer, inputs):
    """For explanations outside the margin, which the pipeline refines as well."""
    with torch.no_grad():
        explainers.trained.probes.out_bias.fill_(-0.5)
    explain = pipeline(hf_diffmask.TASK, model=explainers.trained, tokenizer=tokenizer)
    results = explain(TEXTS, on_violation="refine")
    assert any(result["forwards"] for result in results)
    for one, result in zip(inputs, results, strict=True):
        if result["forwards"]:
            (scores,) = attribute(explainers, tokenizer, [one], "diffmask_refined").scores
            assert scores == pytest.approx([token["score"] for token in result["tokens"]], abs=1e-4)


def test_random_scores_change_with_the_seed(explainers, tokenizer, inputs):
    same, others = (attribute(explainers._replace(seed=seed), tokenizer, inputs, "random").scores for seed in (0, 1))
    assert same == attribute(explainers, tokenizer, inputs, "random").scores
    assert all(a != b for a, b in zip(same, others, strict=True))
    features = {"input_ids": torch.tensor([[5, 6, 0]]), "attention_mask": torch.tensor([[1, 1, 0]])}
    padded = random(explainers, features)
    assert padded[0, 2] == 0 and padded[0, 0] != padded[0, 1]


def test_kernel_shap_draws_by_the_seed(explainers, tokenizer, inputs):
    same, other = (
        attribute(explainers._replace(seed=seed), tokenizer, inputs[:1], "kernel_shap").scores for seed in (0, 1)
    )
    assert same != other and np.corrcoef(same[0], other[0])[0, 1] > 0.9


def test_stability_is_of_explanations_of_the_same_class(explainers, tokenizer):
    texts = sentences(60)
    inputs = [dict(tokenizer(text, return_special_tokens_mask=True)) for text in texts]
    scores = attribute(explainers, tokenizer, inputs, "loo").scores
    found = extended(explainers, tokenizer, inputs, scores, PRESETS["hf_diffmask"], "loo")["stability"]
    changed, tokens = zip(*(perturbed(one, tokenizer, seed=0) for one in inputs), strict=True)
    base = explainers.trained.base

    def classes(side):
        with torch.no_grad():
            return [int(base(torch.tensor([one["input_ids"]])).logits.argmax()) for one in side]

    same = [a == b for a, b in zip(classes(inputs), classes(changed), strict=True)]
    assert 0 < sum(same) < 60
    others = attribute(explainers, tokenizer, changed, "loo").scores
    expected = [
        spearmanr([v for v, t in zip(a, c, strict=True) if t], [v for v, t in zip(b, c, strict=True) if t]).statistic
        for a, b, c, keep in zip(scores, others, tokens, same, strict=True)
        if keep
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_inputs_without_a_ranking_are_counted(explainers, tokenizer, inputs):
    """All gates are open: every token has the score 1, so the order of the text decides."""
    with torch.no_grad():
        explainers.trained.probes.out_weight.zero_()
        explainers.trained.probes.out_bias.fill_(50.0)
    said = attribute(explainers, tokenizer, inputs, "diffmask").scores
    scores, replaced = rankable(inputs, said, PRESETS["hf_diffmask"])
    assert replaced == 3, "all inputs except the one with a single token, which needs no ranking"
    assert scores[1] == sorted(scores[1], reverse=True) and len(set(scores[1])) == len(scores[1])
    below = [[-1.0 - position for position in range(len(of_input))] for of_input in said]
    assert rankable(inputs, below, PRESETS["hf_diffmask"]) == (below, 0)
    scores, replaced = rankable(inputs, below, PRESETS["ferret"])
    assert replaced == len(inputs) and min(map(min, scores)) > 0


def test_figures_and_their_means(explainers, tokenizer, inputs):
    scores = attribute(explainers, tokenizer, inputs, "loo").scores
    values = measured(explainers, tokenizer, inputs, scores, PRESETS["hf_diffmask"])
    expected = [measures(curve) for curve in curves(explainers.trained.base, tokenizer, inputs, scores)]
    for name, of_figure in values.items():
        np.testing.assert_allclose(of_figure, [row[name] for row in expected])
        found = summary(values)[name]
        assert found["mean"] == pytest.approx(np.mean([row[name] for row in expected]))
        assert found["low"] <= found["mean"] <= found["high"]


def test_intervals():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    low, high = interval(values)
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))  # normal approximation
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
    assert interval(values) == (low, high) and interval(values, seed=1) != (low, high)
    assert interval(np.zeros(5)) == (0.0, 0.0)
