"""Figures for a tokenizer without a padding token and a mask token, such as GPT-2's."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2ForSequenceClassification, PreTrainedTokenizerFast

from hf_diffmask.data.features import collate
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.evaluation.bounds import bounds
from hf_diffmask.evaluation.faithfulness import PRESETS, Preset, curves, measures
from hf_diffmask.evaluation.soft_faithfulness import soft_measures

WORDS = ["a", "warm", "and", "quietly", "funny", "film", "the", "plot", "is", "dull"]


@pytest.fixture
def bare():
    known = Tokenizer(models.WordLevel({word: k for k, word in enumerate([*WORDS, "<unk>"])}, unk_token="<unk>"))
    known.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=known, unk_token="<unk>")


@pytest.fixture
def causal(bare):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(bare), n_positions=32, n_embd=16, n_layer=2, n_head=2, num_labels=2)
    model = GPT2ForSequenceClassification(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(5)
    return model


def features(bare, text):
    return {name: values for name, values in bare(text, return_special_tokens_mask=True).items()
            if name in ("input_ids", "attention_mask", "special_tokens_mask")}  # fmt: skip


def test_inputs_of_one_length_need_no_padding(bare):
    items = [{**features(bare, text), "example_ids": k} for k, text in enumerate(("a warm film", "the dull plot"))]
    assert collate(bare, items)["input_ids"].shape == (2, 3)
    with pytest.raises(DiffMaskError, match="no padding token"):
        collate(bare, [*items, {**features(bare, "a film"), "example_ids": 2}])


@pytest.mark.parametrize("preset", ["eraser", Preset("attention", None, "ceil")])
def test_faithfulness(bare, causal, preset):
    inputs = [features(bare, text) for text in ("a warm and quietly funny film", "the plot is dull")]
    scores = [[0.1, 0.9, 0.3, 0.2, 0.5, 0.4], [0.1, 0.2, 0.3, 0.9]]
    for one, row, curve in zip(inputs, scores, curves(causal, bare, inputs, scores, preset), strict=True):
        with torch.no_grad():
            whole = causal(torch.tensor([one["input_ids"]])).logits.softmax(-1)[0]
            first = max(range(len(row)), key=lambda k: row[k])
            if preset == "eraser":
                ids = [token for k, token in enumerate(one["input_ids"]) if k != first]
                without = causal(torch.tensor([ids])).logits.softmax(-1)[0]
            else:
                seen = torch.tensor([[int(k != first) for k in range(len(row))]])
                without = causal(torch.tensor([one["input_ids"]]), attention_mask=seen).logits.softmax(-1)[0]
        torch.testing.assert_close(torch.tensor(curve.whole), whole)
        number = (curve.shares * len(row)).round().tolist().index(1)
        torch.testing.assert_close(torch.tensor(curve.removed[number]), without)


def test_bounds_and_soft_figures(bare, causal):
    one = features(bare, "the plot is dull")

    within = bounds(causal, bare, one, PRESETS["eraser"])
    (curve,) = curves(causal, bare, [one], [[0.1, 0.2, 0.3, 0.9]], "eraser")
    assert within.low - 1e-6 <= measures(curve)["comprehensiveness"] <= within.high + 1e-6
    for target in (0, 1):
        try:
            found = soft_measures(causal, bare, one, [0.1, 0.2, 0.3, 0.9], target)
        except DiffMaskError as error:
            assert "no scale" in str(error)
        else:
            assert all(0 <= value <= 1 for value in found.values())
    with pytest.raises(DiffMaskError, match="no mask token"):
        curves(causal, bare, [one], [[0.1, 0.2, 0.3, 0.9]])
