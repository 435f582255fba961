"""Dummy inputs of a model that names inputs which it does not have."""

import torch

from hf_diffmask.base.dummies import dummy_input
from tests.base.checks import loud
from tests.helpers import build


def test_one_row_without_what_is_missing():
    model = loud("xlm", emb_dim=16, n_layers=2, n_heads=2, max_position_embeddings=40)
    assert model.dummy_inputs["langs"] is None
    found = dummy_input(model)
    assert set(found) == {"input_ids", "attention_mask"} and all(one.shape == (1, 5) for one in found.values())
    assert torch.equal(dummy_input(build("bert"))["input_ids"], build("bert").dummy_inputs["input_ids"][:1])
