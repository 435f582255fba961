"""The metrics, loaded as users load them: hand-computed examples, other libraries' values, and the trainer's own."""

import doctest
import math
from pathlib import Path

import evaluate
import numpy as np
import pytest
import torch
from scipy.special import rel_entr

import hf_diffmask
from hf_diffmask.bounds import bounds
from hf_diffmask.data import TextFeatures, collate, features_of_ids
from hf_diffmask.demo import sentences
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.faithfulness import PRESETS, Preset, areas, curves, mean_measures, measures
from hf_diffmask.soft_faithfulness import soft_measures
from hf_diffmask.validation import measure, table_of_states

NAMES = sorted(path.name for path in Path(hf_diffmask.METRICS).iterdir() if (path / f"{path.name}.py").is_file())


@pytest.fixture(params=NAMES)
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
    with pytest.raises(ValueError, match="of the same classes"):
        metric.compute(predictions=[[0.2, 0.8]], references=[[0.2, 0.3, 0.5]])


@pytest.mark.parametrize(
    ("masked", "whole"),
    [([[0.5, 0.5]], [[math.nan, math.nan]]), ([[5.0, 5.0]], [[1.0, 0.2]]), ([[1.1, -0.1]], [[0.5, 0.5]])],
)
def test_divergence_is_of_probabilities(masked, whole):
    with pytest.raises(ValueError, match="Rows must be probabilities"):
        evaluate.load(f"{hf_diffmask.METRICS}/divergence").compute(predictions=masked, references=whole, margin=0.1)


def test_no_input_at_all_and_rows_that_do_not_match():
    with pytest.raises(ValueError, match="no input to compare"):
        evaluate.load(f"{hf_diffmask.METRICS}/stability").compute(predictions=[], references=[])
    with pytest.raises(ValueError, match="Input 1: there are 3 masks and 2 marks"):
        kept_share = evaluate.load(f"{hf_diffmask.METRICS}/sparsity")
        kept_share.compute(predictions=[[1], [1, 0, 1]], references=[[0], [0, 0]])


def test_keep_probabilities_are_no_masks():
    with pytest.raises(ValueError, match="0 or 1: cut keep probabilities"):
        metric = evaluate.load(f"{hf_diffmask.METRICS}/sparsity")
        metric.compute(predictions=[[0.1, 0.9]], references=[[0, 0]])


def test_words_that_have_no_token_are_no_special_tokens(tokenizer):
    """As `encode` has it, from the text; a pair cannot be told from its ids."""
    ids = tokenizer(f"the \u2603 film {tokenizer.mask_token}")["input_ids"]
    assert tokenizer.unk_token_id in ids and tokenizer.mask_token_id in ids
    assert features_of_ids(tokenizer, ids)["special_tokens_mask"] == [1, 0, 0, 0, 0, 1]
    with pytest.raises(DiffMaskError, match="ids of a pair"):
        features_of_ids(tokenizer, tokenizer("a warm film", "it was dull")["input_ids"])


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


@pytest.mark.parametrize(
    "name", ["faithfulness", "insertion_deletion", "soft_faithfulness", "normalised_faithfulness"]
)
def test_wrong_scores_and_classes_are_one_sentence_that_names_the_input(name, classifier, tokenizer):
    metric = evaluate.load(f"{hf_diffmask.METRICS}/{name}")
    ids = [tokenizer(text)["input_ids"] for text in ("a warm film", "a dull plot")]
    fine = [0.0, 0.1, 0.9, 0.2, 0.0]

    def refused(second, message, **settings):
        # `evaluate` itself refuses rows of unequal number; ours are of unequal length.
        with pytest.raises(DiffMaskError, match=message):
            metric.compute(
                predictions=[fine, second], references=ids, model=classifier, tokenizer=tokenizer, **settings
            )

    refused([0.1, 0.2], "Input 1: There are 2 scores for 5 tokens")
    refused([0.0, math.nan, 0.1, 0.2, 0.0], "Input 1: A score is not finite")
    refused([0.0, None, 0.1, 0.2, 0.0], "Input 1: A score is not finite")
    refused([0.0, 0.5, 0.5, 0.5, 0.0], "Input 1: All scores are the same")
    refused(fine, "Input 1: There is no class 7: the model has 2", targets=[0, 7])
    refused(fine, "There are classes for 1 inputs, but 2", targets=[0])
    ids[1] = [tokenizer.cls_token_id, tokenizer.sep_token_id]
    refused([0.0, 0.0], "Input 1: There is no token to rank")


def test_metrics_of_faithfulness_are_what_the_functions_say(classifier, tokenizer):
    texts = ["the plot is dull !", "superb", "not bad at all"]
    ids = [tokenizer(text)["input_ids"] for text in texts]
    scores = [np.random.default_rng(number).normal(size=len(one)).tolist() for number, one in enumerate(ids)]
    inputs = [dict(tokenizer(text, return_special_tokens_mask=True)) for text in texts]

    def computed(name, **settings):
        metric = evaluate.load(f"{hf_diffmask.METRICS}/{name}")
        return metric.compute(predictions=scores, references=ids, model=classifier, tokenizer=tokenizer, **settings)

    every = Preset("pad", None, "ceil")
    expected = mean_measures(areas(curve) for curve in curves(classifier, tokenizer, inputs, scores, every))
    assert computed("insertion_deletion", replacement="pad") == pytest.approx({**expected, "replacement": "pad"})
    soft = [soft_measures(classifier, tokenizer, *pair, seed=3) for pair in zip(inputs, scores, strict=True)]
    assert computed("soft_faithfulness", seed=3) == pytest.approx({**mean_measures(soft), "left_out": 0})
    without_scale = computed("soft_faithfulness", seed=3, targets=[0, 0, 0])
    assert 0 < without_scale["left_out"] < 3
    within = computed("normalised_faithfulness", preset="eraser", beam=100)
    raw = computed("faithfulness", preset="eraser")
    ends = [bounds(classifier, tokenizer, one, PRESETS["eraser"], beam=100) for one in inputs]
    found = [measures(curve) for curve in curves(classifier, tokenizer, inputs, scores, "eraser")]
    shares = [
        (one["comprehensiveness"] - end.low) / (end.high - end.low) if end.high > end.low else 1.0
        for one, end in zip(found, ends, strict=True)
    ]
    assert within["comprehensiveness"] == pytest.approx(np.mean(shares))
    assert raw["comprehensiveness"] == pytest.approx(np.mean([one["comprehensiveness"] for one in found]))
