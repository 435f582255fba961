"""Metrics, loaded as users load them, agree with their functions."""

import doctest
import math
from pathlib import Path

import evaluate
import numpy as np
import pytest
import torch

import hf_diffmask
from hf_diffmask.data.encoding import features_of_ids
from hf_diffmask.data.features import TextFeatures, collate
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.ablated import masked_log_odds, scoring_masks
from hf_diffmask.evaluation.bounds import bounds
from hf_diffmask.evaluation.datamodel import explained_variance, lds, squared_errors
from hf_diffmask.evaluation.faithfulness import PRESETS, Preset, areas, curves, mean_measures, measures
from hf_diffmask.evaluation.soft_faithfulness import soft_measures
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training.validation import measure, table_of_states
from tests.helpers import masked_output, recorded_of

NAMES = sorted(path.name for path in Path(hf_diffmask.METRICS).iterdir() if (path / f"{path.name}.py").is_file())


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def test_examples_in_the_descriptions_are_right(name):
    metric = evaluate.load(f"{hf_diffmask.METRICS}/{name}")
    names = {"evaluate": evaluate, "hf_diffmask": hf_diffmask}
    test = doctest.DocTestParser().get_doctest(metric.inputs_description, names, name, None, 0)
    assert test.examples and doctest.DocTestRunner().run(test).failed == 0


def test_no_input_at_all_and_rows_that_do_not_match():
    with pytest.raises(ValueError, match="no input to compare"):
        evaluate.load(f"{hf_diffmask.METRICS}/stability").compute(predictions=[], references=[])
    with pytest.raises(ValueError, match="Input 1: there are 3 masks and 2 marks"):
        kept_share = evaluate.load(f"{hf_diffmask.METRICS}/sparsity")
        kept_share.compute(predictions=[[1], [1, 0, 1]], references=[[0], [0, 0]])


def test_metrics_agree_with_the_table_of_states(explainer, tokenizer):
    features = TextFeatures(tokenizer, sentences(12), 64)
    batch = collate(tokenizer, [features[k] for k in range(12)])
    batch.pop("example_ids")
    row = table_of_states(
        ["last"], measure(explainer, recorded_of(explainer, **batch), [explainer.config.num_states - 1])
    )[0]
    with torch.no_grad():
        output = explainer(**batch)
        kept = output.keep_probability[..., -1] > 0.5
        inputs = {name: value for name, value in batch.items() if name != "special_tokens_mask"}
        masked = masked_output(explainer, kept, **inputs)
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
        # `evaluate` refuses unequal numbers of rows. Here, rows differ in length.
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


@pytest.mark.parametrize("name", ["lds", "explained_variance"])
def test_metrics_under_random_masks_are_what_the_functions_say(name, classifier, tokenizer):
    metric = evaluate.load(f"{hf_diffmask.METRICS}/{name}")
    ids = [tokenizer(text)["input_ids"] for text in ("the plot is dull !", "superb", "not bad at all")]
    inputs = [features_of_ids(tokenizer, one) for one in ids]
    scores = [np.random.default_rng(number).normal(size=len(one)).tolist() for number, one in enumerate(ids)]
    given = {"references": ids, "model": classifier, "tokenizer": tokenizer, "replacement": "pad", "masks": 20}
    found = metric.compute(predictions=scores, targets=[1, 1, 1], seed=3, **given)
    log_odds = masked_log_odds(classifier, tokenizer, inputs, ["pad"], [1, 1, 1], seed=3, count=20)["pad"]
    rows = [(scores[k], scoring_masks(inputs[k], k, seed=3, count=20), log_odds[k]) for k in (0, 2)]
    expected = {
        "lds": ("lds", np.mean([lds(*row) for row in rows])),
        "explained_variance": ("r2", explained_variance([squared_errors(*row) for row in rows])),
    }[name]
    assert found == {expected[0]: pytest.approx(expected[1]), "left_out": 1, "replacement": "pad"}

    def refused(message, predictions=scores, **settings):
        with pytest.raises(DiffMaskError, match=message):
            metric.compute(predictions=predictions, **{**given, **settings})

    refused("Input 1: There are 2 scores for 3 units", [scores[0], [0.0, 1.0], scores[2]])
    refused("Input 2: A score is not finite", [*scores[:2], [math.nan] * len(ids[2])])
    refused("Input 1: There is no class 7", targets=[0, 7, 0])
    refused("take at least 2 masks for each input, not 1", masks=1)
    refused("must be one of mask, pad", replacement="blank")
    with pytest.raises(DiffMaskError, match="No input can be measured: each has fewer than 3 tokens"):
        metric.compute(predictions=[scores[1]], **{**given, "references": [ids[1]]})
