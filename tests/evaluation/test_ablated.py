"""Runs under random masks, against plain loops and a model whose log-odds add up."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from hf_diffmask.ablations.drawing import draw_masks
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.ablated import masked_log_odds, scoring_masks
from hf_diffmask.evaluation.datamodel import explained_variance, lds, squared_errors

TEXTS = ["the plot is dull and the cast looks tired of it", "a warm film", "not bad at all"]


class AdditiveConfig(PreTrainedConfig):
    model_type = "test-additive"


class AdditiveForSequenceClassification(PreTrainedModel):
    """Its log-odds are the sum of one weight for each token that is attended to."""

    config_class = AdditiveConfig
    main_input_name = "input_ids"

    def __init__(self, config):
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, 1)
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        yes = (self.embeddings(input_ids)[..., 0] * attention_mask).sum(-1, keepdim=True)
        return SequenceClassifierOutput(logits=torch.cat([torch.zeros_like(yes), yes], dim=-1))


@pytest.fixture
def inputs(tokenizer):
    return [dict(tokenizer(text, return_special_tokens_mask=True)) for text in TEXTS]


@pytest.fixture
def additive(tokenizer):
    torch.manual_seed(4)
    model = AdditiveForSequenceClassification(AdditiveConfig(vocab_size=len(tokenizer), num_labels=2)).eval()
    with torch.no_grad():
        model.embeddings.weight.normal_(std=0.3)
        for token in (tokenizer.mask_token_id, tokenizer.pad_token_id):
            model.embeddings.weight[token] = 0.0
    return model


def test_values_are_a_plain_loop_over_masks(classifier, tokenizer, inputs):
    found = masked_log_odds(classifier, tokenizer, inputs, ["mask", "attention", "delete"], seed=5, count=6)
    for number, one in enumerate(inputs):
        ids, attention = torch.tensor([one["input_ids"]]), torch.tensor([one["attention_mask"]])
        with torch.no_grad():
            choice = int(classifier(ids).logits.argmax())
            for m, mask in enumerate(scoring_masks(one, number, seed=5, count=6)):
                stays = torch.tensor(mask)[None] | torch.tensor([one["special_tokens_mask"]]).bool()
                logits = {
                    "mask": classifier(ids.where(stays, tokenizer.mask_token_id)).logits,
                    "attention": classifier(ids, attention_mask=attention * stays).logits,
                    "delete": classifier(ids[stays][None]).logits,
                }
                for name, (of_mask,) in logits.items():
                    log_odds = (of_mask[choice] - of_mask[1 - choice]).clamp(-6, 6)
                    assert found[name][number, m] == pytest.approx(log_odds.item(), abs=1e-4)


def test_batches_and_other_inputs_change_nothing(classifier, tokenizer, inputs):
    (together,) = masked_log_odds(classifier, tokenizer, inputs, ["mask"], count=8).values()
    (apart,) = masked_log_odds(classifier, tokenizer, inputs, ["mask"], count=8, batch_size=3).values()
    np.testing.assert_allclose(together, apart, atol=1e-4)
    (first,) = masked_log_odds(classifier, tokenizer, inputs[:1], ["mask"], count=4).values()
    np.testing.assert_allclose(together[:1, :4], first, atol=1e-4)
    (other,) = masked_log_odds(classifier, tokenizer, inputs, ["mask"], [0, 0, 0], count=8).values()
    (against,) = masked_log_odds(classifier, tokenizer, inputs, ["mask"], [1, 1, 1], count=8).values()
    np.testing.assert_allclose(other, -against, atol=1e-4)


def test_weights_of_an_additive_model_have_lds_and_r2_of_1(additive, tokenizer, inputs):
    found = masked_log_odds(additive, tokenizer, inputs, ["mask", "pad", "attention", "delete"], [1, 1, 1])
    for values in found.values():
        for number, (one, row) in enumerate(zip(inputs, values, strict=True)):
            scores = additive.embeddings.weight[one["input_ids"], 0].tolist()
            masks = scoring_masks(one, number)
            assert lds(scores, masks, row) == pytest.approx(1.0, abs=2e-3), "rounding may swap close neighbours"
            assert explained_variance([squared_errors(scores, masks, row)]) == pytest.approx(1.0, abs=1e-6)


def test_masks_keep_half_and_are_not_those_of_training(tokenizer):
    one = {"special_tokens_mask": [1, *[0] * 40, 1]}
    masks = scoring_masks(one, 3, seed=7)
    assert masks.shape == (64, 42) and not masks[:, [0, -1]].any()
    assert abs(masks[:, 1:-1].mean() - 0.5) < 0.05
    assert len({tuple(mask) for mask in masks}) == 64
    maskable = ~torch.tensor([one["special_tokens_mask"]], dtype=torch.bool)
    of_training = draw_masks(7, torch.tensor([3]), maskable, 64)[0].tolist()
    assert not {tuple(mask) for mask in masks.tolist()} & {tuple(mask) for mask in of_training}
    assert (masks != scoring_masks(one, 4, seed=7)).any() and (masks != scoring_masks(one, 3, seed=8)).any()
    assert np.array_equal(masks[:10], scoring_masks(one, 3, seed=7, count=10))


def test_a_mask_that_would_delete_every_token_has_no_value(classifier, tokenizer):
    ids = tokenizer("a warm film", add_special_tokens=False)["input_ids"]
    one = {"input_ids": ids, "attention_mask": [1] * 3, "special_tokens_mask": [0] * 3}
    empty = ~scoring_masks(one, 0).any(-1)
    assert 0 < empty.sum() < 32
    found = masked_log_odds(classifier, tokenizer, [one], ["delete", "mask"])
    assert np.array_equal(np.isnan(found["delete"][0]), empty) and np.isfinite(found["mask"]).all()


def test_outputs_that_are_not_finite_have_no_value(additive, tokenizer, inputs):
    word = inputs[1]["input_ids"][2]
    with torch.no_grad():
        additive.embeddings.weight[word] = torch.nan
    found = masked_log_odds(additive, tokenizer, inputs[1:2], ["mask"], [1], count=16)["mask"][0]
    assert np.array_equal(np.isnan(found), scoring_masks(inputs[1], 0, count=16)[:, 2])


def test_refused(classifier, tokenizer, inputs):
    with pytest.raises(DiffMaskError, match="classes for 1 inputs, but 3 inputs"):
        masked_log_odds(classifier, tokenizer, inputs, ["mask"], [0])
    with pytest.raises(DiffMaskError, match="no class 2: the model has 2"):
        masked_log_odds(classifier, tokenizer, inputs, ["mask"], [0, 2, 0])
    with pytest.raises(DiffMaskError, match="replacement must be one of mask, pad"):
        masked_log_odds(classifier, tokenizer, inputs, ["blank"])
    assert masked_log_odds(classifier, tokenizer, [], ["mask"])["mask"].shape == (0, 64)
