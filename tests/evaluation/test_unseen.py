"""Which replacements an explainer saw, and which one is measured beside another."""

import pytest
import torch

from hf_diffmask.evaluation.unseen import seen_replacements, unseen_beside


def learned(explainer):
    with torch.no_grad():
        explainer.baseline.add_(0.01)
    return explainer


def test_a_learned_baseline_is_no_replacement_of_tokens(explainer, tokenizer):
    assert seen_replacements(explainer, tokenizer) == ("mask",), "without training, the baseline is the mask token"
    assert seen_replacements(learned(explainer), tokenizer) == ()


@pytest.mark.parametrize("name", ["pad", "unk", "mean"])
def test_a_baseline_that_equals_a_replacement_was_seen(explainer, tokenizer, name):
    table = explainer.base.get_input_embeddings().weight
    vector = table.mean(0) if name == "mean" else table[getattr(tokenizer, f"{name}_token_id")]
    with torch.no_grad():
        explainer.baseline.copy_(vector)
    assert seen_replacements(explainer, tokenizer) == (name,)


def test_attention_is_seen_if_ablations_used_it(explainer, tokenizer):
    learned(explainer).config.replacements = ["baseline"]
    assert seen_replacements(explainer, tokenizer) == ()
    explainer.config.replacements = ["baseline", "attention"]
    assert seen_replacements(explainer, tokenizer) == ("attention",)


def test_the_replacement_beside_another_is_a_new_one_and_unseen(explainer, tokenizer):
    learned(explainer)
    assert unseen_beside(explainer, tokenizer, "mask") == "attention"
    assert unseen_beside(explainer, tokenizer, "attention") == "delete"
    explainer.config.replacements = ["baseline", "attention"]
    assert unseen_beside(explainer, tokenizer, "mask") == "delete"
    assert unseen_beside(explainer, tokenizer, "delete") == "pad"
