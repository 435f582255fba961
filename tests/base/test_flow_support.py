"""Models that flow is read from are told apart from those that it is not, before anything is trained."""

import gc

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from hf_diffmask.base.flow import flow
from hf_diffmask.base.flow_support import _tried, check_flow, reads_flow
from hf_diffmask.base.running import record_with_attention
from hf_diffmask.errors import DiffMaskError
from hf_diffmask.testbeds.gru import GruConfig
from tests.base.flow_families import FAMILIES, WIDE, family

# No block calls PyTorch's attention once: they have functions of their own.
OTHERS = {
    "big_bird": {**WIDE, "sep_token_id": 3},
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 4, "vocab_size": 60, "pad_token_id": 0},
    "convbert": {**WIDE, "embedding_size": 16, "head_ratio": 2},
    "deberta": WIDE,
    "deberta-v2": WIDE,
    "fnet": {**WIDE, "use_tpu_fourier_optimizations": False},
    "funnel": {"block_sizes": [1, 1], "d_model": 16, "n_head": 4, "d_head": 4, "d_inner": 24, "vocab_size": 60},
    "gptj": {"n_embd": 16, "n_layer": 2, "n_head": 4, "vocab_size": 60, "rotary_dim": 4, "pad_token_id": 0},
    "longformer": {**WIDE, "attention_window": 4},
    "mpnet": WIDE,
    "nystromformer": WIDE,
    "roformer": {**WIDE, "embedding_size": 16},
    "squeezebert": {**WIDE, "embedding_size": 16},
    "xlnet": {"vocab_size": 60, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24},
}


def other(name):
    return AutoModelForSequenceClassification.from_config(AutoConfig.for_model(name, **OTHERS[name])).eval()


@pytest.mark.parametrize("name", FAMILIES)
def test_families_that_are_read(name):
    model = family(name)
    assert reads_flow(model)
    check_flow(model)


@pytest.mark.parametrize("name", OTHERS)
def test_families_that_are_not(name):
    model = other(name)
    assert not reads_flow(model)
    with pytest.raises(DiffMaskError) as raised:
        check_flow(model)
    sentence = str(raised.value)
    assert sentence.startswith(f"Flow cannot be read from {type(model).__name__}, whose blocks do not each call ")
    assert sentence.endswith(": train the explainer without flow.")


def test_another_implementation_of_attention_is_named_and_can_be_changed():
    model = family("bert", "eager")
    sentence = (
        "Flow cannot be read from BertForSequenceClassification with attn_implementation='eager': load the base "
        'model with attn_implementation="sdpa".'
    )
    with pytest.raises(DiffMaskError) as raised:
        check_flow(model)
    assert str(raised.value) == sentence
    model.set_attn_implementation("sdpa")
    check_flow(model)
    model.set_attn_implementation("eager")
    batch = {"input_ids": torch.tensor([[5, 9, 11]])}
    with pytest.raises(DiffMaskError) as raised:
        record_with_attention(model, batch, [])
    assert str(raised.value) == sentence


def test_a_model_without_blocks():
    config = GruConfig(vocab_size=60, hidden_size=8, pad_token_id=0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    assert not reads_flow(model)
    with pytest.raises(DiffMaskError, match=f"{type(model).__name__}.*train the explainer without flow"):
        check_flow(model)


def test_it_is_tried_once_and_forgotten_with_the_model():
    model, runs = family("bert"), []
    model.register_forward_hook(lambda *args: runs.append(1))
    assert reads_flow(model)
    assert reads_flow(model) and len(runs) == 1
    count = len(_tried)
    del model
    gc.collect()
    assert len(_tried) < count


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "bert"])
def test_a_text_of_one_token_gives_all_to_itself(name):
    for features in ({}, {"attention_mask": torch.ones(2, 1, dtype=torch.long)}):
        batch = {"input_ids": torch.tensor([[5], [9]]), **features}
        with torch.no_grad():
            attention = record_with_attention(family(name), batch, [])[2]
        found = flow(attention, torch.ones(2, 1))
        assert [one.shape for one in found.values] == [(2, 1, 4, 4)] * 3
        assert torch.equal(found.shares, torch.ones(2, 1, 3, 4))


def test_one_token_with_grouped_queries_and_wide_heads():
    """Transformers then puts heads of a group in the place of positions."""
    model = family("llama", head_dim=260)
    values = []
    for block in model.model.layers:
        block.self_attn.v_proj.register_forward_hook(lambda module, args, output: values.append(output))
    with torch.no_grad():
        attention = record_with_attention(model, {"input_ids": torch.tensor([[5], [9]])}, [])[2]
    found = flow(attention, torch.ones(2, 1))
    assert torch.equal(found.shares, torch.ones(2, 1, 3, 4))
    for number, value in enumerate(values[-3:]):
        for head in range(4):
            first = 260 * (head // 2)
            assert torch.equal(found.values[number][:, :, head], value[..., first : first + 260])
