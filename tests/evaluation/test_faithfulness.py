"""Faithfulness, checked against figures by hand, published definitions and brute force."""

import itertools
import math

import numpy as np
import pytest
import torch

from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.faithfulness import PRESETS, Curve, Preset, areas, curves, mean_measures, measures, ranking

TEXTS = ["the plot is dull and the cast looks tired of it", "a warm film", "not bad at all", "wonderful"]
EVERY = Preset("mask", None, "ceil")


def features(tokenizer, text):
    return dict(tokenizer(text, return_special_tokens_mask=True))


@pytest.fixture
def inputs(tokenizer):
    return [features(tokenizer, text) for text in TEXTS]


@pytest.fixture
def scores(inputs):
    return [torch.rand(len(one["input_ids"])).tolist() for one in inputs]


@torch.no_grad()
def probability(model, ids, target):
    return model(input_ids=torch.tensor([ids])).logits.softmax(-1)[0, target].item()


def test_ranking_leaves_special_tokens_out_and_puts_the_first_of_equals_first():
    assert ranking([9.0, 1.0, 3.0, 3.0, -2.0, 9.0], [True, False, False, False, False, True]) == [2, 3, 1, 4]
    assert ranking([5.0, 1.0], [True, False]) == [1], "a single token is first with any score"


@pytest.mark.parametrize(
    ("scores", "special", "message"),
    [
        ([1.0], [False, False], "1 scores for 2 tokens"),
        ([1.0, math.nan], [False, False], "not finite"),
        ([1.0, math.inf], [False, False], "not finite"),
        ([1.0, 2.0], [True, True], "all tokens are special"),
        ([0.0, 0.0, 7.0], [False, False, True], "All scores are the same"),
    ],
)
def test_rankings_that_are_none(scores, special, message):
    with pytest.raises(DiffMaskError, match=message):
        ranking(scores, special)


def test_sizes_of_bins():
    ours = PRESETS["hf_diffmask"]
    assert ours.sizes(10) == [(1, 1), (2, 2), (3, 3), (5, 5)]
    assert ours.sizes(7) == [(1, 1), (2, 2), (3, 3), (4, 4)] and ours.sizes(1) == [(1, 1)] * 4
    assert PRESETS["time_interpret"].sizes(12) == [(2, 3)] and PRESETS["time_interpret"].sizes(4) == [(0, 1)]
    assert EVERY.sizes(3) == [(1, 1), (2, 2), (3, 3)]
    for count, share in itertools.product(range(1, 200), (0.01, 0.05, 0.07, 0.1, 0.2, 0.3, 0.5)):
        (size, _), *_ = Preset("mask", (share,), "ceil").sizes(count)
        hundredths = count * round(100 * share)  # whole numbers, exactly
        assert size == -(-hundredths // 100)


def test_figures_by_hand():
    """Three bins: the probability of 0.9 falls to 0.6, 0.4, 0.1 without a bin; the bin alone gives 0.3, 0.95, 0.9."""
    removed, kept = np.array([0.6, 0.4, 0.1]), np.array([0.3, 0.95, 0.9])
    pair = lambda p: np.stack([1 - p, p], axis=-1)  # noqa: E731
    curve = Curve(1, np.array([0.25, 0.5, 1.0]), pair(np.array(0.9)), pair(removed), pair(kept))
    found = measures(curve)
    assert found["comprehensiveness"] == pytest.approx((0.3 + 0.5 + 0.8) / 3)
    assert found["sufficiency"] == pytest.approx((0.6 - 0.05 + 0.0) / 3)
    assert found["log_odds"] == pytest.approx((math.log(0.6) + math.log(0.4) + math.log(0.1)) / 3 - math.log(0.9))
    assert found["flip_share"] == 0.5
    assert areas(curve)["deletion"] == pytest.approx(0.25 * 0.75 + 0.25 * 0.5 + 0.5 * 0.25)
    assert areas(curve)["insertion"] == pytest.approx(0.25 * 0.2 + 0.25 * 0.625 + 0.5 * 0.925)
    stays = curve._replace(removed=pair(np.array([0.8, 0.7, 0.6])))
    assert measures(stays)["flip_share"] == 1.0
    assert mean_measures([found, measures(stays)])["flip_share"] == 0.75
    with pytest.raises(DiffMaskError, match="bins up to all tokens"):
        areas(curve._replace(shares=np.array([0.1, 0.2, 0.5])))
    with pytest.raises(DiffMaskError, match="no input"):
        mean_measures([])


def test_our_preset_against_brute_force(classifier, tokenizer, inputs, scores):
    found = curves(classifier, tokenizer, inputs, scores, batch_size=3)
    for one, of_input, curve in zip(inputs, scores, found, strict=True):
        ids = one["input_ids"]
        order = sorted(range(1, len(ids) - 1), key=lambda k: of_input[k], reverse=True)
        with torch.no_grad():
            target = classifier(input_ids=torch.tensor([ids])).logits.argmax().item()
        assert curve.choice == target
        for number, share in enumerate((0.1, 0.2, 0.3, 0.5)):
            first = order[: math.ceil(round(share * len(order), 6))]
            without = [tokenizer.mask_token_id if k in first else token for k, token in enumerate(ids)]
            alone = [
                token if k in (0, len(ids) - 1, *first) else tokenizer.mask_token_id for k, token in enumerate(ids)
            ]
            assert curve.removed[number, target] == pytest.approx(probability(classifier, without, target), abs=1e-5)
            assert curve.kept[number, target] == pytest.approx(probability(classifier, alone, target), abs=1e-5)
            assert curve.shares[number] == len(first) / len(order)


def test_the_preset_ferret_as_its_package_does_it(classifier, tokenizer, inputs):
    """Tenths of the tokens, rounded down; only scores above 0 are deleted; a bin equal to the last does not count."""
    signed = [torch.randn(len(one["input_ids"])).tolist() for one in inputs[:1]]
    for of_input in ([*signed[0]], [abs(score) for score in signed[0]]):
        one, target = inputs[0], 1
        (curve,) = curves(classifier, tokenizer, [one], [of_input], "ferret", [target])
        ids, inner, inside = one["input_ids"], np.array(one["input_ids"][1:-1]), np.array(of_input[1:-1])
        whole = probability(classifier, ids, target)
        drops, rests, last = [], [], set()
        for tenth in range(1, 11):
            size = len(inner) * tenth // 10
            top = [k for k in inside.argsort()[::-1][:size].tolist() if inside[k] > 0]
            if not top or set(top) == last:
                continue
            last = set(top)
            rest = [ids[0], *np.delete(inner, top).tolist(), ids[-1]]
            alone = [ids[0], *inner[sorted(top)].tolist(), ids[-1]]
            drops.append(whole - probability(classifier, rest, target))
            rests.append(whole - probability(classifier, alone, target))
        assert measures(curve)["comprehensiveness"] == pytest.approx(np.mean(drops), abs=1e-6)
        assert measures(curve)["sufficiency"] == pytest.approx(np.mean(rests), abs=1e-6)
    with pytest.raises(DiffMaskError, match="Input 0: No token has a score above 0"):
        curves(classifier, tokenizer, inputs[:1], [[-abs(score) for score in signed[0]]], "ferret")


def test_the_preset_time_interpret_as_published(classifier, tokenizer):
    """One bin fills the top 20 % with 0; for sufficiency it fills the lowest 80 %. Both are rounded down."""
    one = features(tokenizer, TEXTS[0])
    ids = torch.tensor(one["input_ids"])
    of_input = torch.rand(len(ids) - 2)
    (curve,) = curves(classifier, tokenizer, [one], [[0.0, *of_input.tolist(), 0.0]], "time_interpret")
    inner = ids[1:-1]
    for largest, share, name in ((True, 0.2, "comprehensiveness"), (False, 1.0 - 0.2, "sufficiency")):
        chosen = torch.topk(of_input, int(len(inner) * share), largest=largest).indices
        changed = torch.cat([ids[:1], inner.scatter(0, chosen, 0), ids[-1:]]).tolist()
        drop = probability(classifier, ids.tolist(), curve.choice) - probability(classifier, changed, curve.choice)
        assert measures(curve)[name] == pytest.approx(drop, abs=1e-6)
        if largest:
            whole, rest = (probability(classifier, one, curve.choice) for one in (ids.tolist(), changed))
            assert measures(curve)["log_odds"] == pytest.approx(math.log(rest / whole), abs=1e-5)
    assert tokenizer.pad_token_id == 0


def test_a_better_ranking_does_better(classifier, tokenizer):
    """Leave-one-out beats its reversed ranking with every preset."""
    one = features(tokenizer, "the film is dull and boring")
    ids = one["input_ids"]
    with torch.no_grad():
        target = classifier(input_ids=torch.tensor([ids])).logits.argmax().item()
    whole = probability(classifier, ids, target)
    loo = [
        whole - probability(classifier, [*ids[:k], tokenizer.mask_token_id, *ids[k + 1 :]], target)
        for k in range(len(ids))
    ]
    for preset in PRESETS:
        # All scores are above 0, because one preset ignores other scores.
        ahead, behind = [score + 2.0 for score in loo], [2.0 - score for score in loo]
        good, bad = curves(classifier, tokenizer, [one] * 2, [ahead, behind], preset)
        good, bad = measures(good), measures(bad)
        assert good["comprehensiveness"] > bad["comprehensiveness"] and good["sufficiency"] < bad["sufficiency"]
        assert good["log_odds"] < bad["log_odds"] and good["flip_share"] <= bad["flip_share"]


def test_refusals_name_the_input(classifier, tokenizer, inputs, scores):
    broken = [*scores[:2], [math.nan] * len(scores[2]), scores[3]]
    with pytest.raises(DiffMaskError, match="Input 2: A score is not finite"):
        curves(classifier, tokenizer, inputs, broken)
    with pytest.raises(DiffMaskError, match="Input 1: There is no class 2: the model has 2"):
        curves(classifier, tokenizer, inputs, scores, choices=[0, 2, 0, 0])
    with pytest.raises(DiffMaskError, match=r"must be one of hf_diffmask, eraser, .* but is 'mine'"):
        curves(classifier, tokenizer, inputs, scores, "mine")
    with pytest.raises(DiffMaskError, match="scores for 3 inputs, but 4 inputs"):
        curves(classifier, tokenizer, inputs, scores[:3])
