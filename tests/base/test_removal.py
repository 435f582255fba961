"""Every way to remove tokens, checked against inputs made by hand."""

import copy

import pytest
import torch
from transformers import AutoConfig, AutoModelForQuestionAnswering

from hf_diffmask.base.removal import REPLACEMENTS, without
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.predictions import class_probabilities

TEXTS = ["the plot is dull and the cast looks tired of it", "a warm film", "not bad at all"]


def features(tokenizer, text):
    return dict(tokenizer(text, return_special_tokens_mask=True))


def dropped(ids, *positions):
    return [k not in positions for k in range(len(ids))]


@pytest.mark.parametrize("replacement", REPLACEMENTS)
def test_predictions_are_those_of_inputs_made_by_hand(classifier, tokenizer, replacement):
    inputs = [features(tokenizer, text) for text in TEXTS]
    keep = [dropped(one["input_ids"], 1, 3) for one in inputs]
    found = class_probabilities(classifier, tokenizer, inputs, keep, replacement, batch_size=2)
    assert found.shape == (3, 2)
    table = classifier.get_input_embeddings().weight
    for row, one in zip(found, inputs, strict=True):
        ids, attention = torch.tensor([one["input_ids"]]), torch.ones(1, len(one["input_ids"]))
        given = {"input_ids": ids, "attention_mask": attention}
        if replacement == "delete":
            rest = torch.cat([ids[:, :1], ids[:, 2:3], ids[:, 4:]], dim=1)
            given = {"input_ids": rest, "attention_mask": torch.ones_like(rest)}
        elif replacement == "attention":
            attention[0, [1, 3]] = 0
        elif replacement == "mean":
            embedded = table[ids].clone()
            embedded[0, [1, 3]] = table.mean(0)
            given = {"inputs_embeds": embedded, "attention_mask": attention}
        else:
            ids[0, [1, 3]] = {"mask": tokenizer.mask_token_id, "pad": tokenizer.pad_token_id}.get(
                replacement, tokenizer.unk_token_id
            )
        with torch.no_grad():
            expected = classifier(**given).logits.softmax(-1)[0]
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-5)


def test_refusals(classifier, tokenizer):
    one = features(tokenizer, TEXTS[1])
    keep = dropped(one["input_ids"], 1)
    with pytest.raises(DiffMaskError, match=r"must be one of mask, pad, .* but is 'blank'"):
        without(one, keep, "blank", tokenizer)
    with pytest.raises(DiffMaskError, match="An input without tokens has no prediction"):
        without(one, [False] * len(keep), "delete", tokenizer)
    config = AutoConfig.for_model(
        "bert", vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=48,
    )  # fmt: skip
    with pytest.raises(DiffMaskError, match="BertForQuestionAnswering is no classifier"):
        class_probabilities(AutoModelForQuestionAnswering.from_config(config), tokenizer, [one], [keep])
    mask, tokenizer.mask_token = tokenizer.mask_token, None
    try:
        with pytest.raises(DiffMaskError, match="no mask token"):
            without(one, keep, "mask", tokenizer)
    finally:
        tokenizer.mask_token = mask


def test_an_explained_token_keeps_its_position(tokenizer):
    """Deleted, it would have no label: it becomes the mask token, or without one the unknown token."""
    one = {**features(tokenizer, "a warm film"), "explained_mask": [0, 0, 1, 1, 0]}
    ids, keep = one["input_ids"], [True, False, False, True, True]
    found = without(one, keep, "delete", tokenizer)
    assert found["input_ids"] == [ids[0], tokenizer.mask_token_id, ids[3], ids[4]]
    assert found["explained_mask"] == [0, 1, 1, 0] and found["attention_mask"] == [1] * 4
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.mask_token = None
    assert without(one, keep, "delete", tokenizer)["input_ids"][1] == tokenizer.unk_token_id
    tokenizer.unk_token = None
    assert without(one, keep, "delete", tokenizer)["input_ids"][1] == ids[2]
