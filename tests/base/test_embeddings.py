"""Baselines are at the scale of the state, whatever the table multiplies its rows by."""

import math

import pytest
import torch

from hf_diffmask.base.embeddings import mean_embedding, token_embeddings
from hf_diffmask.base.running import record
from hf_diffmask.evaluation.predictions import class_probabilities
from hf_diffmask.evaluation.unseen import seen_replacements
from hf_diffmask.explainer.from_base import first_baseline
from tests.base.checks import ids, loud

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
GEMMA = {**SIZES, "num_key_value_heads": 2, "head_dim": 8}


@pytest.mark.parametrize(("name", "config", "scale"), [("gemma", GEMMA, 4.0), ("bert", SIZES, 1.0)])
def test_scale_of_the_state(name, config, scale):
    """Gemma multiplies by sqrt(16)."""
    model = loud(name, **config)
    assert scale == (math.sqrt(config["hidden_size"]) if name == "gemma" else 1)
    table = model.get_input_embeddings().weight.detach()
    torch.testing.assert_close(token_embeddings(model, [5, 9]), table[[5, 9]] * scale)
    torch.testing.assert_close(mean_embedding(model), table.mean(0) * scale)
    torch.testing.assert_close(first_baseline(model), table.mean(0) * scale)
    with torch.no_grad():
        _, (state,) = record(model, ids(2, 5), ["embeddings"])
    torch.testing.assert_close(token_embeddings(model, ids(2, 5)["input_ids"][1].tolist()), state[1])


@pytest.mark.parametrize("name", ["ibert", "xlnet", "xlm"])
def test_every_table_gives_the_state(name):
    """I-BERT's table gives two things, XLNet's has positions first."""
    own = {
        "xlnet": {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24},
        "xlm": {"emb_dim": 16, "n_layers": 2, "n_heads": 2},
    }
    model = loud(name, **own.get(name, SIZES))
    with torch.no_grad():
        _, (state,) = record(model, ids(2, 5), ["embeddings"])
    torch.testing.assert_close(token_embeddings(model, ids(2, 5)["input_ids"][1].tolist()), state[1])
    assert first_baseline(model).shape == (16,)


def test_a_large_table_is_embedded_in_parts(monkeypatch):
    monkeypatch.setattr("hf_diffmask.base.embeddings.ROWS", 7)
    model = loud("gemma", **GEMMA)
    torch.testing.assert_close(mean_embedding(model), model.get_input_embeddings().weight.detach().mean(0) * 4)


def test_the_tokens_that_baselines_start_at(tokenizer):
    from hf_diffmask import DiffMaskModel, recipe_config

    model = loud("gemma", **{**GEMMA, "vocab_size": len(tokenizer)})
    table = model.get_input_embeddings().weight.detach()
    torch.testing.assert_close(first_baseline(model, tokenizer), table[tokenizer.mask_token_id] * 4)
    explainer = DiffMaskModel.from_base_model(model, tokenizer, **recipe_config())
    torch.testing.assert_close(explainer.baseline.detach(), table[tokenizer.mask_token_id] * 4)
    assert "mask" in seen_replacements(explainer, tokenizer)


def test_the_mean_as_a_replacement_is_a_token_that_is_the_mean(tokenizer):
    model = loud("gemma", **{**GEMMA, "vocab_size": len(tokenizer)})
    features = {"input_ids": [5, 9, 11], "attention_mask": [1, 1, 1]}
    found = class_probabilities(model, tokenizer, [features], [[True, False, True]], "mean")
    with torch.no_grad():
        table = model.get_input_embeddings().weight
        mean, before = table.mean(0), table[9].clone()
        table[9] = mean
        expected = model(input_ids=torch.tensor([[5, 9, 11]])).logits.softmax(-1)
        table[9] = before
    torch.testing.assert_close(found, expected.to(found.dtype), atol=1e-5, rtol=1e-4)
