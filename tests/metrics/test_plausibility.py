"""Errors of the plausibility and stability metrics name the wrong input."""

import evaluate
import pytest

import hf_diffmask
from hf_diffmask.errors import DiffMaskError


def test_metrics_name_the_input():
    metric = evaluate.load(f"{hf_diffmask.METRICS}/plausibility")
    with pytest.raises(DiffMaskError, match="Input 1: No token is marked"):
        metric.compute(predictions=[[1.0, 2.0], [1.0, 2.0]], references=[[1, 0], [0, -100]])
    stability = evaluate.load(f"{hf_diffmask.METRICS}/stability")
    with pytest.raises(DiffMaskError, match="Input 0: There are 2 scores on one side and 3"):
        stability.compute(predictions=[[1.0, 2.0]], references=[[1.0, 2.0, 3.0]])
    with pytest.raises(DiffMaskError, match="Input 0: All scores are the same"):
        stability.compute(predictions=[[1.0, 2.0]], references=[[1.0, 1.0]])
