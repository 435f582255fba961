"""Rank correlation is checked against SciPy; perturbed inputs follow the settings."""

import math

import pytest
from scipy.stats import spearmanr

from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.stability import perturbed, rank_correlation


def test_rank_correlation_against_scipy():
    one, other = [0.1, 0.9, 0.9, 0.3, -1.0, 0.2], [3.0, 1.0, 2.0, 2.0, 0.0, 7.0]
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert rank_correlation(one, [score**3 for score in one]) == pytest.approx(1.0), "only ranks count"
    assert rank_correlation(one, [-score for score in one]) == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("scores", "others", "message"),
    [
        ([1.0, 2.0], [1.0], "2 scores on one side and 1 on the other"),
        ([1.0], [2.0], "One token alone"),
        ([1.0, 1.0], [1.0, 2.0], "All scores are the same"),
        ([1.0, 2.0], [1.0, math.nan], "not finite"),
    ],
)
def test_what_has_no_ranks(scores, others, message):
    with pytest.raises(DiffMaskError, match=message):
        rank_correlation(scores, others)


def test_perturbed_inputs_differ_in_as_many_tokens_as_asked(tokenizer):
    features = dict(tokenizer("the plot is dull and the cast looks tired of it", return_special_tokens_mask=True))
    ids, count = features["input_ids"], len(features["input_ids"]) - 2
    for share in (0.1, 0.5):
        changed, comparable = perturbed(features, tokenizer, share)
        gone = [k for k, (a, b) in enumerate(zip(ids, changed["input_ids"], strict=True)) if a != b]
        assert len(gone) == math.ceil(share * count) and all(
            changed["input_ids"][k] == tokenizer.mask_token_id for k in gone
        )
        assert comparable == [k not in (0, count + 1, *gone) for k in range(count + 2)]
    assert perturbed(features, tokenizer, 0.1) == perturbed(features, tokenizer, 0.1)
    draws = {tuple(perturbed(features, tokenizer, 0.1, seed)[0]["input_ids"]) for seed in range(20)}
    assert len(draws) > 3 and features["input_ids"] == ids
