"""A text gives the same result alone and in a padded batch, for each family of models and each side of padding."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoModelForSequenceClassification

from hf_diffmask.base.padding import _measured, parts_of, spread
from hf_diffmask.base.running import record, replace, run
from hf_diffmask.base.states import state_names
from tests.helpers import ARCHITECTURES, SMALL, build

LAYERS = {"num_hidden_layers": 2, "intermediate_size": 24, "hidden_size": 16}
# Their logits depend on padding, whatever the attention mask.
DEPENDENT = {
    "fnet": {**LAYERS, "use_tpu_fourier_optimizations": False},
    "convbert": {**LAYERS, "num_attention_heads": 4, "embedding_size": 16, "head_ratio": 2},
    "nystromformer": {**LAYERS, "num_attention_heads": 2},
}
TEXTS = [[5, 9, 11, 7, 3, 8, 4], [6, 10, 4, 12], [7, 3, 9, 13]]


def loud(model):
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(3)
    return model.eval()


def padded(side):
    rows, masks = [], []
    for text in TEXTS:
        empty = [0] * (7 - len(text))
        rows.append(empty + text if side == "left" else text + empty)
        masks.append([int(bool(number)) for number in rows[-1]])
    return {"input_ids": torch.tensor(rows), "attention_mask": torch.tensor(masks)}


def alone(text):
    return {"input_ids": torch.tensor([text]), "attention_mask": torch.ones(1, len(text), dtype=torch.long)}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", [*ARCHITECTURES, *DEPENDENT])
def test_each_text_gives_what_it_gives_alone(name, side):
    config = {**SMALL, **ARCHITECTURES.get(name, {}), **DEPENDENT.get(name, {})}
    model = loud(AutoModelForSequenceClassification.from_config(AutoConfig.for_model(name, **config)))
    names, batch = state_names(model), padded(side)
    real = batch["attention_mask"].bool()
    with torch.no_grad():
        output, states = record(model, batch, names)
        replaced = [replace(model, batch, state, hidden).logits for state, hidden in zip(names, states, strict=True)]
        for row, text in enumerate(TEXTS):
            # The bare model, on the text alone.
            expected = model(**{k: v for k, v in alone(text).items() if name != "fnet" or k == "input_ids"}).logits[0]
            torch.testing.assert_close(output.logits[row], expected, atol=1e-5, rtol=0)
            _, of_text = record(model, alone(text), names)
            for state, hidden in enumerate(states):
                torch.testing.assert_close(hidden[row][real[row]], of_text[state][0], atol=1e-5, rtol=0)
                torch.testing.assert_close(replaced[state][row], expected, atol=1e-5, rtol=0)
    assert _measured[model] == (name in DEPENDENT)


def test_padding_does_matter_to_these_families():
    """If one of them stops to depend on padding, its row above tests nothing."""
    for name, config in DEPENDENT.items():
        model = loud(AutoModelForSequenceClassification.from_config(AutoConfig.for_model(name, **SMALL, **config)))
        batch = padded("right")
        with torch.no_grad():
            whole = model(input_ids=torch.tensor([TEXTS[1]])).logits[0]
            assert not torch.allclose(model(input_ids=batch["input_ids"]).logits[1], whole, atol=1e-3)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", ["bert", "fnet"])
def test_outputs_with_positions_keep_the_layout_of_the_batch(name, side):
    config = AutoConfig.for_model(name, **{**SMALL, **ARCHITECTURES.get(name, {}), **DEPENDENT.get(name, {})})
    model, batch = loud(AutoModelForQuestionAnswering.from_config(config)), padded(side)
    real = batch["attention_mask"].bool()
    with torch.no_grad():
        output = run(model, batch)
        for row, text in enumerate(TEXTS):
            expected = model(input_ids=torch.tensor([text]))
            for key in ("start_logits", "end_logits"):
                torch.testing.assert_close(output[key][row][real[row]], expected[key][0], atol=1e-5, rtol=0)


def test_gradient_passes_through_the_parts():
    config = AutoConfig.for_model("fnet", **SMALL, **DEPENDENT["fnet"])
    model, batch = loud(AutoModelForSequenceClassification.from_config(config)), padded("left")
    _, (embedded,) = record(model, batch, ["embeddings"])
    leaf = embedded.detach().requires_grad_()
    replace(model, batch, "embeddings", leaf).logits[:, 0].sum().backward()
    for row, text in enumerate(TEXTS):
        one = embedded[row, -len(text) :][None].detach().requires_grad_()
        replace(model, alone(text), "embeddings", one).logits[:, 0].sum().backward()
        torch.testing.assert_close(leaf.grad[row, -len(text) :], one.grad[0], atol=1e-5, rtol=1e-4)
        assert not leaf.grad[row, : 7 - len(text)].any()


@pytest.mark.parametrize("name", ["gpt2", "llama", "ctrl"])
def test_a_model_without_a_padding_id_runs_in_batches(name):
    model = loud(build(name, pad_token_id=None))
    before = model.config.to_dict()
    for side in ("left", "right"):
        with torch.no_grad():
            found = run(model, padded(side)).logits
            expected = torch.cat([model(**alone(text)).logits for text in TEXTS])
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert model.config.to_dict() == before
    with pytest.raises(ValueError, match="no padding token is defined"):
        model(**padded("right"))


def test_a_batch_that_uses_the_whole_vocabulary_runs_row_by_row():
    model = loud(build("gpt2", pad_token_id=None, vocab_size=4))
    ids = torch.tensor([[0, 1, 2], [3, 2, 0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    with torch.no_grad():
        found = run(model, {"input_ids": ids, "attention_mask": mask})
        expected = torch.cat([model(ids[:1]).logits, model(ids[1:, :2]).logits])
    torch.testing.assert_close(found.logits, expected, atol=1e-5, rtol=0)
    full = torch.tensor([[0, 1, 2, 3], [3, 2, 0, 1]])
    with torch.no_grad():
        found = run(model, {"input_ids": full}).logits
        torch.testing.assert_close(found, torch.cat([model(row[None]).logits for row in full]), atol=1e-5, rtol=0)


def test_a_text_may_end_with_the_padding_token():
    """GPT-2's users pad with the end of text: a real one must be read."""
    model = loud(build("gpt2", pad_token_id=None))
    batch = {"input_ids": torch.tensor([[5, 9, 2], [7, 2, 2]]), "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])}
    with torch.no_grad():
        expected = torch.cat([model(torch.tensor([[5, 9, 2]])).logits, model(torch.tensor([[7, 2]])).logits])
        torch.testing.assert_close(run(model, batch).logits, expected, atol=1e-5, rtol=0)


def test_parts_by_hand():
    units = torch.tensor([[0, 1, 1], [1, 1, 1], [0, 1, 1], [0, 0, 1]]).bool()
    assert parts_of(torch.ones(2, 3, dtype=torch.bool), False, False) == []
    assert parts_of(units.flip(1), False, False) == []
    (whole,) = parts_of(units, False, False)
    assert whole.rows.tolist() == [0, 1, 2, 3]
    assert whole.positions.tolist() == [[1, 2, 0], [0, 1, 2], [1, 2, 0], [2, 0, 1]]
    one, two, three = parts_of(units, True, False)
    assert [part.rows.tolist() for part in (one, two, three)] == [[3], [0, 2], [1]]
    assert [part.positions.tolist() for part in (one, two, three)] == [[[2]], [[1, 2], [1, 2]], [[0, 1, 2]]]
    assert [part.positions.tolist() for part in parts_of(units, False, True)] == [
        [[1, 2]], [[0, 1, 2]], [[1, 2]], [[2]],
    ]  # fmt: skip
    values = torch.arange(12.0).reshape(4, 3)
    again = spread([one, two, three], [part.take(values) for part in (one, two, three)], units.shape)
    assert torch.equal(again, values * units)
