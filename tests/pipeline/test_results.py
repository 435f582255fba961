"""A result says what its windows say."""

import pytest
import torch
from transformers import pipeline

import hf_diffmask
from hf_diffmask.pipeline.results import figures, read, result_of
from hf_diffmask.tasks.words import Check
from tests.helpers import path_pipeline

TEXT = "a warm and quietly funny film"


@pytest.fixture
def explain(classifier, tokenizer):
    return path_pipeline(classifier, tokenizer)


def windows_of(explain, **options):
    """Explanations of the text's one window, as the pipeline makes them."""
    encoded = hf_diffmask.data.encoding.encode(explain.tokenizer, TEXT)
    return [explain._forward(window, **options) for window in explain.preprocess(encoded)]


def test_the_result_of_the_pipeline(explain):
    with torch.no_grad():
        windows = windows_of(explain)
        assert dict(result_of(explain.model, windows)) == dict(explain(TEXT))
        asked = result_of(explain.model, windows_of(explain, label=0), 0, margin=0.3)
    assert asked["explained_label"] == "NEGATIVE" and asked["margin"] == 0.3


def test_without_a_masked_pass_there_is_no_check(explain):
    with torch.no_grad():
        windows = windows_of(explain, verify=False)
    prediction, check = read(explain.model, windows)
    assert check is None and set(prediction) == {"label", "score"}
    result = result_of(explain.model, windows)
    assert result["certificate"] == "not checked" and "divergence" not in result and "within_margin" not in result


def test_the_figures_name_the_cost(explain, explainer, tokenizer):
    check = Check(0.25, True, 0.125)
    assert figures(explain.model, check) == {"divergence": 0.25, "same_prediction": True, "drop": 0.125}
    whole = pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer, device="cpu")
    assert figures(whole.model, check) == {"divergence": 0.25, "same_prediction": True}
