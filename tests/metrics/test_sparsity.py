"""The sparsity metric refuses inputs without an answer."""

import evaluate
import pytest

import hf_diffmask


def test_sparsity_refuses_what_has_no_answer():
    metric = evaluate.load(f"{hf_diffmask.METRICS}/sparsity")
    with pytest.raises(ValueError, match="all tokens are special"):
        metric.compute(predictions=[[1, 1]], references=[[1, 1]])
    with pytest.raises(ValueError):
        metric.compute(predictions=[[1, 1, 0]], references=[[1, 0]])


def test_keep_probabilities_are_no_masks():
    with pytest.raises(ValueError, match="0 or 1: cut keep probabilities"):
        metric = evaluate.load(f"{hf_diffmask.METRICS}/sparsity")
        metric.compute(predictions=[[0.1, 0.9]], references=[[0, 0]])
