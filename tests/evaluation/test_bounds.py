"""Bounds of faithfulness, checked against every possible ranking."""

import itertools

import pytest

from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.bounds import Bounds, bounds, reached
from hf_diffmask.evaluation.faithfulness import PRESETS, Preset, curves, measures

PRESET = Preset("mask", (0.2, 0.5, 0.8), "ceil")


@pytest.mark.parametrize("text", ["the plot is dull !", "superb", "not bad at all"])
@pytest.mark.parametrize("preset", [PRESET, PRESETS["time_interpret"], Preset("delete", None, "ceil")])
def test_a_wide_beam_finds_the_best_and_the_worst_of_all_rankings(classifier, tokenizer, text, preset):
    features = dict(tokenizer(text, return_special_tokens_mask=True))
    tokens = len(features["input_ids"]) - 2
    if not preset.takes_away(tokens):
        with pytest.raises(DiffMaskError, match="too few tokens"):
            bounds(classifier, tokenizer, features, preset)
        return
    rankings = [[0.0, *map(float, order), 0.0] for order in itertools.permutations(range(tokens))]
    every = [measures(curve) for curve in curves(classifier, tokenizer, [features] * len(rankings), rankings, preset)]
    for measure in ("comprehensiveness", "sufficiency"):
        values = [found[measure] for found in every]
        found = bounds(classifier, tokenizer, features, preset, measure, beam=1000)
        assert found == pytest.approx((min(values), max(values)), abs=1e-5)
        narrow = bounds(classifier, tokenizer, features, preset, measure, beam=1)
        assert found.low - 1e-6 <= narrow.low and narrow.high <= found.high + 1e-6


def test_bounds_of_another_class(classifier, tokenizer):
    features = dict(tokenizer("the plot is dull !", return_special_tokens_mask=True))
    ours, other = (bounds(classifier, tokenizer, features, PRESET, choice=choice) for choice in (0, 1))
    assert ours.high == pytest.approx(-other.low, abs=1e-5), "with two classes, one gains as much as the other loses"


def test_reached():
    assert reached(0.2, Bounds(0.1, 0.5)) == pytest.approx(0.25)
    assert reached(0.2, Bounds(0.1, 0.5), lower_is_better=True) == pytest.approx(0.75)
    assert reached(0.5, Bounds(0.1, 0.5)) == 1.0 and reached(0.1, Bounds(0.1, 0.5)) == 0.0
    assert reached(0.2, Bounds(0.2, 0.2)) == reached(0.2, Bounds(0.2, 0.2), lower_is_better=True) == 1.0


def test_refusals(classifier, tokenizer):
    features = dict(tokenizer("a warm film", return_special_tokens_mask=True))
    with pytest.raises(DiffMaskError, match="not for 'log_odds'"):
        bounds(classifier, tokenizer, features, PRESET, "log_odds")
    with pytest.raises(DiffMaskError, match="leaves tokens out by their score"):
        bounds(classifier, tokenizer, features, PRESETS["ferret"])
    with pytest.raises(DiffMaskError, match="all tokens are special"):
        bounds(classifier, tokenizer, {**features, "special_tokens_mask": [1] * 5}, PRESET)
