"""Data and target of the counting task, and an explainer that finds the relevant digits."""

import math

import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from transformers import AutoModelForSequenceClassification

from hf_diffmask import DiffMaskError, DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments
from hf_diffmask.base.running import record, replace
from hf_diffmask.testbeds import counting
from hf_diffmask.training.cache import RecordedCache
from hf_diffmask.training.recipes.registry import recipe_config
from tests.helpers import recorded_of


def features(examples):
    return {name: value for name, value in examples._asdict().items() if name != "labels"}


def test_examples_are_drawn_as_described():
    examples = counting.draw(4000, seed=3)
    real = examples.attention_mask.bool()
    lengths = real.sum(-1)
    assert lengths.bincount(minlength=11)[1:].min() > 320 and lengths.max() == 10 and lengths.min() == 1
    assert (examples.query_ids[:, 0] != examples.query_ids[:, 1]).all()
    assert examples.query_ids.flatten().bincount(minlength=10).min() > 700
    assert (examples.input_ids[~real] == 10).all() and (examples.input_ids[real] < 10).all()
    for row in range(50):
        digits = examples.input_ids[row, : lengths[row]].tolist()
        first, second = examples.query_ids[row].tolist()
        assert examples.labels[row] == (digits.count(first) > digits.count(second))
    share = (examples.input_ids[..., None] == examples.query_ids[:, None])[real].float().mean(0)
    torch.testing.assert_close(share, torch.tensor([0.25, 0.25]), atol=0.01, rtol=0)
    assert all(torch.equal(a, b) for a, b in zip(examples, counting.draw(4000, seed=3), strict=True))
    assert not torch.equal(examples.input_ids, counting.draw(4000, seed=4).input_ids)


def test_truth_marks_both_digits_of_the_query_uniformly():
    examples = counting.Counts(
        torch.tensor([[3, 5], [1, 2]]),
        torch.tensor([[3, 7, 5, 3], [4, 4, 10, 10]]),
        torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
        torch.tensor([1, 0]),
    )
    torch.testing.assert_close(
        examples.truth(), torch.tensor([[1 / 3, 0, 1 / 3, 1 / 3], [0, 0, 0, 0]]), atol=1e-6, rtol=0
    )
    items = examples.features().items
    assert items[1] == {
        "input_ids": [4, 4], "attention_mask": [1, 1], "special_tokens_mask": [0, 0], "query_ids": [1, 2]
    }  # fmt: skip


def test_compare_agrees_with_scipy():
    truth = torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.25, 0.5], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    scores = torch.tensor([[3.0, 1.0, 4.0], [1.0, 2.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    kl, js = counting.compare(truth, scores)
    attribution = [[3 / 8, 1 / 8, 1 / 2], [0.25, 0.5, 0.25], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3]]
    for row in range(4):
        assert kl[row].item() == pytest.approx(entropy(truth[row], attribution[row]))
        assert js[row].item() == pytest.approx(jensenshannon(truth[row], attribution[row]) ** 2)
    assert math.isinf(kl[2]) and kl[3].item() == pytest.approx(math.log(3))


def test_target_adds_up_two_numbers_a_digit():
    model = counting.CountingForSequenceClassification(counting.CountingConfig(embedding_size=8, hidden_size=6)).eval()
    examples = counting.draw(5, seed=0)
    with torch.no_grad():
        output = model(**examples._asdict())
        for row in range(5):
            length = int(examples.attention_mask[row].sum())
            state = torch.zeros(1, 6)
            cell = torch.nn.GRUCell(2, 6)
            cell.load_state_dict({name.removesuffix("_l0"): value for name, value in model.gru.state_dict().items()})
            query = model.query_embeddings(examples.query_ids[row]).flatten()
            for digit in examples.input_ids[row, :length]:
                state = cell(model.encoder(torch.cat([query, model.embeddings(digit)]))[None], state)
            yes = model.head(state).item()
            torch.testing.assert_close(output.logits[row], torch.tensor([0.0, yes]), atol=1e-6, rtol=0)
        probability = torch.sigmoid(output.logits[:, 1])
        bonus = -(probability * probability.log() + (1 - probability) * (1 - probability).log()).mean()
        cross_entropy = torch.nn.functional.binary_cross_entropy(probability, examples.labels.float())
        torch.testing.assert_close(output.loss, cross_entropy - 0.35 * bonus)


def test_states_are_named_by_module_path(tmp_path):
    model = counting.CountingForSequenceClassification(counting.CountingConfig()).eval()
    examples = counting.draw(4, seed=0)
    with torch.no_grad():
        output, (embeddings, encoded) = record(model, features(examples), counting.STATES)
        assert embeddings.shape == (4, 10, 64) and encoded.shape == (4, 10, 2)
        again = replace(model, features(examples), "encoder", encoded)
        torch.testing.assert_close(again.logits, output.logits)
    with pytest.raises(DiffMaskError, match=r"no list of blocks of one kind .*: name its states by module path"):
        DiffMaskModel.from_base_model(model)
    model.save_pretrained(tmp_path / "target")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "target")
    explainer = DiffMaskModel.from_base_model(again, states=counting.STATES, **recipe_config("paper", "hidden"))
    assert (explainer.config.embedding_size, explainer.config.hidden_size) == (64, 2)
    explainer.save_pretrained(tmp_path / "explainer")
    loaded = DiffMaskModel.from_pretrained(tmp_path / "explainer")
    with torch.no_grad():
        torch.testing.assert_close(
            loaded(**features(examples)).keep_probability, explainer(**features(examples)).keep_probability
        )
    with pytest.raises(DiffMaskError, match=r"one width, but have 2, 64 features"):
        DiffMaskModel.from_base_model(again, states=["embeddings", "encoder", "encoder.1"])


def test_states_of_unlike_precision_are_cached():
    model = counting.CountingForSequenceClassification(counting.CountingConfig()).eval()
    explainer = DiffMaskModel.from_base_model(model, states=counting.STATES, masking="hidden")
    examples = counting.draw(6, seed=0)
    batch = explainer.batch(example_ids=torch.arange(6), **features(examples))
    lengths = examples.attention_mask.sum(-1).tolist()
    cache = RecordedCache(lengths, 1.0, lambda ids: batch.rows(torch.tensor(ids)), size=6)
    with torch.autocast("cpu", torch.bfloat16):
        expected = recorded_of(explainer, **features(examples))
        assert len({state.dtype for state in expected.states}) == 2
        first = cache.record(explainer, batch)
        again = cache.record(explainer, batch)
    units = examples.attention_mask.bool()
    for state, whole in enumerate(expected.states):
        assert torch.equal(again.states[state][units], whole[units].to(again.states[state].dtype))
    assert torch.equal(first.target, again.target) and again.target.dtype == expected.target.dtype


def test_explainer_finds_the_digits_that_count(tmp_path):
    """A reduced benchmarks/counting.py, only for the state of the encoder."""
    examples, validation = counting.draw(9000, seed=0), counting.draw(500, seed=1)
    target = counting.train_target(examples, seed=0, epochs=20)
    with torch.no_grad():
        accuracy = (target(**features(validation)).logits.argmax(-1) == validation.labels).double().mean()
    assert accuracy > 0.97
    torch.manual_seed(0)
    explainer = DiffMaskModel.from_base_model(
        target, states=["encoder"], margin=0.05, **recipe_config("paper", "hidden")
    )
    args = DiffMaskTrainingArguments(
        output_dir=str(tmp_path), recipe="paper", margin=0.05, max_steps=2000, per_device_train_batch_size=128,
        warmup_steps=0, learning_rate=1e-3, level_learning_rate=1e-2, multiplier_learning_rate=0.1, use_cpu=True,
        disable_tqdm=True, report_to="none",
    )  # fmt: skip
    trainer = DiffMaskTrainer(
        explainer, args, examples.features(), validation.features(), processing_class=counting.digit_tokenizer()
    )
    trainer.train()
    assert trainer.evaluate()["eval_divergence"] <= 0.05
    with torch.no_grad():
        scores = explainer(**features(validation)).keep_probability[..., -1] * validation.attention_mask
    truth = validation.truth()
    counts = truth.sum(-1) > 0
    kl, js = counting.compare(truth[counts], scores[counts])
    # Keeping everything would give 0.68 and 0.20.
    assert kl.mean() < 0.1 and js.mean() < 0.04
