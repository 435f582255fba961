"""A slow tokenizer gives no offsets: tokens are explained without them, and what needs them says so."""

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, ByT5Tokenizer, pipeline

from hf_diffmask import DiffMaskError, DiffMaskModel, DiffMaskTrainingArguments, recipe_config
from hf_diffmask.analysis.tokens import token_labels
from hf_diffmask.data.encoding import encode
from hf_diffmask.display.grid import grid
from hf_diffmask.display.terminal import to_text
from hf_diffmask.hub.examples import example_attributions
from hf_diffmask.training.run import train

TEXTS = ["dull", "a warm film", "not bad", "fine"] * 6


@pytest.fixture(scope="module")
def explain(tmp_path_factory):
    """An explainer whose tokens are bytes, trained, saved and loaded."""
    tokenizer, folder = ByT5Tokenizer(), str(tmp_path_factory.mktemp("bytes"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )
    base = BertForSequenceClassification(config).eval()
    explainer = DiffMaskModel.from_base_model(base, tokenizer, **recipe_config())
    args = DiffMaskTrainingArguments(
        output_dir=folder, masks=2, max_steps=2, baseline_steps=1, use_cpu=True, disable_tqdm=True, report_to="none"
    )
    train(explainer, tokenizer, TEXTS[:16], TEXTS[16:], args)
    loaded = DiffMaskModel.from_pretrained(folder, base_model=base)
    return pipeline("diffmask-attribution", model=loaded, tokenizer=ByT5Tokenizer.from_pretrained(folder))


def test_tokens_and_segments_of_a_pair():
    found = encode(ByT5Tokenizer(), ("ab", "cde"))
    assert found.tokens == ["a", "b", "</s>", "c", "d", "e", "</s>"]
    assert found.segments == [0, 0, None, 1, 1, 1, None]
    assert found.features["special_tokens_mask"] == [0, 0, 1, 0, 0, 0, 1]
    with pytest.raises(DiffMaskError, match="ByT5Tokenizer gives no character offsets"):
        found.offsets[0]


def test_tokens_are_explained(explain):
    together = explain(["a film", "dull"], batch_size=2)
    for text, result in zip(["a film", "dull"], together, strict=True):
        assert "".join(token["token"] for token in result["tokens"]) == f"{text}</s>"
        assert all(token["start"] is None and token["end"] is None for token in result["tokens"])
        alone = explain(text)["tokens"]
        assert [t["evidence"] for t in alone] == pytest.approx([t["evidence"] for t in result["tokens"]], abs=1e-5)
        assert text[0] in to_text(result, color=False) and "<" in grid(result)
    assert all(set(row) >= {"text", "check"} for row in example_attributions(explain.model, explain.tokenizer, False))


@pytest.mark.parametrize("options", [{"unit": "word"}, {"unit": "sentence"}, {"aggregation": "word"}])
def test_what_needs_offsets_says_so(explain, options):
    with pytest.raises(DiffMaskError, match="gives no character offsets: words, sentences, spans"):
        explain("a film", **options)


def test_labelled_spans_need_offsets(explain):
    with pytest.raises(DiffMaskError, match="Labelled spans need character offsets"):
        token_labels(explain("a film"), [[(0, 1, "x")]])
