"""Distance of masked inputs, checked on masks with a known distance."""

import pytest
import torch

from hf_diffmask.audit.distribution import distance
from hf_diffmask.audit.explained import explain_inputs
from hf_diffmask.data.features import TextFeatures
from tests.audit.helpers import MANY


def test_distance_of_masked_inputs(explainer, tokenizer):
    """Whole inputs have the usual distance; inputs with one vector for all words are farther away."""
    inputs = TextFeatures(tokenizer, MANY, 64).items
    texts = range(len(inputs))
    whole = [found._replace(kept=[True] * len(found.kept)) for found in explain_inputs(explainer, tokenizer, inputs)]
    figures = distance(explainer, tokenizer, inputs, whole, texts).figures
    assert figures["quantile"] == pytest.approx(0.5, abs=0.01) and figures["median_over_usual"] == pytest.approx(1.0)
    assert figures["quantile_mask_token"] == figures["quantile"], "nothing is replaced"
    with torch.no_grad():
        explainer.baseline.normal_(std=5.0)
    nothing = [
        found._replace(kept=[bool(mark) for mark in features["special_tokens_mask"]])
        for found, features in zip(whole, inputs, strict=True)
    ]
    far = distance(explainer, tokenizer, inputs, nothing, texts)
    assert far.verdict == "fail" and far.figures["quantile"] == 1.0, far
