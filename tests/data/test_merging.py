"""The pipeline merges the results of tokens into words, and those of windows."""

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, pipeline

import hf_diffmask
from hf_diffmask.data.encoding import encode
from hf_diffmask.data.merging import merge_words
from hf_diffmask.data.windows import windows

from .helpers import KINDS, tokenizer_of


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


def results(tokenizer, text):
    """Tokens in the pipeline's form, with scores that tell them apart."""
    encoded = encode(tokenizer, text)
    of_segment = zip(encoded.tokens, encoded.offsets, encoded.segments, strict=True)
    tokens = [
        {"token": token, "start": start, "end": end, "special": segment is None, "score": unit / 100, "kept": False}
        | {"states": [unit / 100, 1 - unit / 100], "evidence": float(-unit)}
        for unit, (token, (start, end), segment) in enumerate(of_segment)
    ]
    return tokens, encoded


@pytest.mark.parametrize("name", KINDS)
def test_words_are_the_same_for_every_kind_of_tokenizer(name):
    """Each model knows these letters, so that no word is dropped."""
    text = "the film  was\nwarm, and don't end"
    merged = merge_words(*results(tokenizer_of(name), text))
    words = [word for word in merged if not word["special"]]
    assert [word["token"] for word in words] == ["the", "film", "was", "warm", ",", "and", "don", "'", "t", "end"]
    assert all(text[word["start"] : word["end"]] == word["token"] for word in words)


def test_a_word_takes_the_most_of_its_tokens_and_of_the_space_before_it():
    tokenizer = tokenizer_of("RoBERTa")
    tokens, encoded = results(tokenizer, "é  a")
    ordinary = [token["token"] for token in tokens if not token["special"]]
    assert ordinary == ["Ã", "©", "Ġ", "Ġa"]
    tokens[3]["kept"] = True  # the first of two spaces
    first, second = [word for word in merge_words(tokens, encoded) if not word["special"]]
    assert (first["token"], first["kept"], first["score"], first["evidence"]) == ("é", False, 0.02, -1.0)
    assert first["states"] == [0.02, 0.99]
    assert (second["token"], second["start"], second["end"]) == ("a", 3, 4)
    assert (second["kept"], second["score"], second["evidence"], second["states"]) == (True, 0.04, -3.0, [0.04, 0.97])


def test_a_token_over_two_words_counts_for_both():
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0, "of the": 1}, unk_token="<unk>"))
    )
    words = merge_words(*results(tokenizer, "of the"))
    assert [(word["token"], word["start"], word["end"]) for word in words] == [("of", 0, 2), ("the", 3, 6)]
    assert words[0]["states"] == words[1]["states"]


def test_words_of_a_pair_stay_in_their_text(explain):
    result = explain({"text": "warm film", "text_pair": "film!  [MASK]"}, aggregation="word")
    words = [(word["segment"], word["token"], word["start"]) for word in result["tokens"] if not word["special"]]
    assert words == [(0, "warm", 0), (0, "film", 5), (1, "film", 0), (1, "!", 4), (1, "[MASK]", 7)]
