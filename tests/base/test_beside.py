"""A model that reads the input beside its states hides nothing when states are masked, and is refused."""

import pytest
import torch

from hf_diffmask import DiffMaskError, DiffMaskModel, recipe_config
from hf_diffmask.base.beside import check_reads_state_only
from hf_diffmask.base.states import state_names
from tests.base.checks import ids, loud
from tests.helpers import ARCHITECTURES, SMALL, build

ZAMBA2 = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 2,
    "intermediate_size": 24, "mamba_d_state": 4, "n_mamba_heads": 2, "use_mamba_kernels": False, "mamba_ngroups": 1,
    "layers_block_type": ["linear_attention", "hybrid", "linear_attention"],
    "layer_types": ["linear_attention", "hybrid", "linear_attention"],
}  # fmt: skip


def test_zamba2_gives_its_blocks_the_embeddings():
    model = loud("zamba2", **ZAMBA2)
    with pytest.raises(DiffMaskError, match=r"Zamba2ForSequenceClassification reads the input beside the state"):
        DiffMaskModel.from_base_model(model, **recipe_config("paper", "hidden"))
    explainer = DiffMaskModel.from_base_model(model, **recipe_config("paper", "input")).eval()
    recorded = explainer.record(explainer.batch(**ids(2, 6)))
    found = explainer.masked(recorded, torch.zeros(2, 6))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_other_models_read_the_state_only(name):
    model = build(name, **SMALL).eval()
    for state in state_names(model):
        check_reads_state_only(model, state)


def test_a_model_that_cannot_run_is_not_refused(monkeypatch):
    model = build("bert")
    monkeypatch.setattr(type(model), "dummy_inputs", {"input_ids": torch.tensor([[10**6]])})
    check_reads_state_only(model, "block.1.input")
