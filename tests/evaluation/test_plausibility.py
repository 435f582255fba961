"""Plausibility, checked by hand and by brute force, and its refusals."""

import math

import numpy as np
import pytest

from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.plausibility import (
    Rationale,
    auprc,
    first_tokens,
    iou_f1,
    plausibility,
    rationale,
    spans,
    token_f1,
)


def test_by_hand():
    chosen, marked = [True, True, False, True, False, False], [False, True, True, True, False, False]
    assert token_f1(chosen, marked) == pytest.approx(2 / 3)
    assert spans(chosen) == [(0, 2), (3, 4)] and spans(marked) == [(1, 4)]
    assert iou_f1(chosen, marked) == 0.0, "both spans have an IoU of at most 1/3: no match"
    assert iou_f1([False, True, True, False, False, True], marked) == pytest.approx(2 / 3), "precision 1/2, recall 1/1"
    assert iou_f1([True, True, False, True, True], [True] * 5) == 0.0
    assert iou_f1(marked, marked) == token_f1(marked, marked) == 1.0
    nothing = [False] * 6
    assert token_f1(nothing, marked) == iou_f1(nothing, marked) == 0.0
    assert spans(nothing) == []


def test_two_halves_of_one_span_are_recalled_once():
    marked, chosen = [True, True, True, True], [True, True, False, True]
    # (0, 2) is half of the union; (3, 4) is a quarter.
    assert iou_f1(chosen, marked) == pytest.approx(2 * 0.5 * 1.0 / 1.5)


def test_area_against_every_threshold():
    generator = np.random.default_rng(0)
    for _ in range(50):
        marked = generator.random(12) < 0.4
        marked[0] = True
        scores = generator.integers(0, 6, 12).astype(float)  # many ties
        area, recalled = 0.0, 0.0
        for threshold in sorted(set(scores), reverse=True):
            passed = scores >= threshold
            recall, precision = (passed & marked).sum() / marked.sum(), (passed & marked).sum() / passed.sum()
            area += (recall - recalled) * precision
            recalled = recall
        assert auprc(Rationale(scores.tolist(), marked.tolist())) == pytest.approx(area)
    assert auprc(Rationale([3.0, 2.0, 1.0], [True, True, False])) == 1.0


def test_means_and_the_share_of_a_hard_rationale():
    one = rationale([9.0, 0.9, 0.8, 0.1, 0.2, 9.0], [False, True, False, False, False, False], [1, 0, 0, 0, 0, 1])
    other = rationale([0.1, 0.2, 0.3, 0.4], [False, False, True, True], [False] * 4)
    assert one == Rationale([0.9, 0.8, 0.1, 0.2], [True, False, False, False])
    found = plausibility([one, other])
    assert found["share"] == pytest.approx((1 / 4 + 1 / 2) / 2)
    # Two tokens for each input: 1.5 rounded up.
    assert first_tokens(one, found["share"]) == [True, True, False, False]
    assert found["token_f1"] == pytest.approx((2 / 3 + 1.0) / 2) and found["auprc"] == 1.0
    assert plausibility([one, other], share=0.25)["token_f1"] == pytest.approx((1.0 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("scores", "marked", "special", "message"),
    [
        ([1.0, 2.0], [True], [False, False], "1 marks for 2 tokens"),
        ([1.0], [True, True], [False, False], "1 scores for 2 tokens"),
        ([1.0, math.nan], [True, False], [False, False], "not finite"),
        ([1.0, 2.0], [False, False], [False, False], "No token is marked"),
        ([1.0, 2.0, 3.0], [False, False, True], [False, False, True], "No token is marked"),
        ([1.0, 1.0], [True, False], [False, False], "All scores are the same"),
        ([1.0, 1.0], [True, False], [True, True], "all tokens are special"),
    ],
)
def test_refusals(scores, marked, special, message):
    with pytest.raises(DiffMaskError, match=message):
        rationale(scores, marked, special)


def test_refusals_of_means():
    with pytest.raises(DiffMaskError, match="no input with a rationale"):
        plausibility([])
    with pytest.raises(DiffMaskError, match=r"must be in \(0, 1\], but is 1.5"):
        plausibility([Rationale([1.0, 2.0], [True, False])], share=1.5)
