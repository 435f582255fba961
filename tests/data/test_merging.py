"""The pipeline merges the results of sub-words and windows."""

import pytest
import torch
from transformers import pipeline

import hf_diffmask
from hf_diffmask.data.encoding import encode
from hf_diffmask.data.windows import windows


@pytest.fixture
def explain(explainer, tokenizer):
    return pipeline(hf_diffmask.TASK, model=explainer, tokenizer=tokenizer, device="cpu")


def test_words_merge_sub_words(explain):
    text = "Unforgettablyweird films, zxqy"
    tokens, words = explain(text)["tokens"], explain(text, aggregation="word")["tokens"]
    assert [word["token"] for word in words if not word["special"]] == ["Unforgettablyweird", "films", ",", "zxqy"]
    for word in words:
        if word["special"]:
            continue
        parts = [t for t in tokens if not t["special"] and word["start"] <= t["start"] and t["end"] <= word["end"]]
        assert text[word["start"] : word["end"]] == word["token"]
        assert word["score"] == max(part["score"] for part in parts)
        assert word["kept"] == any(part["kept"] for part in parts)


def test_a_token_in_an_overlap_comes_from_where_it_is_most_central(explain, tokenizer):
    text = " ".join(["the plot is dull"] * 120)
    result = explain(text)
    encoded = encode(tokenizer, text)
    parts = list(windows(encoded, explain.length))
    overlap = sorted(set(parts[0].units[1:-1]) & set(parts[1].units[1:-1]))
    for unit, winner in ((overlap[0], 0), (overlap[-1], 1)):
        features = {name: torch.tensor([values]) for name, values in parts[winner].features.items()}
        with torch.no_grad():
            keep = explain.model(**features).keep_probability[0, parts[winner].units.index(unit)]
        assert result["tokens"][unit]["states"] == pytest.approx(keep.tolist(), abs=1e-5)
