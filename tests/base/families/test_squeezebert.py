"""SqueezeBERT: hooks do not see its blocks, and features come before positions."""

import pytest

from hf_diffmask.base.families.squeezebert import outputs
from hf_diffmask.base.layout import FEATURES_FIRST, ROWS_FIRST, orders
from tests.base.checks import ids, loud, padding_changes_nothing, rest_depends_on_the_state_only, states_are_reported

CONFIG = {
    "hidden_size": 16, "embedding_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4,
    "intermediate_size": 24, "max_position_embeddings": 40,
}  # fmt: skip


@pytest.mark.parametrize("shape", [(2, 7), (7, 7), (2, 16), (16, 16)], ids=str)
def test_states(shape):
    """Also where features and positions are equal in number."""
    model = loud("squeezebert", **CONFIG)
    states_are_reported(model, ids(*shape), blocks=3)
    rest_depends_on_the_state_only(model, ids(*shape))


def test_padding():
    padding_changes_nothing(loud("squeezebert", **CONFIG))


def test_only_the_blocks_have_features_first():
    model = loud("squeezebert", **CONFIG)
    assert list(orders(model, outputs(model)).values()) == [ROWS_FIRST, *[FEATURES_FIRST] * 3]
