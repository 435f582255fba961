"""LDS and R2 against SciPy, plain loops and models whose answer is known."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import spearmanr

from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.datamodel import explained_variance, kept_sums, lds, squared_errors

EVERY = np.array(list(itertools.product([False, True], repeat=4)))
SCORES = [0.5, -1.0, 2.0, 0.25]


def drawn(count, units, seed=0):
    return np.random.default_rng(seed).random((count, units)) < 0.5


def test_lds_against_scipy_with_many_ties():
    rng = np.random.default_rng(1)
    for units in (3, 6, 11):
        scores, masks = rng.integers(-2, 3, units).astype(float), drawn(64, units, units)
        values = rng.normal(size=64).round(1)
        sums = [sum(score for score, kept in zip(scores, mask, strict=True) if kept) for mask in masks]
        assert len(set(sums)) < 64 and len(set(values)) < 64, "ranks tie"
        assert lds(scores, masks, values) == pytest.approx(spearmanr(sums, values).statistic)


def test_scores_of_a_linear_model_are_perfect():
    values = [3.0 + sum(SCORES[k] for k in range(4) if mask[k]) for mask in EVERY]
    assert lds(SCORES, EVERY, values) == pytest.approx(1.0)
    assert explained_variance([squared_errors(SCORES, EVERY, values)]) == pytest.approx(1.0)
    assert lds([-score for score in SCORES], EVERY, values) == pytest.approx(-1.0)
    twice = [2 * score for score in SCORES]
    assert lds(twice, EVERY, values) == pytest.approx(1.0), "only ranks count"
    assert explained_variance([squared_errors(twice, EVERY, values)]) == pytest.approx(0.0), "sizes count, too"


def test_explained_variance_is_a_plain_loop_over_inputs_and_masks():
    rng, errors, off, deviation = np.random.default_rng(2), [], 0.0, 0.0
    for number in range(3):
        scores, masks, values = rng.normal(size=5), drawn(16, 5, number), rng.normal(size=16)
        errors.append(squared_errors(scores, masks, values))
        sums = [sum(scores[k] for k in range(5) if mask[k]) for mask in masks]
        for one, value in zip(sums, values, strict=True):
            off += ((value - sum(values) / 16) - (one - sum(sums) / 16)) ** 2
            deviation += (value - sum(values) / 16) ** 2
    assert explained_variance(errors) == pytest.approx(1 - off / deviation)


def test_equal_sums_tie_whatever_the_order_of_the_units():
    scores = [0.1, 0.2, 0.3, 0.3, 0.2, 0.1]
    assert (0.1 + 0.2) + 0.3 != (0.3 + 0.2) + 0.1
    masks = drawn(64, 6)
    exact = [sum(Fraction(scores[k]) for k in range(6) if mask[k]) for mask in masks]
    values = list(range(64))
    assert lds(scores, masks, values) == pytest.approx(spearmanr([float(one) for one in exact], values).statistic)
    assert len(set(kept_sums(scores, masks))) == len({float(one) for one in exact})


def test_special_tokens_have_no_part():
    masks = np.concatenate([np.zeros((16, 1), dtype=bool), EVERY, np.zeros((16, 1), dtype=bool)], axis=1)
    values = np.arange(16.0)
    for outer in (7.0, math.nan, None):
        assert lds([outer, *SCORES, outer], masks, values) == lds(SCORES, EVERY, values)
        assert squared_errors([outer, *SCORES, outer], masks, values) == squared_errors(SCORES, EVERY, values)


def test_masks_without_a_finite_value_do_not_count():
    values = np.random.default_rng(3).normal(size=16)
    broken = values.copy()
    broken[[2, 5, 11]] = math.nan, math.inf, -math.inf
    rest = [k for k in range(16) if k not in (2, 5, 11)]
    assert lds(SCORES, EVERY, broken) == pytest.approx(lds(SCORES, EVERY[rest], values[rest]))
    assert squared_errors(SCORES, EVERY, broken) == pytest.approx(squared_errors(SCORES, EVERY[rest], values[rest]))


def test_inputs_without_ranks_are_left_out():
    two = EVERY[:, :2]
    assert lds([1.0, 2.0], two, np.arange(16.0)) is None and squared_errors([1.0, 2.0], two, np.arange(16.0)) is None
    for values in ([1.5] * 16, [math.nan] * 16, [1.0] + [math.nan] * 15):
        assert lds(SCORES, EVERY, values) is None and squared_errors(SCORES, EVERY, values) is None
    nothing = [0.0] * 4
    assert lds(nothing, EVERY, np.arange(16.0)) is None
    assert explained_variance([squared_errors(nothing, EVERY, np.arange(16.0))]) == 0.0, "a prediction, if a poor one"


@pytest.mark.parametrize(
    ("scores", "values", "message"),
    [
        ([1.0, 2.0], np.arange(16.0), "2 scores for 4 units"),
        ([1.0, 2.0, math.nan, 1.0], np.arange(16.0), "A score is not finite"),
        ([1.0, 2.0, None, 1.0], np.arange(16.0), "A score is not finite"),
        (SCORES, np.arange(15.0), "15 values for 16 masks"),
    ],
)
def test_what_does_not_match(scores, values, message):
    for measure in (lds, squared_errors):
        with pytest.raises(DiffMaskError, match=message):
            measure(scores, EVERY, values)


def test_no_input():
    with pytest.raises(DiffMaskError, match="no input to measure"):
        explained_variance([])
