"""The faithfulness metric gives the figures of its function."""

import evaluate
import pytest
import torch

import hf_diffmask
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.faithfulness import PRESETS, curves, mean_measures, measures

TEXTS = ["the plot is dull and the cast looks tired of it", "a warm film", "not bad at all", "wonderful"]


def features(tokenizer, text):
    return dict(tokenizer(text, return_special_tokens_mask=True))


@pytest.fixture
def inputs(tokenizer):
    return [features(tokenizer, text) for text in TEXTS]


@pytest.fixture
def scores(inputs):
    return [torch.rand(len(one["input_ids"])).tolist() for one in inputs]


def test_the_metric_is_the_function(classifier, tokenizer, inputs, scores):
    metric = evaluate.load(f"{hf_diffmask.METRICS}/faithfulness")
    for preset in PRESETS:
        long_enough = [k for k, one in enumerate(inputs) if PRESETS[preset].takes_away(len(one["input_ids"]) - 2)]
        some, ranks = [inputs[k] for k in long_enough], [scores[k] for k in long_enough]
        if len(some) < len(inputs):
            with pytest.raises(DiffMaskError, match="too few tokens"):
                curves(classifier, tokenizer, inputs, scores, preset)
        found = metric.compute(
            predictions=ranks, references=[one["input_ids"] for one in some], model=classifier,
            tokenizer=tokenizer, preset=preset,
        )  # fmt: skip
        expected = mean_measures(measures(curve) for curve in curves(classifier, tokenizer, some, ranks, preset))
        assert found.pop("preset") == preset and found == pytest.approx(expected)
