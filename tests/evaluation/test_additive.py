"""LDS and R2 of a method, against loops over inputs and a linear model."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from hf_diffmask.evaluation.ablated import scoring_masks
from hf_diffmask.evaluation.additive import additive_figures

LENGTHS = (6, 4, 9, 5)
INPUTS = [{"special_tokens_mask": [1, *[0] * length, 1]} for length in LENGTHS]
GROUPS = {"unseen": ["mask", "delete"], "seen": ["attention"]}


@pytest.fixture
def drawn():
    """Scores, and values that are their sums with noise that grows from replacement to replacement."""
    rng = np.random.default_rng(0)
    scores = [rng.normal(size=length + 2).tolist() for length in LENGTHS]
    values = {}
    for size, name in enumerate(["mask", "attention", "delete"]):
        sums = [scoring_masks(one, k) @ np.array(scores[k]) for k, one in enumerate(INPUTS)]
        values[name] = np.array([3 + row + size * rng.normal(size=64) for row in sums])
    return scores, values


def test_figures_are_means_over_inputs(drawn):
    scores, values = drawn
    found = additive_figures(INPUTS, scores, values, GROUPS, True)
    by_hand, variance = {}, {}
    for name, of_inputs in values.items():
        rows = [(scoring_masks(one, k) @ np.array(scores[k]), of_inputs[k]) for k, one in enumerate(INPUTS)]
        by_hand[name] = [spearmanr(*row).statistic for row in rows]
        off = sum((((v - v.mean()) - (s - s.mean())) ** 2).sum() for s, v in rows)
        variance[name] = off, sum(((v - v.mean()) ** 2).sum() for _, v in rows)
        lds, r2 = (found[figure]["by_replacement"][name] for figure in ("lds", "r2"))
        assert lds["mean"] == pytest.approx(np.mean(by_hand[name])) and lds["low"] <= lds["mean"] <= lds["high"]
        assert r2["mean"] == pytest.approx(1 - off / variance[name][1]) and r2["low"] <= r2["mean"] <= r2["high"]
        assert lds["inputs"] == r2["inputs"] == 4 and lds["left_out"] == r2["left_out"] == 0
    unseen = np.mean([by_hand["mask"], by_hand["delete"]])
    assert found["lds"]["unseen"]["mean"] == pytest.approx(unseen)
    assert found["lds"]["seen"] == found["lds"]["by_replacement"]["attention"]
    off, whole = (sum(variance[name][k] for name in GROUPS["unseen"]) for k in (0, 1))
    assert found["r2"]["unseen"]["mean"] == pytest.approx(1 - off / whole)
    assert found["lds"]["by_replacement"]["mask"]["mean"] == pytest.approx(1.0), "no noise: a linear model"
    assert found["r2"]["by_replacement"]["mask"]["mean"] == pytest.approx(1.0)


def test_scores_that_are_no_log_odds_have_no_r2(drawn):
    scores, values = drawn
    found = additive_figures(INPUTS, scores, values, {"unseen": ["mask"]}, False)
    assert found["r2"] is None and found["lds"].keys() == {"by_replacement", "unseen"}


def test_inputs_that_rank_nothing_are_left_out_and_counted(drawn):
    scores, values = drawn
    expected = additive_figures(INPUTS, scores, values, GROUPS, False)["lds"]["by_replacement"]["attention"]
    flat = [*scores[:3], [0.0] * 7]
    values["mask"][1] = 2.5
    found = additive_figures(INPUTS, flat, values, GROUPS, True)
    counts = {name: (one["inputs"], one["left_out"]) for name, one in found["lds"]["by_replacement"].items()}
    assert counts == {"mask": (2, 2), "attention": (3, 1), "delete": (3, 1)}
    assert (found["lds"]["unseen"]["inputs"], found["lds"]["unseen"]["left_out"]) == (2, 2)
    assert found["r2"]["by_replacement"]["mask"]["left_out"] == 1, "scores of 0 predict something"
    assert found["lds"]["by_replacement"]["attention"]["mean"] != expected["mean"]
    short = [{"special_tokens_mask": [1, 0, 0, 1]}]
    nothing = additive_figures(short, [[0.0, 1.0, 2.0, 0.0]], {"mask": np.random.rand(1, 64)}, {}, True)
    assert nothing["lds"] == nothing["r2"] == {"by_replacement": {"mask": {"inputs": 0, "left_out": 1}}}
