"""The user's own mask gives the same result as a run by hand."""

import pytest
import torch
from transformers import pipeline

import hf_diffmask
from hf_diffmask import DiffMaskError
from hf_diffmask.pipeline.what_if import what_if
from tests.helpers import TEXT


@pytest.fixture(scope="module")
def explain():
    return pipeline(hf_diffmask.TASK, model=hf_diffmask.BUNDLED_EXPLAINER)


def test_the_masked_input_is_run_by_hand(explain):
    result = explain(TEXT)
    kept = [number for number, token in enumerate(result["tokens"]) if token["token"] in ("plot", "dull")]
    found = what_if(explain, TEXT, kept)
    base, model = explain.model.base, explain.model
    features = explain.tokenizer(TEXT, return_tensors="pt")
    embeddings = base.get_input_embeddings()(features["input_ids"])
    stays = torch.zeros(embeddings.shape[1], dtype=torch.bool)
    stays[[0, *kept, -1]] = True
    with torch.no_grad():
        masked = torch.where(stays[:, None], embeddings, model.baseline)
        expected = base(inputs_embeds=masked, attention_mask=features["attention_mask"]).logits.softmax(-1)[0]
        whole = base(**features).logits.softmax(-1)[0]
    assert list(found["masked"]["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-6)
    assert list(found["whole"]["probabilities"].values()) == pytest.approx(whole.tolist(), abs=1e-6)
    assert (found["whole"]["label"], found["whole"]["score"]) == (result["label"], pytest.approx(result["score"]))
    assert found["drop"] == pytest.approx((whole - expected)[whole.argmax()].item(), abs=1e-6)
    assert found["certificate"] == ("holds" if found["drop"] <= found["margin"] else "does not hold")
    assert found["kept"] == [0, *kept, len(stays) - 1]
    # The other half of the sentence supports the opposite class.
    kept = [number for number, token in enumerate(result["tokens"]) if token["token"] in ("warm", "funny")]
    flipped = what_if(explain, TEXT, kept)
    assert not flipped["same_prediction"] and flipped["masked"]["label"] != result["label"]
    assert not flipped["within_margin"] and flipped["certificate"] == "does not hold"


def test_what_the_explanation_keeps_is_its_check_and_everything_costs_nothing(explain):
    for text in (TEXT, "a warm film . " * 300):  # one window, and several
        result = explain(text)
        found = what_if(explain, text, [number for number, token in enumerate(result["tokens"]) if token["kept"]])
        if len(result["tokens"]) < 100:
            assert (found["drop"], found["divergence"]) == pytest.approx((result["drop"], result["divergence"]))
        everything = what_if(explain, text, range(len(result["tokens"])))
        assert everything["drop"] == pytest.approx(0, abs=1e-6) and everything["same_prediction"]


def test_tokens_that_are_not_there(explain):
    with pytest.raises(DiffMaskError, match="no token 99: the input has 14, numbered from 0"):
        what_if(explain, TEXT, [1, 99])
    with pytest.raises(DiffMaskError, match="empty"):
        what_if(explain, "  ", [])
