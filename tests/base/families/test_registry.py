"""Families are found by the type in their config."""

from hf_diffmask.base.families.registry import BLOCK_OUTPUTS, block_outputs
from tests.helpers import build


def test_other_models_need_no_family():
    assert block_outputs(build("bert")) is None and "bert" not in BLOCK_OUTPUTS
