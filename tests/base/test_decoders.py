"""Encoder-decoders: units are those of the encoder, and the decoder sees no masked unit either."""

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from hf_diffmask import DiffMaskError, DiffMaskModel, recipe_config
from hf_diffmask.base.running import record, replace
from hf_diffmask.base.states import embedding_tables, find_blocks, state_names

SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
BART = {
    "vocab_size": 60, "d_model": 16, "encoder_layers": 3, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 40,
    "scale_embedding": True, "forced_eos_token_id": 2, **SPECIAL,
}  # fmt: skip
T5 = {"vocab_size": 60, "d_model": 16, "num_layers": 3, "d_kv": 8, "d_ff": 24, "num_heads": 2, **SPECIAL}
FAMILIES = {"bart": BART, "mbart": BART, "plbart": BART, "t5": T5, "mt5": T5}
TEXTS = [[1, 5, 6, 7, 8, 9, 2], [1, 10, 11, 2, 0, 0, 0]]


@pytest.fixture
def features():
    ids = torch.tensor(TEXTS)
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def build(name, auto_class=AutoModelForSequenceClassification):
    torch.manual_seed(0)
    model = auto_class.from_config(AutoConfig.for_model(name, **FAMILIES[name])).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(3)  # so that every part counts
    return model


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_states_are_those_of_the_encoder(name, features):
    model = build(name)
    names = state_names(model)
    assert names == ["embeddings", *(f"block.{k}.input" for k in range(3)), "block.2.output"]
    output, states = record(model, features, names)
    reported = model(**features, output_hidden_states=True)
    torch.testing.assert_close(output.logits, reported.logits)
    there = features["attention_mask"].bool()  # some families run by length, and have nothing at padding
    for ours, theirs in zip(states[1:4], reported.encoder_hidden_states, strict=False):
        torch.testing.assert_close(ours[there], theirs[there])
    torch.testing.assert_close(states[0][there], embedding_tables(model)[0](features["input_ids"])[there])
    for state, hidden in zip(names, states, strict=True):
        torch.testing.assert_close(replace(model, features, state, hidden).logits, output.logits)


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_other_embeddings_are_other_tokens_for_the_decoder_as_well(name, features):
    model = build(name)
    other = {**features, "input_ids": features["input_ids"].clone()}
    other["input_ids"][0, 2:4], other["input_ids"][1, 1] = torch.tensor([20, 21]), 30
    _, (hidden,) = record(model, other, ["embeddings"])
    expected = model(**other).logits
    assert not torch.allclose(expected, model(**features).logits)
    torch.testing.assert_close(replace(model, features, "embeddings", hidden).logits, expected)


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
def test_an_input_that_is_masked_has_no_effect(name, features):
    model = build(name)
    other = {**features, "input_ids": features["input_ids"].clone()}
    inner = (other["input_ids"] > 2).nonzero(as_tuple=True)
    other["input_ids"][inner] += 20
    _, states = record(model, features, ["embeddings"])
    masked = torch.where((features["input_ids"] > 2)[..., None], 0.5, states[0])
    found = [replace(model, given, "embeddings", masked).logits for given in (features, other)]
    torch.testing.assert_close(found[0], found[1])
    assert not torch.allclose(model(**features).logits, model(**other).logits)


@torch.no_grad()
def test_a_decoder_that_reads_something_else_is_refused(features):
    model = build("bart")
    _, (hidden,) = record(model, features, ["embeddings"])
    given = {**features, "decoder_input_ids": features["input_ids"].flip(1)}
    with pytest.raises(DiffMaskError, match="decoder of BartForSequenceClassification does not read the input one"):
        replace(model, given, "embeddings", hidden)


@torch.no_grad()
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(name, side):
    model = build(name)
    alone = [model(input_ids=torch.tensor([[one for one in text if one]])).logits for text in TEXTS]
    rows = [text if side == "right" else sorted(text, key=bool) for text in TEXTS]
    ids = torch.tensor(rows)
    output, _ = record(model, {"input_ids": ids, "attention_mask": (ids > 0).long()}, [])
    torch.testing.assert_close(output.logits, torch.cat(alone))


@torch.no_grad()
@pytest.mark.parametrize("name", ["bart", "t5"])
def test_questions(name, features):
    model = build(name, AutoModelForQuestionAnswering)
    assert len(find_blocks(model)) == 3
    output, (hidden,) = record(model, features, ["embeddings"])
    torch.testing.assert_close(output.start_logits, model(**features).start_logits)
    again = replace(model, features, "embeddings", hidden)
    torch.testing.assert_close(again.end_logits, output.end_logits)


@torch.no_grad()
def test_a_t5_without_a_decoder_has_the_table_of_its_encoder(features):
    model = build("t5", AutoModelForTokenClassification)
    assert not model.config.is_encoder_decoder
    output, states = record(model, features, state_names(model))
    torch.testing.assert_close(output.logits, model(**features).logits)
    torch.testing.assert_close(states[0], model.get_input_embeddings()(features["input_ids"]))
    other = {**features, "input_ids": features["input_ids"].roll(1, 1)}
    torch.testing.assert_close(replace(model, other, "embeddings", states[0]).logits, output.logits)


@pytest.mark.parametrize("name", FAMILIES)
def test_explainers_and_what_cannot_work(name, features):
    model = build(name)
    explainer = DiffMaskModel.from_base_model(model, **recipe_config("ablation")).eval()
    found = explainer(**features)
    assert found.evidence.shape == (2, 7, 6, model.config.num_labels) and found.evidence.isfinite().all()
    with pytest.raises(DiffMaskError, match="has a decoder that reads the input beside the encoder's states"):
        DiffMaskModel.from_base_model(model, **recipe_config("paper", "hidden"))


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_states_by_module_path(name, features):
    """At the embeddings, masks reach the decoder. At a module of the encoder they do not."""
    model = build(name)
    inner = {"t5": "transformer.encoder.block.1", "bart": "model.encoder.layers.1"}[name]
    explainer = DiffMaskModel.from_base_model(model, states=["embeddings", inner], **recipe_config()).eval()
    assert explainer(**features).evidence.shape[2] == 3  # two states and the explanation
    with pytest.raises(DiffMaskError, match=f"reads the input beside the state '{inner}', so masking this state"):
        DiffMaskModel.from_base_model(model, states=[inner], **recipe_config())
