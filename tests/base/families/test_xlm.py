"""XLM and FlauBERT: a block is spread over four lists, and its output is that of a normalisation."""

import pytest
from transformers import AutoModelForQuestionAnswering

from hf_diffmask import DiffMaskError, DiffMaskModel, recipe_config
from hf_diffmask.base.running import record
from tests.base.checks import ids, loud, padding_changes_nothing, rest_depends_on_the_state_only, states_are_reported

CONFIG = {"emb_dim": 16, "n_layers": 3, "n_heads": 2, "max_position_embeddings": 40, "pad_index": 0}


@pytest.mark.parametrize("name", ["xlm", "flaubert"])
@pytest.mark.parametrize("shape", [(2, 7), (7, 7)], ids=str)
def test_states(name, shape):
    model = loud(name, **CONFIG)
    states_are_reported(model, ids(*shape), blocks=3)
    rest_depends_on_the_state_only(model, ids(*shape))


@pytest.mark.parametrize("name", ["xlm", "flaubert"])
def test_padding(name):
    padding_changes_nothing(loud(name, **CONFIG))


@pytest.mark.parametrize("masking", ["input", "hidden"])
def test_an_explainer(masking):
    explainer = DiffMaskModel.from_base_model(loud("xlm", **CONFIG), **recipe_config("paper", masking))
    assert explainer.config.num_states == 5 and not explainer.config.read_flow


def test_questions():
    model = loud("xlm", AutoModelForQuestionAnswering, **CONFIG)
    assert record(model, ids(2, 7), ["block.2.output"])[1][0].shape == (2, 7, 16)


def test_a_model_that_normalises_first_is_refused():
    model = loud("flaubert", pre_norm=True, **CONFIG)
    with pytest.raises(DiffMaskError, match=r"FlaubertForSequenceClassification normalises before its layers"):
        DiffMaskModel.from_base_model(model)
