"""States are (batch, positions, features), whatever the model's own order and however it pads inside."""

import pytest
import torch
from transformers import AutoModelForQuestionAnswering

from hf_diffmask import DiffMaskModel, recipe_config
from hf_diffmask.ablations.running import _can_hide
from hf_diffmask.base.dummies import dummy_input
from hf_diffmask.base.layout import FEATURES_FIRST, POSITIONS_FIRST, ROWS_FIRST, arranged, as_before, orders
from hf_diffmask.base.running import record, replace
from hf_diffmask.base.states import find_blocks, state_names
from tests.base.checks import ids, loud, padding_changes_nothing, rest_depends_on_the_state_only, states_are_reported

XLNET = {"d_model": 16, "n_layer": 3, "n_head": 2, "d_inner": 24}
LONGFORMER = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24,
    "attention_window": 4, "max_position_embeddings": 60, "pad_token_id": 1,
}  # fmt: skip
SHAPES = [(2, 7), (7, 7), (1, 7), (16, 16), (3, 16), (16, 3), (2, 8)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_xlnet_has_positions_first(shape):
    """Also where rows, positions and features are equal in number, so that shapes say nothing."""
    model = loud("xlnet", **XLNET)
    features = ids(*shape)
    states_are_reported(model, features, blocks=3)
    rest_depends_on_the_state_only(model, features)
    assert orders(
        model, [*find_blocks(model), model.classifier if hasattr(model, "classifier") else model.logits_proj]
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_longformer_pads_inside(shape):
    model = loud("longformer", **LONGFORMER)
    features = ids(*shape)
    states_are_reported(model, features, blocks=3)
    rest_depends_on_the_state_only(model, features)


def test_a_window_that_is_filled_at_first_hides_no_padding():
    """Blocks are left out of a run only where their output has no padding of the model's own."""
    model = loud("longformer", **LONGFORMER)
    for length in (8, 7, 8, 5):
        rest_depends_on_the_state_only(model, ids(2, length))


@pytest.mark.parametrize(("name", "config"), [("xlnet", XLNET), ("longformer", LONGFORMER)])
def test_padding_of_the_batch(name, config):
    padding_changes_nothing(loud(name, **{**config, "pad_token_id": 0}))


@pytest.mark.parametrize(("name", "config"), [("xlnet", XLNET), ("longformer", LONGFORMER)])
def test_gradients_reach_a_state(name, config):
    """Against finite differences; Longformer computes its softmax in single precision."""
    model, features = loud(name, **config).double(), ids(2, 5)
    for state in ("embeddings", "block.1.input"):
        with torch.no_grad():
            _, (hidden,) = record(model, features, [state])
        leaf = hidden.clone().requires_grad_()
        replace(model, features, state, leaf).logits[1, 0].backward()
        step = torch.zeros_like(hidden)
        step[1, 3, 2] = 1e-3
        with torch.no_grad():
            up, down = (replace(model, features, state, hidden + sign * step).logits[1, 0] for sign in (1, -1))
        expected = (up - down) / 2e-3
        assert expected.abs() > 1e-6
        torch.testing.assert_close(leaf.grad[1, 3, 2], expected, atol=1e-7, rtol=1e-2)
        assert not leaf.grad[0].any()


@pytest.mark.parametrize(("name", "config"), [("xlnet", XLNET), ("longformer", LONGFORMER)])
def test_hidden_masking_removes_the_text(name, config):
    explainer = DiffMaskModel.from_base_model(loud(name, **config), **recipe_config("paper", "hidden")).eval()
    recorded = explainer.record(explainer.batch(**ids(2, 6)))
    assert (recorded.target[0] - recorded.target[1]).abs().max() > 1e-3
    for state in range(5):
        found = explainer.masked(recorded, torch.zeros(2, 6), state)
        torch.testing.assert_close(found[0], found[1])


def test_a_longformer_for_questions_wants_separators_that_its_dummy_input_lacks():
    model = loud("longformer", AutoModelForQuestionAnswering, **{**LONGFORMER, "sep_token_id": 2})
    with pytest.raises(AssertionError, match="exactly three separator tokens"):
        model(**dummy_input(model))
    explainer = DiffMaskModel.from_base_model(model, **recipe_config(task="question-answering")).eval()
    assert not _can_hide(explainer)
    features = ids(2, 9)
    features["input_ids"][:, [3, 4, 8]] = 2
    with torch.no_grad():
        output, (hidden,) = record(model, features, ["block.1.input"])
        torch.testing.assert_close(output.start_logits, model(**features).start_logits)
        again = replace(model, features, "block.1.input", hidden)
    torch.testing.assert_close(again.end_logits, output.end_logits)


def test_orders_by_hand():
    state = torch.arange(24.0).reshape(2, 3, 4)
    for order in (ROWS_FIRST, POSITIONS_FIRST, FEATURES_FIRST):
        own = state.permute(order)
        assert torch.equal(arranged(own, order, 3), state)
        assert torch.equal(as_before(state, order, own), own)
    padded = torch.cat([state, torch.full((2, 2, 4), 9.0)], dim=1)
    assert torch.equal(arranged(padded, ROWS_FIRST, 3), state)
    changed = as_before(-state, ROWS_FIRST, padded)
    assert torch.equal(changed[:, :3], -state) and (changed[:, 3:] == 9).all()


def test_a_model_that_cannot_run_has_rows_first(monkeypatch):
    model = loud("xlnet", **XLNET)
    monkeypatch.setattr(type(model), "dummy_inputs", {"input_ids": torch.tensor([[10**6]])})
    assert set(orders(model, find_blocks(model)).values()) == {ROWS_FIRST}


def test_orders_are_found_by_a_run():
    model = loud("xlnet", **XLNET)
    assert set(orders(model, [model.get_input_embeddings(), *find_blocks(model)]).values()) == {POSITIONS_FIRST}
    assert state_names(model)[1] == "block.0.input"
