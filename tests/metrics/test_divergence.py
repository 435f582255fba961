"""The divergence metric agrees with SciPy, also if the divergence is infinite."""

import math

import evaluate
import numpy as np
import pytest
from scipy.special import rel_entr

import hf_diffmask


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
