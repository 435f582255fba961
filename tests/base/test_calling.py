"""A base model is called with the arguments that it takes, and stays as it was."""

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    DistilBertForSequenceClassification,
)

from hf_diffmask import DiffMaskModel
from hf_diffmask.base.running import record, replace, run
from hf_diffmask.base.states import state_names
from hf_diffmask.errors import DiffMaskError
from tests.helpers import build

IDS = {"input_ids": torch.tensor([[5, 9, 11, 7]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
TYPES = torch.tensor([[3, 3, 4, 4]])


@torch.no_grad()
def test_what_a_tokenizer_gives_and_a_model_does_not_take_is_left_out():
    class Strict(DistilBertForSequenceClassification):
        def forward(self, input_ids, attention_mask=None):
            return super().forward(input_ids, attention_mask)

    model = Strict(build("distilbert").config).eval()
    with pytest.raises(TypeError, match="token_type_ids"):
        model(**IDS, token_type_ids=TYPES)
    assert torch.equal(run(model, {**IDS, "token_type_ids": TYPES}).logits, model(**IDS).logits)
    with pytest.raises(TypeError, match="colour"):
        run(model, {**IDS, "colour": TYPES})


@torch.no_grad()
def test_gpt2_looks_up_token_types_in_the_token_table():
    model = build("gpt2").eval()
    expected = model(**IDS, token_type_ids=TYPES).logits
    assert not torch.allclose(expected, model(**IDS).logits, atol=1e-4)
    features = {**IDS, "token_type_ids": TYPES}
    output, states = record(model, features, state_names(model))
    assert torch.equal(output.logits, expected)
    assert torch.equal(states[0], model.transformer.wte(IDS["input_ids"]))
    assert torch.equal(replace(model, features, "embeddings", states[0]).logits, expected)
    # Only the look-up of the tokens is replaced: the result is that of other tokens with the same types.
    other = torch.tensor([[6, 9, 8, 7]])
    changed = replace(model, features, "embeddings", model.transformer.wte(other)).logits
    torch.testing.assert_close(changed, model(**{**IDS, "input_ids": other}, token_type_ids=TYPES).logits)


@torch.no_grad()
def test_token_types_that_equal_the_tokens_are_told_apart():
    """Token 0 is a character of GPT-2's, and the types of a single text are 0."""
    model = build("gpt2", pad_token_id=None).eval()
    ids = torch.zeros(1, 3, dtype=torch.long)
    features = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    output, (embedded,) = record(model, features, ["embeddings"])
    assert torch.equal(output.logits, model(**features).logits)
    other = model.transformer.wte(ids + 5)
    changed = replace(model, features, "embeddings", other).logits
    expected = model(inputs_embeds=other, attention_mask=features["attention_mask"], token_type_ids=ids).logits
    torch.testing.assert_close(changed, expected)
    assert torch.equal(embedded, model.transformer.wte(ids))


@torch.no_grad()
def test_embeddings_that_a_model_changes_in_place_are_recorded_as_looked_up():
    model = build("ctrl").eval()
    _, (found,) = record(model, IDS, ["embeddings"])
    assert torch.equal(found, model.transformer.w(IDS["input_ids"]))
    given = found.clone()
    replace(model, IDS, "embeddings", given)
    assert torch.equal(given, found)


@pytest.mark.parametrize("how", ["whole model", "forward", "blocks", "all modules"])
def test_a_compiled_base_gives_the_same_states_and_stays_compiled(how):
    model = build("bert", num_hidden_layers=2).eval()
    names = state_names(model)
    with torch.no_grad():
        expected, states = record(model, IDS, names)
    runs = []

    def backend(graph, inputs):
        def compiled(*args):
            runs.append(1)
            return graph.forward(*args)

        return compiled

    if how == "whole model":
        model.compile(backend=backend)
    elif how == "forward":
        model.forward = torch.compile(model.forward, backend=backend)
    else:
        for module in model.bert.encoder.layer if how == "blocks" else [model, *model.bert.encoder.layer]:
            module.compile(backend=backend)
    with torch.no_grad():
        torch.testing.assert_close(model(**IDS).logits, expected.logits)
        before = len(runs)
        assert before > 0
        output, again = record(model, IDS, names)
        for one, other in zip(states, again, strict=True):
            torch.testing.assert_close(one, other)
        torch.testing.assert_close(output.logits, expected.logits)
        for state, hidden in zip(names, states, strict=True):
            changed = replace(model, IDS, state, hidden.flip(1)).logits
            assert not torch.allclose(changed, expected.logits, atol=1e-5) or state == names[-1]
        assert len(runs) == before
        torch.testing.assert_close(model(**IDS).logits, expected.logits)
        assert len(runs) > before


def test_a_base_compiles_whole_after_it_was_explained():
    """Hooks stay on its modules, and compiled code leaves them out."""
    model = build("bert", num_hidden_layers=2).eval()
    with torch.no_grad():
        expected, states = record(model, IDS, state_names(model))
        replace(model, IDS, "block.1.input", states[2])
        graphs = []

        def backend(graph, inputs):
            graphs.append(graph)
            return graph.forward

        torch.compiler.reset()  # other tests compile the same code, and PyTorch counts
        found = torch.compile(model, backend=backend, fullgraph=True)(**IDS)
    torch.testing.assert_close(found.logits, expected.logits)
    assert len(graphs) == 1


def test_a_model_that_computes_states_in_another_layout_is_refused():
    config = AutoConfig.for_model(
        "funnel", vocab_size=60, d_model=16, block_sizes=[1, 1, 1], n_head=2, d_head=8, d_inner=24
    )
    model = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(
        DiffMaskError, match=r"has the state 'block.1.input' in the shape \(1, 3, 16\) for an input of \(1, 5\)"
    ):
        DiffMaskModel.from_base_model(model)
    # Also where the head's positions are not looked for.
    with pytest.raises(DiffMaskError, match="models with one vector for each token are supported"):
        DiffMaskModel.from_base_model(AutoModelForTokenClassification.from_config(config))
