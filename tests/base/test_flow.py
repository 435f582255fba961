"""Flow equals sums over the attention weights that Transformers returns, for each family and each side of padding."""

import pytest
import torch

from hf_diffmask.base.flow import flow
from hf_diffmask.base.running import record, record_with_attention
from hf_diffmask.base.states import state_names
from tests.base.flow_families import FAMILIES, by_hand, close, family, weights_and_values
from tests.base.test_padding import TEXTS, padded


def reading(batch, kind):
    """Weights of the positions that a head reads, for each text, and for the padded batch."""
    lists = {
        "first": lambda count: [1.0] + [0.0] * (count - 1),
        "last": lambda count: [0.0] * (count - 1) + [1.0],
        "two": lambda count: [0.0, 0.25] + [0.0] * (count - 3) + [0.75],
        "mean": lambda count: [1 / count] * count,
    }
    texts = [lists[kind](len(text)) for text in TEXTS]
    weights = torch.zeros(batch["attention_mask"].shape)
    for row, text in enumerate(texts):
        weights[row][batch["attention_mask"][row].bool()] = torch.tensor(text)
    return texts, weights


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", FAMILIES)
def test_flow_is_that_of_the_weights_that_transformers_returns(name, side):
    model, eager = family(name), family(name, "eager")
    batch = padded(side)
    texts, positions = reading(batch, "two")
    with torch.no_grad():
        output, states, attention = record_with_attention(model, batch, state_names(model))
        plain, same = record(model, batch, state_names(model))
    assert torch.equal(output.logits, plain.logits) and all(map(torch.equal, states, same))
    found = flow(attention, positions, rows=7)
    for row, (text, read) in enumerate(zip(TEXTS, texts, strict=True)):
        there = batch["attention_mask"][row].bool()
        weights, values = weights_and_values(name, eager, text)
        direct, through = by_hand(weights, read)
        close(found.values[row][there], torch.from_numpy(values).permute(2, 0, 1, 3))
        close(found.direct[row][there], torch.from_numpy(direct))
        close(found.through_others[row][there], torch.from_numpy(through))
        assert not any(one[row][~there].any() for one in found)
    torch.testing.assert_close(found.direct.sum(1), torch.ones_like(found.direct.sum(1)))
