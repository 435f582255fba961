"""One forward pass: states that a model computes several times are refused, and attention is read beside states."""

import pytest
import torch

from hf_diffmask.base.attention_read import AttentionReader
from hf_diffmask.base.one_pass import record_once, replace_once
from hf_diffmask.base.states import state_names
from hf_diffmask.errors import DiffMaskError
from tests.helpers import build


def units(features):
    return torch.ones_like(features["input_ids"], dtype=torch.bool)


def test_a_module_that_runs_several_times_is_refused(features):
    model = build("albert").eval()
    sentence = "AlbertForSequenceClassification computed the state .* 3 times in one forward pass instead of once"
    with torch.no_grad(), pytest.raises(DiffMaskError, match=sentence):
        record_once(model, features, ["albert.encoder.albert_layer_groups.0"], units(features))


@torch.no_grad()
@pytest.mark.parametrize("with_states", [True, False])
def test_attention_is_read_beside_states(features, with_states):
    model = build("bert").eval()
    names = state_names(model) if with_states else []
    reader = AttentionReader(model, features["input_ids"].shape)
    output, states = record_once(model, features, names, units(features), reader)
    assert torch.equal(output.logits, model(**features).logits) and len(states) == len(names)
    blocks = reader.blocks()
    assert len(blocks) == 3
    if with_states:  # the block's own projection of its input
        for block, layer, state in zip(blocks, model.bert.encoder.layer, states[1:4], strict=True):
            torch.testing.assert_close(block.value.transpose(1, 2).flatten(2), layer.attention.self.value(state))
            torch.testing.assert_close(block.query.transpose(1, 2).flatten(2), layer.attention.self.query(state))
            torch.testing.assert_close(block.key.transpose(1, 2).flatten(2), layer.attention.self.key(state))


@torch.no_grad()
def test_a_state_is_replaced(features):
    model = build("bert").eval()
    _, (hidden,) = record_once(model, features, ["block.1.input"], units(features))
    changed = replace_once(model, features, "block.1.input", hidden + 1, units(features)).logits
    rest = hidden + 1
    for layer in model.bert.encoder.layer[1:]:
        rest = layer(rest)
    torch.testing.assert_close(changed, model.classifier(model.bert.pooler(rest)))
