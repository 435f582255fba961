"""Training learns, resumes, stops, and runs in several processes."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import hf_diffmask
from hf_diffmask import DiffMaskError, DiffMaskModel, DiffMaskTrainer, DiffMaskTrainingArguments
from hf_diffmask.data.features import TextFeatures
from hf_diffmask.testbeds.grammar import sentences
from hf_diffmask.training.recipes.registry import RECIPES, recipe_config
from tests.helpers import ROOT, batches_of, make_trainer
from tests.training.two_processes import RUNS, train_all


def test_training_drops_tokens_within_the_margin(classifier, tokenizer, tmp_path):
    trainer = make_trainer(classifier, tokenizer, tmp_path, max_steps=100, masks=8, eval_strategy="no")
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    trainer.train()
    metrics = trainer.evaluate()
    assert metrics["eval_kept_share"] < 0.7 and metrics["eval_agreement"] >= 0.8 and metrics["eval_r2"] > 0.5
    assert trainer.rows[-1].within_margin >= 0.7
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def test_all_reported_inputs_are_measured(classifier, tokenizer, tmp_path):
    """Accelerate cuts the last batch by the length of the data set: here 24 % 23, so one input of eight was left."""
    trainer = make_trainer(classifier, tokenizer, tmp_path, eval_strategy="no", per_device_eval_batch_size=23)
    trainer.train()
    found = trainer.evaluate()
    explainer, divergences, units = trainer.model.eval(), [], [0, 0]
    for number in range(2, 24, 3):
        features = {name: torch.tensor([value]) for name, value in trainer.eval_dataset.items[number].items()}
        output = explainer(**features)
        mask = output.keep_probability[..., -1] > 0.5
        recorded = explainer.record(explainer.batch(**features))
        divergences.append(explainer.task.divergence(output.target, explainer.masked(recorded, mask)).item())
        units = [units[0] + int((mask & output.maskable).sum()), units[1] + int(output.maskable.sum())]
    assert found["eval_divergence"] == pytest.approx(sum(divergences) / 8, abs=1e-5)
    assert found["eval_kept_share"] == pytest.approx(units[0] / units[1], abs=1e-5)


def test_violations_are_counted_at_each_step_of_paper(classifier, tokenizer, tmp_path):
    trainer = make_trainer(classifier, tokenizer, tmp_path, "paper")
    batch = next(iter(trainer.get_train_dataloader()))
    for step in range(3):
        trainer.state.global_step = step
        assert trainer.compute_loss(trainer.model, batch).requires_grad
        assert trainer.objective.sums[0].sum().item() == 8
        trainer.update_objective()


@pytest.mark.parametrize("recipe", RECIPES)
def test_resuming_is_the_same_as_going_on(classifier, tokenizer, tmp_path, recipe):
    # 12 steps an epoch: the checkpoint at step 15 is in the second epoch, and so is the end.
    settings = {
        "save_strategy": "steps", "save_steps": 15, "eval_steps": 15, "load_best_model_at_end": False,
        "max_steps": 19, "baseline_steps": min(3, RECIPES[recipe].settings["baseline_steps"]),
    }  # fmt: skip
    whole = make_trainer(classifier, tokenizer, tmp_path / "whole", recipe, **settings)
    whole.train()
    files = {path.name for path in (tmp_path / "whole" / "checkpoint-15").iterdir()}
    assert {"config.json", "model.safetensors", "objective.safetensors", "training_args.json"} <= files
    assert "training_args.bin" not in files
    # Resumed from the last step, a run takes no step, and is completed and calibrated as before.
    for step, taken in ((15, 4), (19, 0)):
        resumed = make_trainer(classifier, tokenizer, tmp_path / f"resumed-{step}", recipe, **settings)
        loss, count = resumed.compute_loss, []
        resumed.compute_loss = lambda *given, loss=loss, count=count, **more: count.append(1) or loss(*given, **more)
        resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"))
        assert len(count) == taken and resumed.state.global_step == 19
        for name, value in whole.model.state_dict().items():
            assert torch.equal(value, resumed.model.state_dict()[name]), f"{name}: to the last bit"
        for name, value in whole.objective.state_dict().items():
            assert torch.equal(value, resumed.objective.state_dict()[name]), name
    if recipe == "ablation":
        assert whole.model.costs.any(), "calibrated"
        return
    assert not torch.equal(whole.objective.multipliers, torch.full_like(whole.objective.multipliers, 5.0))


def test_parts_of_a_batch_have_equal_weights(classifier, tokenizer, tmp_path):
    trainer = make_trainer(
        classifier, tokenizer, tmp_path, per_device_train_batch_size=8, gradient_accumulation_steps=13
    )
    with pytest.raises(DiffMaskError) as error:
        trainer.train()
    assert str(error.value) == (
        "A step takes 104 inputs (1 processes x 13 accumulated batches x 8), and the data set has 96: lower "
        "--per_device_train_batch_size or --gradient_accumulation_steps."
    )


def test_accumulation_is_the_same_as_a_larger_batch(classifier, tokenizer, tmp_path):
    whole = make_trainer(classifier, tokenizer, tmp_path / "a", max_steps=6, eval_strategy="no")
    parts = make_trainer(
        classifier, tokenizer, tmp_path / "b", max_steps=6, eval_strategy="no", per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
    )  # fmt: skip
    whole.train()
    parts.train()
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(value, parts.model.state_dict()[name], atol=1e-4, rtol=0)


def test_best_checkpoint_is_the_sparsest_within_the_margin(classifier, tokenizer, tmp_path):
    trainer = make_trainer(
        classifier, tokenizer, tmp_path, max_steps=4, eval_steps=1, save_strategy="steps", save_steps=1,
        save_total_limit=None,
    )  # fmt: skip
    script = iter([(0.5, 0.2), (0.3, 0.05), (0.6, 0.01), (0.2, 0.11)])

    def evaluate(*args, **kwargs):
        share, divergence = next(script)
        metrics = {"eval_selection": share if divergence <= 0.1 else 1 + divergence}
        trainer.control = trainer.callback_handler.on_evaluate(trainer.args, trainer.state, trainer.control, metrics)
        return metrics

    trainer.evaluate = evaluate
    trainer.train()
    assert next(script, None) is None
    assert trainer.state.best_global_step == 2
    kept = load_file(tmp_path / "checkpoint-2" / "model.safetensors")
    assert torch.equal(kept["probes.bias"], trainer.model.state_dict()["probes.bias"])


def test_a_loss_that_is_not_finite_stops_training_and_keeps_checkpoints(classifier, tokenizer, tmp_path):
    trainer = make_trainer(
        classifier, tokenizer, tmp_path, "paper", max_steps=6, save_strategy="steps", save_steps=2, eval_steps=2
    )
    good = trainer.objective.loss

    def loss(*args):
        value = good(*args)
        return value * float("nan") if trainer.state.global_step == 3 else value

    trainer.objective.loss = loss
    with pytest.raises(DiffMaskError, match=r"not finite at step 3.*stay as they are"):
        trainer.train()
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())
    saved = DiffMaskModel.from_pretrained(tmp_path / "checkpoint-2")
    assert all(parameter.isfinite().all() for parameter in saved.parameters())


def test_a_trainer_refuses_what_contradicts_itself(classifier, tokenizer, tmp_path):
    args = DiffMaskTrainingArguments(output_dir=str(tmp_path), recipe="paper", use_cpu=True)
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer)
    with pytest.raises(DiffMaskError, match="recipe 'paper' trains explainers with"):
        DiffMaskTrainer(explainer, args, processing_class=tokenizer)
    trainer = make_trainer(classifier, tokenizer, tmp_path / "out", margin=0.3)
    assert trainer.model.config.margin == 0.3
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(DiffMaskError, match="not empty"):
        trainer.train()


def test_two_processes_are_one_run(tmp_path):
    """All in one launch, since processes take seconds to start: see tests/training/two_processes.py."""
    base = AutoModelForSequenceClassification.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER, num_hidden_layers=1)
    base.save_pretrained(tmp_path / "base")
    AutoTokenizer.from_pretrained(hf_diffmask.BUNDLED_CLASSIFIER).save_pretrained(tmp_path / "base")
    rows = [json.dumps({"text": text}) for text in sentences(40)]
    (tmp_path / "base" / "texts.jsonl").write_text("\n".join(rows))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    launched = subprocess.Popen(
        [*command, "-m", "tests.training.two_processes", str(tmp_path / "base"), str(tmp_path / "two")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        train_all(str(tmp_path / "base"), tmp_path / "one")
        printed, said = launched.communicate(timeout=300)
    finally:
        launched.kill()
    assert launched.returncode != 0, "a process died"
    for name, (*_, tolerance) in RUNS.items():
        one = load_file(tmp_path / "one" / f"{name}-0.safetensors")
        ranks = [load_file(tmp_path / "two" / f"{name}-{rank}.safetensors") for rank in (0, 1)]
        last = [load_file(tmp_path / part / name / "checkpoint-50" / "model.safetensors") for part in ("one", "two")]
        assert one.pop("processes") == 1 and ranks[0].pop("processes") == ranks[1].pop("processes") == 2
        assert {"eval_selection", "eval_divergence", "10.eval_selection", "50.eval_selection"} <= one.keys()
        for key in one:
            torch.testing.assert_close(ranks[0][key], ranks[1][key], atol=0, rtol=0)
            torch.testing.assert_close(ranks[0][key], one[key], atol=tolerance, rtol=tolerance, msg=f"{name}: {key}")
        for key in last[0]:
            torch.testing.assert_close(
                last[1][key], last[0][key], atol=tolerance, rtol=tolerance, msg=f"{name}: {key}"
            )
        if "costs" in one:
            assert one["costs"].any(), "calibrated"
        if "objective.multipliers" in one and name.endswith("double"):
            assert len(one["objective.multipliers"].unique()) > 1
    statuses = [json.loads((tmp_path / "two" / f"{rank}.json").read_text()) for rank in (0, 1)]
    expected = {"not finite": 2, "left": True, "terminated": 143, "resumed": 0}  # the ablations are left
    assert statuses == [{**expected, "died": 2}, expected], "the second process died before it could write"
    sentences_said = [line for line in said.splitlines() if "hf-diffmask: " in line]
    assert len(sentences_said) == 3, said[-6000:]
    run = tmp_path / "two" / "run"
    for line, parts in zip(
        sentences_said,
        [("The loss is not finite at step 1",),
         (f"terminated: {run}/checkpoint-3 is saved, go on with --resume_from_checkpoint True.",),
         ("Another process of this run has died",)],
        strict=True,
    ):  # fmt: skip
        assert all(part in line for part in parts), line
    assert printed.count("Hard masks on") == 1, "one run"
    assert (run / "model.safetensors").is_file()


def test_an_explainer_can_be_trained_again(classifier, tokenizer, tmp_path):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **recipe_config())
    for number in range(2):
        args = DiffMaskTrainingArguments(
            output_dir=str(tmp_path / str(number)), max_steps=1, baseline_steps=1, per_device_train_batch_size=8,
            masks=2, use_cpu=True, disable_tqdm=True, report_to="none", save_strategy="no", eval_strategy="no",
            load_best_model_at_end=False,
        )  # fmt: skip
        before = explainer.baseline.clone()
        DiffMaskTrainer(
            explainer, args, TextFeatures(tokenizer, sentences(16), 64), processing_class=tokenizer
        ).train()
        assert not torch.equal(before, explainer.baseline)


def test_no_masks_are_measured_before_there_are_any(classifier, tokenizer, tmp_path):
    explainer = DiffMaskModel.from_base_model(classifier, tokenizer, **recipe_config()).eval()
    settings = dict(
        output_dir=str(tmp_path), max_steps=4, baseline_steps=1, per_device_train_batch_size=8, masks=2, use_cpu=True,
        disable_tqdm=True, report_to="none", overwrite_output_dir=True, eval_steps=2, eval_delay=0, save_steps=2,
    )  # fmt: skip
    data = TextFeatures(tokenizer, sentences(32), 64), TextFeatures(tokenizer, sentences(20, seed=1), 64)
    trainer = DiffMaskTrainer(explainer, DiffMaskTrainingArguments(**settings), *data, processing_class=tokenizer)
    assert not explainer.masks.is_calibrated and trainer.evaluate().keys() == {"epoch"} and trainer.rows == []
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "eval_selection" in entry]
    assert len(logged) >= 2 and not any("eval_kept_share" in entry for entry in logged)
    assert explainer.masks.is_calibrated and trainer.evaluate()["eval_kept_share"] == trainer.rows[-1].kept_share
    with pytest.raises(DiffMaskError, match="has only the metrics `selection` and `r2`"):
        args = DiffMaskTrainingArguments(**settings, metric_for_best_model="kept_share")
        DiffMaskTrainer(explainer, args, *data, processing_class=tokenizer)
    # After further training, the old thresholds would be wrong.
    settings |= {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    DiffMaskTrainer(explainer, DiffMaskTrainingArguments(**settings), data[0], processing_class=tokenizer).train()
    assert not explainer.masks.is_calibrated and (explainer(**batches_of(tokenizer)[0]).keep_probability == 1).all()
