"""States recorded and replaced, for several architectures, with the base model left as it was."""

import copy

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from hf_diffmask.base_model import find_blocks, fingerprint, record, replace, state_names
from hf_diffmask.errors import DiffMaskError

SMALL = {"vocab_size": 60, "max_position_embeddings": 40, "pad_token_id": 0}
ARCHITECTURES = {
    "bert": {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24},
    "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24},
    "roberta": {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24},
    "electra": {"hidden_size": 16, "embedding_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2,
                "intermediate_size": 24},
    "deberta-v2": {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24},
    "gpt2": {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 40},
    "modernbert": {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24},
    "llama": {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 2,
              "intermediate_size": 24},
}  # fmt: skip


def build(name):
    config = AutoConfig.for_model(name, **{**SMALL, **ARCHITECTURES[name]})
    return AutoModelForSequenceClassification.from_config(config)


@pytest.fixture
def features():
    return {"input_ids": torch.randint(3, 60, (2, 7)), "attention_mask": torch.ones(2, 7, dtype=torch.long)}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_states_are_those_that_transformers_reports(name, features):
    model = build(name).eval()
    with torch.no_grad():
        output, states = record(model, features, state_names(model))
        reported = model(**features, output_hidden_states=True)
    assert len(states) == len(state_names(model)) == 3 + 2
    torch.testing.assert_close(output.logits, reported.logits)
    torch.testing.assert_close(states[0], model.get_input_embeddings()(features["input_ids"]))
    # transformers reports the inputs of all blocks; what follows the last may be normalised once more.
    for ours, theirs in zip(states[1:4], reported.hidden_states[-4:-1], strict=True):
        torch.testing.assert_close(ours, theirs)
    if name not in ("llama", "gpt2", "modernbert"):
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
            # Every state holds all that the rest of the model needs to know of the input.
            torch.testing.assert_close(replace(model, features, state, hidden_of_other).logits, changed.logits)


@pytest.mark.parametrize("name", ARCHITECTURES)
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


def test_states_by_module_path(features):
    model = build("bert").eval()
    with torch.no_grad():
        output, (embeddings, middle) = record(model, features, ["bert.embeddings", "bert.encoder.layer.1.attention"])
        assert not torch.equal(embeddings, middle)
        for name, hidden in (("bert.embeddings", embeddings), ("bert.encoder.layer.1.attention", middle)):
            torch.testing.assert_close(replace(model, features, name, hidden).logits, output.logits)
            assert not torch.allclose(replace(model, features, name, hidden * 2).logits, output.logits)
    with pytest.raises(DiffMaskError, match=r"no state 'bert.enc'"):
        record(model, features, ["bert.enc"])
    with pytest.raises(DiffMaskError, match=r"3 blocks, so there is no state 'block.3.input'"):
        record(model, features, ["block.3.input"])
    with pytest.raises(DiffMaskError, match=r"3 times in one forward pass"):
        record(model, features, [_shared_activation(model)])


def _shared_activation(model):
    """Has all blocks use one module, and returns its path."""
    for block in model.bert.encoder.layer:
        block.intermediate.intermediate_act_fn = model.bert.encoder.layer[0].intermediate.intermediate_act_fn
    return "bert.encoder.layer.0.intermediate.intermediate_act_fn"


def test_guest_is_left_as_it_was(features):
    model = build("bert").train()
    model.classifier.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, states = record(model, features, state_names(model))
    second, _ = record(model, features, state_names(model))
    replace(model, features, "block.2.input", states[3])
    # Eval mode meanwhile, or dropout would make the two differ; no gradient reaches the weights.
    assert torch.equal(first.logits, second.logits) and not first.logits.requires_grad
    assert model.training and not model.classifier.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not any("forward" in module.__dict__ for module in model.modules())


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
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
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


def test_blocks_are_the_outermost_list():
    model = build("bert")
    model.bert.encoder.layer[0].experts = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(9))
    assert find_blocks(model) is model.bert.encoder.layer


def test_models_without_one_stack_of_blocks_are_refused(features):
    config = AutoConfig.for_model(
        "bart", vocab_size=60, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=40,
    )  # fmt: skip
    with pytest.raises(DiffMaskError, match="encoder and a decoder"):
        find_blocks(AutoModelForSequenceClassification.from_config(config))
    shared = AutoConfig.for_model(
        "albert", **SMALL, hidden_size=16, embedding_size=8, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=24,
    )  # fmt: skip
    with pytest.raises(DiffMaskError, match="not supported"):
        model = AutoModelForSequenceClassification.from_config(shared).eval()
        record(model, features, state_names(model))


def test_models_with_blocks_in_parallel_lists_are_refused():
    config = AutoConfig.for_model("flaubert", vocab_size=60, emb_dim=16, n_layers=3, n_heads=2)
    with pytest.raises(DiffMaskError, match="lists of their own"):
        find_blocks(AutoModelForSequenceClassification.from_config(config))


def test_fingerprint_tells_weights_names_and_shapes_apart(tmp_path):
    model = build("bert")
    original = fingerprint(model, torch.float32)
    assert len(original) == 16 and fingerprint(model, torch.float32) == original
    model.half().save_pretrained(tmp_path)
    stored = {
        fingerprint(AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=dtype), torch.float16)
        for dtype in ("auto", torch.float32, torch.float64)
    }
    assert len(stored) == 1
    with torch.no_grad():
        model.classifier.weight[0, 0] += 1
    assert fingerprint(model, torch.float16) not in stored
    assert fingerprint(build("roberta"), torch.float32) != fingerprint(build("bert"), torch.float32)
