"""Reformer is refused before training."""

import pytest

from hf_diffmask import DiffMaskError, DiffMaskModel
from tests.base.checks import loud


def test_two_streams_are_refused():
    model = loud(
        "reformer", hidden_size=16, num_attention_heads=2, attention_head_size=8, feed_forward_size=24,
        axial_pos_embds=False, attn_layers=["local", "local"], is_decoder=False, max_position_embeddings=64,
    )  # fmt: skip
    with pytest.raises(DiffMaskError, match=r"ReformerForSequenceClassification has two vectors for each token"):
        DiffMaskModel.from_base_model(model)
