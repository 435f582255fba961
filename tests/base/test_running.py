"""Recording and replacing states for several architectures leaves the base model unchanged."""

import copy

import pytest
import torch

from hf_diffmask.base.flow import Flow
from hf_diffmask.base.running import Batch, Recorded, record, replace
from hf_diffmask.base.states import find_blocks, state_names
from hf_diffmask.base.taps import _after, _before
from tests.helpers import ARCHITECTURES, build


def hooks_of(model):
    return {
        hook
        for module in model.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks)
        for hook in hooks.values()
    }


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_states_are_those_that_transformers_reports(name, features):
    model = build(name).eval()
    with torch.no_grad():
        output, states = record(model, features, state_names(model))
        reported = model(**features, output_hidden_states=True)
    assert len(states) == len(state_names(model)) == 3 + 2
    torch.testing.assert_close(output.logits, reported.logits)
    torch.testing.assert_close(states[0], model.get_input_embeddings()(features["input_ids"]))
    # transformers reports the input of every block. It may normalise the last output once more.
    for ours, theirs in zip(states[1:4], reported.hidden_states[-4:-1], strict=True):
        torch.testing.assert_close(ours, theirs)
    if name not in ("llama", "gpt2", "modernbert", "ctrl"):
        torch.testing.assert_close(states[4], reported.hidden_states[-1])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_replacing_by_itself_changes_nothing_and_by_another_token_is_that_token(name, features):
    model = build(name).eval()
    names = state_names(model)
    other = {**features, "input_ids": features["input_ids"].clone()}
    other["input_ids"][0, 3] = 11
    with torch.no_grad():
        output, states = record(model, features, names)
        changed, of_other = record(model, other, names)
        assert not torch.allclose(output.logits, changed.logits)
        for state, hidden, hidden_of_other in zip(names, states, of_other, strict=True):
            torch.testing.assert_close(replace(model, features, state, hidden).logits, output.logits)
            # The rest of the model depends on the input only through the state.
            torch.testing.assert_close(replace(model, features, state, hidden_of_other).logits, changed.logits)


@pytest.mark.parametrize(
    "name", [name for name in ARCHITECTURES if name != "albert"]
)  # its one block has to run again
def test_blocks_below_the_state_are_not_run(name, features):
    model = build(name).eval()
    with torch.no_grad():
        _, states = record(model, features, state_names(model))
    run = []
    for number, block in enumerate(find_blocks(model)):
        for module in block.modules():
            if module is not block:
                module.register_forward_hook(lambda module, args, output, number=number: run.append(number))
    for state, hidden, first in zip(state_names(model), states, [0, 0, 1, 2, 3], strict=True):
        run.clear()
        replace(model, features, state, hidden)
        assert set(run) == set(range(first, 3)), state


def test_a_model_that_was_not_recorded_is_run_from_the_same_state(features):
    model = build("bert").eval()
    with torch.no_grad():
        _, states = record(model, features, state_names(model))
        changed = states[3].flip(0)
        expected = replace(model, features, "block.2.input", changed).logits
        assert torch.equal(replace(copy.deepcopy(model), features, "block.2.input", changed).logits, expected)


def test_guest_is_left_as_it_was(features):
    model = build("bert").train()
    model.classifier.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, states = record(model, features, state_names(model))
    second, _ = record(model, features, state_names(model))
    replace(model, features, "block.2.input", states[3])
    # Runs are in eval mode, or dropout would make the two differ. No gradient reaches the weights.
    assert torch.equal(first.logits, second.logits) and not first.logits.requires_grad
    assert model.training and not model.classifier.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any("forward" in module.__dict__ for module in model.modules())
    # Hooks stay, but do nothing outside of a run.
    model.eval()
    untouched = build("bert").eval()
    untouched.load_state_dict(before)
    assert torch.equal(model(**features).logits, untouched(**features).logits)
    assert hooks_of(model) <= {_before, _after}


def test_guest_is_left_as_it_was_after_an_error(features):
    model = build("bert").train()
    _, states = record(model, features, state_names(model))

    def wrapped(*args, **kwargs):
        raise RuntimeError("on purpose")

    model.bert.encoder.layer[2].forward = wrapped
    model.bert.encoder.layer[1].forward = wrapped
    with pytest.raises(RuntimeError, match="on purpose"):
        replace(model, features, "block.2.input", states[3])
    assert model.training and all(parameter.requires_grad for parameter in model.parameters())
    assert hooks_of(model) <= {_before, _after}
    assert "forward" not in model.bert.encoder.layer[0].__dict__
    assert model.bert.encoder.layer[1].forward is wrapped


@pytest.mark.parametrize("number", [0, 1, 3, 4])
def test_gradient_reaches_what_replaces_a_state(number, features):
    model = build("bert")
    names = state_names(model)
    _, states = record(model, features, names)
    extra = torch.zeros(16, requires_grad=True)
    replace(model, features, names[number], states[number] + extra).logits[:, 0].sum().backward()
    assert extra.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.parameters())


def test_rows_are_picked_from_everything_that_was_recorded():
    marks = torch.rand(3, 4) > 0.5
    batch = Batch({"input_ids": torch.randint(60, (3, 4))}, marks, ~marks, torch.arange(3))
    found = Flow((torch.rand(3, 4, 2, 5),), torch.rand(3, 4, 1, 2))
    recorded = Recorded(torch.rand(3, 2), [torch.rand(3, 4, 6) for _ in range(2)], batch, found)
    pick = torch.tensor([2, 0])
    picked = recorded.rows(pick)
    assert torch.equal(picked.flow.values[0], found.values[0][pick])
    assert torch.equal(picked.flow.shares, found.shares[pick])
    assert torch.equal(picked.target, recorded.target[pick])
    assert all(torch.equal(one, whole[pick]) for one, whole in zip(picked.states, recorded.states, strict=True))
    assert picked.batch.example_ids.tolist() == [2, 0]
    assert recorded._replace(flow=None).rows(pick).flow is None
