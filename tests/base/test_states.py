"""States are found by block and by module path; models without blocks are refused."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from hf_diffmask.base.running import record, replace
from hf_diffmask.base.states import find_blocks, state_names
from hf_diffmask.errors import DiffMaskError
from tests.helpers import build


def test_states_by_module_path(features):
    model = build("bert").eval()
    with torch.no_grad():
        output, (embeddings, middle) = record(model, features, ["bert.embeddings", "bert.encoder.layer.1.attention"])
        assert not torch.equal(embeddings, middle)
        for name, hidden in (("bert.embeddings", embeddings), ("bert.encoder.layer.1.attention", middle)):
            torch.testing.assert_close(replace(model, features, name, hidden).logits, output.logits)
            assert not torch.allclose(replace(model, features, name, hidden * 2).logits, output.logits)
    with pytest.raises(DiffMaskError, match=r"no state 'bert.enc'"):
        record(model, features, ["bert.enc"])
    with pytest.raises(DiffMaskError, match=r"3 blocks, so there is no state 'block.3.input'"):
        record(model, features, ["block.3.input"])
    with pytest.raises(DiffMaskError, match=r"3 times in one forward pass"):
        record(model, features, [_shared_activation(model)])


def _shared_activation(model):
    """Path of a module that all blocks now share."""
    for block in model.bert.encoder.layer:
        block.intermediate.intermediate_act_fn = model.bert.encoder.layer[0].intermediate.intermediate_act_fn
    return "bert.encoder.layer.0.intermediate.intermediate_act_fn"


def test_blocks_are_the_outermost_list():
    model = build("bert")
    model.bert.encoder.layer[0].experts = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(9))
    assert find_blocks(model) == list(model.bert.encoder.layer)


def test_a_shared_block_is_there_once_for_each_layer():
    model = build("albert").eval()
    (group,) = model.albert.encoder.albert_layer_groups
    assert find_blocks(model) == [group] * 3
    assert state_names(model) == ["embeddings", *(f"block.{k}.input" for k in range(3)), "block.2.output"]
    two = build("albert", num_hidden_layers=4, num_hidden_groups=2).eval()
    first, second = two.albert.encoder.albert_layer_groups
    assert find_blocks(two) == [first, first, second, second]


def test_a_model_that_cannot_run_on_dummy_inputs_has_its_list(monkeypatch):
    model = build("albert")
    monkeypatch.setattr(type(model), "dummy_inputs", {"input_ids": torch.tensor([[10**6]])})
    assert find_blocks(model) == list(model.albert.encoder.albert_layer_groups)


def test_models_with_blocks_in_parallel_lists_are_refused():
    config = AutoConfig.for_model("flaubert", vocab_size=60, emb_dim=16, n_layers=3, n_heads=2)
    with pytest.raises(DiffMaskError, match="separate lists, so no block can run alone"):
        find_blocks(AutoModelForSequenceClassification.from_config(config))
