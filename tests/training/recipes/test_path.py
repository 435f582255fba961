"""The objective `path`, checked by hand; a trained path ranks far better than chance."""

import math
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerCallback

from hf_diffmask import DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments
from hf_diffmask.base.running import Batch
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.evaluation.comparison import attribute
from hf_diffmask.evaluation.faithfulness import curves, mean_measures, measures
from hf_diffmask.explainer.outputs import DiffMaskOutput
from hf_diffmask.masks.paths import scores_at
from hf_diffmask.methods.registry import METHODS, Explainers
from hf_diffmask.tasks.preserved import PRESERVED
from hf_diffmask.tasks.text_classification import TextClassification
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training.recipes.path import DrawnPaths, PathObjective
from hf_diffmask.training.validation import measure, measure_ranking
from tests.helpers import batches_of, masked_output, path_of, recorded_of


def test_objective_by_hand():
    logs = [torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log(), torch.tensor([[0.45, 0.55], [0.2, 0.8]]).log(),
            torch.tensor([[0.3, 0.7], [0.6, 0.4]]).log()]  # fmt: skip
    scores = torch.tensor([[[1.0, 3.0], [2.0, 0.0]], [[0.0, 0.0], [5.0, 1.0]]])
    maskable = torch.tensor([[True, True], [True, False]])
    output = DiffMaskOutput(None, logs[0], maskable, scores, masked=logs[1], left_out=logs[2])

    def loss(target, states, masks_inputs=False):
        explainer = SimpleNamespace(task=TextClassification(), preserved=PRESERVED[target])
        return PathObjective(2, masks_inputs).step_loss(explainer, output, DrawnPaths(states, None, None))

    states = torch.tensor([0, 1])  # with hidden masking
    assert scores_at(scores, states).tolist() == [[1.0, 2.0], [0.0, 1.0]]
    penalty = 1e-3 * (1 + 4) / 2
    found = loss("prediction", states)
    assert found.item() == pytest.approx((math.log(2) + 0.3 + penalty + 0.0 + 0.4) / 2)
    kept = 0.9 * math.log(0.9 / 0.45) + 0.1 * math.log(0.1 / 0.55)
    left_out = 0.9 * math.log(0.9 / 0.3) + 0.1 * math.log(0.1 / 0.7), 0.2 * math.log(0.2 / 0.6) + 0.8 * math.log(2.0)
    expected = (kept + math.exp(-left_out[0]) + penalty + math.exp(-left_out[1])) / 2
    found = loss("distribution", states)
    assert found.item() == pytest.approx(expected)
    # With input masking, the last state's scores count. Other states learn from them, not the reverse.
    states, variable = torch.tensor([1, 1]), scores.clone().requires_grad_()
    output["logits"] = variable
    found = loss("prediction", states, masks_inputs=True)
    squares = 1e-3 * (((9 + 0) + (4 + 4)) / 2 + (0 + 0))
    assert found.item() == pytest.approx((math.log(2) + 0.3 + 0.0 + 0.4 + squares) / 2)
    found.backward()
    expected = [[[2 * (1 - 3), 2 * 3], [2 * (2 - 0), 0.0]], [[0.0, 0.0], [0.0, 0.0]]]  # the last position is no unit
    torch.testing.assert_close(variable.grad, 1e-3 * torch.tensor(expected) / 2 / 2)


def test_draws_of_states_and_budgets():
    ids = torch.arange(20_000)
    batch = Batch({}, torch.ones(20_000, 1, dtype=torch.bool), torch.zeros(20_000, 1, dtype=torch.bool), ids)
    states = PathObjective(5).drawn(0, 3, batch).states
    assert states.unique().tolist() == [4]
    drawn = PathObjective(5, masks_inputs=False).drawn(0, 3, batch)
    states, shares = drawn.states, drawn.shares
    assert states.bincount().tolist() == pytest.approx([4000] * 5, abs=250)
    assert shares.min() >= 0.03 and shares.max() <= 0.63 and shares.mean().item() == pytest.approx(0.33, abs=0.01)
    assert abs(torch.corrcoef(torch.stack([states.double(), shares.double()]))[0, 1]) < 0.03


class _Watch(TrainerCallback):
    def __init__(self, look):
        self.look = look

    def on_step_end(self, args, state, control, **kwargs):
        self.look()


def test_a_trained_path_ranks_far_better_than_chance(classifier, tokenizer, tmp_path):
    explainer = path_of(classifier, tokenizer)
    args = DiffMaskTrainingArguments(
        output_dir=str(tmp_path), recipe="path", max_steps=80, per_device_train_batch_size=32, use_cpu=True,
        disable_tqdm=True, report_to="none", save_strategy="no", eval_strategy="no", load_best_model_at_end=False,
    )  # fmt: skip
    data = TextFeatures(tokenizer, sentences(400), 64), TextFeatures(tokenizer, sentences(60, seed=1), 64)
    trainer = DiffMaskTrainer(explainer, args, *data, processing_class=tokenizer)
    untrained = trainer.evaluate()["eval_selection"]
    start = explainer.baseline.clone()
    learned = []  # the baseline after each step of the probes
    trainer.add_callback(_Watch(lambda: learned.append(explainer.baseline.clone())))
    trainer.train()
    assert not torch.equal(start, explainer.baseline), "learned from random masks, before the probes"
    assert len(learned) > 1 and all(torch.equal(one, explainer.baseline) for one in learned), "fixed for the probes"
    everything = next(iter(batches_of(tokenizer, 60, 60)))
    inputs_of = {name: value for name, value in everything.items() if name != "special_tokens_mask"}
    nothing = everything["special_tokens_mask"].bool()

    empty = []
    with torch.no_grad():
        for baseline in (start, learned[0]):
            explainer.baseline.copy_(baseline)
            empty.append(masked_output(explainer, nothing, **inputs_of).exp().mean(0).min())
    assert empty[0] < 0.25 < empty[1], "mask tokens are evidence for a class, the baseline is not"
    metrics = trainer.evaluate()
    assert metrics["eval_selection"] < untrained - 0.2
    recorded = recorded_of(explainer, **batches_of(tokenizer, 60, 60)[0])
    by_hand = measure_ranking(explainer, recorded)
    assert metrics["eval_selection"] == pytest.approx(by_hand.mean().item(), abs=1e-4)
    rows = measure(explainer, recorded)
    assert (rows[:, -1, 0].sum() / rows[:, -1, 1].sum()).item() < 0.7, "some units can be dropped within the margin"
    plain = DiffMaskModel.from_base_model(classifier, tokenizer).eval()
    inputs = data[1].items
    found = {}
    for name in ("diffmask", "random"):
        scores = attribute(Explainers(explainer, plain, None, 0), tokenizer, inputs, name).scores
        found[name] = mean_measures(measures(curve) for curve in curves(classifier, tokenizer, inputs, scores))
    assert set(found) <= set(METHODS)
    assert found["diffmask"]["comprehensiveness"] > found["random"]["comprehensiveness"] + 0.1
    assert found["diffmask"]["sufficiency"] < found["random"]["sufficiency"] - 0.1
