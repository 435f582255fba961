"""Hidden masking masks one state with its own votes and baseline, and runs the rest of the model."""

import json

import pytest
import torch
from transformers import pipeline

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel
from hf_diffmask.base.states import find_blocks
from hf_diffmask.training.validation import measure
from tests.explainer.helpers import drawn, uniform
from tests.helpers import HIDDEN, make_trainer, masked_output, recorded_of


@pytest.fixture
def explainer(classifier, tokenizer):
    """An untrained explainer. Its probes differ between units, its baselines between states."""
    model = DiffMaskModel.from_base_model(classifier, tokenizer, **HIDDEN).eval()
    with torch.no_grad():
        model.probes.out_weight.normal_(std=0.05)
        model.probes.out_bias.fill_(0.5)
        model.hidden_baselines.normal_(std=0.5)
    return model


@pytest.fixture
def inputs(batch):
    return {name: value for name, value in batch.items() if name != "special_tokens_mask"}


def test_probes_read_their_own_state_alone(explainer, batch, inputs):
    recorded = recorded_of(explainer, **inputs)
    maskable = explainer(**batch).maskable
    logits = explainer.probes(recorded.states, recorded.target, maskable)
    probes = explainer.probes
    row, unit = 1, 3
    for state, vectors in enumerate(recorded.states):
        weight = probes.embedding_weight if state == 0 else probes.state_weight[state - 1]
        read = torch.nn.functional.layer_norm(vectors[row, unit], vectors.shape[-1:])
        hidden = torch.tanh(read @ weight + probes.bias[state])
        expected = 10 * torch.tanh(hidden @ probes.out_weight[0, state]) + probes.out_bias[0, state]
        torch.testing.assert_close(logits[row, unit, state], expected, atol=1e-4, rtol=1e-4)
    output = explainer(**batch)
    # Votes do not multiply over states: a unit can come back.
    assert (output.keep_probability.diff(dim=-1) > 0.01).any()
    units = output.maskable
    own = torch.sigmoid(output.logits - 0.2 * torch.log(torch.tensor(0.2)))
    torch.testing.assert_close(output.keep_probability[units], own[units])


def test_a_masked_output_is_the_rest_of_the_model_on_the_mixed_state(explainer, classifier, inputs):
    """Checked against a hook that overwrites the state in a whole pass."""
    recorded = recorded_of(explainer, **inputs)
    mask = torch.rand(inputs["input_ids"].shape)
    blocks = find_blocks(classifier)
    for state in range(1, explainer.config.num_states):
        keep = mask[..., None]
        mixed = keep * recorded.states[state] + (1 - keep) * explainer.hidden_baselines[state - 1]
        if state == 1:
            handle = blocks[0].register_forward_pre_hook(lambda module, args, mixed=mixed: (mixed, *args[1:]))
        else:
            handle = blocks[state - 2].register_forward_hook(lambda module, args, output, mixed=mixed: mixed)
        with torch.no_grad():
            expected = classifier(**inputs).logits.log_softmax(-1)
            handle.remove()
            torch.testing.assert_close(masked_output(explainer, mask, state, recorded, **inputs), expected)
            # Without recorded states, they are computed.
            torch.testing.assert_close(masked_output(explainer, mask, state, **inputs), expected)
    names = [masked_output(explainer, mask, state, recorded, **inputs) for state in range(explainer.config.num_states)]
    assert not torch.allclose(names[0], names[1], atol=1e-3)


def test_each_example_is_masked_at_its_own_state(explainer, batch, inputs):
    states = torch.tensor([3, 0, 3])
    recorded = recorded_of(explainer, **inputs)
    mask = torch.rand(inputs["input_ids"].shape)
    together = masked_output(explainer, mask, states, recorded, **inputs)
    for row, state in enumerate(states.tolist()):
        alone = masked_output(explainer, mask, state, recorded, **inputs)
        torch.testing.assert_close(together[row], alone[row])


def test_blocks_below_are_not_run_in_training(explainer, classifier, batch, inputs):
    recorded = recorded_of(explainer, **inputs)
    run = []
    for number, block in enumerate(find_blocks(classifier)):
        block.attention.register_forward_hook(lambda module, args, output, number=number: run.append(number))
    states = torch.full((3,), explainer.config.num_states - 2)
    explainer(recorded=recorded, draw=drawn(explainer, states, uniform(explainer, batch)))
    assert set(run) == {len(find_blocks(classifier)) - 1}


def test_only_the_state_s_own_parameters_get_a_gradient(explainer, batch, inputs):
    states = torch.tensor([2, 2, 2])
    explainer(**batch, draw=drawn(explainer, states, uniform(explainer, batch))).masked.sum().backward()
    assert explainer.hidden_baselines.grad[1].abs().sum() > 0
    assert explainer.hidden_baselines.grad[[0, 2, 3]].abs().sum() == 0 and explainer.baseline.grad is None
    assert explainer.probes.state_weight.grad[1].abs().sum() > 0
    assert explainer.probes.state_weight.grad[[0, 2, 3]].abs().sum() == 0


def test_training_saving_and_the_pipeline(classifier, tokenizer, tmp_path):
    trainer = make_trainer(
        classifier, tokenizer, tmp_path / "run", "paper", "hidden", max_steps=10, per_device_train_batch_size=16,
        eval_strategy="no",
    )  # fmt: skip
    trainer.train()
    metrics = trainer.evaluate(trainer.train_dataset)
    rows, margin = trainer.rows, trainer.args.margin
    means = [row.kept_share if row.divergence <= margin else 1 + row.divergence for row in rows]
    assert metrics["eval_selection"] == pytest.approx(sum(means) / len(means))
    trainer.save_model(str(tmp_path / "explainer"))
    explain = pipeline(hf_diffmask.TASK, model=str(tmp_path / "explainer"))
    assert explain.model.config.masking == "hidden"
    result = explain("a warm and quietly funny film", state="block.1.input")
    names = result["states"]
    features = tokenizer("a warm and quietly funny film", return_tensors="pt", return_special_tokens_mask=True)
    row = measure(trainer.model, recorded_of(trainer.model, **features), [names.index("block.1.input")])[0, 0]
    assert result["divergence"] == pytest.approx(row[2].item(), abs=1e-5)
    assert result["kept_share"] == pytest.approx((row[0] / row[1]).item())
    settings = json.loads((tmp_path / "explainer" / "training_args.json").read_text())
    assert settings["masking"] == "hidden" and settings["read_context"] is False


def test_some_of_the_states(classifier, tokenizer, inputs):
    explainer = DiffMaskModel.from_base_model(
        classifier, tokenizer, states=["embeddings", "block.1.input"], masking="hidden"
    )
    assert explainer.config.num_states == 2 and recorded_of(explainer, **inputs).states[1].shape[-1] == 128
    with pytest.raises(DiffMaskError, match="at least one state"):
        DiffMaskModel.from_base_model(classifier, tokenizer, states=[])


def test_an_explainer_that_masks_inputs_has_no_baseline_above(classifier, tokenizer):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer)
    assert torch.equal(explainer.baseline_at(0), explainer.baseline)
    with pytest.raises(DiffMaskError, match=r"no baseline for the state 'block.0.input'"):
        explainer.baseline_at(1)
